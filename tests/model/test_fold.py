"""Folding changes the arithmetic and not the function."""

import pytest
import torch
from torch import nn

from sadinet.model.blocks import SubsampledPointwise, conv_norm
from sadinet.model.fold import folded
from sadinet.model.network import SadiNet
from sadinet.presets import preset
from sadinet.values import override

SMALL = ("network.backbone.blocks=1,1,1,1", "network.backbone.channels=6,8,10,12", "network.backbone.features=7")


def lived(network, seed=5):
    """``network`` with statistics and affine parameters as if it had been trained: none is 0 or 1."""
    torch.manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for values, low, high in (
                (module.running_mean, -1, 1),
                (module.running_var, 0.3, 3),
                (module.weight, 0.5, 1.5),
                (module.bias, -0.5, 0.5),
            ):
                nn.init.uniform_(values, low, high)
    return network.eval()


@pytest.mark.parametrize(
    "changes",
    [
        (),
        ("network.backbone.block=basic",),
        ("network.backbone.merge=concat", "network.backbone.gate=post_add"),
        ("network.backbone.gate=none", "network.backbone.dilation=0"),
        ("network.backbone.stem=3x3", "network.backbone.stacks=2"),
        ("network.backbone.kind=classic", "network.backbone.channels=16", "network.backbone.stacks=2"),
    ],
    ids=["rfm", "basic", "concat", "bare", "stacks", "classic"],
)
def test_folded_is_unfolded(changes):
    config = override(preset("toy-t-rfm"), [*SMALL, *changes]).network
    network = lived(SadiNet(config)).double()
    images = torch.rand(3, 3, 64, 128, dtype=torch.float64)
    with torch.no_grad():
        expected, found = network.backbone_heatmaps(images), folded(network).backbone_heatmaps(images)
    assert expected.std() > 1e-4
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


def test_no_batch_norm_is_left_and_the_original_is_untouched():
    network = lived(SadiNet(override(preset("toy-t-rfm"), SMALL).network)).train()
    before = {name: values.clone() for name, values in network.state_dict().items()}
    copy = folded(network)
    assert network.training
    assert not copy.training
    kinds = {type(module) for module in copy.modules()}
    assert not kinds & {nn.BatchNorm2d, SubsampledPointwise, nn.AdaptiveAvgPool2d}
    assert all(torch.equal(values, before[name]) for name, values in network.state_dict().items())
    assert {nn.BatchNorm2d, SubsampledPointwise} <= {type(module) for module in network.modules()}


def test_one_channel_on_paper():
    """(3 x + 1 - 5) / sqrt(3.75 + 0.25) * 2 + 7 = 3 x + 3."""
    pair = nn.Sequential(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1, eps=0.25)).eval()
    with torch.no_grad():
        for values, number in (
            (pair[0].weight, 3),
            (pair[0].bias, 1),
            (pair[1].running_mean, 5),
            (pair[1].running_var, 3.75),
            (pair[1].weight, 2),
            (pair[1].bias, 7),
        ):
            values.fill_(number)
    conv = folded(pair)[0]
    assert (conv.weight.item(), conv.bias.item()) == (3, 3)


def test_a_norm_that_follows_no_convolution_stays():
    pair = nn.Sequential(nn.ReLU(), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1))
    assert isinstance(folded(pair)[1], nn.BatchNorm2d)


def test_a_strided_pointwise_convolution_subsamples():
    strided = conv_norm(3, 5, 1, stride=2).eval()
    x = torch.randn(2, 3, 7, 9)
    torch.testing.assert_close(folded(strided)(x), strided(x))
