"""What computes heatmaps: PyTorch, onnxruntime or OpenVINO. The one place that knows devices and threads."""

import os
from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .errors import CheckpointError, ConfigError
from .model.network import SadiNet

Engine = Literal["torch", "onnxruntime", "openvino"]


class Backend(Protocol):
    """Makes heatmaps of crops.

    Attributes:
        name: ``"torch"``, ``"onnxruntime"`` or ``"openvino"``.
        device: Where its heatmaps are.
    """

    name: str
    device: torch.device

    def heatmaps(self, images: NDArray[np.uint8]) -> Tensor:
        """Heatmaps ``(B, K, h, w)`` float32 of crops ``(B, S, S, 3)`` uint8 RGB, B at least 1."""
        ...


def find_device(name: str | torch.device | None) -> torch.device:
    """The device called ``name``; None: a GPU where there is one.

    Raises:
        ConfigError: If there is no such device here.
    """
    try:
        device = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:  # AssertionError: torch without CUDA
        reason = str(error).split("\n")[0]
        raise ConfigError(f"device '{name}' cannot be used ({reason}); give cpu, or leave it out") from None
    return device


def thread_count() -> int:
    """Threads for one network: torch's own (so OMP_NUM_THREADS holds), but no more than the process may use cores."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(torch.get_num_threads(), allowed))


def is_installed(engine: str) -> bool:
    """Whether ``engine`` can be imported; it is not."""
    return find_spec(engine) is not None


def require(module: str, extra: str) -> Any:
    """``module``, which comes with ``extra``.

    Raises:
        ConfigError: If it is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise ConfigError(f'{module} is needed here ({error}): pip install "sadinet[{extra}]"') from None


class TorchBackend:
    """A network in PyTorch.

    Args:
        network: Trained; moved to ``device`` and to evaluation mode.
        device: ``"cpu"``, ``"cuda"``...; None: a GPU where there is one.

    Raises:
        ConfigError: If there is no such device here.
    """

    name = "torch"

    def __init__(self, network: SadiNet, device: str | torch.device | None = None) -> None:
        self.device = find_device(device)
        self.network = network.to(self.device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]

    @torch.inference_mode()
    def heatmaps(self, images: NDArray[np.uint8]) -> Tensor:
        """Heatmaps ``(B, K, h, w)`` float32 of crops ``(B, S, S, 3)`` uint8 RGB."""
        answer: Tensor = self.network.backbone_heatmaps(self._inputs(images)).float()
        return answer

    @torch.inference_mode()
    def moments(self, images: NDArray[np.uint8]) -> tuple[Tensor, Tensor]:
        """Mean and deviation ``(B, K, 2)`` of a network that answers with its mean, see `SadiNet.regress`."""
        mean, deviation = self.network.regress(self._inputs(images))
        return mean, deviation

    def _inputs(self, images: NDArray[np.uint8]) -> Tensor:
        pixels = torch.from_numpy(np.ascontiguousarray(images)).to(self.device)
        # Rows of RGB pixels are what torch calls channels last: this is a view, and stays one.
        return pixels.permute(0, 3, 1, 2).float() / 255


