"""What the heatmaps are to become: a Gaussian per keypoint. Tensors, any device.

Coordinates are heatmap pixels, 0-based, integer = pixel centre (see `sadinet.geometry`).
"""

import torch
from torch import Tensor

from .config import TargetKind


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
