"""A data set to try everything with: stick figures, drawn on the spot and laid out like Leeds Sports Pose."""

import io
import itertools
import math
from pathlib import Path

import numpy as np
import scipy.io
from PIL import Image, ImageDraw

from ..errors import DataError
from ..geometry import Floats
from ..skeleton import LSP
from .lsp import Layout, read_layout
from .person import Person

TOY_LAYOUT = Layout("toy", ("toy",), 4, "ckn", "occluded")

_LENGTHS = {"torso": 0.30, "shoulder": 0.10, "hip": 0.07, "arm": 0.17, "leg": 0.23, "head": 0.16}
"""Lengths of the body parts over the figure's height; arm and leg: of each of their two segments."""


def read_toy(data: Path) -> list[Person]:
    """The figures that `write_toy` drew into ``data``; ids ``"toy/im0001"``, ... Keypoints: `sadinet.skeleton.LSP`.

    Raises:
        DataError: If there are none or they are damaged.
    """
    if not (data / "toy").is_dir():
        raise DataError(
            f"no toy data in '{data}': draw them with sadinet.data.toy.write_toy({str(data)!r}, 200, seed=0)"
        )
    return read_layout(TOY_LAYOUT, data)


def write_toy(data: Path, count: int, seed: int) -> None:
    """Draw ``count`` figures into ``data/toy``: ``joints.mat`` and ``images/im0001.jpg``, ...

    The same ``count`` or a larger one and the same ``seed`` give the same figures. The person's right side is red,
    the left side blue, in shades that vary; poses, sizes (96 to 200 px pictures) and backgrounds are random.

    Raises:
        DataError: If ``count`` is not in 1 to 9999 (the layout has four digits), or ``data/toy`` exists already.
    """
    if not 1 <= count <= 9999:
        raise DataError(f"cannot draw {count} toy figures: give a number from 1 to 9999")
    folder = data / "toy"
    if folder.exists():
        raise DataError(f"'{folder}' exists already: remove it, or use it as it is")
    (folder / "images").mkdir(parents=True)
    joints = np.zeros((3, len(LSP), count))
    for i in range(count):
        rng = np.random.default_rng((seed, i))
        width, height = (int(v) for v in rng.integers(96, 201, size=2))
        xy = _pose(rng, width, height)
        joints[:2, :, i] = xy.T + 1.0  # the layout counts pixels from 1
        (folder / "images" / f"{TOY_LAYOUT.stem(i + 1)}.jpg").write_bytes(_jpeg(_draw(rng, width, height, xy)))
    scipy.io.savemat(str(folder / "joints.mat"), {"joints": joints})


def _pose(rng: np.random.Generator, width: int, height: int) -> Floats:
    """The 14 keypoints of a random figure seen from the front or from behind, inside of the picture [image px]."""
    facing = 1.0 if rng.random() < 0.75 else -1.0  # from the front the person's right is on the picture's left
    lean = rng.normal(0.0, 0.25)
    down = np.array([math.sin(lean), math.cos(lean)])
    across = facing * np.array([-down[1], down[0]])  # towards the person's right

    point = {"neck": np.zeros(2)}
    point["head_top"] = -_LENGTHS["head"] * _turned(down, rng.normal(0.0, 0.2))
    pelvis = _LENGTHS["torso"] * down
    for side, sign in (("right", 1.0), ("left", -1.0)):
        outwards = sign * across
        spread = 1.0 if outwards[0] < 0 else -1.0  # the turn that lifts a hanging limb outwards
        point[f"{side}_shoulder"] = _LENGTHS["shoulder"] * outwards + 0.03 * down
        point[f"{side}_hip"] = pelvis + _LENGTHS["hip"] * outwards
        upper = spread * rng.uniform(0.1, 2.6)
        lower = upper + spread * rng.uniform(-0.3, 1.6)
        point[f"{side}_elbow"] = point[f"{side}_shoulder"] + _LENGTHS["arm"] * _turned(down, upper)
        point[f"{side}_wrist"] = point[f"{side}_elbow"] + _LENGTHS["arm"] * _turned(down, lower)
        upper = spread * rng.uniform(-0.1, 1.1)
        lower = upper - spread * rng.uniform(-0.1, 0.9)
        point[f"{side}_knee"] = point[f"{side}_hip"] + _LENGTHS["leg"] * _turned(down, upper)
        point[f"{side}_ankle"] = point[f"{side}_knee"] + _LENGTHS["leg"] * _turned(down, lower)

    xy = np.stack([point[name] for name in LSP.keypoints])
    low, high = xy.min(0), xy.max(0)
    room = np.array([width, height]) - 1.0
    scale = float((room / (high - low)).min() * rng.uniform(0.7, 0.85))
    slack = room - scale * (high - low)
    placed: Floats = (xy - low) * scale + slack * rng.uniform(0.25, 0.75, size=2)
    return placed


