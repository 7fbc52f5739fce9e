"""Both hourglasses: sizes, taps, stacks, and what a shifted picture or a single pixel does to them."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sadinet.model.classic import ClassicHourglass
from sadinet.model.config import BackboneConfig, NetworkConfig
from sadinet.model.network import SadiNet


def backbone(keypoints: int = 3, **choices: Any) -> nn.Module:
    """A small hourglass in evaluation mode whose batch norms do something."""
    torch.manual_seed(5)
    small: dict[str, Any] = {"channels": (4, 6, 8, 10), "blocks": (1, 1, 1, 1), "features": 7} | choices
    config = NetworkConfig(keypoints=keypoints, backbone=BackboneConfig(**small), learn_distribution=False)
    network = SadiNet(config).eval().backbone
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.2, 0.2)
    for head in network.heads:
        nn.init.normal_(head.weight)
    return network


CLASSIC: dict[str, Any] = {"kind": "classic", "channels": (8,), "blocks": (1,)}


@pytest.mark.parametrize("taps", ["decoder", "encoder"])
@pytest.mark.parametrize(
    ("choices", "channels"),
    [
        ({}, (4, 6, 8, 10)),
        ({"block": "basic", "stem": "3x3", "blocks": (1, 2, 1, 3)}, (4, 6, 8, 10)),
        ({"channels": (4, 6, 8, 10, 12), "blocks": (1, 1, 1, 1, 2), "stacks": 2}, (4, 6, 8, 10)),
        (CLASSIC | {"stacks": 3}, (8, 8, 8, 8)),
    ],
)
def test_sizes_and_channels_of_heatmaps_and_taps(choices, channels, taps):
    network = backbone(**choices, taps=taps)
    answer = network(torch.randn(2, 3, 64, 128))
    assert [tuple(h.shape) for h in answer.heatmaps] == [(2, 3, 16, 32)] * choices.get("stacks", 1)
    sizes = [(16, 32), (8, 16), (4, 8), (2, 4)]
    assert [tuple(tap.shape) for tap in answer.taps] == [(2, c, *s) for c, s in zip(channels, sizes, strict=True)]
    assert network.tap_channels == channels


@pytest.mark.parametrize("choices", [{}, CLASSIC])
def test_encoder_and_decoder_taps_share_the_bottom_only_where_it_is_tapped(choices):
    taps = {}
    for side in ("encoder", "decoder"):
        taps[side] = backbone(**choices, taps=side)(torch.ones(1, 3, 64, 64)).taps
    same = [torch.equal(e, d) for e, d in zip(taps["encoder"], taps["decoder"], strict=True)]
    assert same == [False, False, False, not choices]  # the classic one's bottom lies one level deeper


@pytest.mark.parametrize("choices", [{"stacks": 2}, {"block": "basic", "stem": "3x3"}, CLASSIC])
def test_a_shifted_picture_gives_shifted_heatmaps(choices):
    """With convolutions that wrap around there is no border, and the law is exact."""
    network = backbone(**choices).double()
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.kernel_size != (1, 1):
            module.padding_mode = "circular"
    x = torch.randn(1, 3, 128, 192, dtype=torch.float64)
    if choices is CLASSIC:  # the stem's two poolings and five halvings divide by 64
        down, right = 64, 128
    else:
        down, right = 32, 96
    still, moved = (network(image).heatmaps[-1] for image in (x, x.roll((down, right), (2, 3))))
    torch.testing.assert_close(moved, still.roll((down // 4, right // 4), (2, 3)))
    assert not torch.allclose(moved, still)


def test_one_heatmap_pixel_depends_on_the_whole_picture():
    network = backbone(gate="none", blocks=(2, 2, 2, 4))
    image = torch.randn(1, 3, 64, 96, requires_grad=True)
    network(image).heatmaps[-1][0, 0, 8, 12].backward()
    influence = image.grad.abs().sum(1)[0]
    assert influence.gt(0).float().mean() > 0.99
    assert influence[24:44, 38:60].mean() > 1.2 * influence.mean()  # pixel (12, 8) lies at (49.5, 33.5)


def test_later_stacks_read_earlier_ones():
    """A change of the first stack's features reaches the second stack's heatmaps."""
    for choices in ({"stacks": 2}, CLASSIC | {"stacks": 2}):
        network = backbone(**choices)
        x = torch.randn(1, 3, 64, 64)
        before: list[Tensor] = network(x).heatmaps
        network.merge_features[0].apply(
            lambda m: nn.init.constant_(m.weight, 0.3) if isinstance(m, nn.Conv2d) else None
        )
        after: list[Tensor] = network(x).heatmaps
        assert torch.equal(before[0], after[0])
        assert not torch.allclose(before[1], after[1])


def test_the_classic_hourglass_feeds_its_heatmaps_back():
    network = backbone(**CLASSIC, stacks=2)
    assert isinstance(network, ClassicHourglass)
    x = torch.randn(1, 3, 64, 64)
    before = network(x).heatmaps
    with torch.no_grad():
        network.heads[0].bias += 1.0
    after = network(x).heatmaps
    torch.testing.assert_close(after[0], before[0] + 1)
    assert not torch.allclose(after[1], before[1])


@pytest.mark.parametrize("choices", [{}, CLASSIC])
def test_heatmaps_start_near_zero(choices):
    network = backbone(**choices).train()  # batch norms keep the features' scale
    network.initialize_heads()
    heatmaps = network(torch.randn(2, 3, 64, 64)).heatmaps[-1]
    assert 0 < heatmaps.abs().max() < 0.1
