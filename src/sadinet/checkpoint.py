"""Checkpoints: one safetensors file holds the weights and the experiment that rebuilds them. Nothing is pickled."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from . import __version__
from .errors import CheckpointError
from .experiment import Experiment, to_json
from .files import replacing
from .model.network import SadiNet
from .skeleton import Skeleton, matching_channels
from .stored import FORMAT, Origin, check_finite, not_finite, parse_origin, read_tensors

_TRAINING_PARTS = ("attention.", "head.", "distribution.")
_HEADS = "backbone.heads."
_OF_KEYPOINTS = (_HEADS, "backbone.merge_heatmaps.", "distribution.")


@dataclass(frozen=True, kw_only=True)
class Checkpoint(Origin):
    """A network with its origin.

    Attributes:
        network: In evaluation mode, float32, on the CPU.
    """

    network: SadiNet


def save_tensors(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Writes tensors and JSON-able ``facts`` into one file, atomically."""
    written = {key: value if isinstance(value, str) else json.dumps(value) for key, value in facts.items()}
    try:
        with replacing(path) as temporary:
            save_file({k: v.detach().contiguous() for k, v in tensors.items()}, temporary, metadata=written)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"{path}: cannot be written ({error}); what was there before is still whole. Is the disk full?"
        ) from error


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and facts of a file that `save_tensors` wrote; facts that were not text are still JSON.

    Raises:
        CheckpointError: If the file is missing, damaged or not ours.
    """
    return read_tensors(path, "pt")


def save_checkpoint(
    path: Path,
    network: SadiNet,
    experiment: Experiment,
    facts: Mapping[str, Any] | None = None,
    *,
    training_parts: bool = True,
    half: bool = False,
) -> None:
    """Writes a network that `load_checkpoint` rebuilds.

    Args:
        path: The ``.safetensors`` file.
        network: Its weights.
        experiment: What it was trained by.
        facts: Scores and the like, JSON-able.
        training_parts: Keep the parts that prediction does not need.
        half: Write float16.

    Raises:
        CheckpointError: If the file cannot be written, or a weight is too large for float16.
    """
    tensors = network.state_dict()
    if not training_parts and experiment.network.answer == "heatmaps":
        tensors = {k: v for k, v in tensors.items() if not k.startswith(_TRAINING_PARTS)}
    if half:
        tensors = {k: v.half() if v.is_floating_point() else v for k, v in tensors.items()}
        too_large = not_finite(tensors)
        if too_large:
            raise CheckpointError(f"{path}: {', '.join(too_large[:3])} does not fit float16; write float32 (not half)")
    about = {"format": FORMAT, "sadinet": __version__, "experiment": to_json(experiment), "facts": dict(facts or {})}
    save_tensors(path, tensors, about)


def load_checkpoint(path: Path) -> Checkpoint:
    """The network in ``path``, rebuilt; without training-only parts if the file has none.

    Raises:
        CheckpointError: If the file is missing, damaged, or its weights do not fit its experiment.
    """
    tensors, facts = load_tensors(path)
    origin = parse_origin(facts, path)
    experiment = origin.experiment
    config = experiment.network
    if not any(key.startswith("distribution.") for key in tensors):
        config = replace(config, learn_distribution=False)
    network = SadiNet(config, sigma=experiment.loss.sigma)
    load_weights(network, tensors, str(path))
    return Checkpoint(**vars(origin), network=network.eval())


def load_weights(network: SadiNet, tensors: Mapping[str, Tensor], source: str) -> None:
    """Copies ``tensors`` into ``network``; float16 becomes float32.

    Raises:
        CheckpointError: If names or shapes differ, or a value is not finite.
    """
    check_finite(tensors, source)
    try:
        network.load_state_dict(dict(tensors))
    except RuntimeError as error:
        problem = " ".join(str(error).split())[:400]
        raise CheckpointError(f"{source}: weights of another network: {problem}") from None


def fitting_weights(network: SadiNet, path: Path, skeleton: Skeleton) -> dict[str, Tensor]:
    """The state of ``network`` with the weights of ``path`` in place of those they fit by name and shape.

    Channels of the last layers go by the names of the keypoints: those that both have are taken over.

    Args:
        network: To be trained.
        path: A checkpoint.
        skeleton: The keypoints of ``network``.

    Raises:
        CheckpointError: If most of the backbone does not fit.
    """
    tensors, facts = load_tensors(path)
    own = network.state_dict()
    theirs = parse_origin(facts, path).experiment.skeleton
    if theirs.keypoints != skeleton.keypoints:
        tensors = _renamed(tensors, own, matching_channels(theirs.keypoints, skeleton))
    fitting = {k: v for k, v in tensors.items() if k in own and own[k].shape == v.shape}
    backbone = [k for k in own if k.startswith("backbone.")]
    if 2 * sum(k in fitting for k in backbone) < len(backbone):
        raise CheckpointError(f"{path}: its weights do not fit this network; warm starts need the same widths")
    return {**own, **fitting}


def _renamed(
    tensors: Mapping[str, Tensor], own: Mapping[str, Tensor], channels: Sequence[tuple[int, int]]
) -> dict[str, Tensor]:
    """Weights for another keypoint set: heads with the channels of keypoints that both have; no distribution's."""
    renamed = {k: v for k, v in tensors.items() if not k.startswith(_OF_KEYPOINTS)}
    for name in [k for k in tensors if k.startswith(_HEADS) and k in own and own[k].shape[1:] == tensors[k].shape[1:]]:
        renamed[name] = own[name].clone()
        for source, target in channels:
            renamed[name][target] = tensors[name][source]
    return renamed
