"""Warping once more, slowly: one pixel at a time, straight from the definition of bilinear interpolation."""

import math

import numpy as np
from numpy.typing import NDArray


def warp(image: NDArray[np.uint8], image_to_out: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.float64]:
    """``(h, w, 3)`` float in [0, 255]; the border pixels reach half a pixel outwards, and beyond it is 0."""
    rows, columns = image.shape[:2]
    backward = np.linalg.inv(np.vstack([image_to_out, [0, 0, 1]]))
    out = np.zeros((size[1], size[0], 3))
    for v in range(size[1]):
        for u in range(size[0]):
            x, y, _ = backward @ (u, v, 1)
            if not (-0.5 <= x < columns - 0.5 and -0.5 <= y < rows - 0.5):
                continue
            for row in (math.floor(y), math.floor(y) + 1):
                for column in (math.floor(x), math.floor(x) + 1):
                    weight = (1 - abs(x - column)) * (1 - abs(y - row))
                    out[v, u] += weight * image[min(max(row, 0), rows - 1), min(max(column, 0), columns - 1)]
    return out
