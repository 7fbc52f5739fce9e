"""The network: its size, its gradients, every option, and goldens.

Parameter counts and multiply-adds are taken under fake tensors: shapes without numbers.
"""

import dataclasses
from typing import Any, get_args, get_type_hints

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from sadinet.errors import ConfigError
from sadinet.model.config import BackboneConfig, DistributionConfig, FusionConfig, NetworkConfig
from sadinet.model.loss import joint_loss, to_units
from sadinet.model.network import SadiNet
from sadinet.presets import VARIANTS, preset
from sadinet.values import override

BASIC = BackboneConfig(block="basic")
CLASSIC = BackboneConfig(kind="classic", channels=(256,), blocks=(1,), stacks=8)
HRNET = BackboneConfig(kind="hrnet", channels=(32, 64, 128, 256), blocks=(1, 1, 4, 3))
SIMPLE = BackboneConfig(kind="simple", blocks=(3, 4, 6, 3))


def giga(network: SadiNet, images: Tensor, method: str) -> float:
    """Multiply-adds of convolutions and matrix products [10^9]."""
    with FlopCounterMode(display=False) as counter:
        getattr(network, method)(images)
    return float(counter.get_total_flops()) / 2e9


def million(part: nn.Module) -> float:
    return sum(p.numel() for p in part.parameters()) / 1e6


@pytest.mark.parametrize(
    ("config", "parameters", "inference", "training"),
    [
        (NetworkConfig(), 77.29, 10.02, 14.93),
        (NetworkConfig(learn_distribution=False), 62.56, 10.02, 10.02),
        (NetworkConfig(backbone=BASIC, learn_distribution=False), 41.94, 7.00, 7.00),
        (NetworkConfig(backbone=BASIC), 56.66, 7.00, 11.91),
        (NetworkConfig(distribution=DistributionConfig(evaluation="exact")), 77.29, 10.02, 18.35),
        (NetworkConfig(backbone=BackboneConfig(blocks=(1, 1, 1, 1))), 34.93, 4.58, 9.50),
        (NetworkConfig(backbone=BackboneConfig(stacks=2)), 139.85, 19.94, 24.86),
        (NetworkConfig(backbone=CLASSIC, learn_distribution=False), 25.43, 27.44, 27.44),
        (NetworkConfig(backbone=HRNET, learn_distribution=False), 28.54, 10.19, 10.19),
        (NetworkConfig(backbone=SIMPLE, learn_distribution=False), 34.00, 7.23, 7.23),
    ],
    ids=[
        *("sadinet", "rfm", "hourglass", "hourglass-dlm", "exact", "blocks-1", "stacks-2", "classic-8"),
        *("hrnet-w32", "simple-r50"),
    ],
)
def test_size_and_cost_of_the_published_shape(config, parameters, inference, training):
    with FakeTensorMode(), torch.no_grad():
        network = SadiNet(config)
        image = torch.zeros(1, 3, 256, 256)
        assert million(network) == pytest.approx(parameters, abs=0.005)
        assert giga(network, image, "backbone_heatmaps") == pytest.approx(inference, abs=0.005)
        assert giga(network, image, "forward") == pytest.approx(training, abs=0.005)


def test_size_of_the_parts():
    with FakeTensorMode():
        network = SadiNet(NetworkConfig())
        assert million(network.backbone) == pytest.approx(62.56, abs=0.005)
        assert million(network.attention) == pytest.approx(4.23, abs=0.005)
        assert million(network.head.increase) == pytest.approx(2.01, abs=0.005)
        assert million(network.head.reduce) == pytest.approx(6.20, abs=0.005)
        assert million(network.head.final) == pytest.approx(2.10, abs=0.005)
        both = million(network.distribution.to_mean) + million(network.distribution.to_deviation)
        assert both == pytest.approx(0.13, abs=0.005)
        assert million(network.distribution.flow) == pytest.approx(0.054, abs=0.0005)


