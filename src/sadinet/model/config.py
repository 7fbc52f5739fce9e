"""Every choice of the network and its loss, as frozen values. Plain Python: reading them needs no PyTorch."""

from dataclasses import dataclass, field
from typing import Literal

from ..errors import ConfigError

STRIDE = 4  # input pixels per heatmap pixel
NORM_EPS = 1e-5  # of all batch norms

Merge = Literal["sum", "concat"]
GatePlace = Literal["pre_add", "post_add", "none"]
GlobalKind = Literal["sum", "level", "none"]
LocalKind = Literal["col", "row", "hw", "chan", "none"]
Upsampling = Literal["nearest", "bilinear"]
DistributionKind = Literal["product", "flow", "mix", "smooth", "gauss"]
Normalization = Literal["mass", "canonical", "gridmax", "density"]
Evaluation = Literal["table", "exact"]
TargetKind = Literal["rounded", "unbiased"]
LossKind = Literal["mse", "mse+mse", "mse+rle", "mse+nll", "rle"]
LIKELIHOODS: tuple[LossKind, ...] = ("mse+rle", "mse+nll", "rle")
"""The kinds for which the network must be told the keypoints."""
DistributionTarget = Literal["truth", "predicted", "predicted-detached", "both"]


@dataclass(frozen=True)
class BackboneConfig:
    """Choices of the hourglass, or of the network that stands in its place for comparison (decision 022).

    Attributes:
        kind: ``"pyramid"``: the paper's hourglass, more channels at coarser levels; ``"classic"``: constant width
            (Newell); ``"hrnet"``: HRNet; ``"simple"``: a residual network with transposed convolutions.
        block: ``"rfm"``, or ``"basic"`` for the paper's baseline; other kinds than ``"pyramid"`` have their own.
        channels: Channels per level, finest first; five levels go one halving deeper. ``"classic"``: the first only;
            ``"simple"``: those inside of the bottlenecks.
        blocks: Units per level; ``"classic"``: the first only; ``"hrnet"``: modules per stage.
        features: Channels in front of the heatmaps; ``"hrnet"``: of its first stage.
        stacks: Hourglasses in a row.
        stem: ``"7x7"`` or ``"3x3"`` (two convolutions); other kinds than ``"pyramid"`` have their own.
        dilation: Rate of the RFM's dilated convolution, one for all or one per level, finest first; 0: no such branch.
        merge: How the RFM's branches meet.
        gate: Place of the RFM's squeeze-excite.
        gate_reduction: Channels per hidden unit of it.
        taps: The side of the hourglass that feeds the spatial fusion module.
    """

    kind: Literal["pyramid", "classic", "hrnet", "simple"] = "pyramid"
    block: Literal["rfm", "basic"] = "rfm"
    channels: tuple[int, ...] = (64, 128, 256, 512)
    blocks: tuple[int, ...] = (2, 2, 2, 4)
    features: int = 256
    stacks: int = 1
    stem: Literal["7x7", "3x3"] = "7x7"
    dilation: tuple[int, ...] = (2,)
    merge: Merge = "sum"
    gate: GatePlace = "pre_add"
    gate_reduction: int = 16
    taps: Literal["decoder", "encoder"] = "decoder"


@dataclass(frozen=True)
class FusionConfig:
    """Choices of the spatial fusion module.

    Attributes:
        attention: Global attention over the resolutions; see `GlobalAttention`.
        residual: Add the taps to its outputs.
        upsampling: How coarse taps reach the finest resolution.
        features: Channels in which the taps are compared.
        local: Axis of the local attention; see `LocalAttention`.
        local_rescale: Keep the mean local weight at 1.
        head: ``"hrnet"``: the classification head; ``"pooled"``: means of the maps (control).
        widths: Channels of the four levels of the head.
        outputs: Length of the vector.
        detach: Stop the gradient at the taps: fusion and distribution then cannot help the backbone (control).
    """

    attention: GlobalKind = "sum"
    residual: bool = False
    upsampling: Upsampling = "nearest"
    features: int = 256
    local: LocalKind = "col"
    local_rescale: bool = True
    head: Literal["hrnet", "pooled"] = "hrnet"
    widths: tuple[int, ...] = (128, 256, 512, 1024)
    outputs: int = 2048
    detach: bool = False


@dataclass(frozen=True)
class DistributionConfig:
    """Choices of the distribution learning module.

    Attributes:
        kind: The density of the residual ``(x - mean) / deviation``, up to a constant: ``"product"`` of the standard
            normal and the flow's density (RLE's residual form), the ``"flow"`` alone, the ``"mix"`` (mean) of both,
            ``"smooth"``: the flow's density convolved with the standard normal, ``"gauss"``: no flow (control).
        normalization: Height of the learnable heatmap: ``"mass"``: volume of the target Gaussian; ``"canonical"``:
            peak of the density 1; ``"gridmax"``: highest pixel 1; ``"density"``: volume 1.
        standardize: Shift and scale the density so that mean and deviation are the distribution's own.
        reweight: Multiply the backbone's heatmap by the density instead of replacing it.
        evaluation: The flow at every pixel (``"exact"``, slow) or from a table on a canonical grid; ``"smooth"``
            densities always come from the table.
        table_size: Points per side of that grid.
        padding: Evaluate on a canvas enlarged by this share of the side on each side.
        normalize_features: Divide the vector by its length in the layer of the mean (RLE's normalised linear layer).
        sigma_min: Smallest deviation [u].
        sigma_max: Largest deviation [u].
        sigma_init: Deviation at the start of training [u].
        flow_layers: Couplings of the flow.
        flow_hidden: Width of their functions.
        flow_per_keypoint: One flow per keypoint instead of one for all.
    """

    kind: DistributionKind = "product"
    normalization: Normalization = "mass"
    standardize: bool = True
    reweight: bool = False
    evaluation: Evaluation = "table"
    table_size: int = 129
    padding: float = 0.0
    normalize_features: bool = False
    sigma_min: float = 0.5 / 64
    sigma_max: float = 1.0
    sigma_init: float = 0.125
    flow_layers: int = 6
    flow_hidden: int = 64
    flow_per_keypoint: bool = False


