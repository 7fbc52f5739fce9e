"""Checkpoints as they lie on the disk: what they say of themselves, and their weights as arrays. Without PyTorch."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from .calibration import Calibration
from .errors import CheckpointError, DataError, SadinetError, in_one_line
from .experiment import Experiment, from_json
from .heatmaps import to_numpy
from .model.config import NORM_EPS, NetworkConfig
from .values import to_dict

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = "sadinet-1"


@dataclass(frozen=True)
class Origin:
    """What a checkpoint says of its network.

    Attributes:
        experiment: What it was trained by.
        facts: What else was written down: scores, epochs, split hashes.
        calibration: From peaks to scores, if the network has been calibrated; a part of the facts.
    """

    experiment: Experiment
    facts: dict[str, Any]
    calibration: Calibration | None = None


def read_origin(path: Path) -> Origin:
    """What the checkpoint ``path`` says of itself; no weight is read.

    Raises:
        CheckpointError: If the file is missing, damaged or not ours.
    """
    return parse_origin(_read(path, "np", weights=False)[1], path)


def read_tensors(path: Path, kind: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Everything in a file of ours: arrays by name, NumPy's (``"np"``) or PyTorch's (``"pt"``), and texts by key.

    Raises:
        CheckpointError: If the file is missing, damaged or not ours.
    """
    return _read(path, kind, weights=True)


def _read(path: Path, kind: str, *, weights: bool) -> tuple[dict[str, Any], dict[str, str]]:
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint")
    try:
        with safe_open(path, framework=kind) as file:
            facts = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()} if weights else {}  # noqa: SIM118 (no mapping)
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path}: not a safetensors file, or damaged ({error})") from error
    if facts.get("format") != FORMAT:
        raise CheckpointError(
            f"{path}: a safetensors file, but not written by sadinet (format {facts.get('format')!r})"
        )
    return tensors, facts


def parse_origin(facts: Mapping[str, str], path: Path) -> Origin:
    """What the texts in a checkpoint mean; ``path`` names it in errors.

    Raises:
        CheckpointError: If they are incomplete, damaged or not understood by this version.
    """
    if "experiment" not in facts or "facts" not in facts:
        raise CheckpointError(f"{path}: says nothing of its experiment; is it the state of a training, not a network?")
    try:
        experiment = from_json(facts["experiment"], str(path))
        more = json.loads(facts["facts"])
    except SadinetError as error:
        raise CheckpointError(f"{path}: its experiment does not fit this version of sadinet: {error}") from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: damaged, its facts are not JSON ({error})") from None
    if not isinstance(more, dict):
        raise CheckpointError(f"{path}: damaged, its facts are {type(more).__name__}, not a table")
    try:
        calibration = Calibration.from_json(more["calibration"]) if "calibration" in more else None
    except DataError as error:
        raise CheckpointError(f"{path}: {error}") from None
    return Origin(experiment, more, calibration)


def graph_name(config: NetworkConfig) -> str:
    """The name of the file with a network's graph: it tells all that decides the graph besides the weights."""
    shape = json.dumps([config.keypoints, config.input_size, to_dict(config.backbone)])
    return f"graph-{hashlib.sha256(shape.encode()).hexdigest()[:12]}.onnx"


def graph_weights(path: Path) -> dict[str, NDArray[np.float32]]:
    """The weights in a checkpoint, by the names that a graph without weights has for them (`exporting.graph`).

    Batch norms become part of the convolution before them, as in `model.fold`: layers of a sequence have numbers, and
    the norm has the next one.

    Raises:
        CheckpointError: If the file is missing, damaged, holds values that are not finite, or other layers.
    """
    arrays = {name: a for name, a in read_tensors(path, "np")[0].items() if name.startswith("backbone.")}
    check_finite(arrays, str(path))
    try:
        with np.errstate(invalid="ignore"):  # a negative variance is told below
            folded = _folded(arrays)
    except (KeyError, ValueError) as error:
        raise CheckpointError(f"{path}: weights of another network: {in_one_line(error)}") from None
    check_finite(folded, str(path))
    return {f"network.{name}": values.astype(np.float32) for name, values in folded.items()}


def _folded(arrays: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    folded = dict(arrays)
    for norm in [name.removesuffix(".running_var") for name in arrays if name.endswith(".running_var")]:
        sequence, _, number = norm.rpartition(".")
        conv = f"{sequence}.{int(number) - 1}"
        names = ("running_mean", "running_var", "weight", "bias")
        mean, variance, gamma, beta = (folded.pop(f"{norm}.{name}").astype(np.float64) for name in names)
        folded.pop(f"{norm}.num_batches_tracked", None)
        scale = gamma / np.sqrt(variance + NORM_EPS)
        folded[f"{conv}.weight"] = folded[f"{conv}.weight"].astype(np.float64) * scale[:, None, None, None]
        folded[f"{conv}.bias"] = beta + (folded.get(f"{conv}.bias", 0.0) - mean) * scale
    return folded


def check_finite(tensors: "Mapping[str, NDArray[Any] | Tensor]", source: str) -> None:
    """Refuses weights that are no numbers.

    Raises:
        CheckpointError: If a value is NaN or infinite; ``source`` names them in it.
    """
    broken = not_finite(tensors)
    if broken:
        raise CheckpointError(f"{source}: {', '.join(broken[:3])} holds values that are not finite")


def not_finite(tensors: "Mapping[str, NDArray[Any] | Tensor]") -> list[str]:
    """The names of the arrays or tensors with a value that is NaN or infinite."""
    return [name for name, values in tensors.items() if not np.isfinite(to_numpy(values)).all()]
