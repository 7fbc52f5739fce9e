"""A network for inference alone: the same function in fewer operations."""

from copy import deepcopy
from itertools import pairwise
from typing import TypeVar

import torch
from torch import Tensor, nn

from .blocks import SubsampledPointwise

Module = TypeVar("Module", bound=nn.Module)


def folded(network: Module) -> Module:
    """A copy of ``network`` in evaluation mode that computes the same with less.

    Batch norms that directly follow a convolution in a `Sequential`, as all of this package's do, become part of it:
    ``gamma (Wx + b - mean) / s + beta`` is a convolution too, with ``s^2 = variance + eps``. Every other one stays.
    Pixels are subsampled by the convolution's stride, and global means are plain means; both are for exporters.
    """
    copy = deepcopy(network).eval()
    for module in list(copy.modules()):
        if isinstance(module, nn.Sequential):
            for (_, conv), (name, norm) in pairwise(list(module.named_children())):
                if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                    _fold(conv, norm)
                    module.register_module(name, nn.Identity())
        for name, child in list(module.named_children()):
            if isinstance(child, SubsampledPointwise):
                module.register_module(name, _strided(child))
            elif isinstance(child, nn.AdaptiveAvgPool2d) and child.output_size == 1:
                module.register_module(name, _GlobalMean())
    return copy


@torch.no_grad()
def _fold(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    """Makes ``conv`` what ``norm`` after ``conv`` is; in float64, so that nothing is rounded twice."""
    assert norm.running_mean is not None  # batch norms without statistics cannot be evaluated alone
    assert norm.running_var is not None
    scale = (norm.running_var.double() + norm.eps).rsqrt()
    if norm.affine:
        scale = scale * norm.weight.double()
    shift = -norm.running_mean.double() * scale
    if norm.affine:
        shift = shift + norm.bias.double()
    if conv.bias is not None:
        shift = shift + conv.bias.double() * scale
    dtype = conv.weight.dtype
    conv.weight = nn.Parameter((conv.weight.double() * scale[:, None, None, None]).to(dtype), requires_grad=False)
    conv.bias = nn.Parameter(shift.to(dtype), requires_grad=False)


def _strided(conv: SubsampledPointwise) -> nn.Conv2d:
    plain = nn.Conv2d(conv.in_channels, conv.out_channels, 1, stride=conv.step, bias=conv.bias is not None)
    plain.weight, plain.bias = conv.weight, conv.bias
    return plain


class _GlobalMean(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=(2, 3), keepdim=True)
