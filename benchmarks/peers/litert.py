"""MoveNet Lightning and BlazePose lite as their model cards describe them, run by LiteRT on sadinet's crops.

Both get one person per call: neither file has a batch axis. They answer in LSP's order, NaN for the keypoints they
do not have (neck and head top), and their preprocessing is written here from their public model cards, nothing else.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from boxes import Margins
from numpy.typing import NDArray

from sadinet import COCO, LSP
from sadinet.geometry import Crop, apply, image_to_crop, invert
from sadinet.images import warp
from sadinet.skeleton import matching_channels

LIMB_NAMES = ("shoulder", "elbow", "wrist", "pinky", "index", "thumb", "hip", "knee", "ankle", "heel", "foot_index")
BLAZEPOSE = (
    *("nose", "left_eye_inner", "left_eye", "left_eye_outer", "right_eye_inner", "right_eye", "right_eye_outer"),
    *("left_ear", "right_ear", "mouth_left", "mouth_right"),
    *(f"{side}_{name}" for name in LIMB_NAMES for side in ("left", "right")),
)
"""The 33 landmarks of BlazePose in their order; the file's six others are helpers of its tracker."""


@dataclass(frozen=True)
class Peer:
    """What a model card tells.

    Attributes:
        title: What tables call it.
        file: Name of the file.
        size: Side of its input [px].
        margins: How much larger than a box its crop is.
        reads: ``"bytes"`` (0 to 255) or ``"floats"`` (0 to 1), RGB.
    """

    title: str
    file: str
    size: int
    margins: Margins
    reads: Literal["bytes", "floats"]


PEERS = {
    "movenet": Peer("MoveNet Lightning int8", "movenet_lightning_int8.tflite", 192, Margins(1.25, 1.05), "bytes"),
    "blazepose": Peer("BlazePose lite", "blazepose_lite.tflite", 256, Margins(1.5, 1.5), "floats"),
}


def movenet_keypoints(output: NDArray[np.float32]) -> NDArray[np.float64]:
    """Keypoints of LSP ``(14, 2)`` [input px] from MoveNet's ``(1, 1, 17, 3)``: y, x in shares of the side, score."""
    yx = output.reshape(len(COCO), 3)[:, :2].astype(np.float64)
    return _in_lsp_order(yx[:, ::-1] * PEERS["movenet"].size - 0.5, COCO.keypoints)


def blazepose_keypoints(output: NDArray[np.float32]) -> NDArray[np.float64]:
    """Keypoints of LSP ``(14, 2)`` [input px] from BlazePose's ``(1, 195)``: 39 x (x, y, z, two logits)."""
    xy = output.reshape(39, 5)[: len(BLAZEPOSE), :2].astype(np.float64)
    return _in_lsp_order(xy - 0.5, BLAZEPOSE)


def _in_lsp_order(xy: NDArray[np.float64], names: tuple[str, ...]) -> NDArray[np.float64]:
    ordered = np.full((len(LSP), 2), np.nan)
    for theirs, ours in matching_channels(names, LSP):
        ordered[ours] = xy[theirs]
    return ordered


_DECODE = {"movenet": movenet_keypoints, "blazepose": blazepose_keypoints}


class LiteRT:
    """One of `PEERS`, ready to be asked.

    Args:
        key: Its name in `PEERS`.
        models: The folder that holds its file.
        threads: Threads it may use.
    """

    def __init__(self, key: str, models: Path, *, threads: int = 1) -> None:
        from ai_edge_litert.interpreter import Interpreter  # for this benchmark only: pip install ai-edge-litert

        self.key, self.peer = key, PEERS[key]
        self.margin = self.peer.margins.tight
        self._interpreter: Any = Interpreter(str(models / self.peer.file), num_threads=threads)
        self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]["index"]
        self._output = self._interpreter.get_output_details()[0]["index"]

    def keypoints(
        self, persons: Iterable[tuple[NDArray[np.uint8], Crop]]
    ) -> Iterator[tuple[NDArray[np.float64], None]]:
        """For each picture and crop, in order, ``xy`` ``(14, 2)`` [image px]; no scores, as nothing here uses them."""
        for image, crop in persons:
            image_to_input = image_to_crop(crop, self.peer.size)
            shown = warp(image, image_to_input, self.peer.size)[None]
            self._interpreter.set_tensor(
                self._input, shown if self.peer.reads == "bytes" else shown.astype(np.float32) / 255
            )
            self._interpreter.invoke()
            xy = _DECODE[self.key](self._interpreter.get_tensor(self._output))
            yield apply(invert(image_to_input), xy), None
