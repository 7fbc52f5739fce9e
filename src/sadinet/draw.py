"""Poses as coloured stick figures on their picture."""

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from .geometry import Floats, bounding_box
from .images import Pixels
from .poses import Poses

Colour = tuple[int, int, int]

RIGHT: Colour = (255, 138, 30)
LEFT: Colour = (60, 160, 255)
MIDDLE: Colour = (200, 226, 70)
_DARK: Colour = (24, 24, 32)
_LIGHT: Colour = (255, 255, 255)

_THICKNESS = 0.013  # of the longer side of the person's box
_LARGEST_SHEET = 16_000_000  # pixels; more would only cost time


def draw_poses(
    image: Pixels, poses: Poses, *, min_score: float = 0.2, boxes: bool = False, scores: bool = False
) -> Pixels:
    """A copy of ``image`` with the persons drawn on it: right limbs orange, left ones blue, the middle green.

    Pixels that no line touches keep their value.

    Args:
        image: ``(H, W, 3)`` uint8 RGB.
        poses: The persons, in the pixels of ``image``.
        min_score: Keypoints below this score, and the limbs that end in them, are left out.
        boxes: Also draw the box in which each person was looked for.
        scores: Also write the score beside every keypoint.

    Returns:
        ``(H, W, 3)`` uint8 RGB.
    """
    out = np.array(image, np.uint8)
    for person in range(len(poses)):
        _draw_person(out, poses, person, min_score=min_score, with_box=boxes, with_scores=scores)
    return out


def _draw_person(
    image: Pixels, poses: Poses, person: int, *, min_score: float, with_box: bool, with_scores: bool
) -> None:
    """Draw one person into ``image``."""
    xy, score, box = poses.xy[person], poses.score[person], poses.boxes[person]
    names = poses.skeleton.keypoints
    shown = _near(xy, image) & (score >= min_score)
    longer = min(float((box[2:] - box[:2]).max()), float(max(image.shape[:2])))
    thickness = min(max(longer * _THICKNESS, 1.6), 14.0)
    area = bounding_box(np.concatenate([xy[shown], box.reshape(2, 2)] if with_box else [xy[shown]]))
    if np.isnan(area).any():
        return
    sheet = _Sheet(image, area, margin=thickness * (9 if with_scores else 2))
    if with_box:
        sheet.rectangle(box, thickness)
    limbs = [(a, b) for a, b in poses.skeleton.edge_index if shown[a] and shown[b]]
    for a, b in limbs:  # every outline before any colour, so that limbs run into each other without a seam
        sheet.line(xy[a], xy[b], thickness * 1.8, _DARK)
    for a, b in limbs:
        sheet.line(xy[a], xy[b], thickness, _colour(names[a], names[b]))
    for k in np.flatnonzero(shown):
        sheet.dot(xy[k], thickness * 2.4, _DARK)
        sheet.dot(xy[k], thickness * 1.8, _LIGHT)
        sheet.dot(xy[k], thickness * 1.1, _colour(names[k]))
    if with_scores:
        for k in np.flatnonzero(shown):
            sheet.text(xy[k] + thickness * 1.3, f"{score[k]:.2f}", max(thickness * 2.6, 9.0))
    sheet.put_back()


def _near(xy: Floats, image: Pixels) -> NDArray[np.bool_]:
    """``(K,)``: which keypoints lie on the picture or at most its size beside it; never those that are NaN."""
    size = np.array([image.shape[1], image.shape[0]])
    return np.asarray(((xy > -size) & (xy < 2 * size)).all(1), dtype=np.bool_)


def _colour(*names: str) -> Colour:
    """The colour of a keypoint, or of a limb between two: that of its side, if it has one."""
    left, right = (any(name.startswith(side) for name in names) for side in ("left_", "right_"))
    if left == right:
        return MIDDLE
    return LEFT if left else RIGHT


class _Sheet:
    """A part of a picture, enlarged to draw on; averaged back, its lines are smooth and the rest is as it was."""

    def __init__(self, image: Pixels, area: Floats, margin: float) -> None:
        height, width = image.shape[:2]
        left, top = (int(v) for v in np.clip(np.floor(area[:2] - margin), 0, (width - 1, height - 1)))
        right, bottom = (int(v) for v in np.clip(np.ceil(area[2:] + margin) + 1, (left + 1, top + 1), (width, height)))
        self._part = image[top:bottom, left:right]
        self._scale = min(max(math.isqrt(_LARGEST_SHEET // (self._part.size // 3)), 1), 4)
        self._origin = np.array([left, top])
        enlarged = self._part.repeat(self._scale, 0).repeat(self._scale, 1)
        self._sheet = Image.fromarray(enlarged)
        self._draw = ImageDraw.Draw(self._sheet)

    def line(self, start: Floats, end: Floats, width: float, colour: Colour) -> None:
        """A line with round ends; points and width in pixels of the picture, as in every method."""
        (x0, y0), (x1, y1) = self._at(start), self._at(end)
        self._draw.line((x0, y0, x1, y1), colour, max(round(width * self._scale), 1))
        self.dot(start, width, colour)
        self.dot(end, width, colour)

    def dot(self, centre: Floats, diameter: float, colour: Colour) -> None:
        x, y = self._at(centre)
        radius = diameter * self._scale / 2
        self._draw.ellipse((x - radius, y - radius, x + radius, y + radius), colour)

    def rectangle(self, box: Floats, thickness: float) -> None:
        (x0, y0), (x1, y1) = self._at(box[:2]), self._at(box[2:])
        for width, colour in ((thickness, _DARK), (thickness * 0.5, _LIGHT)):
            half = width * self._scale / 2
            self._draw.rectangle((x0 - half, y0 - half, x1 + half, y1 + half), None, colour, max(round(2 * half), 1))

    def text(self, corner: Floats, text: str, height: float) -> None:
        font = ImageFont.load_default(height * self._scale)
        self._draw.text(self._at(corner), text, _LIGHT, font, stroke_width=height * self._scale / 8, stroke_fill=_DARK)

    def put_back(self) -> None:
        """Write what was drawn into the picture."""
        self._part[:] = np.asarray(self._sheet.reduce(self._scale))

    def _at(self, xy: Floats) -> tuple[float, float]:
        x, y = (xy - self._origin + 0.5) * self._scale - 0.5
        return float(x), float(y)
