"""SADI-Net: hourglass, spatial fusion and distribution learning in one network (paper Fig. 2)."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..errors import ConfigError
from .backbone import Backbone, BackboneOutput
from .blocks import BasicBlock, Unit
from .classic import ClassicHourglass
from .config import BackboneConfig, NetworkConfig
from .dlm import Distribution, DistributionLearning
from .hourglass import Hourglass
from .hrnet import HRNet
from .rfm import ReceptiveFortifiedUnit
from .sfm import ClassificationHead, GlobalAttention, PooledHead
from .simple import SimpleBaseline

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


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


def _backbone(config: BackboneConfig, keypoints: int) -> Backbone:
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
