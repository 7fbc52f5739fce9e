"""The stacked hourglass as its own paper has it (Newell et al., ECCV 2016): the second baseline."""

import torch.nn.functional as F
from torch import Tensor, nn

from .backbone import Backbone, BackboneOutput, Part


class PreActivationBottleneck(nn.Module):
    """Batch norm and ReLU in front of each of a 1x1, a 3x3 and a 1x1 convolution, beside an identity."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        middle = outputs // 2
        layers: list[nn.Module] = []
        for a, b, kernel in ((inputs, middle, 1), (middle, middle, 3), (middle, outputs, 1)):
            layers += [nn.BatchNorm2d(a), nn.ReLU(inplace=False), nn.Conv2d(a, b, kernel, padding=kernel // 2)]
        self.body = nn.Sequential(*layers)
        self.skip = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x) + self.skip(x)  # type: ignore[no-any-return]


class ClassicLevel(Part):
    """One resolution: a branch that stays, and one that pools, goes deeper and comes back."""

    def __init__(self, channels: int, depth: int, blocks: int) -> None:
        super().__init__()

        def residuals() -> nn.Sequential:
            return nn.Sequential(*(PreActivationBottleneck(channels, channels) for _ in range(blocks)))

        self.beside, self.down, self.up = residuals(), residuals(), residuals()
        self.bottom = depth == 1
        self.below = residuals() if self.bottom else ClassicLevel(channels, depth - 1, blocks)

    def forward(self, x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Features of this and the coarser resolutions, finest first: ``(encoder side, decoder side)``."""
        beside = self.run(self.beside, x)
        down = self.run(self.down, F.max_pool2d(x, 2))
        if self.bottom:
            bottom = self.run(self.below, down)
            encoded, decoded = [bottom], [bottom]
        else:
            encoded, decoded = self.below(down)
        y = beside + F.interpolate(self.run(self.up, decoded[0]), scale_factor=2, mode="nearest")
        return [beside, *encoded], [y, *decoded]


class ClassicHourglass(Backbone):
    """Stacked hourglasses of constant width with intermediate heatmaps.

    Args:
        channels: Channels everywhere behind the stem (256 in the paper).
        depth: Halvings inside an hourglass (4 in the paper).
        blocks: Residual units per position (1 for the 25 M parameters of eight stacks).
        keypoints: K.
        stacks: Hourglasses in a row.
        encoder_taps: Take the taps on the way down instead of on the way up.
    """

    def __init__(
        self, *, channels: int, depth: int, blocks: int, keypoints: int, stacks: int, encoder_taps: bool
    ) -> None:
        super().__init__()
        self.encoder_taps = encoder_taps
        self.tap_channels = (channels,) * 4
        stem, half = channels // 4, channels // 2
        self.stem = nn.Sequential(
            nn.Conv2d(3, stem, 7, stride=2, padding=3),
            nn.BatchNorm2d(stem),
            nn.ReLU(inplace=True),
            PreActivationBottleneck(stem, half),
            nn.MaxPool2d(2),
            PreActivationBottleneck(half, half),
            PreActivationBottleneck(half, channels),
        )
        self.levels = nn.ModuleList(ClassicLevel(channels, depth, blocks) for _ in range(stacks))
        self.features = nn.ModuleList(
            nn.Sequential(
                *(PreActivationBottleneck(channels, channels) for _ in range(blocks)),
                nn.Conv2d(channels, channels, 1),
                nn.BatchNorm2d(channels),
                nn.ReLU(inplace=True),
            )
            for _ in range(stacks)
        )
        self.heads = nn.ModuleList(nn.Conv2d(channels, keypoints, 1) for _ in range(stacks))
        between = range(stacks - 1)
        self.merge_features = nn.ModuleList(nn.Conv2d(channels, channels, 1) for _ in between)
        self.merge_heatmaps = nn.ModuleList(nn.Conv2d(keypoints, channels, 1) for _ in between)

    def forward(self, x: Tensor) -> BackboneOutput:
        x = self.stem(x)
        heatmaps: list[Tensor] = []
        for index, (level, feature, head) in enumerate(zip(self.levels, self.features, self.heads, strict=True)):
            encoded, decoded = level(x)
            y = feature(decoded[0])
            heatmaps.append(head(y))
            if index < len(self.merge_features):
                x = x + self.merge_features[index](y) + self.merge_heatmaps[index](heatmaps[-1])
        return BackboneOutput(heatmaps, (encoded if self.encoder_taps else decoded)[:4])
