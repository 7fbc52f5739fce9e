"""SimpleBaseline as its own paper has it (Xiao et al., ECCV 2018): a ResNet, then three transposed convolutions."""

from itertools import pairwise

from torch import Tensor, nn

from .backbone import Backbone, BackboneOutput
from .blocks import Bottleneck, conv_norm_relu


class SimpleBaseline(Backbone):
    """Down by a residual network to 1/32 of the picture, up by transposed convolutions to 1/4, without shortcuts.

    Args:
        channels: Inner channels of the bottlenecks of the four stages; 64, 128, 256, 512 in ResNet-50.
        blocks: Bottlenecks per stage; 3, 4, 6, 3 in ResNet-50.
        features: Channels of the transposed convolutions (256 in the paper).
        keypoints: K.
        encoder_taps: Take the taps on the way down instead of on the way up.
    """

    def __init__(
        self, *, channels: tuple[int, ...], blocks: tuple[int, ...], features: int, keypoints: int, encoder_taps: bool
    ) -> None:
        super().__init__()
        self.encoder_taps = encoder_taps
        wide = tuple(4 * c for c in channels)
        self.tap_channels = wide if encoder_taps else (features, features, features, wide[-1])
        self.stem = nn.Sequential(*conv_norm_relu(3, channels[0], 7, stride=2), nn.MaxPool2d(3, stride=2, padding=1))
        self.stages = nn.ModuleList(
            nn.Sequential(
                Bottleneck(before, after, stride=1 if i == 0 else 2),
                *(Bottleneck(after, after) for _ in range(count - 1)),
            )
            for i, ((before, after), count) in enumerate(zip(pairwise((channels[0], *wide)), blocks, strict=True))
        )
        self.up = nn.ModuleList(_enlarging(c, features) for c in (wide[-1], features, features))
        self.heads = nn.ModuleList([nn.Conv2d(features, keypoints, 1)])

    def forward(self, x: Tensor) -> BackboneOutput:
        x = self.stem(x)
        encoded: list[Tensor] = []
        for stage in self.stages:
            x = self.run(stage, x)
            encoded.append(x)
        decoded = [x]
        for up in self.up:
            decoded.append(self.run(up, decoded[-1]))
        return BackboneOutput([self.heads[0](decoded[-1])], encoded if self.encoder_taps else decoded[::-1])


def _enlarging(inputs: int, outputs: int) -> nn.Sequential:
    """A transposed 4x4 convolution that doubles the size, a batch norm and a ReLU."""
    conv = nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1, bias=False)
    nn.init.normal_(conv.weight, std=0.001)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))
