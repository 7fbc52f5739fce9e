"""Learnable heatmaps once more, slowly: the flow and the density one point at a time (Eq. 4-5)."""

import math
from typing import Any

import torch

from sadinet.model.flow import RealNVP

EXTENT = 6.0


def _function(layers: Any, group: int, inputs: list[float], last_is_tanh: bool) -> list[float]:
    values = inputs
    linears = [layer for layer in layers if hasattr(layer, "weight")]
    for index, linear in enumerate(linears):
        weight, bias = linear.weight[group].tolist(), linear.bias[group, 0].tolist()
        values = [bias[j] + sum(values[i] * weight[i][j] for i in range(len(values))) for j in range(len(bias))]
        if index + 1 < len(linears):
            values = [v if v > 0 else 0.01 * v for v in values]
    return [math.tanh(v) for v in values] if last_is_tanh else values


def log_normal(x: list[float]) -> float:
    """``log N(x; 0, I)``."""
    return -0.5 * (x[0] ** 2 + x[1] ** 2) - math.log(2 * math.pi)


def log_flow(flow: RealNVP, group: int, point: list[float]) -> float:
    """``log G(point)``: back through the couplings, last one first."""
    x, log_det = list(point), 0.0
    for index in reversed(range(len(flow.couplings))):
        coupling: Any = flow.couplings[index]
        moved = index % 2
        kept = [0.0 if i == moved else x[i] for i in range(2)]
        scale = _function(coupling.log_scale, group, kept, True)[moved]
        shift = _function(coupling.shift, group, kept, False)[moved]
        x[moved] = (x[moved] - shift) * math.exp(-scale)
        log_det -= scale
    return log_normal(x) + log_det


def log_residual(flow: RealNVP | None, group: int, kind: str, x: list[float]) -> float:
    """The logarithm of the residual's density, up to a constant."""
    normal = log_normal(x)
    if flow is None:
        return normal
    learned = log_flow(flow, group, x)
    if kind == "product":
        return normal + learned
    if kind == "mix":
        return math.log((math.exp(normal) + math.exp(learned)) / 2)
    return learned


def heatmap(
    flow: RealNVP | None,
    group: int,
    *,
    kind: str,
    normalization: str,
    standardize: bool,
    table_size: int,
    mean: list[float],
    deviation: list[float],
    size: tuple[int, int],
    sigma: float,
) -> torch.Tensor:
    """One learnable heatmap ``(h, w)``."""
    step = 2 * EXTENT / (table_size - 1)
    side = [-EXTENT + i * step for i in range(table_size)]
    grid = [([x, y], math.exp(log_residual(flow, group, kind, [x, y]))) for y in side for x in side]
    mass = sum(p for _, p in grid) * step**2
    peak = max(p for _, p in grid)
    m, d = [0.0, 0.0], [1.0, 1.0]
    if standardize:
        m = [sum(p * x[a] for x, p in grid) * step**2 / mass for a in range(2)]
        d = [math.sqrt(sum(p * (x[a] - m[a]) ** 2 for x, p in grid) * step**2 / mass) for a in range(2)]
    height, width = size
    out = torch.zeros(height, width, dtype=torch.float64)
    for v in range(height):
        for u in range(width):
            unit = [(u + 0.5) / width - 0.5, (v + 0.5) / height - 0.5]
            at = [(unit[a] - mean[a]) / deviation[a] * d[a] + m[a] for a in range(2)]
            out[v, u] = math.exp(log_residual(flow, group, kind, at))
    if normalization == "canonical":
        return out / peak
    if normalization == "gridmax":
        return out / out.max()
    area = d[0] * d[1] / (deviation[0] * width * deviation[1] * height)
    return out / mass * area * (2 * math.pi * sigma**2 if normalization == "mass" else 1.0)
