"""Weights by name: those that come with the package, and files."""

import ctypes
import hashlib
import sys
from dataclasses import dataclass
from functools import cache
from importlib import resources
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from .backend import Backend, Engine, OnnxBackend, OpenVinoBackend, is_installed
from .crops import SIX_SCALES, Inference
from .errors import CheckpointError, ConfigError
from .estimator import Estimator
from .reading import Reading
from .stored import Origin, graph_name, graph_weights, read_origin

if TYPE_CHECKING:
    import torch

    from .model.network import SadiNet

_WEIGHTS = Path(str(resources.files("sadinet"))) / "weights"
DEFAULT = "lsp-t"
"""The weights used when none are named."""


@dataclass(frozen=True)
class Model:
    """Weights that come with the package.

    Attributes:
        name: What to `load`.
        file: Where they are.
    """

    name: str
    file: Path

    @property
    def sha256(self) -> str:
        """Of the file."""
        return hashlib.sha256(self.file.read_bytes()).hexdigest()

    @property
    def expected_sha256(self) -> str:
        """As it was when the package was made; empty if nothing beside the file tells."""
        try:
            return self.file.with_suffix(".sha256").read_text("ascii").split()[0]
        except (OSError, ValueError, IndexError):
            return ""


@cache
def embedded_models() -> dict[str, Model]:
    """The weights that come with the package, by name."""
    return {file.stem: Model(file.stem, file) for file in sorted(_WEIGHTS.glob("*.safetensors"))}


def weights_file(weights: str | Path) -> Path:
    """The checkpoint or exported network that ``weights``, a name, file or folder, stands for.

    Raises:
        CheckpointError: If there is neither.
    """
    models = embedded_models()
    if str(weights) in models:
        return models[str(weights)].file
    path = Path(weights)
    if path.is_dir() and (path / "best.safetensors").is_file():
        return path / "best.safetensors"
    if not path.is_file():
        known = ", ".join(models) or "none"
        raise CheckpointError(f"{weights}: neither a checkpoint file nor the name of embedded weights ({known})")
    return path


def load(
    weights: str | Path = DEFAULT,
    *,
    device: "str | torch.device | None" = None,
    flip: bool = True,
    six_scales: bool = False,
    batch_size: int = 16,
    backend: Engine | None = None,
) -> Estimator:
    """An estimator ready to predict; never touches the network.

    Args:
        weights: A name from `embedded_models`, a checkpoint, the folder of a training, or an exported ``.onnx`` file.
        device: ``"cpu"``, ``"cuda"``...; None: a GPU where there is one.
        flip: Average with the answer to the mirrored picture: slower by half, a little better.
        six_scales: Average over six sizes of the crop: six times slower, a little better.
        batch_size: Persons per pass through the network.
        backend: ``"torch"``, ``"onnxruntime"`` or, for exported files, ``"openvino"``; None: what is fastest of those
            that are installed and can run these weights (decision 020).

    Raises:
        CheckpointError: If the weights are missing or damaged.
        ConfigError: If the backend is not installed or cannot run these weights, or there is no such device.
    """
    path, device = weights_file(weights), None if device is None else str(device)
    inference = Inference(flip=flip, scales=SIX_SCALES if six_scales else (1.0,), batch_size=batch_size)
    if path.suffix == ".onnx":
        exported = _exported(path, backend, device)
        return Estimator(exported, Reading.from_facts(exported.facts, str(path)), inference=inference)
    origin = read_origin(path)
    running = _running(origin, path, backend, device)
    return Estimator(running, Reading.of(origin.experiment, origin.calibration), device=device, inference=inference)


def _exported(path: Path, engine: Engine | None, device: str | None) -> OnnxBackend | OpenVinoBackend:
    if engine == "torch":
        raise ConfigError(f"{path}: torch cannot run an exported network; name the checkpoint it came from")
    if engine == "openvino":
        if device is not None and device.partition(":")[0] != "cpu":
            raise ConfigError(f"device '{device}' cannot be used by openvino here; give cpu, or leave it out")
        return OpenVinoBackend(path)
    return OnnxBackend(path, device=device)


def _running(origin: Origin, path: Path, engine: Engine | None, device: str | None) -> "SadiNet | Backend":
    """A checkpoint's network, in onnxruntime where that is wanted or faster, which is on a CPU."""
    config = origin.experiment.network
    graph = _WEIGHTS / graph_name(config)
    if config.answer == "mean":
        if engine not in (None, "torch"):
            raise ConfigError(f"{path}: answers with its mean, which {engine} cannot run; leave the backend out")
        return _in_torch(path)
    place = device or ("cuda" if _has_gpu() else "cpu")
    if engine is None:
        fast = place.partition(":")[0] == "cpu" and graph.is_file() and is_installed("onnxruntime")
        engine = "onnxruntime" if fast else "torch"
    if engine == "torch":
        return _in_torch(path)
    if engine == "openvino" or not graph.is_file():
        raise ConfigError(f"{path}: {engine} runs it once it is exported: sadinet export {path} {path.stem}.onnx")
    return OnnxBackend(graph, weights=graph_weights(path), device=place, source=str(path))


def _in_torch(path: Path) -> "SadiNet":
    from .checkpoint import load_checkpoint  # only here, so that onnxruntime need not wait for PyTorch
    from .model.fold import folded

    network = load_checkpoint(path).network
    return folded(network) if network.config.answer == "heatmaps" else network


@cache
def _has_gpu() -> bool:
    """Whether PyTorch has a GPU; it is loaded, which takes a second, only where there may be one."""
    build = version("torch")
    if sys.platform == "darwin" or "+cpu" in build:
        return False
    if "+rocm" not in build:
        try:
            ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")  # comes with the driver
        except OSError:
            return False
    import torch

    return torch.cuda.is_available()
