"""The convolutional units that everything else is made of. All maps are ``(B, C, h, w)``."""

from typing import Protocol

from torch import Tensor, nn


class Unit(Protocol):
    """Builds a residual unit; ``level`` is its place in the hourglass, 0 at the finest resolution."""

    def __call__(self, inputs: int, outputs: int, *, stride: int, level: int) -> nn.Module: ...


class SubsampledPointwise(nn.Conv2d):
    """A 1x1 convolution of every ``step``-th pixel: the same function as with a stride, of the same weights.

    Torch's own strided 1x1 convolution corrupts memory in its backward pass on some CPUs (float32, channels last,
    few channels, torch 2.13).
    """

    def __init__(self, inputs: int, outputs: int, *, step: int) -> None:
        super().__init__(inputs, outputs, 1, bias=False)
        self.step = step

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x[..., :: self.step, :: self.step])


def conv_norm(inputs: int, outputs: int, kernel: int, *, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    """A convolution that keeps the size (up to ``stride``) and a batch norm."""
    padding = dilation * (kernel // 2)
    conv: nn.Module
    if kernel == 1 and stride > 1:
        conv = SubsampledPointwise(inputs, outputs, step=stride)
    else:
        conv = nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=padding, dilation=dilation, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs))


def conv_norm_relu(inputs: int, outputs: int, kernel: int, *, stride: int = 1) -> nn.Sequential:
    """A convolution that keeps the size (up to ``stride``), a batch norm and a ReLU."""
    return nn.Sequential(*conv_norm(inputs, outputs, kernel, stride=stride), nn.ReLU(inplace=True))


def shortcut(inputs: int, outputs: int, *, stride: int = 1) -> nn.Module:
    """The identity where a unit keeps its shape, otherwise a 1x1 convolution with a batch norm."""
    if inputs == outputs and stride == 1:
        return nn.Identity()
    return conv_norm(inputs, outputs, 1, stride=stride)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside an identity: the unit of the paper's baseline (Sec. III-B)."""

    def __init__(self, inputs: int, outputs: int, *, stride: int = 1) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *conv_norm_relu(inputs, outputs, 3, stride=stride),
            *conv_norm(outputs, outputs, 3),
        )
        self.skip = shortcut(inputs, outputs, stride=stride)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.body(x) + self.skip(x))  # type: ignore[no-any-return]


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions beside an identity; the middle is a quarter as wide as the output."""

    def __init__(self, inputs: int, outputs: int, *, stride: int = 1) -> None:
        super().__init__()
        middle = outputs // 4
        self.body = nn.Sequential(
            *conv_norm_relu(inputs, middle, 1),
            *conv_norm_relu(middle, middle, 3, stride=stride),
            *conv_norm(middle, outputs, 1),
        )
        self.skip = shortcut(inputs, outputs, stride=stride)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.body(x) + self.skip(x))  # type: ignore[no-any-return]


class SqueezeExcite(nn.Module):
    """Scales every channel by a gate in (0, 1) computed from the means of all channels."""

    def __init__(self, channels: int, *, reduction: int) -> None:
        super().__init__()
        squeezed = max(channels // reduction, 1)
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, squeezed, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(squeezed, channels, 1),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(x)  # type: ignore[no-any-return]
