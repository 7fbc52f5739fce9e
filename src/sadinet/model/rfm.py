"""The receptive fortified module: a basic block, a dilated convolution beside it, and a squeeze-excite gate."""

import torch
from torch import Tensor, nn

from .blocks import SqueezeExcite, conv_norm, conv_norm_relu, shortcut
from .config import GatePlace, Merge


class ReceptiveFortifiedUnit(nn.Module):
    """The RFM unit (Sec. III-B, Eq. 1).

    Args:
        inputs: Channels of the input.
        outputs: Channels of the output.
        stride: 1, or 2 to halve the resolution.
        dilation: Rate of the parallel 3x3 convolution; 0 leaves that branch out.
        merge: How the two branches meet: added, or concatenated and mixed by a 1x1 convolution.
        gate: Squeeze-excite before the identity is added, after it, or not at all.
        reduction: Channels per hidden unit of the gate.

    Source: paper silent on rate, merge and the gate's place: decision 002.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        stride: int = 1,
        dilation: int = 2,
        merge: Merge = "sum",
        gate: GatePlace = "pre_add",
        reduction: int = 16,
    ) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *conv_norm_relu(inputs, outputs, 3, stride=stride),
            *conv_norm(outputs, outputs, 3),
        )
        self.dilated = conv_norm(inputs, outputs, 3, stride=stride, dilation=dilation) if dilation else None
        self.mix = conv_norm(2 * outputs, outputs, 1) if dilation and merge == "concat" else None
        self.gate = SqueezeExcite(outputs, reduction=reduction) if gate != "none" else nn.Identity()
        self.gate_last = gate == "post_add"
        self.skip = shortcut(inputs, outputs, stride=stride)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        y = self.body(x)
        if self.mix is not None and self.dilated is not None:
            y = self.mix(torch.cat([y, self.dilated(x)], dim=1))
        elif self.dilated is not None:
            y = y + self.dilated(x)
        y = self.gate(y + self.skip(x)) if self.gate_last else self.gate(y) + self.skip(x)
        return self.relu(y)  # type: ignore[no-any-return]
