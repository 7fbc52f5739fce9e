"""Where the persons are: a detector that is an ONNX file of the user's.

A detector is anything with a method ``detect``. The one here runs the YOLOX family with onnxruntime (an extra); what
is done to the picture before and to the numbers after is this module's. Nothing is downloaded: `fetch` does that, when
it is asked to. Source: decision 016.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..backend import require, thread_count
from ..errors import CheckpointError, ConfigError, DataError, in_one_line
from ..geometry import Floats, overlap, resample, whole_image
from ..images import Pixels, warp
from .fetch import KNOWN, cached_file

ENVIRONMENT = "SADINET_DETECTOR"
"""The environment variable that names the detector of those who name none: an .onnx file, or a name of `fetch`."""

STRIDES = (8, 16, 32)
"""Sides of the cells of YOLOX's three grids [px of its input]."""

_GREY = 114  # what YOLOX was trained to see beyond the picture
_PERSON = 0  # COCO's first class
_DYNAMIC_SIZE = 640  # of networks that take any size; the family's usual one
_MOST = 1000  # boxes kept before overlapping ones are dropped; the surest


@dataclass(frozen=True, eq=False)
class Detections:
    """The persons found in one picture, the surest first.

    Attributes:
        boxes: ``(N, 4)`` xyxy [image px], within the picture.
        score: ``(N,)`` in [0, 1], higher is surer.
    """

    boxes: Floats
    score: Floats

    def __post_init__(self) -> None:
        object.__setattr__(self, "boxes", np.asarray(self.boxes, dtype=np.float64))
        object.__setattr__(self, "score", np.asarray(self.score, dtype=np.float64))
        if self.score.ndim != 1 or self.boxes.shape != (len(self.score), 4):
            raise DataError(f"detections: boxes {self.boxes.shape}, score {self.score.shape}; give (N, 4) and (N,)")
        if not ((self.score >= 0) & (self.score <= 1)).all():
            raise DataError("the score of a detection is not in [0, 1]")
        if not (np.isfinite(self.boxes).all() and (self.boxes[:, :2] < self.boxes[:, 2:]).all()):
            raise DataError("the box of a detection is not x0 < x1 and y0 < y1, in finite pixels")

    def __len__(self) -> int:
        return len(self.score)

    @classmethod
    def empty(cls) -> "Detections":
        """Nobody."""
        return cls(np.zeros((0, 4)), np.zeros(0))


class Detector(Protocol):
    """Finds the persons in pictures. May be asked from several threads at once."""

    def detect(self, image: Pixels) -> Detections:
        """The persons in ``image`` ``(H, W, 3)`` uint8 RGB."""
        ...