TINY = NetworkConfig(
    keypoints=3,
    input_size=64,
    backbone=BackboneConfig(channels=(4, 6, 8, 12), blocks=(1, 1, 1, 1), features=10, gate_reduction=2),
    fusion=FusionConfig(features=6, widths=(8, 12, 16, 20), outputs=14),
    distribution=DistributionConfig(table_size=17, flow_hidden=5),
)


def tiny(*changes: str, seed: int = 0) -> SadiNet:
    """A tiny network with overrides such as ``backbone.stacks=2``."""
    torch.manual_seed(seed)
    return SadiNet(override(TINY, changes))


def images(count: int = 2, size: tuple[int, int] = (64, 96)) -> Tensor:
    return torch.rand(count, 3, *size, generator=torch.Generator().manual_seed(6))


HRNET_CHANGES = "backbone.kind=hrnet backbone.channels=4,6,8,12 backbone.blocks=1,1,2,1 backbone.features=16"
SIMPLE_CHANGES = "backbone.kind=simple backbone.channels=4,6,8,12 backbone.blocks=1,2,1,1"

OPTIONS = (
    HRNET_CHANGES,
    SIMPLE_CHANGES,
    f"{SIMPLE_CHANGES} backbone.taps=encoder",
    "backbone.kind=classic backbone.channels=8 backbone.blocks=1",
    "backbone.kind=classic backbone.channels=8 backbone.blocks=2 backbone.taps=encoder backbone.stacks=2",
    "backbone.block=basic",
    "backbone.channels=4,6,8,12,14 backbone.blocks=1,1,2,1,1 input_size=128",
    "backbone.stacks=2",
    "backbone.stem=3x3",
    "backbone.dilation=4,3,2,1",
    "backbone.dilation=0",
    "backbone.merge=concat",
    "backbone.gate=post_add",
    "backbone.gate=none",
    "backbone.taps=encoder",
    "learn_distribution=false",
    "fusion.attention=level",
    "fusion.attention=none",
    "fusion.residual=true",
    "fusion.upsampling=bilinear",
    "fusion.local=row",
    "fusion.local=hw",
    "fusion.local=chan",
    "fusion.local=none",
    "fusion.local_rescale=false",
    "fusion.head=pooled",
    "fusion.detach=true",
    "distribution.kind=flow",
    "distribution.kind=mix",
    "distribution.kind=smooth",
    "distribution.kind=gauss",
    "distribution.normalization=canonical",
    "distribution.normalization=gridmax",
    "distribution.normalization=density",
    "distribution.standardize=false",
    "distribution.reweight=true",
    "distribution.evaluation=exact",
    "distribution.padding=0.5",
    "distribution.normalize_features=true",
    "distribution.flow_per_keypoint=true",
    "distribution.flow_layers=3",
)


