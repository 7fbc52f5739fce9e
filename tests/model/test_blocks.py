"""Convolutional units: sizes, strides, and numbers that can be followed by hand."""

import pytest
import torch
from torch import nn

from sadinet.model.blocks import BasicBlock, Bottleneck, SqueezeExcite, conv_norm, conv_norm_relu, shortcut


@pytest.mark.parametrize(("kernel", "dilation"), [(1, 1), (3, 1), (3, 2), (3, 4), (7, 1)])
@pytest.mark.parametrize(("stride", "size"), [(1, (8, 12)), (2, (4, 6))])
def test_convolutions_keep_the_size_up_to_their_stride(kernel, dilation, stride, size):
    layer = conv_norm(3, 5, kernel, stride=stride, dilation=dilation)
    assert layer(torch.randn(2, 3, 8, 12)).shape == (2, 5, *size)
    assert layer[0].bias is None  # the batch norm has one


def test_only_the_variant_with_a_relu_is_never_negative():
    x = torch.randn(2, 3, 8, 12)
    assert conv_norm_relu(3, 5, 3)(x).min() == 0
    assert conv_norm(3, 5, 3)(x).min() < 0


@pytest.mark.parametrize("unit", [BasicBlock, Bottleneck])
def test_a_unit_whose_body_is_silent_passes_positive_input_through(unit):
    block = unit(8, 8).eval()
    nn.init.zeros_(block.body[-1].weight)  # the last batch norm
    x = torch.rand(2, 8, 4, 6)
    assert torch.equal(block(x), x)
    assert torch.equal(block(-x), torch.zeros_like(x))


def test_a_shortcut_is_the_identity_unless_the_shape_changes():
    assert isinstance(shortcut(5, 5), nn.Identity)
    assert shortcut(5, 7)(torch.randn(2, 5, 4, 6)).shape == (2, 7, 4, 6)
    assert shortcut(5, 5, stride=2)(torch.randn(2, 5, 4, 6)).shape == (2, 5, 2, 3)


def test_a_basic_block_by_hand():
    block = BasicBlock(1, 1).eval()
    for conv, middle in ((block.body[0], 2.0), (block.body[3], -1.0)):
        nn.init.zeros_(conv.weight)
        conv.weight.data[0, 0, 1, 1] = middle
        conv.weight.data[0, 0, 1, 0] = 1.0  # the left neighbour
    for norm in (block.body[1], block.body[4]):
        norm.eps = 0.0
    x = torch.tensor([[[[1.0, -3.0, 2.0]]]])
    # first: 2x + left = 2, -5, 1; ReLU 2, 0, 1; second: -y + left = -2, 2, -1; plus x: -1, -1, 1; ReLU
    torch.testing.assert_close(block(x), torch.tensor([[[[0.0, 0.0, 1.0]]]]))


def test_a_bottleneck_is_a_quarter_as_wide_inside():
    block = Bottleneck(6, 20)
    assert [m.out_channels for m in block.body if isinstance(m, nn.Conv2d)] == [5, 5, 20]
    assert block(torch.randn(2, 6, 4, 3)).shape == (2, 20, 4, 3)


def test_squeeze_excite_scales_channels_by_their_means():
    gate = SqueezeExcite(2, reduction=16)  # one hidden unit at least
    first, second = gate.gate[1], gate.gate[3]
    first.weight.data = torch.tensor([1.0, -1.0]).view(1, 2, 1, 1)
    second.weight.data = torch.tensor([2.0, 0.0]).view(2, 1, 1, 1)
    nn.init.zeros_(first.bias)
    nn.init.zeros_(second.bias)
    x = torch.tensor([[[[1.0, 3.0]], [[0.5, 0.5]]]])  # means 2 and 0.5: hidden 1.5
    expected = x * torch.sigmoid(torch.tensor([3.0, 0.0])).view(1, 2, 1, 1)
    torch.testing.assert_close(gate(x), expected)
    torch.testing.assert_close(gate(-x), -x / 2)  # the hidden unit is silent
