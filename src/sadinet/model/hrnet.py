"""HRNet as its own paper has it (Sun et al., CVPR 2019): all resolutions side by side, exchanged again and again."""

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from .backbone import Backbone, BackboneOutput, Part
from .blocks import BasicBlock, Bottleneck, conv_norm, conv_norm_relu

_UNITS = 4  # residual units per branch of a module, and of the first stage


class Exchange(nn.Module):
    """Every resolution as the sum of all: finer ones strided down, coarser ones brought to its width and enlarged.

    Args:
        channels: Channels of the branches, finest first.
        outputs: How many resolutions come out, the finest ones.
    """

    def __init__(self, channels: tuple[int, ...], outputs: int) -> None:
        super().__init__()
        self.ways = nn.ModuleList(
            nn.ModuleList(_way(channels, source, target) for source in range(len(channels)))
            for target in range(outputs)
        )
        self.relu = nn.ReLU(inplace=True)

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        return [self.relu(_sum(ways, maps, maps[target].shape)) for target, ways in enumerate(self.ways)]


def _way(channels: tuple[int, ...], source: int, target: int) -> nn.Module:
    """From one resolution to another, but for the enlargement."""
    here, there = channels[source], channels[target]
    if source == target:
        return nn.Identity()
    if source > target:
        return conv_norm(here, there, 1)
    steps = [conv_norm_relu(here, here, 3, stride=2) for _ in range(target - source - 1)]
    return nn.Sequential(*steps, conv_norm(here, there, 3, stride=2))


def _sum(ways: nn.Module, maps: list[Tensor], shape: tuple[int, ...]) -> Tensor:
    moved = [way(x) for way, x in zip(ways.children(), maps, strict=True)]
    total: Tensor = sum(  # type: ignore[assignment]
        y if y.shape[-2:] == shape[-2:] else F.interpolate(y, size=shape[-2:], mode="nearest") for y in moved
    )
    return total


class Module(Part):
    """Residual units on every resolution, then an exchange between them."""

    def __init__(self, channels: tuple[int, ...], *, outputs: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(nn.Sequential(*(BasicBlock(c, c) for _ in range(_UNITS))) for c in channels)
        self.exchange = Exchange(channels, outputs)

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        maps = [self.run(branch, x) for branch, x in zip(self.branches, maps, strict=True)]
        return [*self.exchange(maps), *maps[len(self.exchange.ways) :]]


class HRNet(Backbone):
    """Four stages of one to four resolutions; the finest one says the heatmaps.

    Args:
        channels: Channels of the four resolutions, finest first; 32, 64, 128, 256 is HRNet-W32.
        modules: Modules of the four stages; 1, 1, 4, 3 in the paper. The first stage is bottlenecks on one resolution.
        features: Channels of the first stage, four times those of the stem.
        keypoints: K.
    """

    def __init__(self, *, channels: tuple[int, ...], modules: tuple[int, ...], features: int, keypoints: int) -> None:
        super().__init__()
        stem = features // 4
        self.tap_channels = channels
        self.stem = nn.Sequential(*conv_norm_relu(3, stem, 3, stride=2), *conv_norm_relu(stem, stem, 3, stride=2))
        inputs = [stem, *[features] * (_UNITS * modules[0] - 1)]
        self.first = nn.Sequential(*(Bottleneck(c, features) for c in inputs))
        before = [(features,), channels[:2], channels[:3], channels]
        self.enter = nn.ModuleList(_enter(a, b) for a, b in pairwise(before))
        self.stages = nn.ModuleList(
            nn.Sequential(
                *(Module(channels[: i + 2], outputs=1 if i == 2 and j + 1 == count else i + 2) for j in range(count))
            )
            for i, count in enumerate(modules[1:])
        )
        self.heads = nn.ModuleList([nn.Conv2d(channels[0], keypoints, 1)])

    def forward(self, x: Tensor) -> BackboneOutput:
        maps = [self.first(self.stem(x))]
        for enter, stage in zip(self.enter, self.stages, strict=True):
            # a resolution that is new in the stage comes from the coarsest one before it
            maps = [way(maps[min(i, len(maps) - 1)]) for i, way in enumerate(enter.children())]
            maps = stage(maps)
        return BackboneOutput([self.heads[0](maps[0])], maps)


def _enter(before: tuple[int, ...], after: tuple[int, ...]) -> nn.ModuleList:
    """The ways into a stage: as it is, or to another width; the last one starts a resolution."""
    ways: list[nn.Module] = [
        nn.Identity() if a == b else conv_norm_relu(a, b, 3) for a, b in zip(before, after, strict=False)
    ]
    return nn.ModuleList([*ways, conv_norm_relu(before[-1], after[-1], 3, stride=2)])
