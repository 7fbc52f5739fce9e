"""Weights by name: those that come with the package, and files."""

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

import torch

from .backend import Backend, Engine, OnnxBackend, OpenVinoBackend, TorchBackend, find_device, is_installed
from .checkpoint import load_checkpoint
from .errors import CheckpointError, ConfigError
from .estimator import SIX_SCALES, Estimator, Inference
from .graph import graph_name, weights_of
from .model.fold import folded
from .model.network import SadiNet
from .reading import Reading

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
    device: str | torch.device | None = None,
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
    path = weights_file(weights)
    inference = Inference(flip=flip, scales=SIX_SCALES if six_scales else (1.0,), batch_size=batch_size)
    if path.suffix == ".onnx":
        exported = _exported(path, backend, device)
        return Estimator(exported, Reading.from_facts(exported.facts, str(path)), inference=inference)
    checkpoint = load_checkpoint(path)
    running = _running(checkpoint.network, path, backend, device)
    return Estimator(running, Reading.of(checkpoint.experiment, checkpoint.calibration), inference=inference)


def _exported(path: Path, engine: Engine | None, device: str | torch.device | None) -> OnnxBackend | OpenVinoBackend:
    if engine == "torch":
        raise ConfigError(f"{path}: torch cannot run an exported network; name the checkpoint it came from")
    if engine == "openvino":
        if device is not None and torch.device(device).type != "cpu":
            raise ConfigError(f"device '{device}' cannot be used by openvino here; give cpu, or leave it out")
        return OpenVinoBackend(path)
    return OnnxBackend(path, device=device)


def _running(network: SadiNet, path: Path, engine: Engine | None, device: str | torch.device | None) -> Backend:
    """A checkpoint's network, in onnxruntime where that is wanted or faster, which is on a CPU."""
    graph = _WEIGHTS / graph_name(network)
    place = find_device(device)
    if network.config.answer == "mean":
        if engine not in (None, "torch"):
            raise ConfigError(f"{path}: answers with its mean, which {engine} cannot run; leave the backend out")
        return TorchBackend(network, place)
    if engine is None:
        fast = place.type == "cpu" and graph.is_file() and is_installed("onnxruntime")
        engine = "onnxruntime" if fast else "torch"
    if engine == "torch":
        return TorchBackend(folded(network), place)
    if engine == "openvino" or not graph.is_file():
        raise ConfigError(f"{path}: {engine} runs it once it is exported: sadinet export {path} {path.stem}.onnx")
    return OnnxBackend(graph, weights=weights_of(network), device=place)
