"""Frames and the affine maps between them.

One convention everywhere: x right, y down, 0-based, an integer is the centre of a pixel. An image W
pixels wide therefore spans [-0.5, W - 0.5], and resampling it by s maps x to (x + 0.5) * s - 0.5.
Maps are ``(2, 3)`` float64 arrays named ``a_to_b``: ``b = a_to_b[:, :2] @ a + a_to_b[:, 2]``.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import DataError

Floats: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class Crop:
    """A square window on an image.

    Attributes:
        center: (x, y) [image px].
        side: Length of a side [image px], positive.
        angle: How far the window is turned clockwise on the screen [degrees]; its content turns the other way.
    """

    center: tuple[float, float]
    side: float
    angle: float = 0.0

    def __post_init__(self) -> None:
        if not (self.side > 0 and math.isfinite(self.side) and all(map(math.isfinite, (*self.center, self.angle)))):
            raise DataError(f"not a window on an image: {self.center=} {self.side=} {self.angle=}")

    @classmethod
    def around(cls, box: ArrayLike, margin: float = 1.0) -> "Crop":
        """The square around the centre of ``box`` (xyxy [image px]), ``margin`` times its longer side."""
        left, top, right, bottom = (float(v) for v in np.asarray(box, dtype=np.float64))
        if not (right > left and bottom > top):
            raise DataError(f"empty box {left, top, right, bottom}: give x0 < x1 and y0 < y1, in pixels")
        return cls(((left + right) / 2, (top + bottom) / 2), max(right - left, bottom - top) * margin)


def whole_image(width: int, height: int) -> Floats:
    """The box (xyxy, ``(4,)``) that an image spans [image px]."""
    return np.array([-0.5, -0.5, width - 0.5, height - 0.5])


def bounding_box(xy: ArrayLike) -> Floats:
    """The smallest box (xyxy, ``(4,)``) around the finite points of ``xy`` ``(..., 2)``; NaN where there are none."""
    points = np.asarray(xy, dtype=np.float64).reshape(-1, 2)
    points = points[np.isfinite(points).all(1)]
    if not len(points):
        return np.full(4, np.nan)
    return np.concatenate([points.min(0), points.max(0)])


def overlap(a: ArrayLike, b: ArrayLike) -> Floats:
    """The share ``(A, B)`` in [0, 1] of their union that boxes ``a`` ``(A, 4)`` and ``b`` ``(B, 4)`` have in common.

    Boxes are xyxy; one without an area has nothing in common with any.
    """
    one, two = np.asarray(a, dtype=np.float64).reshape(-1, 1, 4), np.asarray(b, dtype=np.float64).reshape(1, -1, 4)
    common = _area(np.maximum(one[..., :2], two[..., :2]), np.minimum(one[..., 2:], two[..., 2:]))
    union = _area(one[..., :2], one[..., 2:]) + _area(two[..., :2], two[..., 2:]) - common
    return np.where(common > 0, common / np.where(common > 0, union, 1.0), 0.0)


def _area(low: Floats, high: Floats) -> Floats:
    area: Floats = np.maximum(high - low, 0.0).prod(-1)
    return area


def image_to_crop(crop: Crop, size: int) -> Floats:
    """The map from image pixels to the pixels of ``crop`` resampled to ``size`` x ``size``."""
    turn = math.radians(crop.angle)
    scale = size / crop.side
    cos, sin = math.cos(turn) * scale, math.sin(turn) * scale
    linear = np.array([[cos, sin], [-sin, cos]])
    offset = (size - 1) / 2 - linear @ np.asarray(crop.center)
    return np.column_stack([linear, offset])


def resample(scale: float) -> Floats:
    """The map from the pixels of an image to those of the same image resized by ``scale``."""
    shift = (scale - 1) / 2
    return np.array([[scale, 0.0, shift], [0.0, scale, shift]])


def mirror(width: int) -> Floats:
    """The map from the pixels of an image ``width`` wide to those of its mirror image (its own inverse)."""
    return np.array([[-1.0, 0.0, width - 1.0], [0.0, 1.0, 0.0]])


def compose(*maps: Floats) -> Floats:
    """One map that does ``maps`` in the order given: ``compose(a_to_b, b_to_c)`` is ``a_to_c``."""
    total = np.eye(3)
    for step in maps:
        total = np.vstack([step, [0.0, 0.0, 1.0]]) @ total
    return total[:2]


def invert(a_to_b: Floats) -> Floats:
    """The map ``b_to_a``."""
    linear = np.linalg.inv(a_to_b[:, :2])
    return np.column_stack([linear, -linear @ a_to_b[:, 2]])


def apply(a_to_b: Floats, xy: ArrayLike) -> Floats:
    """The points ``xy`` ``(..., 2)`` in frame b; NaN stays NaN."""
    points = np.asarray(xy, dtype=np.float64)
    return points @ a_to_b[:, :2].T + a_to_b[:, 2]


def swap_sides(values: Floats, flip_index: Sequence[int]) -> Floats:
    """``values`` ``(K, ...)`` with left and right exchanged: what a mirrored person's keypoints are called."""
    return values[list(flip_index)]
