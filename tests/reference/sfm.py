"""Spatial fusion once more, slowly: one number at a time, plain lists ``[channel][row][column]``."""

import math
from typing import Any


def softmax(values: list[float]) -> list[float]:
    """Shares that sum to 1."""
    powers = [math.exp(v) for v in values]
    return [p / sum(powers) for p in powers]


def global_sum(levels: Any, projections: Any) -> Any:
    """Levels of one size, weighed against each other at every pixel (Eq. 2-3) and added.

    ``projections`` has one ``(weights per channel, bias)`` per level.
    """
    channels, height, width = len(levels[0]), len(levels[0][0]), len(levels[0][0][0])
    total = [[[0.0] * width for _ in range(height)] for _ in range(channels)]
    for v in range(height):
        for u in range(width):
            scores = []
            for level, (weights, bias) in zip(levels, projections, strict=True):
                scores.append(sum(weights[c] * level[c][v][u] for c in range(channels)) + bias)
            for share, level in zip(softmax(scores), levels, strict=True):
                for c in range(channels):
                    total[c][v][u] += share * level[c][v][u]
    return total


def local(x: Any, kind: str) -> Any:
    """Every number times its softmax among the numbers that share its line, times their count."""
    channels, height, width = len(x), len(x[0]), len(x[0][0])
    out = [[[0.0] * width for _ in range(height)] for _ in range(channels)]
    for c in range(channels):
        for v in range(height):
            for u in range(width):
                if kind == "col":
                    line = [x[c][i][u] for i in range(height)]
                elif kind == "row":
                    line = [x[c][v][j] for j in range(width)]
                elif kind == "chan":
                    line = [x[i][v][u] for i in range(channels)]
                else:
                    line = [x[c][i][j] for i in range(height) for j in range(width)]
                share = math.exp(x[c][v][u]) / sum(math.exp(value) for value in line)
                out[c][v][u] = x[c][v][u] * share * len(line)
    return out
