"""Poses as coloured stick figures on their picture, and where the network thinks they are.

Lines are drawn by their distance to each pixel, so they are smooth at any size and cost only the pixels they cover.
"""

import math
from collections.abc import Iterable
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from .geometry import Crop, Floats, compose, image_to_crop
from .images import Pixels
from .poses import Poses

Colour = tuple[int, int, int]

RIGHT: Colour = (255, 138, 30)
LEFT: Colour = (60, 160, 255)
MIDDLE: Colour = (200, 226, 70)
_SIDES = {"right": RIGHT, "left": LEFT, "": MIDDLE}
_DARK: Colour = (24, 24, 32)
_LIGHT: Colour = (255, 255, 255)
_PERSONS: tuple[Colour, ...] = (  # of ids; neighbours differ most, all bear dark letters
    *((255, 214, 10), (76, 217, 200), (255, 128, 171), (154, 220, 90)),
    *((190, 160, 255), (255, 160, 90), (110, 200, 255), (240, 240, 240)),
)
_HEAT: tuple[Colour, ...] = ((38, 8, 92), (150, 20, 130), (235, 70, 70), (255, 170, 40), (255, 250, 190))

MIN_SCORE = 0.5
"""Keypoints from this score on are drawn: where scores are probabilities, those that are rather right than wrong."""

_THICKNESS = 0.013  # of the longer side of the person's box
_LEAST, _MOST = 1.6, 14.0  # of the thickness [px]


def draw_poses(
    image: Pixels,
    poses: Poses,
    *,
    min_score: float = MIN_SCORE,
    boxes: bool = False,
    scores: bool = False,
    ids: bool = True,
) -> Pixels:
    """A copy of ``image`` with the persons drawn on it: right limbs orange, left ones blue, the middle green.

    Lines are as thick as the person is large, and outlined, to stand out from dark and light pictures. Pixels that no
    line touches keep their value.

    Args:
        image: ``(H, W, 3)`` uint8 RGB.
        poses: The persons, in the pixels of ``image``.
        min_score: Keypoints below this score, and the limbs that end in them, are left out.
        boxes: Also draw the box in which each person was looked for.
        scores: Also write the score beside every keypoint, and the person's mean beside its id.
        ids: Write the id above each person who has one, in a colour of its own.

    Returns:
        ``(H, W, 3)`` uint8 RGB.
    """
    out = np.array(image, np.uint8)
    for person in _far_to_near(poses):
        _draw_person(out, poses, person, min_score, with_box=boxes, with_scores=scores)
    if scores or (ids and poses.ids is not None):
        for person in _far_to_near(poses):
            _draw_label(out, poses, person, min_score, with_id=ids, with_score=scores)
    return out


def draw_heatmaps(
    image: Pixels, heatmaps: Iterable[tuple[Crop, NDArray[np.float32]]], *, opacity: float = 0.9
) -> Pixels:
    """A copy of ``image``, paler, with glowing heatmaps over it: where several persons' overlap, the highest counts.

    Args:
        image: ``(H, W, 3)`` uint8 RGB.
        heatmaps: For each person the window that was looked at and a heatmap ``(h, w)`` in [0, 1] of it.
        opacity: Of the highest values.

    Returns:
        ``(H, W, 3)`` uint8 RGB.
    """
    height, width = image.shape[:2]
    heat = np.zeros((height, width), np.float32)
    for crop, values in heatmaps:
        side = values.shape[0]
        image_to_map = image_to_crop(crop, side)
        reach = crop.side * math.sqrt(0.5) + 1
        low = np.clip(np.floor(np.array(crop.center) - reach), 0, (width, height)).astype(int)
        high = np.clip(np.ceil(np.array(crop.center) + reach) + 1, 0, (width, height)).astype(int)
        if (low >= high).any():
            continue
        part_to_map = compose(np.array([[1.0, 0.0, low[0]], [0.0, 1.0, low[1]]]), image_to_map)
        corner = part_to_map[:, 2] + 0.5 - part_to_map[:, :2].sum(1) / 2  # Pillow counts from the corner of a pixel
        (a, b), (d, e) = part_to_map[:, :2].tolist()
        c, f = corner.tolist()
        shown = Image.fromarray(np.pad(values.astype(np.float32), 1)).transform(
            (int(high[0] - low[0]), int(high[1] - low[1])),
            Image.Transform.AFFINE,
            (a, b, c + 1, d, e, f + 1),
            resample=Image.Resampling.BILINEAR,
        )
        part = heat[low[1] : high[1], low[0] : high[0]]
        np.maximum(part, np.asarray(shown), out=part)
    picture = Image.fromarray(image)
    pale = Image.blend(picture, picture.convert("L").convert("RGB"), 0.6)  # colours would compete
    out = pale.point([round(0.75 * value) for value in range(256)] * 3)
    level = Image.fromarray(np.rint(np.clip(heat, 0.0, 1.0) * 255).astype(np.uint8))
    steps, ramp = np.linspace(0, 255, len(_HEAT)), np.arange(256)
    glow = [level.point(np.rint(np.interp(ramp, steps, colour)).astype(int).tolist()) for colour in np.array(_HEAT).T]
    cover = np.rint(255 * opacity * (ramp / 255) ** 0.75).astype(int)  # weak second places are to be seen too
    out.paste(Image.merge("RGB", glow), mask=level.point(cover.tolist()))
    return np.array(out, np.uint8)


