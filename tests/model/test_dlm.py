"""Distribution learning: mass, moments, table against exact evaluation, and a slow twin.

The perturbed flows below have standard normal noise, ``scale`` times, added to every parameter.
"""

import math
from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from sadinet.model.config import DistributionConfig, DistributionKind, Normalization
from sadinet.model.dlm import Distribution, DistributionLearning
from sadinet.model.targets import gaussian_targets

from ..reference import dlm as slow
from ..reference import loss as slow_loss

KINDS = get_args(DistributionKind)
NORMALIZATIONS = get_args(Normalization)


def module(keypoints: int = 3, *, scale: float = 0.15, **choices: Any) -> DistributionLearning:
    """A module with a perturbed flow."""
    torch.manual_seed(0)
    settings: dict[str, Any] = {"flow_hidden": 16} | choices
    part = DistributionLearning(inputs=7, keypoints=keypoints, config=DistributionConfig(**settings))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in part.flow.parameters() if part.flow is not None else ():
            parameter += scale * torch.randn(parameter.shape, generator=generator)
    return part


def placed(part: DistributionLearning, mean: Tensor, deviation: Tensor) -> DistributionLearning:
    """``part`` with mean and deviation ``(K, 2)`` [u] for any features."""
    config = part.config
    share = (deviation - config.sigma_min) / (config.sigma_max - config.sigma_min)
    with torch.no_grad():
        part.to_mean.weight.zero_()
        part.to_deviation.weight.zero_()
        part.to_mean.bias.copy_(mean.flatten())
        part.to_deviation.bias.copy_(share.logit().flatten())
    return part


MEAN = torch.tensor([[0.05, -0.1], [-0.15, 0.0], [0.1, 0.12]])  # K = 3, well inside
DEVIATION = torch.tensor([[0.05, 0.08], [0.07, 0.06], [0.04, 0.09]])


def rendered(part: DistributionLearning, size: tuple[int, int], sigma: float = 1.5) -> Distribution:
    """The answer for two persons; 48 px wide and 40 px high is a usual ``size`` (h, w) here."""
    answer: Distribution = part(torch.zeros(2, 7), torch.ones(2, part.keypoints, *size), sigma)
    return answer


