"""Heatmaps: drawing targets, reading keypoints, undoing the mirror. Tensors ``(B, K, h, w)``, any device.

Coordinates are heatmap pixels, 0-based, integer = pixel centre (see `sadinet.geometry`).
"""

import math
from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

TargetKind = Literal["rounded", "unbiased"]
Decoding = Literal["argmax", "quarter", "dark"]


def gaussian_targets(xy: Tensor, size: tuple[int, int], *, sigma: float, kind: TargetKind = "rounded") -> Tensor:
    """Gaussians of peak 1 around keypoints.

    Args:
        xy: Keypoints ``(B, K, 2)`` [heatmap px]; NaN gives an empty map.
        size: (h, w) of the maps.
        sigma: Standard deviation [heatmap px].
        kind: ``"rounded"``: centre on the nearest pixel, cut off beyond 3 sigma in x or y; ``"unbiased"``: exact.

    Returns:
        ``(B, K, h, w)`` in [0, 1], dtype of ``xy``.

    Source: paper Sec. III-E ("MSRA" heatmaps); spread and cut-off: decision 006.
    """
    height, width = size
    center = (xy + 0.5).floor() if kind == "rounded" else xy

    def profile(length: int, at: Tensor) -> Tensor:  # (B, K, length)
        offset = torch.arange(length, dtype=xy.dtype, device=xy.device) - at[..., None]
        value = torch.exp(-0.5 * (offset / sigma).square())
        return value * (offset.abs() <= 3 * sigma) if kind == "rounded" else value

    across, down = profile(width, center[..., 0]), profile(height, center[..., 1])
    return (down[..., :, None] * across[..., None, :]).nan_to_num(0.0)


def target_weights(xy: Tensor, labelled: Tensor, size: tuple[int, int], *, sigma: float) -> Tensor:
    """1 where a labelled keypoint's target touches the map, else 0: ``(B, K)`` for ``xy`` ``(B, K, 2)``."""
    height, width = size
    last = xy.new_tensor([width - 1, height - 1])
    center = (xy + 0.5).floor()
    near = ((center >= -3 * sigma) & (center <= last + 3 * sigma)).all(-1)
    return (near & labelled).to(xy.dtype)


def argmax(heatmaps: Tensor) -> tuple[Tensor, Tensor]:
    """The highest pixel of each map: ``(B, K, 2)`` [heatmap px] and its value ``(B, K)``."""
    peak, index = heatmaps.flatten(2).max(-1)
    width = heatmaps.shape[-1]
    return torch.stack([index % width, index.div(width, rounding_mode="floor")], -1).to(heatmaps.dtype), peak


def decode(heatmaps: Tensor, how: Decoding = "dark", *, sigma: float = 2.0) -> tuple[Tensor, Tensor]:
    """Keypoints and peak values.

    Args:
        heatmaps: ``(B, K, h, w)``, floating point.
        how: ``"argmax"``: the highest pixel; ``"quarter"``: moved a quarter pixel towards the higher neighbour;
            ``"dark"``: the maximum of the second-order expansion of the smoothed map's logarithm (Zhang et al.,
            CVPR 2020), exact for a Gaussian three sigma or more inside the map.
        sigma: Spread of the training targets [heatmap px]; sets the smoothing of ``"dark"``.

    Returns:
        ``xy`` ``(B, K, 2)`` [heatmap px] and the map's highest value ``(B, K)``, both float32.
    """
    heatmaps = heatmaps.float()
    xy, peak = argmax(heatmaps)
    if how == "argmax":
        return xy, peak
    if how == "quarter":
        return xy + _quarter(_neighbourhood(heatmaps, xy)), peak
    return xy + _dark(_neighbourhood(heatmaps, xy, sigma)), peak


def _neighbourhood(heatmaps: Tensor, xy: Tensor, sigma: float | None = None) -> Tensor:
    """The 3x3 values ``(B, K, 3, 3)`` around integer ``xy``; all equal where the border cuts them.

    With ``sigma`` they are those of the maps convolved with a Gaussian of that spread [heatmap px], 0 beyond the
    border; only what these nine values need is convolved.
    """
    height, width = heatmaps.shape[-2:]
    kernel = _smoothing(sigma, heatmaps) if sigma else heatmaps.new_ones(1)
    reach = len(kernel) // 2 + 1
    x, y = xy.long().unbind(-1)
    step = torch.arange(2 * reach + 1, device=xy.device)
    index = (y[..., None] + step)[..., :, None] * (width + 2 * reach) + (x[..., None] + step)[..., None, :]
    padded = F.pad(heatmaps, (reach,) * 4).flatten(2)
    patch = padded.gather(2, index.flatten(2)).view(*index.shape)  # (B, K, 2 reach + 1, 2 reach + 1)
    slide = torch.stack([F.pad(kernel, (i, 2 - i)) for i in range(3)])  # (3, 2 reach + 1)
    values = slide @ patch @ slide.T
    inside = (x > 0) & (x < width - 1) & (y > 0) & (y < height - 1)
    return torch.where(inside[..., None, None], values, values[..., 1:2, 1:2])


def _smoothing(sigma: float, like: Tensor) -> Tensor:
    """A Gaussian of sum 1, cut off at 2.5 ``sigma``."""
    radius = math.ceil(2.5 * sigma)
    offset = torch.arange(-radius, radius + 1, dtype=like.dtype, device=like.device)
    kernel = torch.exp(-0.5 * (offset / sigma).square())
    return kernel / kernel.sum()


def _quarter(around: Tensor) -> Tensor:
    slope = torch.stack([around[..., 1, 2] - around[..., 1, 0], around[..., 2, 1] - around[..., 0, 1]], -1)
    return 0.25 * slope.sign()


def _dark(around: Tensor) -> Tensor:
    """The Newton step of the logarithm from the middle pixel, at most one pixel long in x and y."""
    log = around.clamp(min=1e-10).log()
    dx = (log[..., 1, 2] - log[..., 1, 0]) / 2
    dy = (log[..., 2, 1] - log[..., 0, 1]) / 2
    dxx = log[..., 1, 2] - 2 * log[..., 1, 1] + log[..., 1, 0]
    dyy = log[..., 2, 1] - 2 * log[..., 1, 1] + log[..., 0, 1]
    dxy = (log[..., 2, 2] - log[..., 2, 0] - log[..., 0, 2] + log[..., 0, 0]) / 4
    determinant = dxx * dyy - dxy.square()
    peaked = (determinant > 1e-12) & (dxx < 0)
    safe = torch.where(peaked, determinant, torch.ones_like(determinant))
    step = torch.stack([dxy * dy - dyy * dx, dxy * dx - dxx * dy], -1) / safe[..., None]
    return torch.where(peaked[..., None], step.clamp(-1, 1), torch.zeros_like(step))


def unmirror(heatmaps: Tensor, flip_index: Sequence[int]) -> Tensor:
    """Heatmaps of a mirrored picture as those of the picture itself: mirrored back, sides exchanged."""
    return heatmaps.flip(-1)[:, list(flip_index)]


def unmirror_moments(mean: Tensor, deviation: Tensor, flip_index: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Means and deviations ``(B, K, 2)`` of a mirrored picture as those of the picture itself; 0 is its middle."""
    order = list(flip_index)
    return mean[:, order] * mean.new_tensor([-1.0, 1.0]), deviation[:, order]
