"""SADI-Net: hourglass, spatial fusion and distribution learning in one network (paper Fig. 2)."""

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from ..errors import ConfigError
from .blocks import BasicBlock, Unit
from .classic import ClassicHourglass
from .dlm import Distribution, DistributionConfig, DistributionLearning
from .hourglass import BackboneOutput, Hourglass
from .hrnet import HRNet
from .rfm import GatePlace, Merge, ReceptiveFortifiedUnit
from .sfm import ClassificationHead, GlobalAttention, GlobalKind, LocalKind, PooledHead, Upsampling
from .simple import SimpleBaseline

STRIDE = 4  # input pixels per heatmap pixel
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


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
class Output:
    """The network's answer, the same in training and evaluation.

    Attributes:
        heatmaps: The prediction ``(B, K, h, w)``.
        stacks: Heatmaps of all stacks, the prediction last.
        distribution: The learnable heatmaps and their parameters; None in a network without those parts.
    """

    heatmaps: Tensor
    stacks: list[Tensor]
    distribution: Distribution | None = None


class SadiNet(nn.Module):
    """The network. Pictures are RGB in [0, 1], ``(B, 3, H, W)``; normalisation is inside.

    Args:
        config: Its shape.
        sigma: Spread of the target Gaussians [heatmap px]: the learnable heatmaps get their volume.
    """

    def __init__(self, config: NetworkConfig, *, sigma: float = 2.0) -> None:
        super().__init__()
        self.config = config
        self.sigma = sigma
        for name, values in (("image_mean", IMAGENET_MEAN), ("image_std", IMAGENET_STD)):
            self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1), persistent=False)
        self.image_mean: Tensor
        self.image_std: Tensor
        self.backbone = _backbone(config.backbone, config.keypoints)
        self.attention: nn.Module | None = None
        self.head: nn.Module | None = None
        self.distribution: DistributionLearning | None = None
        self.backbone.apply(_initialize)  # first, so that one seed gives one backbone with and without the other parts
        self.backbone.initialize_heads()
        if config.learn_distribution:
            self._add_training_parts(config)

    def _add_training_parts(self, config: NetworkConfig) -> None:
        fusion, channels = config.fusion, self.backbone.tap_channels
        if fusion.attention != "none":
            self.attention = GlobalAttention(
                channels,
                features=fusion.features,
                kind=fusion.attention,
                residual=fusion.residual,
                upsampling=fusion.upsampling,
            )
        if fusion.head == "hrnet":
            self.head = ClassificationHead(
                channels,
                widths=fusion.widths,
                outputs=fusion.outputs,
                local=fusion.local,
                rescale=fusion.local_rescale,
            )
        else:
            self.head = PooledHead(channels, outputs=fusion.outputs)
        self.distribution = DistributionLearning(
            inputs=fusion.outputs, keypoints=config.keypoints, config=config.distribution
        )
        for part in (self.attention, self.head):
            if part is not None:
                part.apply(_initialize)

    def drop_training_parts(self) -> None:
        """Keep what prediction needs: the hourglass, or everything where the mean is the answer."""
        if self.config.answer == "mean":
            return
        self.attention = self.head = self.distribution = None

    def forward(self, images: Tensor, xy: Tensor | None = None) -> Output:
        """Heatmaps of ``images``.

        Args:
            images: RGB in [0, 1], ``(B, 3, H, W)``, sides multiples of ``config.size_multiple``.
            xy: Labelled keypoints ``(B, K, 2)`` in units of the heatmap's side (see `sadinet.model.dlm`), only for
                losses that need the likelihood.
        """
        answer = self.backbone(self._normalized(images))
        heatmaps = answer.heatmaps[-1]
        if self.distribution is None or self.head is None:
            return Output(heatmaps, answer.heatmaps)
        features = self._features(self.head, answer)
        return Output(heatmaps, answer.heatmaps, self.distribution(features, heatmaps, self.sigma, xy))

    def _features(self, head: nn.Module, answer: BackboneOutput) -> Tensor:
        """The vector of the spatial fusion module."""
        taps = [tap.detach() for tap in answer.taps] if self.config.fusion.detach else answer.taps
        vector: Tensor = head(taps if self.attention is None else self.attention(taps))
        return vector

    def backbone_heatmaps(self, images: Tensor) -> Tensor:
        """The prediction alone, without the training-only parts: ``(B, K, h, w)``."""
        answer: BackboneOutput = self.backbone(self._normalized(images))
        return answer.heatmaps[-1]

    def regress(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and deviation ``(B, K, 2)`` [u] of the keypoints, without drawing heatmaps; see `sadinet.model.dlm`.

        Raises:
            ConfigError: If the network has no such parts.
        """
        if self.distribution is None or self.head is None:
            raise ConfigError("this network regresses nothing: it has no distribution (network.learn_distribution)")
        return self.distribution.moments(self._features(self.head, self.backbone(self._normalized(images))))

    def _normalized(self, images: Tensor) -> Tensor:
        return (images - self.image_mean) / self.image_std


def _backbone(config: BackboneConfig, keypoints: int) -> Hourglass | ClassicHourglass | HRNet | SimpleBaseline:
    encoder_taps = config.taps == "encoder"
    if config.kind == "hrnet":
        return HRNet(channels=config.channels, modules=config.blocks, features=config.features, keypoints=keypoints)
    if config.kind == "simple":
        return SimpleBaseline(
            channels=config.channels,
            blocks=config.blocks,
            features=config.features,
            keypoints=keypoints,
            encoder_taps=encoder_taps,
        )
    if config.kind == "classic":
        return ClassicHourglass(
            channels=config.channels[0],
            depth=4,
            blocks=config.blocks[0],
            keypoints=keypoints,
            stacks=config.stacks,
            encoder_taps=encoder_taps,
        )
    return Hourglass(
        unit=_unit(config),
        channels=config.channels,
        blocks=config.blocks,
        features=config.features,
        keypoints=keypoints,
        stacks=config.stacks,
        stem=config.stem,
        encoder_taps=encoder_taps,
    )


def _unit(config: BackboneConfig) -> Unit:
    """The residual unit that the configuration names."""
    rates = config.dilation * len(config.channels) if len(config.dilation) == 1 else config.dilation

    def basic(inputs: int, outputs: int, *, stride: int, level: int) -> nn.Module:  # noqa: ARG001
        return BasicBlock(inputs, outputs, stride=stride)

    def receptive(inputs: int, outputs: int, *, stride: int, level: int) -> nn.Module:
        return ReceptiveFortifiedUnit(
            inputs,
            outputs,
            stride=stride,
            dilation=rates[level],
            merge=config.merge,
            gate=config.gate,
            reduction=config.gate_reduction,
        )

    return basic if config.block == "basic" else receptive


def _initialize(module: nn.Module) -> None:
    """He initialisation of convolutions; the rest keeps torch's, or what its module chose."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
