"""The joint loss (paper Sec. III-E, Eq. 6-8) and the alternatives of its Table V."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import ConfigError
from .config import LIKELIHOODS, LossConfig
from .network import Output
from .targets import gaussian_targets, target_weights


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
        counted = labelled.to(weights.dtype) if config.outside == "absent" else weights
        losses = [_reduced(heatmap_losses(h, target), counted, config) for h in output.stacks]
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