class YoloxDetector:
    """Persons by a network of the YOLOX family, from the ONNX file that its authors or their exporter wrote.

    Such a file takes one picture ``(1, 3, H, W)``: BGR in [0, 255], scaled to fit, at the top left, grey below or to
    the right of it (YOLOX 0.1.1 and newer). It answers ``(1, N, 5 + classes)`` for the N cells of grids with strides
    8, 16 and 32: centre and size, objectness, classes, the first of which is person. Whether centre and size are in
    pixels already (exported with ``decode_in_inference``) or relative to their cells is found out by asking once.

    Args:
        file: The .onnx file.
        min_score: Persons below it are left out.
        max_overlap: Of two boxes whose intersection is more than this share of their union, the surer one counts.
        threads: That one picture is worked on with; None: as many as a network gets.

    Raises:
        ConfigError: If onnxruntime is not installed, or an option makes no sense.
        CheckpointError: If the file is missing, damaged or something else.

    Source: Ge et al., YOLOX: Exceeding YOLO Series in 2021, arXiv 2107.08430.
    """

    def __init__(
        self,
        file: str | Path,
        *,
        min_score: float = 0.3,
        max_overlap: float = 0.55,
        threads: int | None = None,
    ) -> None:
        if not (0 <= min_score <= 1 and 0 < max_overlap <= 1 and (threads is None or threads >= 1)):
            raise ConfigError(
                f"detector: min_score in [0, 1], max_overlap in (0, 1] and threads >= 1 are needed, "
                f"got {min_score=} {max_overlap=} {threads=}"
            )
        self.file = Path(file)
        self.min_score = min_score
        self.max_overlap = max_overlap
        self._session = _open(self.file, threads or thread_count())
        (self._input,) = (given.name for given in self._session.get_inputs())
        self.input_size = _input_size(self.file, self._session.get_inputs()[0].shape)
        self._cells = grid(self.input_size)
        self._decoded = self._probe()

    def detect(self, image: Pixels) -> Detections:
        """The persons in ``image`` ``(H, W, 3)`` uint8 RGB, boxes cut to the picture, the surest first."""
        shown, scale = letterbox(image, self.input_size)
        answer = self._ask(shown)
        score = answer[:, 4] * answer[:, 5 + _PERSON]
        chosen = np.flatnonzero(score >= self.min_score)
        boxes = answer[chosen, :4] if self._decoded else decode(answer[chosen, :4], self._cells[chosen])
        return _finish(boxes, score[chosen], scale, image.shape[1], image.shape[0], self.max_overlap)

    def _ask(self, shown: Pixels) -> Floats:
        bgr = np.ascontiguousarray(shown[:, :, ::-1].transpose(2, 0, 1)[None], dtype=np.float32)
        return np.asarray(self._session.run(None, {self._input: bgr})[0][0], dtype=np.float64)

    def _probe(self) -> bool:
        """Whether boxes are answered in pixels; refuses a network that answers something else than YOLOX."""
        width, height = self.input_size
        wanted = f"an answer (1, {len(self._cells)}, 5 + classes) to pictures of {width} x {height} px"
        try:
            answer = self._ask(np.full((height, width, 3), _GREY, np.uint8))
        except Exception as error:  # onnxruntime has its own kinds, which cannot be named without it
            raise CheckpointError(f"{self.file}: does not run ({in_one_line(error)})") from error
        if answer.ndim != 2 or len(answer) != len(self._cells) or answer.shape[1] < 6:
            raise CheckpointError(
                f"{self.file}: not a YOLOX detector without its own suppression of overlaps, {wanted} is needed, "
                f"not {answer.shape}"
            )
        centres = (self._cells[:, :2] + 0.5) * self._cells[:, 2:]
        in_pixels = np.abs(answer[:, :2] - centres) / self._cells[:, 2:]
        return bool(np.median(in_pixels) < np.median(np.abs(answer[:, :2])))


def letterbox(image: Pixels, size: tuple[int, int]) -> tuple[Pixels, float]:
    """``image`` scaled to fit into ``size`` (width, height) at the top left, grey beyond, and the factor.

    The map from image pixels to the result's is ``resample(factor)``.
    """
    height, width = image.shape[:2]
    scale = min(size[0] / width, size[1] / height)
    # Up to the last pixel whose centre lies on the picture.
    inner = [
        min(most, max(1, int(side * scale + 0.5 - 1e-6))) for side, most in zip((width, height), size, strict=True)
    ]
    shown = np.full((size[1], size[0], 3), _GREY, np.uint8)
    shown[: inner[1], : inner[0]] = warp(image, resample(scale), (inner[0], inner[1]))
    return shown, scale


