"""Reading keypoints from heatmaps ``(B, K, h, w)``, undoing the mirror, averaging scales.

All of it takes NumPy arrays as well as PyTorch tensors on any device, and answers in kind: it uses only what both have,
so that onnxruntime's answers are read without loading PyTorch. Coordinates are heatmap pixels, 0-based, integer = pixel
centre (see `sadinet.geometry`).
"""

import math
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import ConfigError
from .geometry import Floats

if TYPE_CHECKING:
    from torch import Tensor

Decoding = Literal["argmax", "quarter", "dark"]
Array = TypeVar("Array", NDArray[Any], "Tensor")
"""A NumPy array or a PyTorch tensor."""


def like(values: ArrayLike, other: Array) -> Array:
    """``values`` as an array of the kind, type and device of ``other``."""
    kind: Any = other
    made: Any = np.asarray(values, kind.dtype) if isinstance(kind, np.ndarray) else kind.new_tensor(values)
    return made  # type: ignore[no-any-return]


def to_numpy(values: "NDArray[np.float32] | Tensor") -> NDArray[np.float32]:
    """``values`` as a NumPy array, from whatever device."""
    return values if isinstance(values, np.ndarray) else values.cpu().numpy()


def argmax(heatmaps: Array) -> tuple[Array, Array]:
    """The highest pixel of each map: ``(B, K, 2)`` [heatmap px] and its value ``(B, K)``."""
    maps: Any = heatmaps
    flat, width = maps.reshape(*maps.shape[:2], -1), maps.shape[-1]
    index = flat.argmax(-1)
    peak = _take(flat, index[..., None])[..., 0]
    return _cast(_module(maps).stack([index % width, index // width], -1), maps), peak


def decode(heatmaps: Array, how: Decoding = "dark", *, sigma: float = 2.0) -> tuple[Array, Array]:
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
    maps: Any = heatmaps
    maps = maps.astype(np.float32, copy=False) if isinstance(maps, np.ndarray) else maps.float()
    xy, peak = argmax(maps)
    if how == "argmax":
        return xy, peak
    if how == "quarter":
        return xy + _quarter(_neighbourhood(maps, xy)), peak
    return xy + _dark(_neighbourhood(maps, xy, sigma)), peak


def unmirror(heatmaps: Array, flip_index: Sequence[int]) -> Array:
    """Heatmaps of a mirrored picture as those of the picture itself: mirrored back, sides exchanged."""
    back: Array = _module(heatmaps).flip(heatmaps, (-1,))[:, list(flip_index)]
    return back


def unmirror_moments(mean: Array, deviation: Array, flip_index: Sequence[int]) -> tuple[Array, Array]:
    """Means and deviations ``(B, K, 2)`` of a mirrored picture as those of the picture itself; 0 is its middle."""
    order = list(flip_index)
    return mean[:, order] * like([-1.0, 1.0], mean), deviation[:, order]


def average_scales(heatmaps: Sequence[Array], scales: Sequence[float], size: int) -> Array:
    """The mean of heatmaps of differently large crops, on the grid of the largest crop at ``size`` x ``size``.

    Args:
        heatmaps: One ``(B, K, h, w)`` per scale.
        scales: Factors on the crop's side.
        size: Side of the result; a crop counts 0 beyond its border.

    Returns:
        ``(B, K, size, size)``.

    Source: paper Sec. IV-A ("image pyramids with six scales"); the common grid: decision 008.
    """
    if not heatmaps:
        raise ConfigError("no scales to average")
    total: Any = 0
    for maps, scale in zip(heatmaps, scales, strict=True):
        height, width = maps.shape[-2:]
        down, across = (_bilinear(side, size, scale / max(scales)) for side in (height, width))
        total = total + like(down, maps) @ maps @ like(across.T, maps)
    mean: Array = total / len(scales)
    return mean


def _bilinear(side: int, size: int, share: float) -> Floats:
    """Weights ``(size, side)`` that spread ``side`` pixels over the middle ``share`` of ``size`` pixels."""
    place = (((2 * np.arange(size) + 1) / size - 1) / share + 1) * side / 2 - 0.5
    weights: Floats = np.maximum(0.0, 1 - np.abs(place[:, None] - np.arange(side)))
    return weights


def _neighbourhood(heatmaps: Any, xy: Any, sigma: float | None = None) -> Any:
    """The 3x3 values ``(B, K, 3, 3)`` around integer ``xy``; all equal where the border cuts them.

    With ``sigma`` they are those of the maps convolved with a Gaussian of that spread [heatmap px], 0 beyond the
    border; only what these nine values need is convolved.
    """
    height, width = heatmaps.shape[-2:]
    kernel = _smoothing(sigma) if sigma else np.ones(1)
    reach = len(kernel) // 2 + 1
    whole: Any = xy.astype(np.int64) if isinstance(xy, np.ndarray) else xy.long()
    x, y = whole[..., 0], whole[..., 1]
    step = like(np.arange(-reach, reach + 1), x)
    row, column = y[..., None, None] + step[:, None], x[..., None, None] + step
    index = row.clip(0, height - 1) * width + column.clip(0, width - 1)  # (B, K, 2 reach + 1, 2 reach + 1)
    flat = heatmaps.reshape(*heatmaps.shape[:2], -1)
    patch = _take(flat, index.reshape(*index.shape[:2], -1)).reshape(index.shape)
    patch = patch * _cast((row >= 0) & (row < height) & (column >= 0) & (column < width), patch)
    slide = np.stack([np.pad(kernel, (i, 2 - i)) for i in range(3)])  # (3, 2 reach + 1)
    values = like(slide, patch) @ patch @ like(slide.T, patch)
    inside = (x > 0) & (x < width - 1) & (y > 0) & (y < height - 1)
    return _module(values).where(inside[..., None, None], values, values[..., 1:2, 1:2])


def _smoothing(sigma: float) -> Floats:
    """A Gaussian of sum 1, cut off at 2.5 ``sigma``."""
    radius = math.ceil(2.5 * sigma)
    kernel: Floats = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    kernel /= kernel.sum()
    return kernel


def _quarter(around: Any) -> Any:
    module = _module(around)
    slope = [around[..., 1, 2] - around[..., 1, 0], around[..., 2, 1] - around[..., 0, 1]]
    return 0.25 * module.sign(module.stack(slope, -1))


def _dark(around: Any) -> Any:
    """The Newton step of the logarithm from the middle pixel, at most one pixel long in x and y."""
    module = _module(around)
    log = module.log(around.clip(1e-10, None))
    dx = (log[..., 1, 2] - log[..., 1, 0]) / 2
    dy = (log[..., 2, 1] - log[..., 0, 1]) / 2
    dxx = log[..., 1, 2] - 2 * log[..., 1, 1] + log[..., 1, 0]
    dyy = log[..., 2, 1] - 2 * log[..., 1, 1] + log[..., 0, 1]
    dxy = (log[..., 2, 2] - log[..., 2, 0] - log[..., 0, 2] + log[..., 0, 0]) / 4
    determinant = dxx * dyy - dxy * dxy
    peaked = (determinant > 1e-12) & (dxx < 0)
    safe = module.where(peaked, determinant, module.ones_like(determinant))
    step = module.stack([dxy * dy - dyy * dx, dxy * dx - dxx * dy], -1) / safe[..., None]
    return module.where(peaked[..., None], step.clip(-1, 1), module.zeros_like(step))


def _module(values: Any) -> Any:
    """Where the functions for ``values`` are; tensors can only come from a PyTorch that is loaded."""
    return np if isinstance(values, np.ndarray) else sys.modules["torch"]


def _cast(values: Any, other: Any) -> Any:
    """``values`` in the type of ``other``."""
    return values.astype(other.dtype) if isinstance(values, np.ndarray) else values.to(other.dtype)


def _take(values: Any, index: Any) -> Any:
    """The elements of the last axis that ``index`` names."""
    return np.take_along_axis(values, index, -1) if isinstance(values, np.ndarray) else values.gather(-1, index)
