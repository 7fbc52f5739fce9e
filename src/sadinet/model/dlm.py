"""The distribution learning module: a vector becomes mean, deviation and, through a flow, a learnable heatmap.

Coordinates are in units ``u`` of the heatmap's side, 0 at its centre: pixel i of w has u = (i + 0.5) / w - 0.5.
Everything here runs in the weights' float32, whatever autocast says: in bfloat16 the peak moves by a tenth of a pixel.
Source: paper Sec. III-D, Eq. 4-5; what the paper leaves open: decision 005.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import DistributionConfig
from .flow import RealNVP, standard_normal_log_density


@dataclass(frozen=True)
class Distribution:
    """The module's answer.

    Attributes:
        mean: ``(B, K, 2)`` [u].
        deviation: ``(B, K, 2)`` [u], positive.
        heatmaps: The learnable heatmaps ``(B, K, h, w)``; larger than the backbone's where the canvas is padded.
        log_likelihood: ``log P(xy)`` ``(B, K)`` per u^2 under the residual form of Eq. 4, where keypoints were given.
        flow_log_likelihood: The same under the flow alone.
    """

    mean: Tensor
    deviation: Tensor
    heatmaps: Tensor
    log_likelihood: Tensor | None = None
    flow_log_likelihood: Tensor | None = None


@dataclass(frozen=True)
class CanonicalDensity:
    """The residual's density on a fixed grid, the same for every picture of a step.

    Attributes:
        ratio: ``log p / N(0, I)^power`` ``(G, n, n)`` on ``[-extent, extent]^2``, rows are y, up to a constant.
        log_mass: ``(G,)`` logarithm of the density's integral.
        log_peak: ``(G,)`` its highest logarithm on the grid.
        mean: ``(G, 2)`` and ``deviation`` ``(G, 2)`` of the density.
    """

    ratio: Tensor
    log_mass: Tensor
    log_peak: Tensor
    mean: Tensor
    deviation: Tensor


EXTENT = 6.0  # deviations covered by the canonical grid; the standard normal beyond holds 2e-9


class DistributionLearning(nn.Module):
    """Mean, deviation and learnable heatmaps from a vector.

    Args:
        inputs: Length of the vector.
        keypoints: K.
        config: See `DistributionConfig`.
    """

    def __init__(self, *, inputs: int, keypoints: int, config: DistributionConfig) -> None:
        super().__init__()
        self.config = config
        self.keypoints = keypoints
        self.to_mean = nn.Linear(inputs, 2 * keypoints)
        self.to_deviation = nn.Linear(inputs, 2 * keypoints)
        share = (config.sigma_init - config.sigma_min) / (config.sigma_max - config.sigma_min)
        for layer, bias in ((self.to_mean, 0.0), (self.to_deviation, math.log(share / (1 - share)))):
            nn.init.xavier_uniform_(layer.weight, gain=0.01)
            nn.init.constant_(layer.bias, bias)
        groups = keypoints if config.flow_per_keypoint else 1
        flow = RealNVP(layers=config.flow_layers, hidden=config.flow_hidden, groups=groups)
        self.flow = None if config.kind == "gauss" else flow
        # A density is tabulated as its ratio to this power of the standard normal: near the identity that is flat, so
        # that interpolation costs little, and the power itself is exact everywhere.
        self._power = 2 if config.kind == "product" else 1
        side = torch.linspace(-EXTENT, EXTENT, config.table_size)
        y, x = torch.meshgrid(side, side, indexing="ij")
        self.register_buffer("grid", torch.stack([x, y], -1), persistent=False)  # (n, n, 2)
        self.grid: Tensor

    def forward(self, features: Tensor, heatmaps: Tensor, sigma: float, xy: Tensor | None = None) -> Distribution:
        """Distributions from ``features`` ``(B, inputs)``.

        Args:
            features: The vector of the spatial fusion module.
            heatmaps: The backbone's ``(B, K, h, w)``: the size wanted, and what ``reweight`` multiplies.
            sigma: Spread of the target Gaussian [heatmap px].
            xy: Labelled keypoints ``(B, K, 2)`` [u], for the likelihoods; NaN where there are none.
        """
        with torch.autocast(features.device.type, enabled=False):
            precise = self.to_mean.weight.dtype
            mean, deviation = self._moments(features.to(precise))
            density = self._canonical()
            learnable = self._render(mean, deviation, density, heatmaps.to(precise), sigma)
            if xy is None or self.flow is None:
                return Distribution(mean, deviation, learnable)
            return Distribution(mean, deviation, learnable, *self._log_likelihoods(mean, deviation, density, xy))

    def moments(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and deviation ``(B, K, 2)`` [u] alone, in float32 whatever autocast says."""
        with torch.autocast(features.device.type, enabled=False):
            return self._moments(features.to(self.to_mean.weight.dtype))

    def _moments(self, features: Tensor) -> tuple[Tensor, Tensor]:
        config = self.config
        if config.normalize_features:
            direction = F.normalize(features, dim=1)
            mean = F.linear(direction, self.to_mean.weight, self.to_mean.bias)
        else:
            mean = self.to_mean(features)
        gate = self.to_deviation(features).sigmoid()
        deviation = config.sigma_min + (config.sigma_max - config.sigma_min) * gate
        return mean.view(-1, self.keypoints, 2), deviation.view(-1, self.keypoints, 2)

    def _canonical(self) -> CanonicalDensity:
        """The density of the residual on the canonical grid, with its integral, peak, mean and deviation."""
        normal = standard_normal_log_density(self.grid)  # (n, n)
        ratio = self._log_ratio(normal)
        flat = (self._power * normal + ratio).flatten(1)  # (G, n*n)
        log_mass = self._log_integral(flat)
        share = flat.softmax(1)[..., None]  # (G, n*n, 1)
        points = self.grid.flatten(0, 1)  # (n*n, 2)
        mean = (share * points).sum(1)
        variance = (share * (points - mean[:, None]).square()).sum(1)
        peak = flat.amax(1)
        if not self.config.standardize:
            mean, variance = torch.zeros_like(mean), torch.ones_like(variance)
        return CanonicalDensity(ratio, log_mass, peak, mean, variance.sqrt())

    def _log_integral(self, log_values: Tensor) -> Tensor:
        """The logarithm of the integral ``(G,)`` of a function given by its logarithm ``(G, n*n)`` on the grid."""
        cell = (2 * EXTENT / (self.config.table_size - 1)) ** 2
        return log_values.logsumexp(1) + math.log(cell)

    def _flow_on_grid(self) -> Tensor:
        """``log G`` ``(G, n, n)`` on the canonical grid."""
        assert self.flow is not None
        n = self.config.table_size
        points = self.grid.view(1, -1, 2).expand(self.flow.groups, -1, 2)
        return self.flow.log_density(points).view(-1, n, n)

    def _log_ratio(self, normal: Tensor) -> Tensor:
        """``log p / N(0, I)^power`` ``(G, n, n)`` on the canonical grid; ``normal`` is log N(0, I)."""
        if self.flow is None:
            return torch.zeros_like(normal)[None]
        if self.config.kind == "smooth":
            return self._smoothed_flow_on_grid() - normal
        return self._ratio_from(self._flow_on_grid(), normal)

    def _ratio_from(self, flow: Tensor, normal: Tensor) -> Tensor:
        if self.config.kind == "mix":
            flow = torch.logaddexp(flow, normal.expand_as(flow)) - math.log(2)
        return flow - normal

    def _smoothed_flow_on_grid(self) -> Tensor:
        """The logarithm ``(G, n, n)`` of the flow's density convolved with the standard normal."""
        n = self.config.table_size
        flow = self._flow_on_grid()
        step = 2 * EXTENT / (n - 1)
        offset = torch.arange(-(n // 2), n // 2 + 1, dtype=flow.dtype, device=flow.device) * step
        kernel = torch.exp(-0.5 * offset.square()) * step / math.sqrt(2 * math.pi)
        density = F.conv2d(flow.exp()[:, None], kernel.view(1, 1, 1, -1), padding=(0, n // 2))
        density = F.conv2d(density, kernel.view(1, 1, -1, 1), padding=(n // 2, 0))[:, 0]
        return density.clamp(min=1e-30).log()

    def _render(
        self, mean: Tensor, deviation: Tensor, density: CanonicalDensity, backbone: Tensor, sigma: float
    ) -> Tensor:
        """The density on the heatmap's pixels, shifted by ``mean`` and scaled by ``deviation`` (Eq. 5)."""
        height, width = backbone.shape[-2:]
        points = _pixel_units(height, width, self.config.padding, mean)  # (H, W, 2), H and W of the canvas
        residual = (points - mean[:, :, None, None]) / deviation[:, :, None, None]  # (B, K, H, W, 2)
        at = residual * density.deviation[:, None, None] + density.mean[:, None, None]
        log_density = self._power * standard_normal_log_density(at) + self._ratio_at(at, density.ratio)
        pixels = deviation * deviation.new_tensor([width, height])
        log_area = (density.deviation.log() - pixels.log()).sum(-1) - density.log_mass  # (B, K)
        kind = self.config.normalization
        if kind == "canonical":
            rendered = (log_density - density.log_peak[:, None, None]).exp()
        elif kind == "gridmax":
            rendered = (log_density - log_density.amax(dim=(2, 3), keepdim=True)).exp()
        else:
            volume = 2 * math.pi * sigma**2 if kind == "mass" else 1.0
            rendered = volume * (log_density + log_area[..., None, None]).exp()
        return backbone * rendered if self.config.reweight else rendered

    def _ratio_at(self, at: Tensor, table: Tensor) -> Tensor:
        """``log p / N^power`` at canonical points ``(B, K, H, W, 2)``: interpolated in the table, or exact."""
        if self.flow is None:
            return at.new_zeros(at.shape[:-1])
        batch, keypoints = at.shape[:2]
        groups = self.flow.groups
        if self.config.evaluation == "exact" and self.config.kind != "smooth":
            points = at.transpose(0, 1).reshape(groups, -1, 2)  # group-major: a flow sees its own keypoint
            flow = self.flow.log_density(points)
            ratio = self._ratio_from(flow, standard_normal_log_density(points))
            return ratio.view(keypoints, batch, *at.shape[2:4]).transpose(0, 1)
        where = (at / EXTENT).transpose(0, 1).reshape(groups, -1, at.shape[3], 2)  # (G, K/G*B*H, W, 2)
        found = F.grid_sample(table[:, None], where, padding_mode="border", align_corners=True)[:, 0]
        return found.view(keypoints, batch, *at.shape[2:4]).transpose(0, 1)

    def _log_likelihoods(
        self, mean: Tensor, deviation: Tensor, density: CanonicalDensity, xy: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Eq. 4 with and without the standard normal, ``(B, K)`` each; 0 where ``xy`` is NaN."""
        assert self.flow is not None
        known = xy.isfinite().all(-1)
        residual = (torch.where(known[..., None], xy, mean.detach()) - mean) / deviation
        points = residual.transpose(0, 1).reshape(self.flow.groups, -1, 2)
        flow = self.flow.log_density(points).view(self.keypoints, -1).T  # (B, K)
        scale = deviation.log().sum(-1)
        normal = standard_normal_log_density(residual)
        log_mass = density.log_mass  # of the product of flow and standard normal, whatever is rendered
        if self.config.kind != "product":
            log_mass = self._log_integral((self._flow_on_grid() + standard_normal_log_density(self.grid)).flatten(1))
        return known * (flow + normal - log_mass - scale), known * (flow - scale)


def _pixel_units(height: int, width: int, padding: float, like: Tensor) -> Tensor:
    """Centres ``(H, W, 2)`` [u] of the pixels of a heatmap and of ``padding`` times its size on every side."""

    def side(length: int) -> Tensor:
        extra = round(length * padding)
        return (torch.arange(-extra, length + extra, dtype=like.dtype, device=like.device) + 0.5) / length - 0.5

    y, x = torch.meshgrid(side(height), side(width), indexing="ij")
    return torch.stack([x, y], -1)