def _far_to_near(poses: Poses) -> list[int]:
    """Persons in the order to draw them: the small, who are mostly behind, first."""
    sides = poses.boxes[:, 2:] - poses.boxes[:, :2]
    return [int(person) for person in np.argsort(sides.prod(1), kind="stable")]


def _thickness(poses: Poses, person: int) -> float:
    box = poses.boxes[person]
    longer = min(float((box[2:] - box[:2]).max()), float(max(poses.image_size)))
    return min(max(longer * _THICKNESS, _LEAST), _MOST)


def _shown(poses: Poses, person: int, image: Pixels, min_score: float) -> NDArray[np.bool_]:
    """``(K,)``: keypoints that are sure enough, and on the picture or at most its size beside it; never NaN."""
    size = np.array([image.shape[1], image.shape[0]])
    xy = poses.xy[person]
    near = ((xy > -size) & (xy < 2 * size)).all(1)
    return np.asarray(near & (poses.score[person] >= min_score), dtype=np.bool_)


def _draw_person(
    image: Pixels, poses: Poses, person: int, min_score: float, *, with_box: bool, with_scores: bool
) -> None:
    xy, skeleton = poses.xy[person], poses.skeleton
    shown = _shown(poses, person, image, min_score)
    thickness = _thickness(poses, person)
    if with_box:
        _draw_box(image, poses.boxes[person], thickness, _person_colour(poses, person))
    limbs = [
        (_Stroke(image, xy[a], xy[b], thickness * 1.8), _SIDES[skeleton.side(a, b)])
        for a, b in skeleton.edge_index
        if shown[a] and shown[b]
    ]
    for limb, _ in limbs:  # every outline before any colour, so that limbs run into each other without a seam
        limb.paint(thickness * 1.8, _DARK)
    for limb, colour in limbs:
        limb.paint(thickness, colour)
    for k in np.flatnonzero(shown):
        dot = _Stroke(image, xy[k], xy[k], thickness * 2.4)
        for width, colour in ((2.4, _DARK), (1.8, _LIGHT), (1.1, _SIDES[skeleton.side(int(k))])):
            dot.paint(thickness * width, colour)
    if with_scores:
        for k in np.flatnonzero(shown):
            _write(image, xy[k] + thickness * 1.3, f"{poses.score[person, k]:.2f}", max(thickness * 2.2, 9.0))


def _draw_box(image: Pixels, box: Floats, thickness: float, colour: Colour) -> None:
    limit = np.array([image.shape[1], image.shape[0]])
    left, top, right, bottom = np.clip(box, np.tile(-limit, 2), np.tile(2 * limit, 2))
    corners = np.array([(left, top), (right, top), (right, bottom), (left, bottom)])
    sides = [_Stroke(image, a, b, thickness) for a, b in zip(corners, np.roll(corners, -1, 0), strict=True)]
    for width, of in ((thickness, _DARK), (thickness * 0.5, colour)):
        for side in sides:
            side.paint(width, of)