@pytest.mark.parametrize("changes", OPTIONS)
def test_every_option_builds_runs_and_differs(changes):
    network = tiny(*changes.split())
    side = 128 if "128" in changes or "classic" in changes else 64
    size = (side, 2 * side)
    default = tiny()
    ours = network.state_dict()
    network.load_state_dict(
        ours | {k: v for k, v in default.state_dict().items() if k in ours and ours[k].shape == v.shape}
    )
    output, plain = network(images(2, size)), default(images(2, size))
    assert output.heatmaps.shape == (2, 3, side // 4, side // 2)
    assert len(output.stacks) == network.config.backbone.stacks
    assert output.stacks[-1] is output.heatmaps
    everything = [output.heatmaps]
    if network.config.learn_distribution:
        canvas = [int(n * (1 + 2 * network.config.distribution.padding)) for n in output.heatmaps.shape[2:]]
        assert output.distribution.heatmaps.shape == (2, 3, *canvas)
        everything += _answers(output.distribution)
    else:
        assert output.distribution is None
    assert all(values.isfinite().all() for values in everything)
    if not changes.startswith("backbone"):
        assert torch.equal(output.heatmaps, plain.heatmaps)
    if changes not in ("learn_distribution=false", "fusion.detach=true"):
        pairs = zip(everything, [plain.heatmaps, *_answers(plain.distribution)], strict=False)
        assert any(a.shape != b.shape or not torch.equal(a, b) for a, b in pairs)


def _answers(distribution: Any) -> list[Tensor]:
    return [distribution.mean, distribution.deviation, distribution.heatmaps]


def test_options_cover_every_literal_of_the_configuration():
    """A new choice without an entry above is noticed."""
    written = {change for changes in OPTIONS for change in changes.split()}
    for part in ("backbone", "fusion", "distribution"):
        config = getattr(TINY, part)
        for field in dataclasses.fields(config):
            default = getattr(config, field.name)
            kinds = get_args(get_type_hints(type(config))[field.name])
            for choice in kinds:
                if isinstance(choice, str) and choice != default:
                    assert f"{part}.{field.name}={choice}" in written
            if isinstance(default, bool):
                assert f"{part}.{field.name}={str(not default).lower()}" in written


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ("input_size=100", r"input_size=100: .*multiple of 32"),
        ("input_size=0", r"input_size=0"),
        ("backbone.kind=classic backbone.channels=8 input_size=96", r"input_size=96: .*multiple of 64"),
        ("backbone.channels=4,6,8", r"backbone\.channels=\(4, 6, 8\): .*4 levels"),
        ("backbone.channels=", r"backbone\.channels=\(\)"),
        ("backbone.blocks=1,1,1", r"backbone\.blocks=\(1, 1, 1\): give 4"),
        ("backbone.blocks=1,0,1,1", r"backbone\.blocks=\(1, 0, 1, 1\): .*at least 1"),
        ("backbone.kind=hrnet backbone.blocks=1,1,4", r"kind=hrnet: give 4 numbers"),
        ("backbone.kind=simple backbone.stacks=2", r"kind=simple cannot be stacked"),
        ("backbone.kind=hrnet backbone.taps=encoder", r"taps=decoder"),
        ("answer=mean learn_distribution=false", r"it needs learn_distribution=true"),
        ("backbone.dilation=1,2", r"backbone\.dilation=\(1, 2\): give one rate, or 4"),
        ("backbone.dilation=-1", r"backbone\.dilation"),
        ("backbone.stacks=0", r"backbone\.stacks=0: .*at least 1"),
        ("fusion.widths=8,12,16", r"fusion\.widths=\(8, 12, 16\): give 4 numbers, one per resolution"),
        ("fusion.widths=3,12,16,20", r"fusion\.widths=\(3, 12, 16, 20\): .*at least 4"),
        ("fusion.features=0", r"fusion\.features=0: .*at least 1"),
        ("keypoints=0", r"keypoints=0: .*at least 1"),
        ("distribution.padding=-0.1", r"distribution\.padding=-0\.1"),
        ("distribution.padding=0.5 distribution.reweight=true", r"no padding: drop one"),
        ("distribution.sigma_min=0.2", r"sigma_min < sigma_init < sigma_max"),
        ("distribution.table_size=1", r"distribution\.table_size=1"),
        ("fusion.local=diagonal", r"fusion\.local='diagonal': expected 'col'"),
        ("fusion.atention=none", r"unknown field 'fusion\.atention'.*attention"),
    ],
)
def test_senseless_configurations_say_what_to_do(changes, text):
    with pytest.raises(ConfigError, match=text):
        override(TINY, changes.split())


def test_five_of_one_are_one_of_five():
    network = tiny("backbone.stacks=2").double().eval()
    pictures = images(5).double()
    xy = torch.rand(5, 3, 2, dtype=torch.float64) - 0.5
    together = network(pictures, xy)
    for i in range(5):
        alone = network(pictures[i : i + 1], xy[i : i + 1])
        torch.testing.assert_close(alone.heatmaps[0], together.heatmaps[i])
        for name in ("mean", "deviation", "heatmaps", "log_likelihood", "flow_log_likelihood"):
            ours, theirs = getattr(alone.distribution, name), getattr(together.distribution, name)
            torch.testing.assert_close(ours[0], theirs[i], atol=1e-6, rtol=1e-5)  # softmaxes run in float32


