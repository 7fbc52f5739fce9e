"""Networks as ONNX files, each with a side-car that says how to use it, checked against PyTorch before it is kept."""

import hashlib
import json
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import __version__
from ..backend import OnnxBackend
from ..data.splits import read_split
from ..errors import CheckpointError, ConfigError
from ..files import replacing
from ..geometry import BOX_MARGIN, image_to_crop, resample
from ..heatmaps import decode, to_numpy
from ..images import warp
from ..model.network import SadiNet
from ..reading import FORMAT, Reading
from ..torch_backend import TorchBackend
from ..values import to_dict
from .graph import OPSET, Precision, build
from .quantize import RANGE_METHOD, RangeMethod, quantized

LIMITS: Mapping[Precision, tuple[float, float]] = {
    "float32": (1e-4, 0.01),
    # Where two peaks are almost as high, rounding chooses; what that costs is a question for `sadinet evaluate`.
    "float16": (2e-2, float("inf")),
    "int8": (0.5, float("inf")),
}
"""How far heatmaps may be from PyTorch's, and keypoints [input px], before a file is refused."""

FOUND = 0.05
"""Keypoints with a lower peak are not compared: on a nearly flat map rounding decides which pixel is the highest."""


@dataclass(frozen=True)
class Agreement:
    """How an exported network and PyTorch agree on the same crops.

    Attributes:
        crops: How many.
        heatmaps: The largest difference of a heatmap's pixel.
        keypoints: The largest distance of a keypoint whose peak is at least `FOUND` [input px].
        median: The median of these distances [input px].
        compared: How many keypoints those were.
    """

    crops: int
    heatmaps: float
    keypoints: float
    median: float
    compared: int


def export_onnx(
    network: SadiNet,
    reading: Reading,
    path: Path,
    *,
    precision: Precision = "float32",
    batch: int | None = None,
    opset: int = OPSET,
    decoded: bool = False,
    crops: NDArray[np.uint8] | None = None,
    calibration: NDArray[np.uint8] | None = None,
    method: RangeMethod = RANGE_METHOD,
    weights_sha256: str = "",
) -> Agreement:
    """Writes ``path`` and the side-car of the same name with ``.json``, or neither.

    The graph takes ``images`` ``(batch, S, S, 3)`` uint8 RGB and answers ``heatmaps`` ``(batch, K, h, w)`` float32.
    Normalisation is inside; batch norms are folded away.

    Args:
        network: Trained.
        reading: How its heatmaps are read.
        path: The ``.onnx`` file.
        precision: ``"float16"`` halves the file, for GPUs; ``"int8"`` quantises weights and activations.
        batch: A fixed number of crops; None: any.
        opset: ONNX operator set.
        decoded: Also answer ``xy`` ``(batch, K, 2)`` [input px] and ``score`` ``(batch, K)``.
        crops: ``(N, S, S, 3)`` uint8 to check the file with; None: generated pictures.
        calibration: ``(N, S, S, 3)`` uint8, from which ``"int8"`` learns the range of every activation.
        method: How it learns them.
        weights_sha256: Of the file that the network came from.

    Raises:
        ConfigError: If what exporting needs is not installed, or int8 has nothing to calibrate with.
        CheckpointError: If the file does not do what the network does; nothing is kept then.
    """
    if precision == "int8" and calibration is None:
        raise ConfigError("int8 needs real crops to calibrate with: name a data set")
    facts = {
        "format": FORMAT,
        "sadinet": __version__,
        "reading": to_dict(reading),
        "flip_index": list(reading.skeleton.flip_index),
        "input": "images: uint8 (batch, input_size, input_size, 3), RGB as in the file; normalisation is inside",
        "output": "heatmaps: float32 (batch, keypoints, h, w); pixel i lies at (i + 0.5) * stride - 0.5 of the input",
        "margin": BOX_MARGIN,
        "precision": precision,
        "batch": batch or "dynamic",
        "decoded": decoded,
        "opset": opset,
        "weights_sha256": weights_sha256,
    }
    model = build(network, reading, precision=precision, batch=batch, opset=opset, decoded=decoded)
    if precision == "int8" and calibration is not None:
        model = quantized(model, calibration, method=method)
    facts["ir_version"] = model.ir_version
    _describe(model, facts)
    content = model.SerializeToString()
    agreement = compare(network, reading, content, crops if crops is not None else generated(reading, 8))
    _check(agreement, precision, path)
    side_car = {**facts, "file": path.name, "sha256": hashlib.sha256(content).hexdigest()}
    try:
        with replacing(path) as file, replacing(path.with_suffix(".json")) as beside:
            file.write_bytes(content)
            beside.write_text(json.dumps(side_car, indent=1) + "\n", "utf-8")
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be written ({error})") from error
    return agreement


def compare(network: SadiNet, reading: Reading, model: bytes, crops: NDArray[np.uint8]) -> Agreement:
    """How the exported ``model`` and ``network`` agree on ``crops`` ``(N, S, S, 3)``, shown in several batches."""
    theirs, ours = OnnxBackend(model), TorchBackend(deepcopy(network), "cpu")
    parts = [part for part in np.split(crops, [1, 1 + (len(crops) - 1) // 3]) if len(part)]
    answers = [np.concatenate([to_numpy(backend.heatmaps(part)) for part in parts]) for backend in (theirs, ours)]
    (xy, _), (expected, peak) = (decode(a, reading.decoding, sigma=reading.sigma) for a in answers)
    distances = np.linalg.norm(xy - expected, axis=-1)[peak >= FOUND] * reading.stride
    return Agreement(
        crops=len(crops),
        heatmaps=float(np.abs(answers[0] - answers[1]).max()),
        keypoints=float(distances.max()) if len(distances) else 0.0,
        median=float(np.median(distances)) if len(distances) else 0.0,
        compared=len(distances),
    )


def real_crops(dataset: str, split: str, data: Path, size: int, count: int) -> NDArray[np.uint8]:
    """Crops ``(N, S, S, 3)`` uint8 of ``count`` persons of a split (or all, if fewer), always the same ones."""
    persons = read_split(dataset, split, data).persons
    chosen = np.random.default_rng(0).permutation(len(persons))[:count]
    shown = [persons[number] for number in sorted(chosen)]
    return np.stack([warp(person.read(), image_to_crop(person.crop, size), size) for person in shown])


def generated(reading: Reading, count: int) -> NDArray[np.uint8]:
    """Smooth pictures of many colours, ``(count, S, S, 3)``, always the same."""
    size = reading.input_size
    coarse = np.random.default_rng(0).integers(0, 256, (count, 16, 16, 3), dtype=np.uint8)
    return np.stack([warp(picture, resample(size / 16), size) for picture in coarse])


def _check(agreement: Agreement, precision: Precision, path: Path) -> None:
    heatmaps, keypoints = LIMITS[precision]
    if not (agreement.heatmaps <= heatmaps and agreement.keypoints <= keypoints):  # written so that NaN fails
        raise CheckpointError(
            f"{path}: not written, as onnxruntime and PyTorch disagree: heatmaps differ by {agreement.heatmaps:.2g} "
            f"(at most {heatmaps:g} is allowed), keypoints by {agreement.keypoints:.2g} px (at most {keypoints:g})"
        )


def _describe(model: Any, facts: Mapping[str, Any]) -> None:
    """Puts ``facts`` into the file, where `sadinet.load` finds them."""
    model.producer_name, model.producer_version = "sadinet", __version__
    entry = model.metadata_props.add()
    entry.key, entry.value = "sadinet", json.dumps(facts)
