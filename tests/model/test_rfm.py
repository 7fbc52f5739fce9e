"""The receptive-field unit: its branches, its gate, and how far it looks."""

import pytest
import torch
from torch import nn

from sadinet.model.blocks import BasicBlock
from sadinet.model.rfm import ReceptiveFortifiedUnit


@pytest.mark.parametrize("gate", ["pre_add", "post_add", "none"])
@pytest.mark.parametrize("merge", ["sum", "concat"])
@pytest.mark.parametrize("dilation", [0, 1, 3])
@pytest.mark.parametrize(("inputs", "outputs", "stride"), [(4, 4, 1), (4, 6, 1), (4, 6, 2)])
def test_every_choice_runs_and_trains_all_its_parameters(inputs, outputs, stride, dilation, merge, gate):
    torch.manual_seed(3)
    unit = ReceptiveFortifiedUnit(
        inputs, outputs, stride=stride, dilation=dilation, merge=merge, gate=gate, reduction=2
    )
    y = unit(torch.randn(5, inputs, 8, 12))
    assert y.shape == (5, outputs, 8 // stride, 12 // stride)
    y.square().mean().backward()
    for name, parameter in unit.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


def test_without_dilation_and_gate_it_is_the_basic_block():
    unit, block = ReceptiveFortifiedUnit(3, 5, stride=2, dilation=0, gate="none"), BasicBlock(3, 5, stride=2)
    unit.load_state_dict(block.state_dict())
    x = torch.randn(2, 3, 8, 12)
    torch.testing.assert_close(unit(x), block(x), rtol=0, atol=0)


def test_the_sum_is_the_formula_of_eq_1():
    unit = ReceptiveFortifiedUnit(4, 4, dilation=2, reduction=2).eval()
    x = torch.randn(2, 4, 8, 10)
    y = unit.body(x) + unit.dilated(x)
    torch.testing.assert_close(unit(x), torch.relu(unit.gate(y) + x))
    last = ReceptiveFortifiedUnit(4, 4, dilation=2, reduction=2, gate="post_add").eval()
    last.load_state_dict(unit.state_dict())
    torch.testing.assert_close(last(x), torch.relu(unit.gate(y + x)))


@pytest.mark.parametrize("rate", [1, 2, 4])
def test_the_dilated_branch_reads_nine_pixels_that_far_apart(rate):
    """Eq. 1: ``y[i] = sum_k x[i + rate k] w[k]``."""
    unit = ReceptiveFortifiedUnit(1, 1, dilation=rate, gate="none").eval()
    nn.init.ones_(unit.dilated[0].weight)
    x = torch.zeros(1, 1, 13, 17)
    x[0, 0, 6, 8] = 1.0
    seen = unit.dilated(x)[0, 0].nonzero().tolist()
    assert seen == [[6 + rate * i, 8 + rate * j] for i in (-1, 0, 1) for j in (-1, 0, 1)]
