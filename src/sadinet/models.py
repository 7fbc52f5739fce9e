"""Weights by name: those that come with the package, and files."""

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

import torch

from .checkpoint import load_checkpoint
from .errors import CheckpointError
from .estimator import SIX_SCALES, Estimator, Inference
from .reading import Reading

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
    folder = Path(str(resources.files("sadinet"))) / "weights"
    return {file.stem: Model(file.stem, file) for file in sorted(folder.glob("*.safetensors"))}


def weights_file(weights: str | Path) -> Path:
    """The checkpoint that ``weights``, a name or a file, stands for.

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
) -> Estimator:
    """An estimator ready to predict; never touches the network.

    Args:
        weights: A name from `embedded_models`, a checkpoint file, or the folder of a training.
        device: ``"cpu"``, ``"cuda"``...; None: a GPU where there is one.
        flip: Average with the answer to the mirrored picture: slower by half, a little better.
        six_scales: Average over six sizes of the crop: six times slower, a little better.
        batch_size: Persons per pass through the network.

    Raises:
        CheckpointError: If the weights are missing or damaged.
    """
    checkpoint = load_checkpoint(weights_file(weights))
    inference = Inference(flip=flip, scales=SIX_SCALES if six_scales else (1.0,), batch_size=batch_size)
    reading = Reading.of(checkpoint.experiment, checkpoint.calibration)
    return Estimator(checkpoint.network, reading, device=device, inference=inference)
