"""What is installed here, whether it works, and how fast it is."""

import platform
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any, get_args

import numpy as np
import torch

from . import __version__
from .backend import Engine, is_installed, thread_count
from .errors import SadinetError
from .models import DEFAULT, embedded_models, load
from .persons.detect import ENVIRONMENT, find_detector

REQUIRED = ("torch", "numpy", "pillow", "safetensors", "scipy", "tqdm")
EXTRAS: dict[str, tuple[str, ...]] = {
    "onnx": ("onnxruntime",),
    "openvino": ("openvino",),
    "export": ("onnx", "onnxscript"),
    "video": ("av",),
    "serve": ("starlette", "uvicorn", "python-multipart"),
    "h5": ("h5py",),
    "train": ("matplotlib",),
    "tensorboard": ("tensorboard",),
}
"""Packages that ``pip install "sadinet[EXTRA]"`` brings."""


def examine(seconds: float = 5.0) -> dict[str, Any]:
    """Everything that ``sadinet doctor`` tells, JSON-able; ``problems`` is empty where all is well.

    Args:
        seconds: For the speed probe, over all backends; 0: none.
    """
    problems = [f"{package} is not installed: pip install sadinet" for package in REQUIRED if not _version(package)]
    weights = {}
    for model in embedded_models().values():
        weights[model.name] = whole = model.sha256 == model.expected_sha256
        if not whole:
            problems.append(f"the embedded weights '{model.name}' are damaged: install sadinet again")
    if DEFAULT not in weights:
        problems.append(f"the embedded weights '{DEFAULT}' are missing: install sadinet again")
    engines: dict[str, Any] = {}
    present = [engine for engine in get_args(Engine) if is_installed(engine)]
    # Only exported files run in OpenVINO, so that there is nothing of the default weights to time.
    timed = [engine for engine in present if engine != "openvino"]
    for engine in timed if weights.get(DEFAULT) else []:
        try:
            engines[engine] = _probe(engine, seconds / len(timed))
        except (SadinetError, RuntimeError, ImportError) as error:
            problems.append(f"{engine} does not run the default weights: {error}")
    return {
        "sadinet": __version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "versions": {package: _version(package) for package in REQUIRED},
        "extras": {extra: {package: _version(package) for package in names} for extra, names in EXTRAS.items()},
        "devices": ["cpu", *(torch.cuda.get_device_name(n) for n in range(torch.cuda.device_count()))],
        "threads": thread_count(),
        "backends": present,
        "weights": weights,
        "detector": _detector(problems),
        "default": load(DEFAULT).backend.name if weights.get(DEFAULT) else None,
        "milliseconds": engines,
        "problems": problems,
    }


def _detector(problems: list[str]) -> str | None:
    """The file of the person detector that is used where none is named."""
    try:
        found = find_detector()
    except SadinetError as error:
        problems.append(f"the person detector that {ENVIRONMENT} names, or that was fetched, does not run: {error}")
        return None
    return None if found is None else str(found.file)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _probe(engine: Engine, seconds: float) -> dict[str, float] | None:
    """Milliseconds per person on the CPU, alone and in a batch of 16; None where there is no time."""
    estimator = load(DEFAULT, device="cpu", backend=engine)
    backend, size = estimator.backend, estimator.input_size
    crops = np.random.default_rng(0).integers(0, 256, (16, size, size, 3), dtype=np.uint8)
    if not seconds:
        return None
    return {
        "one": round(_milliseconds(lambda: backend.heatmaps(crops[:1]), seconds / 2), 2),
        "sixteen": round(_milliseconds(lambda: backend.heatmaps(crops), seconds / 2) / 16, 2),
    }


def _milliseconds(work: Callable[[], object], seconds: float) -> float:
    """The median time of ``work``, done again and again for ``seconds``, but for the first time."""
    work()
    took: list[float] = []
    until = time.perf_counter() + seconds
    while not took or time.perf_counter() < until:
        started = time.perf_counter()
        work()
        took.append(time.perf_counter() - started)
    return 1000 * float(np.median(took))
