"""Heatmaps once more, slowly: one pixel at a time."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np


def gaussian(x: float, y: float, size: tuple[int, int], sigma: float, kind: str) -> list[list[float]]:
    """The target of one keypoint, rows of columns."""
    height, width = size
    rows = []
    for v in range(height):
        row = []
        for u in range(width):
            if math.isnan(x) or math.isnan(y):
                row.append(0.0)
            elif kind == "rounded":
                dx, dy = u - math.floor(x + 0.5), v - math.floor(y + 0.5)
                near = abs(dx) <= 3 * sigma and abs(dy) <= 3 * sigma
                row.append(math.exp(-(dx * dx + dy * dy) / (2 * sigma * sigma)) if near else 0.0)
            else:
                row.append(math.exp(-((u - x) ** 2 + (v - y) ** 2) / (2 * sigma * sigma)))
        rows.append(row)
    return rows


def weight(x: float, y: float, labelled: bool, size: tuple[int, int], sigma: float) -> float:
    """1 if any pixel of the rounded target is not zero, 0 otherwise."""
    if not labelled:
        return 0.0
    drawn = gaussian(x, y, size, sigma, "rounded")
    return 1.0 if any(value > 0 for row in drawn for value in row) else 0.0


def quarter(heatmap: Sequence[Sequence[float]]) -> tuple[float, float]:
    """The highest pixel, the first of several, moved a quarter pixel towards the higher neighbour inside of the map."""
    height, width = len(heatmap), len(heatmap[0])
    best, x, y = -math.inf, 0, 0
    for v in range(height):
        for u in range(width):
            if heatmap[v][u] > best:
                best, x, y = heatmap[v][u], u, v
    if not (0 < x < width - 1 and 0 < y < height - 1):
        return float(x), float(y)
    right = heatmap[y][x + 1] - heatmap[y][x - 1]
    lower = heatmap[y + 1][x] - heatmap[y - 1][x]
    return x + 0.25 * ((right > 0) - (right < 0)), y + 0.25 * ((lower > 0) - (lower < 0))


def unmirror(heatmaps: Any, flip_index: Sequence[int]) -> list[Any]:
    """``heatmaps`` ``[k][row][column]`` with columns reversed and sides exchanged."""
    return [[list(reversed(row)) for row in heatmaps[k]] for k in flip_index]


def average_scales(heatmaps, scales, size):
    """`sadinet.heatmaps.average_scales` of one map per scale ``(h, w)``, pixel by pixel."""
    result = np.zeros((size, size))
    for values, scale in zip(heatmaps, scales, strict=True):
        side = len(values)
        padded = np.zeros((side + 2, side + 2))
        padded[1:-1, 1:-1] = values
        for row in range(size):
            for column in range(size):
                # as shares of the crop of scale 1 from its centre, then as pixels of this map
                place = (np.array([column, row]) + 0.5) / size * max(scales) - max(scales) / 2
                x, y = (place / scale + 0.5) * side - 0.5
                if not (-1 <= x < side and -1 <= y < side):
                    continue
                left, top = int(np.floor(x)), int(np.floor(y))
                u, v = x - left, y - top
                around = padded[top + 1 : top + 3, left + 1 : left + 3]
                result[row, column] += np.array([1 - v, v]) @ around @ np.array([1 - u, u])
    return result / len(scales)
