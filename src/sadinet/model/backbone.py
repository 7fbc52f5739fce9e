"""What all backbones have in common: their answer, heads that begin at zero, and memory that can be had for time."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


@dataclass(frozen=True)
class BackboneOutput:
    """What a backbone says about a picture.

    Attributes:
        heatmaps: One ``(B, K, h, w)`` per stack, the last one is the prediction.
        taps: Features at h, h/2, h/4 and h/8, finest first, of the last stack.
    """

    heatmaps: list[Tensor]
    taps: list[Tensor]


class Part(nn.Module):
    """A part of a backbone that can compute activations again in the backward pass instead of keeping them."""

    recomputes = False

    def run(self, block: nn.Module, x: Tensor) -> Tensor:
        """``block(x)``."""
        if self.recomputes and self.training:
            return _recomputed(block, x)
        y: Tensor = block(x)
        return y


class Backbone(Part):
    """A picture becomes heatmaps and taps.

    Attributes:
        heads: A convolution per stack, in front of its heatmaps.
        tap_channels: Channels of the four taps, finest first.
    """

    heads: nn.ModuleList
    tap_channels: tuple[int, ...]

    def initialize_heads(self) -> None:
        """Near-zero heatmaps to begin with, as most of every target is zero."""
        for head in self.heads:
            nn.init.normal_(head.get_parameter("weight"), std=0.001)

    def recompute(self, wanted: bool = True) -> None:
        """Compute activations again in the backward pass instead of keeping them."""
        for module in self.modules():
            if isinstance(module, Part):
                module.recomputes = wanted


def _recomputed(block: nn.Module, x: Tensor) -> Tensor:
    """``block(x)``, whose inner activations are computed again in the backward pass instead of being kept.

    Batch norms update their running statistics the first time only, so that nothing but time and memory changes.
    """
    norms = [m for m in block.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]

    @contextmanager
    def without_updates() -> Iterator[None]:
        kept = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
        for norm in norms:
            norm.momentum, norm.num_batches_tracked = 0.0, None
        try:
            yield
        finally:
            for norm, (momentum, count) in zip(norms, kept, strict=True):
                norm.momentum, norm.num_batches_tracked = momentum, count

    y: Tensor = checkpoint(block, x, use_reentrant=False, context_fn=lambda: (nullcontext(), without_updates()))
    return y