def grid(size: tuple[int, int]) -> Floats:
    """The cells of an input of ``size`` (width, height): ``(N, 3)``, column, row and stride, in YOLOX's order."""
    cells = []
    for stride in STRIDES:
        rows, columns = np.mgrid[: size[1] // stride, : size[0] // stride]
        cells.append(np.stack([columns, rows, np.full_like(rows, stride)], -1).reshape(-1, 3))
    return np.concatenate(cells).astype(np.float64)


def decode(raw: Floats, cells: Floats) -> Floats:
    """Boxes as centre and size ``(N, 4)`` [input px] from what the network says relative to its ``cells`` ``(N, 3)``.

    The centre is an offset from the cell's corner and the size a logarithm, both in strides.
    """
    stride = cells[:, 2:]
    with np.errstate(over="ignore"):  # what is infinite is left out later
        return np.concatenate([(raw[:, :2] + cells[:, :2]) * stride, np.exp(raw[:, 2:]) * stride], axis=1)


def suppress(boxes: Floats, score: Floats, max_overlap: float) -> NDArray[np.int64]:
    """Indices of the boxes that count, the surest first: each overlaps no surer one of them by more than that.

    Args:
        boxes: ``(N, 4)`` xyxy.
        score: ``(N,)``; of equals the first is the surer.
        max_overlap: Of their union.
    """
    order = np.argsort(-score, kind="stable")
    kept = []
    while len(order):
        first, order = order[0], order[1:]
        kept.append(first)
        order = order[overlap(boxes[first][None], boxes[order])[0] <= max_overlap]
    return np.array(kept, dtype=np.int64)


def _finish(boxes: Floats, score: Floats, scale: float, width: int, height: int, max_overlap: float) -> Detections:
    """Detections in the picture from boxes as centre and size [input px]."""
    corners = np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], axis=1)
    corners = corners / scale - 0.5  # YOLOX counts from the corner of the first pixel
    usable = np.isfinite(corners).all(1) & np.isfinite(score)
    corners, score = corners[usable], np.clip(score[usable], 0, 1)
    surest = np.argsort(-score, kind="stable")[:_MOST]
    kept = surest[suppress(corners[surest], score[surest], max_overlap)]
    left, top, right, bottom = whole_image(width, height)
    cut = np.clip(corners[kept], (left, top, left, top), (right, bottom, right, bottom))
    inside = (cut[:, :2] < cut[:, 2:]).all(1)
    return Detections(cut[inside], score[kept][inside])


def find_detector(spec: str | Path | None = None, **options: Any) -> YoloxDetector | None:
    """The detector that ``spec`` stands for.

    Args:
        spec: An .onnx file, or the name of one that was fetched. None: what the environment variable
            ``SADINET_DETECTOR`` names, else a known detector that was fetched, else none.
        options: For `YoloxDetector`.

    Returns:
        None if ``spec`` is None and nothing is found.

    Raises:
        ConfigError: If there is no such file or name, or onnxruntime is not installed.
        CheckpointError: If the file is damaged or something else.
    """
    spec = spec or os.environ.get(ENVIRONMENT) or None
    if spec is None:
        fetched = [file for name in KNOWN if (file := cached_file(name))]
        return YoloxDetector(fetched[0], **options) if fetched else None
    file = Path(spec)
    if not file.is_file():
        found = cached_file(str(spec)) if file.name == str(spec) else None
        if found is None:
            advice = f"fetch it: sadinet fetch {spec}" if str(spec) in KNOWN else f"can be fetched: {', '.join(KNOWN)}"
            raise ConfigError(f"detector '{spec}': neither an .onnx file nor one that was fetched ({advice})")
        file = found
    return YoloxDetector(file, **options)


def _open(file: Path, threads: int) -> Any:
    onnxruntime = require("onnxruntime", "onnx")
    if not file.is_file():
        raise CheckpointError(f"{file}: no such file")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # what is wrong is raised
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # torch works in between
    try:
        session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has its own kinds
        raise CheckpointError(f"{file}: not an ONNX file that can be run ({in_one_line(error)})") from error
    given = session.get_inputs()
    if len(given) != 1 or given[0].type != "tensor(float)" or len(given[0].shape) != 4:
        found = ", ".join(f"{i.name} {i.shape} {i.type}" for i in given)
        raise CheckpointError(f"{file}: not a YOLOX detector, which takes one (1, 3, H, W) of float; it takes {found}")
    return session


def _input_size(file: Path, shape: list[Any]) -> tuple[int, int]:
    """Width and height."""
    _, channels, height, width = (side if isinstance(side, int) else None for side in shape)
    width, height = width or _DYNAMIC_SIZE, height or _DYNAMIC_SIZE
    if channels not in (3, None) or width % STRIDES[-1] or height % STRIDES[-1]:
        raise CheckpointError(f"{file}: not a YOLOX detector, which takes (1, 3, H, W), sides multiples of 32; {shape}")
    return width, height
