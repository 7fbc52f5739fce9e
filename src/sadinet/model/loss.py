"""The joint loss (paper Sec. III-E, Eq. 6-8) and the alternatives of its Table V."""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import ConfigError
from ..heatmaps import TargetKind, gaussian_targets, target_weights
from .network import Output

LossKind = Literal["mse", "mse+mse", "mse+rle", "mse+nll", "rle"]
LIKELIHOODS: tuple[LossKind, ...] = ("mse+rle", "mse+nll", "rle")
"""The kinds for which the network must be told the keypoints."""
DistributionTarget = Literal["truth", "predicted", "predicted-detached", "both"]


@dataclass(frozen=True)
class LossConfig:
    """Choices of the loss.

    Attributes:
        kind: ``"mse"``: the backbone's heatmaps only (Eq. 6); ``"mse+mse"``: the learnable heatmaps too (Eq. 8);
            ``"mse+rle"`` and ``"mse+nll"``: the negative log-likelihood of Eq. 4 with and without the standard normal;
            ``"rle"``: that of Eq. 4 alone, without heatmaps, for networks whose answer is the mean.
        sigma: Spread of the target Gaussians [heatmap px].
        target: How they are drawn; see `gaussian_targets`.
        alpha: Weight of the second term.
        convex: Weigh the first term by ``1 - alpha``.
        distribution_target: What the learnable heatmaps are compared with: the target, the backbone's heatmaps (with
            or without gradient into them), or the mean of target and heatmaps' losses.
        coordinate_weight: Weight of a smooth L1 loss between mean and keypoint; not in the paper.
        hard_keypoints: Only this many keypoints of each person count in the heatmap loss, those with the largest
            (online hard keypoint mining, Chen et al., CVPR 2018); 0: all. Not in the paper.
        trim: Share of a batch's keypoints left out of the heatmap loss, those with the largest: wrong labels are
            among them. Not in the paper.
    """

    kind: LossKind = "mse+mse"
    sigma: float = 2.0
    target: TargetKind = "rounded"
    alpha: float = 1.0
    convex: bool = False
    distribution_target: DistributionTarget = "truth"
    coordinate_weight: float = 0.0
    hard_keypoints: int = 0
    trim: float = 0.0

    def __post_init__(self) -> None:
        if self.hard_keypoints < 0 or not 0 <= self.trim < 1:
            raise ConfigError("loss: hard_keypoints >= 0 and 0 <= trim < 1 must hold")
        if self.sigma <= 0 or self.alpha < 0 or self.coordinate_weight < 0 or (self.convex and self.alpha > 1):
            raise ConfigError("loss: sigma > 0, alpha >= 0 (<= 1 if convex) and coordinate_weight >= 0 must hold")


def heatmap_losses(heatmaps: Tensor, target: Tensor) -> Tensor:
    """Half the mean squared error per keypoint: ``(B, K)`` for maps ``(B, K, h, w)`` (Eq. 6 before its mean)."""
    return 0.5 * (heatmaps.float() - target).square().mean(dim=(2, 3))


def joint_loss(output: Output, xy: Tensor, labelled: Tensor, config: LossConfig) -> dict[str, Tensor]:
    """Named terms of the loss; ``"total"`` is the one to minimise.

    Args:
        output: The network's.
        xy: Keypoints ``(B, K, 2)`` [heatmap px]; anything where not labelled.
        labelled: ``(B, K)`` bool.
        config: Which terms, how weighted.

    Returns:
        Scalars: ``"heatmaps"`` (L_RFM summed over stacks; not for ``"rle"``), ``"distribution"`` (L_DLM, or the
        likelihood's), optionally ``"coordinates"``, and ``"total"``.
    """
    size = (output.heatmaps.shape[-2], output.heatmaps.shape[-1])
    target = gaussian_targets(xy, size, sigma=config.sigma, kind=config.target)
    weights = target_weights(xy, labelled, size, sigma=config.sigma)
    terms: dict[str, Tensor] = {}
    total = target.new_zeros(())
    if config.kind != "rle":
        losses = [_reduced(heatmap_losses(h, target), weights, config) for h in output.stacks]
        total = terms["heatmaps"] = torch.stack(losses).sum()
    distribution = output.distribution
    if config.kind != "mse":
        if distribution is None:
            raise ConfigError(f"loss.kind={config.kind!r} needs network.learn_distribution=true, or choose 'mse'")
        terms["distribution"] = _distribution_loss(output, xy, target, weights, config)
        total = total * (1 - config.alpha if config.convex else 1.0) + config.alpha * terms["distribution"]
    if config.coordinate_weight:
        if distribution is None:
            raise ConfigError("loss.coordinate_weight needs network.learn_distribution=true, or choose 0")
        known = weights[..., None] * torch.ones_like(xy)
        error = F.smooth_l1_loss(distribution.mean, to_units(xy, size).nan_to_num(), beta=0.05, reduction="none")
        terms["coordinates"] = (error * known).mean()
        total = total + config.coordinate_weight * terms["coordinates"]
    return terms | {"total": total}


def _reduced(losses: Tensor, weights: Tensor, config: LossConfig) -> Tensor:
    """The mean of ``losses`` ``(B, K)`` where ``weights`` count, after leaving out what `LossConfig` says."""
    losses = losses * weights
    if config.trim:
        kept = losses.detach() <= torch.quantile(losses.detach()[weights > 0].float(), 1 - config.trim)
        losses = losses * kept
    if config.hard_keypoints:
        losses = losses.topk(min(config.hard_keypoints, losses.shape[1]), dim=1).values
    return losses.mean()


def _distribution_loss(output: Output, xy: Tensor, target: Tensor, weights: Tensor, config: LossConfig) -> Tensor:
    distribution = output.distribution
    assert distribution is not None
    if config.kind in LIKELIHOODS:
        likelihood = distribution.flow_log_likelihood if config.kind == "mse+nll" else distribution.log_likelihood
        if likelihood is None:
            raise ConfigError(f"loss.kind={config.kind!r} needs a flow: distribution.kind must not be 'gauss'")
        return -(likelihood * weights).mean()
    learnable = distribution.heatmaps
    predicted = output.heatmaps.float()
    extra = [(b - s) // 2 for b, s in zip(learnable.shape[-2:], target.shape[-2:], strict=True)]
    if any(extra):
        if config.distribution_target != "truth":
            raise ConfigError("a padded canvas has no predicted heatmap: use loss.distribution_target=truth")
        shift = xy.new_tensor(extra[::-1])
        canvas = (learnable.shape[-2], learnable.shape[-1])
        target = gaussian_targets(xy + shift, canvas, sigma=config.sigma, kind=config.target)
    match config.distribution_target:
        case "truth":
            losses = heatmap_losses(learnable, target)
        case "predicted":
            losses = heatmap_losses(learnable, predicted)
        case "predicted-detached":
            losses = heatmap_losses(learnable, predicted.detach())
        case "both":
            losses = (heatmap_losses(learnable, target) + heatmap_losses(learnable, predicted)) / 2
    return (losses * weights).mean()


def to_units(xy: Tensor, size: tuple[int, int]) -> Tensor:
    """Keypoints [heatmap px] in units of the heatmap's side, 0 at its centre; ``size`` is (h, w)."""
    height, width = size
    return (xy + 0.5) / xy.new_tensor([width, height]) - 0.5


def from_units(u: Tensor, size: tuple[int, int]) -> Tensor:
    """The inverse of `to_units`."""
    height, width = size
    return (u + 0.5) * u.new_tensor([width, height]) - 0.5