def _turned(direction: Floats, angle: float) -> Floats:
    """``direction`` turned clockwise on the screen by ``angle`` [radians]."""
    cos, sin = math.cos(angle), math.sin(angle)
    return np.array([cos * direction[0] - sin * direction[1], sin * direction[0] + cos * direction[1]])


def _draw(rng: np.random.Generator, width: int, height: int, xy: Floats) -> Image.Image:
    back = rng.integers(40, 216, size=3)
    slope = rng.uniform(-0.4, 0.4, size=(2, 3))
    ramp = np.add.outer(np.arange(height)[:, None] * slope[0], np.zeros(1)).reshape(height, 1, 3)
    ramp = ramp + np.arange(width)[None, :, None] * slope[1] + rng.normal(0.0, 6.0, size=(height, width, 3))
    picture = Image.fromarray(np.clip(back + ramp, 0, 255).astype(np.uint8))
    pen = ImageDraw.Draw(picture)
    for _ in range(int(rng.integers(0, 4))):  # clutter that is no limb
        x, y = rng.uniform(0, width), rng.uniform(0, height)
        half = rng.uniform(4, 16)
        pen.rectangle((x - half, y - half, x + half, y + half), fill=_shade(rng, (128, 160, 90), 60))

    size = float(np.linalg.norm(xy[LSP.index("neck")] - xy[LSP.index("head_top")])) / _LENGTHS["head"]
    limb = 0.06 * size
    colours = {"right": _shade(rng, (205, 60, 50), 35), "left": _shade(rng, (50, 80, 205), 35)}
    skin = _shade(rng, (225, 190, 150), 25)

    def at(name: str) -> tuple[float, float]:
        x, y = xy[LSP.index(name)]
        return float(x), float(y)

    trunk = [at(name) for name in ("right_shoulder", "left_shoulder", "left_hip", "right_hip")]
    pen.polygon(trunk, fill=_shade(rng, (120, 120, 120), 70))
    for side in ("left", "right"):
        for chain in (("hip", "knee", "ankle"), ("shoulder", "elbow", "wrist")):
            for a, b in itertools.pairwise(chain):
                _capsule(pen, at(f"{side}_{a}"), at(f"{side}_{b}"), limb, colours[side])
    neck, top = at("neck"), at("head_top")
    _capsule(pen, neck, top, limb / 2, skin)
    middle, radius = ((neck[0] + 2 * top[0]) / 3, (neck[1] + 2 * top[1]) / 3), math.dist(neck, top) / 3
    pen.ellipse((middle[0] - radius, middle[1] - radius, middle[0] + radius, middle[1] + radius), fill=skin)
    return picture


def _capsule(
    pen: ImageDraw.ImageDraw, a: tuple[float, float], b: tuple[float, float], width: float, fill: tuple[int, int, int]
) -> None:
    pen.line((*a, *b), fill=fill, width=max(2, round(width)))
    radius = width / 2
    for x, y in (a, b):
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill)


def _shade(rng: np.random.Generator, colour: tuple[int, int, int], spread: int) -> tuple[int, int, int]:
    red, green, blue = (int(np.clip(v + rng.integers(-spread, spread + 1), 0, 255)) for v in colour)
    return red, green, blue


def _jpeg(picture: Image.Image) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=92)
    return stream.getvalue()
