"""What computes heatmaps: onnxruntime or OpenVINO, or, next door, PyTorch; and with how many threads."""

import os
import sys
from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from .errors import CheckpointError, ConfigError, in_one_line

if TYPE_CHECKING:
    from torch import Tensor

Engine = Literal["torch", "onnxruntime", "openvino"]


class Backend(Protocol):
    """Makes heatmaps of crops.

    Attributes:
        name: ``"torch"``, ``"onnxruntime"`` or ``"openvino"``.
        device: What it computes on: ``"cpu"``, ``"cuda:0"``...
    """

    name: str
    device: str

    def heatmaps(self, images: NDArray[np.uint8]) -> "NDArray[np.float32] | Tensor":
        """Heatmaps ``(B, K, h, w)`` float32 of crops ``(B, S, S, 3)`` uint8 RGB, B at least 1."""
        ...


def thread_count() -> int:
    """Threads for one network: as many as PyTorch would take, but no more than the process may use cores.

    That is what `torch.set_num_threads` or the variable ``OMP_NUM_THREADS`` says, else one per core.
    """
    asked = getattr(sys.modules.get("torch"), "get_num_threads", None)
    told = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    wanted = asked() if asked else int(told) if told.isdecimal() else sys.maxsize
    return max(1, min(wanted, _core_count()))


def _core_count() -> int:
    """Cores that the process may use; two hardware threads of one core count once where Linux tells."""
    if not hasattr(os, "sched_getaffinity"):
        return os.cpu_count() or 1
    cores = set()
    for number in os.sched_getaffinity(0):
        try:
            cores.add(Path(f"/sys/devices/system/cpu/cpu{number}/topology/thread_siblings_list").read_text("ascii"))
        except OSError:
            cores.add(str(number))
    return len(cores)


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
        device: str | None = None,
        weights: Mapping[str, NDArray[np.float32]] | None = None,
        source: str = "",
    ) -> None:
        ort = require("onnxruntime", "onnx")
        source = source or ("the model" if isinstance(model, bytes) else str(model))
        providers = ort.get_available_providers()
        kind, _, index = (device or ("cuda" if "CUDAExecutionProvider" in providers else "cpu")).partition(":")
        wanted = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}.get(kind, "")
        if wanted not in providers:
            raise ConfigError(
                f"device '{device}' cannot be used by this onnxruntime ({', '.join(providers)}); give cpu"
            )
        self.device = device or kind
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
            wrong = "weights of another network" if weights is not None else "not an ONNX model that can be run"
            raise CheckpointError(f"{source}: {wrong} ({in_one_line(error)})") from None
        self.facts: dict[str, str] = dict(self.session.get_modelmeta().custom_metadata_map)
        size = _input_batch(self.session.get_inputs(), self.session.get_outputs(), source)
        self._batch = size if isinstance(size, int) else 0

    def heatmaps(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Heatmaps ``(B, K, h, w)`` float32 of crops ``(B, S, S, 3)`` uint8 RGB."""
        images = np.ascontiguousarray(images)
        parts = _batches(images, self._batch)
        answers = [self.session.run(["heatmaps"], {"images": part})[0] for part in parts]
        return _joined(answers, len(images))


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
        self.device = "cpu"
        content = _read(model)
        try:
            graph = openvino.Core().read_model(content)
            self._compiled = openvino.Core().compile_model(
                graph, "CPU", {"INFERENCE_NUM_THREADS": thread_count(), "PERFORMANCE_HINT": "LATENCY"}
            )
        except RuntimeError as error:
            raise CheckpointError(f"{model}: not an ONNX model that can be run ({in_one_line(error)})") from None
        where = ["framework", "sadinet"]  # the metadata of ONNX files
        self.facts = {"sadinet": graph.get_rt_info(where).astype(str)} if graph.has_rt_info(where) else {}
        self._one_at_a_time = Lock()  # a compiled model holds one request
        shape = graph.inputs[0].partial_shape[0]
        self._batch = 0 if shape.is_dynamic else int(shape.get_length())

    def heatmaps(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Heatmaps ``(B, K, h, w)`` float32 of crops ``(B, S, S, 3)`` uint8 RGB."""
        images = np.ascontiguousarray(images)
        with self._one_at_a_time:
            answers = [self._compiled({"images": part})["heatmaps"] for part in _batches(images, self._batch)]
        return _joined(answers, len(images))


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


def _joined(answers: list[NDArray[np.float32]], count: int) -> NDArray[np.float32]:
    return (answers[0] if len(answers) == 1 else np.concatenate(answers))[:count]
