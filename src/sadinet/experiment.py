"""Experiments: complete, frozen values that decide a training, and their JSON."""

import json
from dataclasses import dataclass, field
from typing import Literal

from .data.augment import AugmentConfig
from .errors import ConfigError
from .heatmaps import Decoding
from .model.config import LossConfig, NetworkConfig
from .skeleton import Skeleton
from .values import from_dict, to_dict


@dataclass(frozen=True)
class DataConfig:
    """What is trained on.

    Attributes:
        dataset: See `sadinet.data.splits`; ``"lsp+lspet"``, ``"mpii"``, ``"toy"``...
        keep_duplicates: Train also on near-duplicates of test images.
        augment: Random changes of the training examples.
    """

    dataset: str = "lsp+lspet"
    keep_duplicates: bool = False
    augment: AugmentConfig = field(default_factory=AugmentConfig)


@dataclass(frozen=True)
class TrainingConfig:
    """How it is trained (paper Sec. IV-A; values it does not give: decision 007).

    Attributes:
        epochs: Passes over the training persons.
        batch_size: Persons per step, over all processes.
        learning_rate: Adam's, at its highest.
        schedule: ``"steps"``: divided by 10 at each milestone; ``"cosine"``: down to 0 over the epochs.
        milestones: Epochs of the steps.
        warmup_epochs: Rises linearly to its highest over these first epochs.
        weight_decay: Decoupled (AdamW) where positive.
        ema: Decay per step of the average of the weights that is evaluated and kept; 0: none.
        precision: ``"bfloat16"`` computes the network under autocast; weights stay float32.
        seed: Of weights, order and augmentation.
        accumulate: Pieces a batch is cut into, one after the other, to save memory.
        norm: Batch norm over each process's share (``"batch"``), over all processes (``"sync"``, GPUs only), or with
            ``"frozen"`` statistics.
        clip_norm: Largest norm of the gradient; 0: any.
    """

    epochs: int = 210
    batch_size: int = 64
    learning_rate: float = 1e-3
    schedule: Literal["steps", "cosine"] = "steps"
    milestones: tuple[int, ...] = (170, 200)
    warmup_epochs: float = 0.0
    weight_decay: float = 0.0
    ema: float = 0.0
    precision: Literal["float32", "bfloat16"] = "float32"
    seed: int = 0
    accumulate: int = 1
    norm: Literal["batch", "sync", "frozen"] = "batch"
    clip_norm: float = 0.0

    def __post_init__(self) -> None:
        if (
            self.epochs < 1
            or self.batch_size < 2
            or self.learning_rate <= 0
            or not 0 <= self.ema < 1
            or self.accumulate < 1
        ):
            raise ConfigError(
                "training: epochs >= 1, batch_size >= 2 (batch norm), learning_rate > 0, 0 <= ema < 1 and "
                "accumulate >= 1 must hold"
            )
        if min(self.warmup_epochs, self.weight_decay, self.clip_norm) < 0 or not 0 <= self.seed < 2**63:
            raise ConfigError("training: warmup_epochs, weight_decay, clip_norm >= 0 and 0 <= seed < 2**63 must hold")


@dataclass(frozen=True)
class Experiment:
    """All that decides a training but the place of its data and the machine.

    Attributes:
        name: The preset it started from.
        skeleton: The keypoints.
        network: Its shape.
        loss: What is minimised.
        data: What it learns from.
        training: How.
        decoding: How keypoints are read from heatmaps.
    """

    name: str
    skeleton: Skeleton
    network: NetworkConfig
    loss: LossConfig = field(default_factory=LossConfig)
    data: DataConfig = field(default_factory=DataConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    decoding: Decoding = "quarter"

    def __post_init__(self) -> None:
        if self.network.keypoints != len(self.skeleton):
            raise ConfigError(
                f"network.keypoints={self.network.keypoints} but the keypoint set '{self.skeleton.name}' "
                f"has {len(self.skeleton)}"
            )
        regressed, trained = self.network.answer == "mean", self.loss.kind != "mse" or self.loss.coordinate_weight > 0
        if regressed and not trained:
            raise ConfigError("network.answer=mean is not trained by loss.kind=mse: give loss.kind=rle")
        if self.loss.kind == "rle" and not regressed:
            raise ConfigError("loss.kind=rle trains no heatmaps: give network.answer=mean, or loss.kind=mse+rle")


def to_json(experiment: Experiment) -> str:
    """The experiment as JSON that `from_json` reads."""
    return json.dumps(to_dict(experiment), indent=2)


def from_json(text: str, source: str = "the experiment") -> Experiment:
    """The inverse of `to_json`; ``source`` names the text in errors."""
    try:
        tree = json.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError: also a number of thousands of digits
        raise ConfigError(f"{source}: not JSON ({error})") from None
    return from_dict(Experiment, tree)
