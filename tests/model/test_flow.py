"""Real NVP: an inverse that is one, a log-determinant that is the Jacobian's, a density that is one."""

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal

from sadinet.model.flow import GroupedLinear, RealNVP, standard_normal_log_density


def perturbed(layers: int = 6, hidden: int = 7, groups: int = 1, scale: float = 0.3) -> RealNVP:
    """A flow that is far from the identity, in float64."""
    generator = torch.Generator().manual_seed(4)
    flow = RealNVP(layers=layers, hidden=hidden, groups=groups).double()
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter += scale * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    return flow


def points(groups: int, count: int) -> Tensor:
    return 2 * torch.randn(groups, count, 2, generator=torch.Generator().manual_seed(9), dtype=torch.float64)


@pytest.mark.parametrize(("layers", "groups"), [(1, 1), (2, 1), (5, 3), (6, 1)])
def test_inverse_and_forward_undo_each_other(layers, groups):
    flow, x = perturbed(layers, groups=groups), points(groups, 11)
    z, back = flow.inverse(x)
    again, there = flow(z)
    assert (z - x).abs().max() > 0.1
    torch.testing.assert_close(again, x)
    torch.testing.assert_close(there, -back)
    assert there.shape == (groups, 11)


@pytest.mark.parametrize("direction", ["forward", "inverse"])
def test_the_log_determinant_is_the_jacobians(direction):
    flow = perturbed()
    at = points(1, 6)
    function = flow if direction == "forward" else flow.inverse
    _, log_det = function(at)
    for i in range(6):
        jacobian = torch.autograd.functional.jacobian(lambda p: function(p.view(1, 1, 2))[0].view(2), at[0, i])
        torch.testing.assert_close(log_det[0, i], jacobian.det().abs().log())


@pytest.mark.parametrize("scale", [0.0, 0.15, 0.3])
def test_the_density_integrates_to_one(scale):
    flow = perturbed(groups=2, scale=scale)
    side = torch.linspace(-16, 16, 401, dtype=torch.float64)
    grid = torch.cartesian_prod(side, side).expand(2, -1, 2)
    with torch.no_grad():
        mass = flow.log_density(grid).exp().sum(1) * (32 / 400) ** 2
    torch.testing.assert_close(mass, torch.ones(2, dtype=torch.float64), atol=1e-3, rtol=0)


def test_samples_follow_the_density():
    flow = perturbed(scale=0.15)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        x, _ = flow(torch.randn(1, 20000, 2, generator=generator, dtype=torch.float64))
        side = torch.linspace(-9, 9, 181, dtype=torch.float64)
        grid = torch.cartesian_prod(side, side)[None]
        share = flow.log_density(grid).exp() * 0.1**2
    torch.testing.assert_close(x.mean((0, 1)), (share[..., None] * grid).sum((0, 1)), atol=0.05, rtol=0)


def test_a_new_flow_is_almost_the_identity():
    torch.manual_seed(0)
    flow = RealNVP()
    x = points(1, 50).float()
    torch.testing.assert_close(flow(x)[0], x, atol=1e-4, rtol=0)
    torch.testing.assert_close(flow.log_density(x), standard_normal_log_density(x), atol=1e-3, rtol=0)
    assert not torch.equal(flow(x)[0], x)


def test_couplings_move_the_coordinates_in_turn():
    flow, x = perturbed(layers=3), points(1, 5)
    for index, coupling in enumerate(flow.couplings):
        y, _ = coupling(x)
        assert torch.equal(y[..., 1 - index % 2], x[..., 1 - index % 2])
        assert not torch.equal(y[..., index % 2], x[..., index % 2])


def test_a_group_depends_on_its_own_weights_and_points_only():
    flow, x = perturbed(groups=3), points(3, 8)
    before = flow.log_density(x)
    with torch.no_grad():
        flow.couplings[1].shift[0].weight[2] += 0.5
    x[0] += 1.0
    after = flow.log_density(x)
    changed = (before != after).any(1)
    assert changed.tolist() == [True, False, True]


def test_grouped_linear_is_linear_layers_side_by_side():
    layer, x = GroupedLinear(3, 2, 5), torch.randn(3, 7, 2)
    y = layer(x)
    assert y.shape == (3, 7, 5)
    for g in range(3):
        torch.testing.assert_close(y[g], x[g] @ layer.weight[g] + layer.bias[g])


def test_the_standard_normal_is_torchs():
    x = points(2, 6)
    expected = Normal(0.0, 1.0).log_prob(x).sum(-1)
    torch.testing.assert_close(standard_normal_log_density(x), expected)
    assert standard_normal_log_density(torch.zeros(2)) == pytest.approx(-math.log(2 * math.pi))
