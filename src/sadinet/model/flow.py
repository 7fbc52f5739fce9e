"""Real NVP: an invertible map of the plane with a tractable density (Dinh et al., ICLR 2017; paper Eq. 4-5)."""

import math

import torch
from torch import Tensor, nn


def standard_normal_log_density(x: Tensor) -> Tensor:
    """``log N(x; 0, I)`` of points ``(..., 2)``."""
    return -0.5 * x.square().sum(-1) - math.log(2 * math.pi)


class GroupedLinear(nn.Module):
    """``groups`` linear layers side by side: ``(groups, N, inputs)`` to ``(groups, N, outputs)``."""

    def __init__(self, groups: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(groups, inputs, outputs))
        self.bias = nn.Parameter(torch.zeros(groups, 1, outputs))
        for weight in self.weight.data:  # near zero: the flow starts as the identity, almost
            nn.init.xavier_uniform_(weight, gain=0.01)

    def forward(self, x: Tensor) -> Tensor:
        return torch.baddbmm(self.bias, x, self.weight)


class Coupling(nn.Module):
    """Scales and shifts one coordinate by functions of the other.

    Args:
        groups: Independent copies.
        hidden: Width of the two functions.
        moved: The coordinate (0 or 1) that changes.
    """

    def __init__(self, groups: int, hidden: int, moved: int) -> None:
        super().__init__()
        self.moved = moved

        def function(last: nn.Module) -> nn.Sequential:
            return nn.Sequential(
                GroupedLinear(groups, 2, hidden),
                nn.LeakyReLU(),
                GroupedLinear(groups, hidden, hidden),
                nn.LeakyReLU(),
                GroupedLinear(groups, hidden, 2),
                last,
            )

        self.log_scale = function(nn.Tanh())
        self.shift = function(nn.Identity())
        keep = torch.ones(2)
        keep[moved] = 0
        self.register_buffer("keep", keep, persistent=False)
        self.keep: Tensor

    def _parameters_at(self, x: Tensor) -> tuple[Tensor, Tensor]:
        kept = x * self.keep
        return self.log_scale(kept) * (1 - self.keep), self.shift(kept) * (1 - self.keep)

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """``(x, log |det dx/dz|)``."""
        log_scale, shift = self._parameters_at(z)
        return z * log_scale.exp() + shift, log_scale.sum(-1)

    def inverse(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """``(z, log |det dz/dx|)``."""
        log_scale, shift = self._parameters_at(x)
        return (x - shift) * (-log_scale).exp(), -log_scale.sum(-1)


class RealNVP(nn.Module):
    """A flow from the standard normal ``z`` to residuals ``x`` in the plane; points are ``(groups, N, 2)``.

    Args:
        layers: Couplings; they move the two coordinates in turn.
        hidden: Width of their functions.
        groups: 1 for a flow shared by all keypoints, K for one each.
    """

    def __init__(self, *, layers: int = 6, hidden: int = 64, groups: int = 1) -> None:
        super().__init__()
        self.groups = groups
        self.couplings = nn.ModuleList(Coupling(groups, hidden, moved=i % 2) for i in range(layers))

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """``(x, log |det dx/dz|)`` with shapes ``(groups, N, 2)`` and ``(groups, N)``."""
        log_det = z.new_zeros(z.shape[:-1])
        for coupling in self.couplings:
            z, step = coupling(z)
            log_det = log_det + step
        return z, log_det

    def inverse(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """``(z, log |det dz/dx|)`` with shapes ``(groups, N, 2)`` and ``(groups, N)``."""
        log_det = x.new_zeros(x.shape[:-1])
        for coupling in reversed(list(self.couplings)):
            x, step = coupling.inverse(x)  # type: ignore[operator]
            log_det = log_det + step
        return x, log_det

    def log_density(self, x: Tensor) -> Tensor:
        """``log G(x)`` ``(groups, N)``."""
        z, log_det = self.inverse(x)
        return standard_normal_log_density(z) + log_det