@dataclass(frozen=True)
class NetworkConfig:
    """Everything that decides the network's shape.

    Attributes:
        keypoints: K.
        input_size: Side of the square input it is trained for [px].
        backbone: The hourglass.
        learn_distribution: Have the training-only parts, spatial fusion and distribution learning.
        fusion: The spatial fusion module.
        distribution: The distribution learning module.
        answer: What the prediction is: the backbone's ``"heatmaps"``, or the distribution's ``"mean"`` (regression, as
            in RLE; decision 022), for which spatial fusion and distribution learning are no training-only parts.
    """

    keypoints: int = 16
    input_size: int = 256
    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    learn_distribution: bool = True
    fusion: FusionConfig = field(default_factory=FusionConfig)
    distribution: DistributionConfig = field(default_factory=DistributionConfig)
    answer: Literal["heatmaps", "mean"] = "heatmaps"

    @property
    def size_multiple(self) -> int:
        """Input sides must be a multiple of this [px]."""
        depth = 4 if self.backbone.kind == "classic" else len(self.backbone.channels) - 1
        return STRIDE << depth

    def __post_init__(self) -> None:
        backbone, fusion, distribution = self.backbone, self.fusion, self.distribution
        levels = len(backbone.channels)
        for name, least, values in (
            ("keypoints", 1, (self.keypoints,)),
            ("backbone.channels", 4 if backbone.kind == "classic" else 1, backbone.channels),
            ("backbone.blocks", 1, backbone.blocks),
            ("backbone.features", 1, (backbone.features,)),
            ("backbone.stacks", 1, (backbone.stacks,)),
            ("backbone.gate_reduction", 1, (backbone.gate_reduction,)),
            ("fusion.features", 1, (fusion.features,)),
            ("fusion.widths", 4, fusion.widths),
            ("fusion.outputs", 1, (fusion.outputs,)),
            ("distribution.table_size", 3, (distribution.table_size,)),
            ("distribution.flow_layers", 1, (distribution.flow_layers,)),
            ("distribution.flow_hidden", 1, (distribution.flow_hidden,)),
        ):
            if not values or min(values) < least:
                shown = values if len(values) != 1 else values[0]
                raise ConfigError(f"{name}={shown}: give numbers of at least {least}")
        if len(fusion.widths) != 4:
            raise ConfigError(f"fusion.widths={fusion.widths}: give 4 numbers, one per resolution")
        if distribution.padding < 0:
            raise ConfigError(f"distribution.padding={distribution.padding}: give a share of the side, 0 or more")
        if backbone.kind == "pyramid":
            if levels not in (4, 5):
                raise ConfigError(f"backbone.channels={backbone.channels}: give 4 levels, or 5 for one halving more")
            if len(backbone.blocks) != levels:
                raise ConfigError(f"backbone.blocks={backbone.blocks}: give {levels} numbers, one per level")
            if len(backbone.dilation) not in (1, levels) or min(backbone.dilation) < 0:
                raise ConfigError(f"backbone.dilation={backbone.dilation}: give one rate, or {levels}, 0 for none")
        if backbone.kind in ("hrnet", "simple"):
            if levels != 4 or len(backbone.blocks) != 4:
                raise ConfigError(
                    f"backbone.kind={backbone.kind}: give 4 numbers for channels and blocks, one per stage"
                )
            if backbone.stacks != 1:
                raise ConfigError(f"backbone.kind={backbone.kind} cannot be stacked: give backbone.stacks=1")
        if backbone.kind == "hrnet" and (backbone.taps == "encoder" or backbone.features < 4):
            raise ConfigError(
                "backbone.kind=hrnet needs features >= 4, and has no way down: give backbone.taps=decoder"
            )
        if self.input_size < 1 or self.input_size % self.size_multiple:
            raise ConfigError(
                f"input_size={self.input_size}: give a positive multiple of {self.size_multiple}, "
                f"by which {'this hourglass' if backbone.kind in ('pyramid', 'classic') else 'this network'} halves"
            )
        if self.answer == "mean" and not self.learn_distribution:
            raise ConfigError("answer=mean is regressed by the distribution: it needs learn_distribution=true")
        if distribution.padding and distribution.reweight:
            raise ConfigError("distribution.reweight multiplies the backbone's heatmap, which has no padding: drop one")
        if not 0 < distribution.sigma_min < distribution.sigma_init < distribution.sigma_max:
            raise ConfigError("distribution: sigma_min < sigma_init < sigma_max must hold, all positive")


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
        outside: Labelled keypoints beyond the window: ``"ignored"``, or ``"absent"``: their heatmaps are to be empty,
            so that a half body's other half gets low scores. Not in the paper.
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
    outside: Literal["ignored", "absent"] = "ignored"

    def __post_init__(self) -> None:
        if self.hard_keypoints < 0 or not 0 <= self.trim < 1:
            raise ConfigError("loss: hard_keypoints >= 0 and 0 <= trim < 1 must hold")
        if self.sigma <= 0 or self.alpha < 0 or self.coordinate_weight < 0 or (self.convex and self.alpha > 1):
            raise ConfigError("loss: sigma > 0, alpha >= 0 (<= 1 if convex) and coordinate_weight >= 0 must hold")
