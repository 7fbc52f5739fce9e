"""Static int8 quantisation of exported networks, calibrated on real crops."""

import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .backend import require

Calibration = Literal["minmax", "entropy", "percentile"]


def quantized(model: Any, crops: NDArray[np.uint8], *, calibration: Calibration = "minmax", floats: int = 1) -> Any:
    """``model`` (an ``onnx.ModelProto``) with int8 weights, per channel, and uint8 activations.

    Args:
        model: Takes ``images``.
        crops: ``(N, S, S, 3)`` uint8 of the kind that it will see.
        calibration: How the range of an activation is learned from its values on the crops.
        floats: Convolutions at the end that stay in float32; what comes before the first one always does.
    """
    onnx = require("onnx", "export")
    quantization = require("onnxruntime.quantization", "export")
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    front = list(model.graph.node)[: list(model.graph.node).index(convolutions[0])]
    methods = {"minmax": "MinMax", "entropy": "Entropy", "percentile": "Percentile"}

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.waiting: Iterator[NDArray[np.uint8]] = iter(crops)

        def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
            crop = next(self.waiting, None)
            return None if crop is None else {"images": crop[None]}

    for number, node in enumerate(model.graph.node):
        node.name = node.name or f"node_{number}"
    excluded = [node.name for node in [*front, *convolutions[len(convolutions) - floats :]]]
    logger, level = logging.getLogger(), logging.getLogger().level
    with tempfile.TemporaryDirectory(prefix="sadinet-") as folder:
        path = Path(folder) / "model.onnx"
        logger.setLevel(logging.ERROR)  # it advises on the root logger to do what has been done
        try:
            quantization.quantize_static(
                model,
                path,
                Reader(),
                quant_format=quantization.QuantFormat.QDQ,
                per_channel=True,
                activation_type=quantization.QuantType.QUInt8,
                weight_type=quantization.QuantType.QInt8,
                calibrate_method=getattr(quantization.CalibrationMethod, methods[calibration]),
                nodes_to_exclude=excluded,
            )
        finally:
            logger.setLevel(level)
        return onnx.load(path)