def _draw_label(image: Pixels, poses: Poses, person: int, min_score: float, *, with_id: bool, with_score: bool) -> None:
    """The person's id and mean score on a plate above the highest keypoint."""
    shown = _shown(poses, person, image, min_score)
    words = [f"{poses.ids[person]}"] if with_id and poses.ids is not None else []
    words += [f"{poses.score[person].mean():.2f}"] if with_score else []
    if not words or not shown.any():
        return
    thickness = _thickness(poses, person)
    size = min(max(thickness * 3.4, 12.0), 0.5 * min(image.shape[:2]) + 4)
    text = "  ".join(words)
    left, top, right, bottom = _font(size).getbbox(text)
    wide, high = right - left + 0.7 * size, bottom - top + 0.6 * size
    x, y = poses.xy[person][shown][poses.xy[person][shown][:, 1].argmin()]
    x = min(max(x, wide / 2), max(image.shape[1] - wide / 2, wide / 2))
    y = max(y - thickness * 2.5 - high / 2, high / 2)
    half = np.array([(wide - high) / 2, 0.0])
    plate = _Stroke(image, np.array([x, y]) - half, np.array([x, y]) + half, high + 2)
    plate.paint(high + 2, _DARK)
    plate.paint(high, _person_colour(poses, person))
    _write(image, np.array([x - (left + right) / 2, y - (top + bottom) / 2]), text, size, _DARK, outline=None)


def _person_colour(poses: Poses, person: int) -> Colour:
    return _LIGHT if poses.ids is None else _PERSONS[int(poses.ids[person]) % len(_PERSONS)]


class _Stroke:
    """A line with round ends on a part of a picture; from a point to itself it is a dot."""

    def __init__(self, image: Pixels, start: Floats, end: Floats, widest: float) -> None:
        limit = np.array([image.shape[1], image.shape[0]])
        low = np.clip(np.floor(np.minimum(start, end) - widest / 2 - 1), 0, limit).astype(int)
        high = np.clip(np.ceil(np.maximum(start, end) + widest / 2 + 2), 0, limit).astype(int)
        self._part = image[low[1] : high[1], low[0] : high[0]]
        self._from_line = _distance(low, self._part.shape, start, end)

    def paint(self, width: float, colour: Colour) -> None:
        """Covers what is at most half of ``width`` [px] from the line; pixels half covered are half painted."""
        cover = np.clip(width / 2 + 0.5 - self._from_line, 0.0, 1.0)
        rows = np.flatnonzero(cover.any(1))
        if not len(rows):
            return
        reached = slice(rows[0], rows[-1] + 1)
        part, cover = self._part[reached], cover[reached, :, None]
        part[:] = np.rint(part + cover * (np.array(colour, np.float32) - part)).astype(np.uint8)


def _distance(low: NDArray[np.int64], shape: tuple[int, ...], start: Floats, end: Floats) -> NDArray[np.float32]:
    """How far each pixel of a part that begins at ``low`` is from the line between two points [px]."""
    x = np.arange(low[0], low[0] + shape[1], dtype=np.float32) - np.float32(start[0])
    y = (np.arange(low[1], low[1] + shape[0], dtype=np.float32) - np.float32(start[1]))[:, None]
    along_x, along_y = (np.float32(v) for v in end - start)
    length = along_x * along_x + along_y * along_y
    if length > 0:
        share = np.clip((x * along_x + y * along_y) / length, 0.0, 1.0, dtype=np.float32)
        x, y = x - share * along_x, y - share * along_y
    distance: NDArray[np.float32] = np.hypot(x, y)
    return distance


@cache
def _font(height: float) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(height)
    assert isinstance(font, ImageFont.FreeTypeFont)
    return font


def _write(
    image: Pixels, corner: Floats, text: str, height: float, colour: Colour = _LIGHT, outline: Colour | None = _DARK
) -> None:
    """Letters of a size, the first one's upper left at ``corner``."""
    font = _font(round(height * 2) / 2)
    stroke = 0 if outline is None else max(height / 8, 1.0)
    x, y = (float(v) for v in corner)
    left, top, right, bottom = font.getbbox(text, stroke_width=stroke)
    limit = (image.shape[1], image.shape[0])
    x0, y0 = (min(max(math.floor(v), 0), side) for v, side in zip((x + left, y + top), limit, strict=True))
    x1, y1 = (min(max(math.ceil(v) + 1, 0), side) for v, side in zip((x + right, y + bottom), limit, strict=True))
    if x0 >= x1 or y0 >= y1:
        return
    part = Image.fromarray(image[y0:y1, x0:x1])
    ImageDraw.Draw(part).text((x - x0, y - y0), text, colour, font, stroke_width=stroke, stroke_fill=outline)
    image[y0:y1, x0:x1] = np.asarray(part)
