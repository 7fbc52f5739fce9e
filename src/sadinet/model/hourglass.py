"""The hourglass backbone: every unit doubles the channels on the way down and halves them on the way up."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .backbone import Backbone, BackboneOutput, Part
from .blocks import Unit, conv_norm, conv_norm_relu


class HourglassLevel(Part):
    """One resolution of the hourglass and, inside, all coarser ones."""

    def __init__(self, unit: Unit, channels: tuple[int, ...], blocks: tuple[int, ...], *, level: int = 0) -> None:
        super().__init__()
        here, below = channels[level], channels[level + 1]
        count = blocks[level]
        self.bottom = level + 2 == len(channels)

        def stay(channels: int, count: int, level: int) -> list[nn.Module]:
            return [unit(channels, channels, stride=1, level=level) for _ in range(count)]

        self.beside = nn.Sequential(*stay(here, count, level))
        self.down = nn.Sequential(unit(here, below, stride=2, level=level + 1), *stay(below, count - 1, level + 1))
        self.below: nn.Module
        if self.bottom:
            self.below = nn.Sequential(*stay(below, blocks[level + 1], level + 1))
        else:
            self.below = HourglassLevel(unit, channels, blocks, level=level + 1)
        self.up = nn.Sequential(
            *stay(below, count - 1, level + 1),
            unit(below, here, stride=1, level=level + 1),
        )

    def forward(self, x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Features of this and the coarser resolutions, finest first: ``(encoder side, decoder side)``."""
        beside, down = self.run(self.beside, x), self.run(self.down, x)
        if self.bottom:
            bottom = self.run(self.below, down)
            encoded, decoded = [bottom], [bottom]
        else:
            encoded, decoded = self.below(down)
        y = beside + F.interpolate(self.run(self.up, decoded[0]), scale_factor=2, mode="nearest")
        return [beside, *encoded], [y, *decoded]


class Hourglass(Backbone):
    """Stem, stacked hourglasses, and a heatmap head on each (Sec. III-B; decision 001).

    Args:
        unit: Builds the residual units.
        channels: Channels per level, finest first; one more than the number of halvings.
        blocks: Units per level.
        features: Channels of the 3x3 convolution in front of the heatmaps.
        keypoints: K.
        stacks: Hourglasses in a row, each fed with the features and heatmaps of the one before.
        stem: ``"7x7"``: one 7x7 convolution and a unit; ``"3x3"``: two 3x3 convolutions. Both divide the size by 4.
        encoder_taps: Take the taps on the way down instead of on the way up.
    """

    def __init__(
        self,
        *,
        unit: Unit,
        channels: tuple[int, ...],
        blocks: tuple[int, ...],
        features: int,
        keypoints: int,
        stacks: int,
        stem: str,
        encoder_taps: bool,
    ) -> None:
        super().__init__()
        first = channels[0]
        self.encoder_taps = encoder_taps
        self.tap_channels = channels[:4]
        second = unit(first, first, stride=2, level=0) if stem == "7x7" else conv_norm_relu(first, first, 3, stride=2)
        self.stem = nn.Sequential(*conv_norm_relu(3, first, 7 if stem == "7x7" else 3, stride=2), second)
        self.levels = nn.ModuleList(HourglassLevel(unit, channels, blocks) for _ in range(stacks))
        self.features = nn.ModuleList(conv_norm_relu(first, features, 3) for _ in range(stacks))
        self.heads = nn.ModuleList(nn.Conv2d(features, keypoints, 1) for _ in range(stacks))
        between = range(stacks - 1)
        self.merge_input = nn.ModuleList(conv_norm(first, first, 1) for _ in between)
        self.merge_features = nn.ModuleList(conv_norm(features, first, 1) for _ in between)
        self.after_merge = nn.ModuleList(unit(first, first, stride=1, level=0) for _ in between)

    def forward(self, x: Tensor) -> BackboneOutput:
        x = self.stem(x)
        heatmaps: list[Tensor] = []
        for index, (level, feature, head) in enumerate(zip(self.levels, self.features, self.heads, strict=True)):
            encoded, decoded = level(x)
            y = feature(decoded[0])
            heatmaps.append(head(y))
            if index < len(self.merge_input):
                x = torch.relu(self.merge_input[index](x) + self.merge_features[index](y))
                x = self.after_merge[index](x)
        return BackboneOutput(heatmaps, (encoded if self.encoder_taps else decoded)[:4])
