"""The losses once more, slowly: straight from Eq. 4, 6, 7 and 8."""

import math
from collections.abc import Callable, Sequence
from typing import Any


def heatmap_loss(heatmaps: Any, target: Any, weights: Any) -> float:
    """Half the weighted squared error, averaged over persons, keypoints and pixels."""
    total, count = 0.0, 0
    for b in range(len(heatmaps)):
        for k in range(len(heatmaps[b])):
            for v in range(len(heatmaps[b][k])):
                for u in range(len(heatmaps[b][k][v])):
                    difference = heatmaps[b][k][v][u] - target[b][k][v][u]
                    total += weights[b][k] * 0.5 * difference * difference
                    count += 1
    return total / count


def log_likelihood(
    xy: Sequence[float],
    mean: Sequence[float],
    deviation: Sequence[float],
    log_flow: Callable[[list[float]], float],
    *,
    points: int,
) -> float:
    """``log Q + log G + log s - log deviation`` at ``xy`` (Eq. 4); ``1 / s`` integrates ``Q G`` on a grid."""

    def log_normal(x: list[float]) -> float:
        return -0.5 * (x[0] ** 2 + x[1] ** 2) - math.log(2 * math.pi)

    step = 12.0 / (points - 1)
    side = [-6.0 + i * step for i in range(points)]
    integral = sum(math.exp(log_normal([x, y]) + log_flow([x, y])) for y in side for x in side) * step**2
    residual = [(xy[a] - mean[a]) / deviation[a] for a in range(2)]
    log_scale = math.log(1 / integral)
    return log_normal(residual) + log_flow(residual) + log_scale - math.log(deviation[0]) - math.log(deviation[1])
