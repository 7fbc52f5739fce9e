"""Static int8 quantisation of exported networks, calibrated on real crops."""

import io
import logging
import tempfile
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..backend import require

RangeMethod = Literal["minmax", "entropy", "percentile"]
RANGE_METHOD: RangeMethod = "minmax"
CALIBRATION_CROPS = 128
"""How activations' ranges are learned, and from how many crops (chosen on validation persons: decision 021)."""


def quantized(model: Any, crops: NDArray[np.uint8], *, method: RangeMethod = RANGE_METHOD) -> Any:
    """``model`` (an ``onnx.ModelProto``) with int8 weights, per channel, and uint8 activations.

    Args:
        model: Takes ``images``.
        crops: ``(N, S, S, 3)`` uint8 of the kind that it will see.
        method: How the range of an activation is learned from its values on the crops; all but ``"minmax"`` keep them
            in memory.
    """
    onnx = require("onnx", "export")
    quantization = require("onnxruntime.quantization", "export")
    methods = {"minmax": "MinMax", "entropy": "Entropy", "percentile": "Percentile"}

    nodes = list(model.graph.node)
    for number, node in enumerate(nodes):
        node.name = node.name or f"node_{number}"
    # What comes before the first convolution makes numbers of pixels, what follows the last one reads heatmaps.
    convolutions = [number for number, node in enumerate(nodes) if node.op_type == "Conv"]
    excluded = [node.name for node in [*nodes[: convolutions[0]], *nodes[convolutions[-1] + 1 :]]]
    batch = model.graph.input[0].type.tensor_type.shape.dim[0].dim_value or 1
    logger, level = logging.getLogger(), logging.getLogger().level
    with tempfile.TemporaryDirectory(prefix="sadinet-") as folder:
        path = Path(folder) / "model.onnx"
        logger.setLevel(logging.ERROR)  # it advises on the root logger to do what has been done
        try:
            with redirect_stdout(io.StringIO()):
                quantization.quantize_static(
                    model,
                    path,
                    _Reader(crops, batch),
                    quant_format=quantization.QuantFormat.QDQ,
                    per_channel=True,
                    activation_type=quantization.QuantType.QUInt8,
                    weight_type=quantization.QuantType.QInt8,
                    calibrate_method=getattr(quantization.CalibrationMethod, methods[method]),
                    nodes_to_exclude=excluded,
                )
        finally:
            logger.setLevel(level)
        return onnx.load(path)


class _Reader:
    """Hands out the crops, as many at a time as the graph takes."""

    def __init__(self, crops: NDArray[np.uint8], batch: int) -> None:
        self._waiting: Iterator[NDArray[np.uint8]] = iter(np.split(crops, range(batch, len(crops), batch)))
        self._batch = batch

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        part = next(self._waiting, None)
        return None if part is None else {"images": np.resize(part, (self._batch, *part.shape[1:]))}
