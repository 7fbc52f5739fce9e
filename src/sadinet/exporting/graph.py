"""A network as an ONNX graph, with its weights or without. Making one needs ``sadinet[export]``."""

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from copy import deepcopy
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..backend import require
from ..errors import ConfigError
from ..files import replacing
from ..heatmaps import decode
from ..model.fold import folded
from ..model.network import SadiNet
from ..reading import Reading
from ..stored import graph_name

OPSET = 18
"""ONNX operator set; with IR version 10 it opens in onnxruntime 1.18 and later."""

Precision = Literal["float32", "float16", "int8"]


def build(
    network: SadiNet,
    reading: Reading,
    *,
    precision: Precision = "float32",
    batch: int | None = None,
    opset: int = OPSET,
    decoded: bool = False,
) -> Any:
    """The network as an ``onnx.ModelProto``; ``"int8"`` is not yet quantised here.

    Any module with ``backbone_heatmaps`` of pictures in [0, 1] will do.
    """
    require("onnx", "export")
    require("onnxscript", "export")
    if reading.answer == "mean":
        raise ConfigError(f"{reading.name} answers with its mean; only networks that answer with heatmaps are exported")
    if batch is not None and batch < 1:
        raise ConfigError(f"batch={batch}: give a number of crops, or none for any")
    module = _Graph(network, reading, half=precision == "float16", decoded=decoded).eval()
    shown = torch.zeros(batch or 2, reading.input_size, reading.input_size, 3, dtype=torch.uint8)
    dynamic = None if batch else ({0: torch.export.Dim("batch")},)
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            module,
            (shown,),
            dynamo=True,
            dynamic_shapes=dynamic,
            input_names=["images"],
            output_names=["heatmaps", "xy", "score"] if decoded else ["heatmaps"],
            opset_version=opset,
            external_data=False,
            verbose=False,
        )
    assert program is not None
    return _tidied(program.model_proto)


class _Graph(nn.Module):
    """What is exported: pixels in, heatmaps out."""

    def __init__(self, network: SadiNet, reading: Reading, *, half: bool, decoded: bool) -> None:
        super().__init__()
        self.network = inference_form(network)
        self.dtype = torch.float16 if half else torch.float32
        self.network.to(self.dtype)
        self.reading = reading
        self.decoded = decoded

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, Tensor, Tensor]:
        pixels = images.permute(0, 3, 1, 2).to(self.dtype)
        heatmaps = self.network.backbone_heatmaps(pixels).float()
        if not self.decoded:
            return heatmaps
        xy, peak = decode(heatmaps, self.reading.decoding, sigma=self.reading.sigma)
        return heatmaps, (xy + 0.5) * self.reading.stride - 0.5, self.reading.scores(peak)


def inference_form(network: SadiNet) -> SadiNet:
    """A folded copy without training-only parts that takes pictures in [0, 255], as the graph does."""
    copy = folded(network)
    if isinstance(copy, SadiNet):
        copy.drop_training_parts()
        copy.image_mean, copy.image_std = copy.image_mean * 255, copy.image_std * 255
        return copy
    return _Scaled(copy)


class _Scaled(nn.Module):
    """Another network, shown pictures in [0, 255]."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def backbone_heatmaps(self, images: Tensor) -> Tensor:
        return self.network.backbone_heatmaps(images / 255)  # type: ignore[no-any-return, operator]


def weights_of(network: SadiNet) -> dict[str, NDArray[np.float32]]:
    """The weights that `write_graph` leaves out, by name."""
    state = inference_form(network).state_dict()
    return {f"network.{name}": values.contiguous().numpy() for name, values in state.items()}


def write_graph(network: SadiNet, reading: Reading, folder: Path) -> Path:
    """Writes the graph without its weights: small, and good for every network of this shape (`weights_of` fills it)."""
    onnx = require("onnx", "export")
    network = deepcopy(network)
    for values in network.parameters():
        nn.init.normal_(values)  # the exporter would merge weights that are equal
    model = build(network, reading)
    known = weights_of(network)
    missing = set(known) - {tensor.name for tensor in model.graph.initializer}
    if missing:
        raise ConfigError(f"the exporter renamed weights ({', '.join(sorted(missing)[:3])}): this torch is not known")
    for tensor in model.graph.initializer:
        if tensor.name in known:
            tensor.ClearField("raw_data")
            tensor.data_location = onnx.TensorProto.EXTERNAL
            tensor.external_data.add(key="location", value="the checkpoint")
    path = folder / graph_name(network.config)
    with replacing(path) as file:
        file.write_bytes(model.SerializeToString())
    return path


def _tidied(model: Any) -> Any:
    """``model`` without notes of the exporter (they name files of this machine) and with plain names of operations."""
    used = set()
    for node in model.graph.node:
        if node.op_type == "ReduceMean":  # of h and w, the only one there is: what more runtimes know well
            node.op_type = "GlobalAveragePool"
            del node.input[1:]
            del node.attribute[:]
        node.ClearField("metadata_props")
        node.ClearField("doc_string")
        used.update(node.input)
    for values in (model.graph.input, model.graph.output, model.graph.value_info, model.graph.initializer):
        for value in values:
            value.ClearField("metadata_props")
            value.ClearField("doc_string")
    kept = [tensor for tensor in model.graph.initializer if tensor.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    for field in ("metadata_props", "doc_string"):
        model.ClearField(field)
        model.graph.ClearField(field)
    del model.functions[:]
    return model


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter talks to standard output, to loggers and in warnings, none of which is for the user."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir", "torch.export")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
