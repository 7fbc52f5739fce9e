"""Losses: numbers by hand, slow twins, silence about unlabelled keypoints, and every option."""

import math
from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from sadinet.errors import ConfigError
from sadinet.model.config import DistributionTarget, LossConfig
from sadinet.model.dlm import Distribution
from sadinet.model.loss import from_units, heatmap_losses, joint_loss, to_units
from sadinet.model.network import Output
from sadinet.model.targets import gaussian_targets, target_weights

from ..reference import loss as slow

SIZE = (4, 6)  # (h, w)
NAN = math.nan


def output(**changes: Any) -> Output:
    """Random maps of 2 persons, 3 keypoints and 2 stacks."""
    generator = torch.Generator().manual_seed(3)

    def random(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator).requires_grad_()

    stacks = [random(2, 3, *SIZE), random(2, 3, *SIZE)]
    parts: dict[str, Any] = {
        "mean": random(2, 3, 2),
        "deviation": random(2, 3, 2),
        "heatmaps": random(2, 3, *SIZE),
        "log_likelihood": random(2, 3),
        "flow_log_likelihood": random(2, 3),
    } | changes
    return Output(stacks[-1], stacks, Distribution(**parts))


XY = torch.tensor([[[1.2, 2.0], [NAN, NAN], [4.0, 0.4]], [[3.0, 3.0], [0.0, 1.6], [60.0, 2.0]]])
LABELLED = torch.tensor([[True, False, True], [True, False, True]])
WEIGHTS = torch.tensor([[1.0, 0.0, 1.0], [1.0, 0.0, 0.0]])  # the last keypoint lies too far outside


def target(sigma: float = 1.0) -> Tensor:
    return gaussian_targets(XY, SIZE, sigma=sigma)


def test_half_the_mean_squared_error_by_hand():
    heatmaps, true = torch.zeros(1, 2, 1, 4), torch.zeros(1, 2, 1, 4)
    heatmaps[0, 0, 0], true[0, 1, 0, 3] = torch.tensor([0.0, 1.0, 2.0, 0.0]), 3.0
    torch.testing.assert_close(heatmap_losses(heatmaps, true), torch.tensor([[0.625, 1.125]]))  # 5 / 8, 9 / 8


@pytest.mark.parametrize("sigma", [0.5, 1.0])
def test_the_joint_loss_is_eq_8(sigma):
    out, config = output(), LossConfig(sigma=sigma, alpha=0.7)
    terms = joint_loss(out, XY, LABELLED, config)
    weights = target_weights(XY, LABELLED, SIZE, sigma=sigma)
    assert torch.equal(weights, WEIGHTS)
    true = target(sigma).tolist()
    stacks = [slow.heatmap_loss(h.tolist(), true, weights.tolist()) for h in out.stacks]
    learned = slow.heatmap_loss(out.distribution.heatmaps.tolist(), true, weights.tolist())
    assert set(terms) == {"heatmaps", "distribution", "total"}
    assert terms["heatmaps"].item() == pytest.approx(sum(stacks))
    assert terms["distribution"].item() == pytest.approx(learned)
    assert terms["total"].item() == pytest.approx(sum(stacks) + 0.7 * learned)


def test_the_gradient_by_hand():
    """``w (H - T) / (B K h w)`` for every pixel."""
    out = output()
    joint_loss(out, XY, LABELLED, LossConfig(sigma=1.0, alpha=0.5))["total"].backward()
    expected = WEIGHTS[..., None, None] * (out.heatmaps - target()) / (2 * 3 * 4 * 6)
    torch.testing.assert_close(out.heatmaps.grad, expected)
    learned = out.distribution.heatmaps
    torch.testing.assert_close(learned.grad, 0.5 * WEIGHTS[..., None, None] * (learned - target()) / (2 * 3 * 4 * 6))


def test_alpha_and_its_convex_form():
    def totals(**choices: Any) -> tuple[float, float, float]:
        terms = joint_loss(output(), XY, LABELLED, LossConfig(sigma=1.0, **choices))
        return terms["heatmaps"].item(), terms.get("distribution", torch.tensor(NAN)).item(), terms["total"].item()

    a, b, total = totals(alpha=0.25, convex=True)
    assert total == pytest.approx(0.75 * a + 0.25 * b)
    a, b, total = totals(alpha=0.0)
    assert total == pytest.approx(a)
    a, _, total = totals(kind="mse")
    assert total == pytest.approx(a)
    a, _, total = totals(kind="mse", alpha=1.0, convex=True)  # there is no second term to give the weight to
    assert total == pytest.approx(a)


