"""The spatial fusion module: global attention over resolutions, then a classification head with local attention."""

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .blocks import Bottleneck, conv_norm_relu
from .config import GlobalKind, LocalKind, Upsampling


class GlobalAttention(nn.Module):
    """Weighs four resolutions against each other at every pixel (Sec. III-C, Eq. 2-3; decision 003).

    Args:
        channels: Channels of the four taps, finest first.
        features: Channels they are brought to before they are compared.
        kind: ``"sum"``: all outputs come from the weighted sum of the levels; ``"level"``: each from its own
            weighted level.
        residual: Add the tap itself to the output.
        upsampling: How coarse levels reach the finest resolution.
    """

    def __init__(
        self,
        channels: tuple[int, ...],
        *,
        features: int,
        kind: GlobalKind = "sum",
        residual: bool = False,
        upsampling: Upsampling = "nearest",
    ) -> None:
        super().__init__()
        self.kind, self.residual, self.upsampling = kind, residual, upsampling
        self.equalize = nn.ModuleList(conv_norm_relu(c, features, 1) for c in channels)
        self.project = nn.ModuleList(nn.Conv2d(features, 1, 1) for _ in channels)
        self.restore = nn.ModuleList(_downsampling(features, c, steps) for steps, c in enumerate(channels))

    def weights(self, taps: list[Tensor]) -> tuple[list[Tensor], Tensor]:
        """The four taps ``(B, features, h, w)`` at the finest size and their weights ``(B, 4, h, w)``, sum 1."""
        size = taps[0].shape[-2:]
        equal = [
            F.interpolate(equalize(tap), size=size, mode=self.upsampling)
            for equalize, tap in zip(self.equalize, taps, strict=True)
        ]
        scores = torch.cat([project(level) for project, level in zip(self.project, equal, strict=True)], dim=1)
        return equal, scores.float().softmax(dim=1).to(scores.dtype)

    def forward(self, taps: list[Tensor]) -> list[Tensor]:
        equal, weights = self.weights(taps)
        weighted = [weights[:, i : i + 1] * level for i, level in enumerate(equal)]
        if self.kind == "sum":
            total = torch.stack(weighted).sum(0)
            weighted = [total] * len(taps)
        fused = [restore(level) for restore, level in zip(self.restore, weighted, strict=True)]
        if self.residual:
            fused = [y + tap for y, tap in zip(fused, taps, strict=True)]
        return fused


def _downsampling(inputs: int, outputs: int, steps: int) -> nn.Sequential:
    """``steps`` halvings by strided 3x3 convolutions, the last one to ``outputs``; none: one plain 3x3 convolution."""
    if steps == 0:
        return conv_norm_relu(inputs, outputs, 3)
    layers = [conv_norm_relu(inputs, inputs, 3, stride=2) for _ in range(steps - 1)]
    return nn.Sequential(*layers, conv_norm_relu(inputs, outputs, 3, stride=2))


class LocalAttention(nn.Module):
    """Multiplies features by their own softmax along an axis (Sec. III-C; decision 004).

    Args:
        kind: The axis of the softmax: down each ``"col"``, along each ``"row"``, over all pixels ``"hw"``, over
            the channels ``"chan"``, or ``"none"``.
        rescale: Multiply by the length of that axis, so that the mean weight is 1.
    """

    def __init__(self, kind: LocalKind = "col", *, rescale: bool = True) -> None:
        super().__init__()
        self.kind, self.rescale = kind, rescale

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "none":
            return x
        if self.kind == "hw":
            weights = x.float().flatten(2).softmax(-1).view(x.shape)
            count = math.prod(x.shape[2:])
        else:
            dim = {"col": 2, "row": 3, "chan": 1}[self.kind]
            weights, count = x.float().softmax(dim), x.shape[dim]
        if self.rescale:
            weights = weights * count
        attended: Tensor = x * weights.to(x.dtype)
        return attended


class ClassificationHead(nn.Module):
    """HRNet's classification head with local attention at each fusion: four maps to one vector (Sec. III-C).

    Args:
        channels: Channels of the four maps, finest first.
        widths: Channels each is raised to.
        outputs: Length of the vector.
        local: Kind of local attention.
        rescale: See `LocalAttention`.
    """

    def __init__(
        self, channels: tuple[int, ...], *, widths: tuple[int, ...], outputs: int, local: LocalKind, rescale: bool
    ) -> None:
        super().__init__()
        self.increase = nn.ModuleList(Bottleneck(c, w) for c, w in zip(channels, widths, strict=True))
        self.reduce = nn.ModuleList(conv_norm_relu(a, b, 3, stride=2) for a, b in pairwise(widths))
        self.local = LocalAttention(local, rescale=rescale)
        self.final = conv_norm_relu(widths[-1], outputs, 1)

    def forward(self, maps: list[Tensor]) -> Tensor:
        y = self.increase[0](maps[0])
        for increase, reduce, level in zip(list(self.increase)[1:], self.reduce, maps[1:], strict=True):
            y = self.local(increase(level) + reduce(y))
        return self.final(y).mean(dim=(2, 3))  # type: ignore[no-any-return]


class PooledHead(nn.Module):
    """The control: global means of the four maps, concatenated, in place of the classification head."""

    def __init__(self, channels: tuple[int, ...], *, outputs: int) -> None:
        super().__init__()
        self.final = nn.Linear(sum(channels), outputs)

    def forward(self, maps: list[Tensor]) -> Tensor:
        return self.final(torch.cat([level.mean(dim=(2, 3)) for level in maps], dim=1)).relu()  # type: ignore[no-any-return]