@pytest.mark.parametrize("training", [False, True])
def test_without_its_training_parts_it_predicts_the_same(training):
    network = tiny().train(training)
    before = network(images())
    torch.testing.assert_close(network.backbone_heatmaps(images()), before.heatmaps)
    network.drop_training_parts()
    after = network(images())
    assert torch.equal(after.heatmaps, before.heatmaps)
    assert after.distribution is None
    assert {name.split(".")[0] for name, _ in network.named_parameters()} == {"backbone"}
    assert network.state_dict().keys() == tiny("learn_distribution=false").state_dict().keys()


def test_pictures_are_normalized_inside():
    network = tiny().eval()
    raw = images()
    seen: list[Tensor] = []
    network.backbone.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    network(raw)
    expected = (raw[1, :, 3, 5] - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor([0.229, 0.224, 0.225])
    torch.testing.assert_close(seen[0][1, :, 3, 5], expected)


def step(name: str, *changes: str) -> tuple[SadiNet, dict[str, Tensor]]:
    """One backward pass of the experiment ``name`` on three pictures with one unlabelled keypoint."""
    experiment = override(preset(name), changes)
    torch.manual_seed(0)
    network = SadiNet(experiment.network, sigma=experiment.loss.sigma)
    generator = torch.Generator().manual_seed(8)
    pictures = torch.rand(3, 3, 64, 64, generator=generator)
    xy = 16 * torch.rand(3, 14, 2, generator=generator) - 0.5
    xy[1, 4] = torch.nan
    terms = joint_loss(network(pictures, to_units(xy, (16, 16))), xy, xy.isfinite().all(-1), experiment.loss)
    terms["total"].backward()
    return network, terms


LIGHT = ("network.backbone.blocks=1,1,1,1", "network.distribution.table_size=33")
PARTS = ("attention", "head", "distribution")


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_trains_exactly_the_parts_it_should(variant):
    """The near-identity flow's gradients are small in the first step, but there."""
    network, terms = step(f"toy-t{variant}", *LIGHT)
    assert all(term.isfinite() for term in terms.values())
    heatmaps_alone = ("backbone.features", "backbone.heads")  # of no use where the mean is the answer
    for name, parameter in network.named_parameters():
        if (variant == "-mse" and name.split(".")[0] in PARTS) or (
            variant == "-regression" and name.startswith(heatmaps_alone)
        ):
            assert parameter.grad is None, name
            continue
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name
    present = {name.split(".")[0] for name, _ in network.named_parameters()} - {"backbone"}
    baselines = ("-newell2", "-newell8", "-hrnet", "-simple")
    backbone_alone = variant in ("-hourglass", "-rfm", "-rfm-no-gate", "-rfm-no-dilation", *baselines)
    expected = set() if backbone_alone else set(PARTS) - ({"attention"} if variant == "-no-global" else set())
    assert present == expected


def test_the_full_unit_with_all_blocks_gets_gradients_everywhere():
    network, _ = step("toy-t")
    assert all(p.grad is not None and p.grad.any() for p in network.parameters())


def test_only_a_detached_fusion_leaves_the_backbone_to_the_heatmaps():
    gradients = {}
    for variant in ("", "-mse", "-detached"):
        network, _ = step(f"toy-t{variant}", *LIGHT)
        gradients[variant] = torch.cat([p.grad.flatten() for p in network.backbone.parameters()])
    torch.testing.assert_close(gradients["-detached"], gradients["-mse"])
    assert not torch.allclose(gradients[""], gradients["-mse"])


def test_the_baselines_cost_what_their_papers_print():
    """Printed for 256 x 256 and 16 keypoints: HRNet-W32 28.5 M and 9.5 G, SimpleBaseline-R50 34.0 M and 12.0 G.

    Their G is 2^30, and a transposed convolution is counted by its output pixels, four times its input pixels.
    """
    printed = 1e9 / 2**30
    with FakeTensorMode(), torch.no_grad():
        image = torch.zeros(1, 3, 256, 256)
        hrnet = SadiNet(NetworkConfig(backbone=HRNET, learn_distribution=False))
        assert round(million(hrnet), 1) == 28.5
        assert round(printed * giga(hrnet, image, "backbone_heatmaps"), 1) == 9.5
        simple = SadiNet(NetworkConfig(backbone=SIMPLE, learn_distribution=False))
        assert round(million(simple), 1) == 34.0
        inputs = [(2048, 8), (256, 16), (256, 32)]
        transposed = sum(channels * 256 * 16 * side**2 for channels, side in inputs) / 1e9
        assert round(printed * (giga(simple, image, "backbone_heatmaps") + 3 * transposed), 1) == 12.0


@pytest.mark.parametrize("changes", [HRNET_CHANGES, SIMPLE_CHANGES, f"{SIMPLE_CHANGES} backbone.taps=encoder"])
def test_the_baselines_offer_four_taps_that_reach_the_whole_backbone(changes):
    network = tiny(*changes.split())
    taps = network.backbone(images(2, (64, 64))).taps
    assert [tuple(tap.shape[1:]) for tap in taps] == [
        (c, 16 >> i, 16 >> i) for i, c in enumerate(network.backbone.tap_channels)
    ]
    sum(tap.sum() for tap in taps).backward()
    untouched = {name.split(".")[0] for name, p in network.backbone.named_parameters() if p.grad is None}
    assert untouched == ({"heads", "up"} if "encoder" in changes else {"heads"})


@pytest.mark.parametrize("changes", [HRNET_CHANGES, SIMPLE_CHANGES])
def test_recomputing_a_baseline_changes_no_gradient(changes):
    gradients = []
    for recompute in (False, True):
        network = tiny(*changes.split(), "learn_distribution=false").double().train()
        network.backbone.recompute(recompute)
        network(images().double()).heatmaps.square().sum().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in network.parameters()]))
    torch.testing.assert_close(*gradients)