def test_the_mse_alone_leaves_the_distribution_without_gradient():
    out = output()
    terms = joint_loss(out, XY, LABELLED, LossConfig(kind="mse"))
    terms["total"].backward()
    assert set(terms) == {"heatmaps", "total"}
    assert all(h.grad.any() for h in out.stacks)
    assert out.distribution.heatmaps.grad is None


@pytest.mark.parametrize("choice", get_args(DistributionTarget))
def test_what_the_learnable_heatmaps_are_compared_with(choice):
    out = output()
    config = LossConfig(sigma=1.0, distribution_target=choice)
    terms = joint_loss(out, XY, LABELLED, config)
    terms["distribution"].backward()
    learned, predicted, weights = out.distribution.heatmaps.tolist(), out.heatmaps.tolist(), WEIGHTS.tolist()
    against_truth = slow.heatmap_loss(learned, target().tolist(), weights)
    against_predicted = slow.heatmap_loss(learned, predicted, weights)
    expected = {
        "truth": against_truth,
        "predicted": against_predicted,
        "predicted-detached": against_predicted,
        "both": (against_truth + against_predicted) / 2,
    }[choice]
    assert terms["distribution"].item() == pytest.approx(expected)
    assert out.distribution.heatmaps.grad.any()
    reaches = out.heatmaps.grad is not None and bool(out.heatmaps.grad.any())
    assert reaches == (choice in ("predicted", "both"))
    if choice == "predicted":  # pulled towards each other
        torch.testing.assert_close(out.heatmaps.grad, -out.distribution.heatmaps.grad)


@pytest.mark.parametrize(
    "choices",
    [
        {},
        {"distribution_target": "both"},
        {"kind": "mse+rle"},
        {"kind": "mse+nll"},
        {"coordinate_weight": 0.3},
        {"target": "unbiased"},
    ],
)
def test_unlabelled_keypoints_say_nothing(choices):
    """Whatever stands in for their coordinates, loss and gradients are the same, finite, and 0 for their maps."""
    found = []
    for filler in (NAN, 2.0, -1e6):
        out, xy = output(), torch.where(LABELLED[..., None], XY, filler)
        total = joint_loss(out, xy, LABELLED, LossConfig(sigma=1.0, **choices))["total"]
        total.backward()
        parts = [out.heatmaps, *(getattr(out.distribution, n) for n in ("mean", "heatmaps", "log_likelihood"))]
        gradients = [p.grad for p in parts if p.grad is not None]
        assert len(gradients) > 1 or choices.get("kind") == "mse+nll"
        for gradient in gradients:
            assert gradient.isfinite().all()
            assert not gradient[~WEIGHTS.bool()].any()
        found.append([total, *gradients])
    for other in found[1:]:
        torch.testing.assert_close(other, found[0])


def test_keypoints_beyond_the_window_may_count_as_absent():
    """The last keypoint lies far outside: ignored, or its heatmaps are to be empty."""
    ignored, absent = output(), output()
    before = joint_loss(ignored, XY, LABELLED, LossConfig(kind="mse", sigma=1))["total"]
    after = joint_loss(absent, XY, LABELLED, LossConfig(kind="mse", sigma=1, outside="absent"))["total"]
    more = sum(0.5 * h[1, 2].square().mean() for h in absent.stacks) / 6  # of 2 persons and 3 keypoints
    torch.testing.assert_close(after, before + more)
    before.backward()
    after.backward()
    assert not ignored.heatmaps.grad[1, 2].any()
    assert absent.heatmaps.grad[1, 2].all()
    assert not absent.heatmaps.grad[:, 1].any()  # not labelled: nothing is known of it
    torch.testing.assert_close(absent.heatmaps.grad[0], ignored.heatmaps.grad[0])
    terms = [
        joint_loss(output(), XY, LABELLED, LossConfig(sigma=1, outside=outside))["distribution"]
        for outside in ("ignored", "absent")
    ]
    torch.testing.assert_close(*terms)  # the learnable heatmaps stay out of it


def test_nothing_labelled_is_a_loss_of_zero():
    for kind in ("mse", "mse+mse", "mse+rle"):
        out = output()
        config = LossConfig(kind=kind, coordinate_weight=1.0)
        total = joint_loss(out, torch.full_like(XY, NAN), torch.zeros_like(LABELLED), config)["total"]
        total.backward()
        assert total == 0
        assert not out.heatmaps.grad.any()