def moments(heatmaps: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation ``(B, K, 2)`` [u] of maps taken as densities."""
    height, width = heatmaps.shape[-2:]
    share = heatmaps / heatmaps.sum((2, 3), keepdim=True)
    x, y = (torch.arange(width) + 0.5) / width - 0.5, (torch.arange(height) + 0.5) / height - 0.5
    column, row = share.sum(2), share.sum(3)
    mean = torch.stack([(column * x).sum(-1), (row * y).sum(-1)], -1)
    variance = torch.stack([(column * x.square()).sum(-1), (row * y.square()).sum(-1)], -1) - mean.square()
    return mean, variance.sqrt()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("standardize", [True, False])
def test_the_mass_is_that_of_the_target_gaussian(kind, standardize):
    part = placed(module(kind=kind, standardize=standardize), MEAN, DEVIATION)
    heatmaps = rendered(part, (60, 84), sigma=2.5).heatmaps
    torch.testing.assert_close(heatmaps.sum((2, 3)), torch.full((2, 3), 2 * math.pi * 2.5**2), rtol=0.01, atol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_standardized_map_has_the_mean_and_deviation_it_was_given(kind):
    part = placed(module(kind=kind), MEAN, DEVIATION)
    answer = rendered(part, (60, 84))
    mean, deviation = moments(answer.heatmaps)
    torch.testing.assert_close(answer.mean[0], MEAN)
    torch.testing.assert_close(answer.deviation[0], DEVIATION)
    torch.testing.assert_close(mean[0], MEAN, atol=1e-3, rtol=0)
    torch.testing.assert_close(deviation[0], DEVIATION, atol=0, rtol=0.03)
    if kind != "gauss":
        free = moments(rendered(placed(module(kind=kind, standardize=False), MEAN, DEVIATION), (60, 84)).heatmaps)
        assert (free[0][0] - MEAN).abs().max() > 2e-3  # the flow alone says otherwise


@pytest.mark.parametrize("evaluation", ["table", "exact"])
def test_a_fitting_gaussian_is_the_target(evaluation):
    sigma, size = 2.0, (40, 56)
    xy = torch.tensor([[20.3, 17.6], [30.0, 20.0], [25.5, 22.25]])
    mean = (xy + 0.5) / torch.tensor([56.0, 40.0]) - 0.5
    deviation = sigma / torch.tensor([56.0, 40.0]).expand(3, 2)
    part = placed(module(kind="gauss", evaluation=evaluation), mean, deviation)
    target = gaussian_targets(xy[None], size, sigma=sigma, kind="unbiased")
    torch.testing.assert_close(rendered(part, size, sigma).heatmaps[:1], target, atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", ["product", "flow", "mix"])
def test_an_identity_flow_standardized_is_the_gaussian_too(kind):
    plain = placed(module(kind="gauss"), MEAN, DEVIATION)
    part = placed(module(kind=kind, scale=0.0), MEAN, DEVIATION)
    difference = rendered(part, (40, 56)).heatmaps - rendered(plain, (40, 56)).heatmaps
    assert difference.abs().max() < 2e-3
    smooth = placed(module(kind="smooth", scale=0.0, standardize=False), MEAN, DEVIATION)
    _, deviation = moments(rendered(smooth, (120, 168)).heatmaps)
    torch.testing.assert_close(deviation[0], DEVIATION * math.sqrt(2), rtol=0.01, atol=0)  # N(0, I) * N(0, I)


def gradients(part: DistributionLearning) -> tuple[Tensor, list[Tensor]]:
    """The maps and the gradients of their loss against targets 0.03 u off, by mean, deviation and flow."""
    placed(part, MEAN, DEVIATION)
    size = (32, 48)
    heatmaps = rendered(part, size, 2.0).heatmaps
    xy = (MEAN + 0.03 + 0.5) * torch.tensor([48.0, 32.0]) - 0.5
    loss = 0.5 * (heatmaps - gaussian_targets(xy[None], size, sigma=2.0, kind="unbiased")).square().mean()
    found = torch.autograd.grad(loss, [part.to_mean.bias, part.to_deviation.bias, *part.flow.parameters()])
    return heatmaps.detach(), [found[0], found[1], torch.cat([g.flatten() for g in found[2:]])]


@pytest.mark.parametrize(("standardize", "by_map", "by_flow"), [(True, 1e-3, 0.3), (False, 1e-3, 0.03)])
def test_the_table_agrees_with_exact_evaluation(standardize, by_map, by_flow):
    """Standardized, the loss hardly depends on the flow, whose relative error is larger; otherwise maps are higher."""
    choices: dict[str, Any] = {"scale": 0.1, "standardize": standardize}
    exact, by_exact = gradients(module(evaluation="exact", **choices))
    errors = {}
    for size in (65, 129):
        table, by_table = gradients(module(table_size=size, **choices))
        errors[size] = (table - exact).abs().max().item()
        relative = [((t - e).norm() / e.norm()).item() for t, e in zip(by_table, by_exact, strict=True)]
        if size == 129:
            assert errors[size] <= by_map
            assert relative[0] < 0.03
            assert relative[1] < 0.03
            assert relative[2] < by_flow
            assert torch.cosine_similarity(by_table[2], by_exact[2], dim=0) > 0.95
    assert errors[65] > errors[129]  # slowly: the flow's leaky ReLUs leave kinks between the points


@pytest.mark.parametrize("per_keypoint", [False, True])
@pytest.mark.parametrize("kind", ["product", "flow", "mix", "gauss"])
@pytest.mark.parametrize(
    ("normalization", "standardize"), [("mass", True), ("canonical", True), ("gridmax", False), ("density", False)]
)
def test_exact_maps_match_the_slow_twin(kind, normalization, standardize, per_keypoint):
    choices: dict[str, Any] = {
        "kind": kind,
        "normalization": normalization,
        "standardize": standardize,
        "flow_per_keypoint": per_keypoint,
    }
    part = module(2, scale=0.4, evaluation="exact", table_size=13, flow_layers=2, flow_hidden=3, **choices).double()
    placed(part, MEAN[:2].double(), 4 * DEVIATION[:2].double())
    heatmaps = part(torch.zeros(1, 7), torch.ones(1, 2, 3, 5), 1.5).heatmaps
    assert heatmaps.dtype == torch.float64
    for k in range(2):
        expected = slow.heatmap(
            part.flow,
            k if per_keypoint else 0,
            kind=kind,
            normalization=normalization,
            standardize=standardize,
            table_size=13,
            mean=part.to_mean.bias.view(2, 2)[k].tolist(),
            deviation=(4 * DEVIATION[k]).tolist(),
            size=(3, 5),
            sigma=1.5,
        )
        torch.testing.assert_close(heatmaps[0, k], expected, atol=1e-9, rtol=1e-6)


@pytest.mark.parametrize("kind", ["product", "flow", "mix"])
def test_exact_evaluation_passes_gradcheck(kind):
    part = module(2, kind=kind, evaluation="exact", table_size=9, flow_layers=2, flow_hidden=2).double()
    names = [name for name, _ in part.named_parameters()]

    def maps(features: Tensor, backbone: Tensor, *values: Tensor) -> Tensor:
        parameters = dict(zip(names, values, strict=True))
        answer: Distribution = torch.func.functional_call(part, parameters, (features, backbone, 1.5))
        return answer.heatmaps

    features = torch.randn(2, 7, dtype=torch.float64, requires_grad=True)
    backbone = torch.rand(2, 2, 3, 4, dtype=torch.float64)
    values = [p.detach().clone().requires_grad_() for p in part.parameters()]
    assert torch.autograd.gradcheck(maps, (features, backbone, *values), fast_mode=True)


@pytest.mark.parametrize("evaluation", ["table", "exact"])
@pytest.mark.parametrize("kind", ["product", "smooth"])
def test_each_keypoint_has_its_own_flow_if_wanted(evaluation, kind):
    part = placed(module(kind=kind, evaluation=evaluation, flow_per_keypoint=True), MEAN, DEVIATION)
    before = rendered(part, (20, 28)).heatmaps
    assert torch.equal(before[0], before[1])  # equal persons
    with torch.no_grad():
        for coupling in part.flow.couplings:
            coupling.shift[4].bias[1] += 0.4
    after = rendered(part, (20, 28)).heatmaps
    assert [(before[:, k] != after[:, k]).any().item() for k in range(3)] == [False, True, False]
    shared = placed(module(kind=kind, evaluation=evaluation), MEAN[:1].expand(3, 2), DEVIATION[:1].expand(3, 2))
    maps = rendered(shared, (20, 28)).heatmaps
    torch.testing.assert_close(maps, maps[:, :1].expand_as(maps))


def test_a_padded_canvas_has_the_map_in_its_middle():
    size = (12, 20)
    plain = rendered(placed(module(), MEAN, DEVIATION), size).heatmaps
    padded = rendered(placed(module(padding=0.25), MEAN, DEVIATION), size).heatmaps
    assert padded.shape == (2, 3, 12 + 2 * 3, 20 + 2 * 5)
    torch.testing.assert_close(padded[:, :, 3:-3, 5:-5], plain)


def test_reweighting_multiplies_the_backbones_heatmaps():
    backbone = torch.rand(2, 3, 10, 14)
    plain = placed(module(), MEAN, DEVIATION)(torch.zeros(2, 7), backbone, 1.5).heatmaps
    product = placed(module(reweight=True), MEAN, DEVIATION)(torch.zeros(2, 7), backbone, 1.5).heatmaps
    torch.testing.assert_close(product, plain * backbone)


def test_the_other_heights():
    canonical = rendered(placed(module(kind="gauss", normalization="canonical"), MEAN, DEVIATION), (60, 84)).heatmaps
    assert canonical.amax((2, 3)).min() > 0.97
    assert canonical.max() <= 1 + 1e-6
    off = placed(module(kind="gauss", normalization="gridmax"), MEAN + 0.9, DEVIATION)  # outside of the map
    torch.testing.assert_close(rendered(off, (12, 20)).heatmaps.amax((2, 3)), torch.ones(2, 3))
    density = rendered(placed(module(normalization="density"), MEAN, DEVIATION), (60, 84)).heatmaps
    torch.testing.assert_close(density.sum((2, 3)), torch.ones(2, 3), rtol=0.01, atol=0)


@pytest.mark.parametrize("evaluation", ["table", "exact"])
@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_maps_and_gradients_stay_finite(kind, normalization, evaluation):
    """Also for the narrowest and the widest deviation, and for means far outside of the map."""
    part = module(kind=kind, normalization=normalization, evaluation=evaluation, table_size=33)
    extreme = torch.tensor([[0.0, 1e4], [-1e4, 30.0], [3.0, -3.0]])
    with torch.no_grad():
        part.to_deviation.bias.copy_(torch.tensor([-40.0, 40.0, 0.0, -40.0, 40.0, -40.0]))
        part.to_mean.bias.copy_(extreme.flatten() / 1e3)
    features = torch.randn(2, 7, requires_grad=True)
    answer = part(features, torch.rand(2, 3, 8, 12), 2.0, torch.zeros(2, 3, 2))
    assert answer.heatmaps.isfinite().all()
    answer.heatmaps.square().sum().backward()
    for gradient in (features.grad, *(p.grad for p in part.parameters())):
        assert gradient is None or gradient.isfinite().all()


def test_everything_is_float32_under_autocast_and_unchanged_by_it():
    part = module()
    features, backbone = torch.randn(2, 7).bfloat16(), torch.rand(2, 3, 8, 12).bfloat16()
    xy = torch.rand(2, 3, 2) - 0.5
    plain = part(features, backbone, 2.0, xy)
    with torch.autocast("cpu", torch.bfloat16):
        inside = part(features, backbone, 2.0, xy)
    for name in ("mean", "deviation", "heatmaps", "log_likelihood", "flow_log_likelihood"):
        assert getattr(inside, name).dtype == torch.float32
        assert torch.equal(getattr(inside, name), getattr(plain, name))


def test_the_start_is_the_middle_and_the_deviation_asked_for():
    part = module(sigma_init=0.2, sigma_min=0.01, sigma_max=0.7, scale=0.0)
    answer = part(torch.randn(2, 7), torch.zeros(2, 3, 8, 12), 2.0)
    assert answer.mean.abs().max() < 0.05
    torch.testing.assert_close(answer.deviation, torch.full((2, 3, 2), 0.2), atol=0.01, rtol=0)
    with torch.no_grad():
        part.to_deviation.bias.copy_(torch.tensor([-50.0, 50.0] * 3))
    deviation = part(torch.zeros(1, 7), torch.zeros(1, 3, 8, 12), 2.0).deviation
    torch.testing.assert_close(deviation[0, 0], torch.tensor([0.01, 0.7]))


def test_normalized_features_give_a_mean_blind_to_their_length():
    features, backbone = torch.randn(2, 7), torch.zeros(2, 3, 8, 12)
    for normalize in (False, True):
        part = module(normalize_features=normalize)
        short, long = (part(scale * features, backbone, 2.0).mean for scale in (1.0, 9.0))
        assert torch.allclose(short, long) == normalize


@pytest.mark.parametrize("per_keypoint", [False, True])
@pytest.mark.parametrize("kind", ["product", "flow", "mix", "smooth"])
def test_likelihoods_match_the_slow_twin(kind, per_keypoint):
    part = module(2, kind=kind, scale=0.4, table_size=13, flow_layers=2, flow_hidden=3, flow_per_keypoint=per_keypoint)
    placed(part.double(), MEAN[:2].double(), DEVIATION[:2].double())
    xy = torch.tensor([[[0.1, -0.2], [-0.1, 0.05]], [[math.nan, 0.1], [-0.2, 0.1]]], dtype=torch.float64)
    answer = part(torch.zeros(2, 7), torch.zeros(2, 2, 3, 5), 1.5, xy)
    for b in range(2):
        for k in range(2):
            group = k if per_keypoint else 0
            if xy[b, k].isnan().any():
                assert answer.log_likelihood[b, k] == answer.flow_log_likelihood[b, k] == 0
                continue

            def log_flow(x: list[float], group: int = group) -> float:
                return slow.log_flow(part.flow, group, x)

            mean, deviation = MEAN[k].double().tolist(), DEVIATION[k].double().tolist()
            expected = slow_loss.log_likelihood(xy[b, k].tolist(), mean, deviation, log_flow, points=13)
            assert answer.log_likelihood[b, k].item() == pytest.approx(expected)
            residual = [(xy[b, k, a].item() - mean[a]) / deviation[a] for a in range(2)]
            alone = log_flow(residual) - math.log(deviation[0] * deviation[1])
            assert answer.flow_log_likelihood[b, k].item() == pytest.approx(alone)


@pytest.mark.parametrize("kind", ["product", "flow"])
def test_likelihoods_are_densities_of_the_keypoint(kind):
    """Their exponentials integrate to 1 over all places the keypoint might be."""
    part = placed(module(1, kind=kind), MEAN[:1], DEVIATION[:1])
    side = torch.linspace(-0.9, 0.9, 181)
    xy = torch.cartesian_prod(side, side).view(-1, 1, 2)
    with torch.no_grad():
        answer = part(torch.zeros(len(xy), 7), torch.zeros(len(xy), 1, 1, 1), 1.0, xy)
    for likelihood in (answer.log_likelihood, answer.flow_log_likelihood):
        assert likelihood.exp().sum().item() * 0.01**2 == pytest.approx(1.0, abs=0.01)


def test_no_likelihood_without_keypoints_or_without_a_flow():
    xy = torch.zeros(2, 3, 2)
    assert rendered(module(), (8, 12)).log_likelihood is None
    answer = module(kind="gauss")(torch.zeros(2, 7), torch.zeros(2, 3, 8, 12), 2.0, xy)
    assert answer.log_likelihood is None
    assert answer.flow_log_likelihood is None


def test_unlabelled_keypoints_pass_no_gradient():
    part = module()
    xy = torch.full((2, 3, 2), math.nan)
    xy[1, 2] = torch.tensor([0.1, -0.2])
    features = torch.randn(2, 7, requires_grad=True)
    part(features, torch.zeros(2, 3, 8, 12), 2.0, xy).log_likelihood.sum().backward()
    assert features.grad.isfinite().all()
    assert not features.grad[0].any()
    assert features.grad[1].any()