class OnnxBackend:
    """An exported network in onnxruntime.

    Args:
        model: The ``.onnx`` file, or its bytes.
        device: ``"cpu"`` or ``"cuda"``...; None: a GPU where onnxruntime has one.
        weights: Of a graph without weights: arrays by name.
        source: What to call the model in errors.

    Attributes:
        facts: The metadata in the file: text by key.

    Raises:
        CheckpointError: If the file is missing, damaged or no network of this package.
        ConfigError: If onnxruntime is not installed, or cannot use the device.
    """

    name = "onnxruntime"

    def __init__(
        self,
        model: Path | bytes,
        *,
        device: str | torch.device | None = None,
        weights: Mapping[str, NDArray[np.float32]] | None = None,
        source: str = "",
    ) -> None:
        ort = require("onnxruntime", "onnx")
        source = source or ("the model" if isinstance(model, bytes) else str(model))
        providers = ort.get_available_providers()
        kind, _, index = str(device or ("cuda" if "CUDAExecutionProvider" in providers else "cpu")).partition(":")
        wanted = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}.get(kind, "")
        if wanted not in providers:
            raise ConfigError(
                f"device '{device}' cannot be used by this onnxruntime ({', '.join(providers)}); give cpu"
            )
        self.device = torch.device("cpu")  # where it takes and gives arrays
        options = ort.SessionOptions()
        options.intra_op_num_threads = thread_count()
        options.log_severity_level = 3
        # Its threads wait in a busy loop, which is fast within a pass; between passes the core is others'.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        self._weights = {name: ort.OrtValue.ortvalue_from_numpy(array) for name, array in (weights or {}).items()}
        if self._weights:
            options.add_external_initializers(list(self._weights), list(self._weights.values()))
        where = [(wanted, {"device_id": int(index or 0)})] if kind == "cuda" else [wanted]
        content = model if isinstance(model, bytes) else _read(model)
        try:
            self.session = ort.InferenceSession(content, options, providers=where)
        except Exception as error:  # noqa: BLE001 - onnxruntime's own exceptions share no base below Exception
            raise CheckpointError(f"{source}: not an ONNX model that can be run ({_reason(error)})") from None
        self.facts: dict[str, str] = dict(self.session.get_modelmeta().custom_metadata_map)
        size = _input_batch(self.session.get_inputs(), self.session.get_outputs(), source)
        self._batch = size if isinstance(size, int) else 0

    def heatmaps(self, images: NDArray[np.uint8]) -> Tensor:
        """Heatmaps ``(B, K, h, w)`` float32 of crops ``(B, S, S, 3)`` uint8 RGB."""
        images = np.ascontiguousarray(images)
        parts = _batches(images, self._batch)
        answers = [self.session.run(["heatmaps"], {"images": part})[0] for part in parts]
        return torch.from_numpy(np.concatenate(answers)[: len(images)])


class OpenVinoBackend:
    """An exported network in OpenVINO, on the CPU. It computes in bfloat16 where the processor has instructions for it.

    Args:
        model: The ``.onnx`` file.

    Attributes:
        facts: The metadata in the file: text by key.

    Raises:
        CheckpointError: If the file is missing, damaged or no network of this package.
        ConfigError: If OpenVINO is not installed.
    """

    name = "openvino"

    def __init__(self, model: Path) -> None:
        openvino = require("openvino", "openvino")
        self.device = torch.device("cpu")
        content = _read(model)
        try:
            graph = openvino.Core().read_model(content)
            self._compiled = openvino.Core().compile_model(
                graph, "CPU", {"INFERENCE_NUM_THREADS": thread_count(), "PERFORMANCE_HINT": "LATENCY"}
            )
        except RuntimeError as error:
            raise CheckpointError(f"{model}: not an ONNX model that can be run ({_reason(error)})") from None
        where = ["framework", "sadinet"]  # the metadata of ONNX files
        self.facts = {"sadinet": graph.get_rt_info(where).astype(str)} if graph.has_rt_info(where) else {}
        self._one_at_a_time = Lock()  # a compiled model holds one request
        shape = graph.inputs[0].partial_shape[0]
        self._batch = 0 if shape.is_dynamic else int(shape.get_length())

    def heatmaps(self, images: NDArray[np.uint8]) -> Tensor:
        """Heatmaps ``(B, K, h, w)`` float32 of crops ``(B, S, S, 3)`` uint8 RGB."""
        images = np.ascontiguousarray(images)
        with self._one_at_a_time:
            answers = [self._compiled({"images": part})["heatmaps"] for part in _batches(images, self._batch)]
        return torch.from_numpy(np.concatenate(answers)[: len(images)])


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from None


def _input_batch(inputs: Any, outputs: Any, source: str) -> int | str | None:
    """The batch size of the graph, a name where any will do."""
    names = [value.name for value in inputs], [value.name for value in outputs]
    if names[0] != ["images"] or "heatmaps" not in names[1] or inputs[0].type != "tensor(uint8)":
        raise CheckpointError(
            f"{source}: an ONNX model, but not written by sadinet (inputs {names[0]}, outputs {names[1]})"
        )
    size: int | str | None = inputs[0].shape[0]
    return size


def _batches(images: NDArray[np.uint8], size: int) -> list[NDArray[np.uint8]]:
    """``images`` in pieces of ``size``, the last one filled up; 0: all at once."""
    if not size:
        return [images]
    filled = np.concatenate([images, np.zeros((-len(images) % size, *images.shape[1:]), np.uint8)])
    return [filled[start : start + size] for start in range(0, len(filled), size)]


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