@pytest.mark.parametrize(("kind", "name"), [("mse+rle", "log_likelihood"), ("mse+nll", "flow_log_likelihood")])
def test_likelihoods_are_negated_and_averaged(kind, name):
    out = output()
    terms = joint_loss(out, XY, LABELLED, LossConfig(kind=kind, sigma=1.0, alpha=0.1))
    expected = -(getattr(out.distribution, name) * WEIGHTS).sum() / 6
    torch.testing.assert_close(terms["distribution"], expected)
    torch.testing.assert_close(terms["total"], terms["heatmaps"] + 0.1 * expected)


def test_the_coordinate_term_is_a_smooth_l1_in_units():
    mean = to_units(XY, SIZE).nan_to_num()
    mean[0, 0] += torch.tensor([0.02, -0.2])  # quadratic below 0.05: 0.5 * 0.02^2 / 0.05; beyond 0.2 - 0.025
    mean[0, 1] += 5.0  # not labelled
    terms = joint_loss(output(mean=mean), XY, LABELLED, LossConfig(sigma=1.0, coordinate_weight=2.0))
    assert terms["coordinates"].item() == pytest.approx((0.004 + 0.175) / (2 * 3 * 2))
    torch.testing.assert_close(terms["total"], terms["heatmaps"] + terms["distribution"] + 2 * terms["coordinates"])


def test_a_padded_canvas_is_compared_with_a_padded_target():
    """The target of a padded canvas is the same Gaussian on more pixels: 1 more above and below, 2 left and right."""
    wide = gaussian_targets(XY + torch.tensor([2.0, 1.0]), (6, 10), sigma=1.0)
    torch.testing.assert_close(wide[:, :, 1:-1, 2:-2], target())
    out = output(heatmaps=wide)
    assert joint_loss(out, XY, LABELLED, LossConfig(sigma=1.0))["distribution"] == 0
    for choice in ("predicted", "predicted-detached", "both"):
        with pytest.raises(ConfigError, match="distribution_target=truth"):
            joint_loss(out, XY, LABELLED, LossConfig(distribution_target=choice))


@pytest.mark.parametrize("kind", ["mse+mse", "mse+rle", "mse+nll"])
def test_a_network_without_distribution_is_told_so(kind):
    out = output()
    alone = Output(out.heatmaps, out.stacks)
    with pytest.raises(ConfigError, match="learn_distribution"):
        joint_loss(alone, XY, LABELLED, LossConfig(kind=kind))
    with pytest.raises(ConfigError, match="learn_distribution"):
        joint_loss(alone, XY, LABELLED, LossConfig(kind="mse", coordinate_weight=0.1))
    if kind != "mse+mse":
        without_flow = output(log_likelihood=None, flow_log_likelihood=None)
        with pytest.raises(ConfigError, match="gauss"):
            joint_loss(without_flow, XY, LABELLED, LossConfig(kind=kind))


@pytest.mark.parametrize(
    "choices", [{"sigma": 0.0}, {"alpha": -0.1}, {"alpha": 1.5, "convex": True}, {"coordinate_weight": -1.0}]
)
def test_senseless_weights_are_refused(choices):
    with pytest.raises(ConfigError, match="must hold"):
        LossConfig(**choices)


def test_low_precision_heatmaps_are_compared_in_float32():
    out = output()
    low = Output(out.heatmaps.bfloat16(), [h.bfloat16() for h in out.stacks], out.distribution)
    assert joint_loss(low, XY, LABELLED, LossConfig())["total"].dtype == torch.float32


def test_units_and_back():
    size = (40, 64)
    xy = torch.tensor([[[0.0, 0.0], [63.0, 39.0], [31.5, 19.5], [-0.5, 39.5], [NAN, 3.0]]])
    u = to_units(xy, size)
    torch.testing.assert_close(u[0, 2], torch.zeros(2))
    torch.testing.assert_close(u[0, 3], torch.tensor([-0.5, 0.5]))
    torch.testing.assert_close(u[0, 0], torch.tensor([0.5 / 64 - 0.5, 0.5 / 40 - 0.5]))
    torch.testing.assert_close(from_units(u, size), xy, equal_nan=True, atol=1e-5, rtol=0)