def test_the_regressed_mean_is_the_distribution_s_and_needs_it():
    network = tiny("answer=mean").eval()
    output, (mean, deviation) = network(images()), network.regress(images())
    assert torch.equal(mean, output.distribution.mean)
    assert torch.equal(deviation, output.distribution.deviation)
    network.drop_training_parts()
    assert torch.equal(network.regress(images())[0], mean)
    with pytest.raises(ConfigError, match="regresses nothing"):
        tiny("learn_distribution=false").regress(images())


def ramp(network: SadiNet) -> SadiNet:
    """Parameters filled by a wave along a ramp, weights scaled by their number of inputs, the others around 1.

    The last layers are scaled down, so that the distributions lie inside of the map.
    """
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            values = torch.linspace(-1.0, 1.0, parameter.numel())
            if parameter.dim() > 1:
                values = 2.5 * torch.sin(37 * values) / parameter[0].numel() ** 0.5
            else:
                values = 1 + 0.5 * values
            last = name.startswith(("distribution.to_mean", "distribution.to_deviation"))
            parameter.copy_((1e-3 if last else 1.0) * values.view_as(parameter))
    return network.eval()


GOLDEN_PARAMETERS = 30674
GOLDEN = [
    *(-1.75163, -3.14339, -3.93008, -1.76723, -3.27469, -4.15792),  # heatmaps at two pixels
    *(0.290064, 0.309652, 0.584313, 0.587948),  # a mean and a deviation
    *(2.24539e-4, -33.4395),  # a pixel of a learnable heatmap, a log-likelihood
]


def test_golden_numbers_of_a_ramp_filled_network():
    """Recorded from this implementation: a difference means that the network computes something else than it did."""
    network = ramp(tiny())
    assert sum(p.numel() for p in network.parameters()) == GOLDEN_PARAMETERS
    picture = torch.linspace(0, 1, 3 * 64 * 96).view(1, 3, 64, 96)
    with torch.no_grad():
        output = network(picture, torch.full((1, 3, 2), 0.1))
    got = [
        *output.heatmaps[0, :, 5, 9].tolist(),
        *output.heatmaps[0, :, 12, 20].tolist(),
        *output.distribution.mean[0, 1].tolist(),
        *output.distribution.deviation[0, 2].tolist(),
        output.distribution.heatmaps[0, 0, 7, 11].item(),
        output.distribution.log_likelihood[0, 1].item(),
    ]
    assert got == pytest.approx(GOLDEN, rel=1e-3)
