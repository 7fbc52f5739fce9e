"""Pictures and boxes to poses: the one inference path that prediction, evaluation and training's validation share."""

import logging
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .backend import Backend
from .errors import ConfigError
from .experiment import Experiment
from .geometry import (
    BOX_MARGIN,
    DETECTED_MARGIN,
    Crop,
    Floats,
    apply,
    checked_boxes,
    image_to_crop,
    invert,
    whole_image,
)
from .heatmaps import average_scales, decode, to_numpy, unmirror, unmirror_moments
from .images import Source, read_image, warp
from .media.sources import Failure, Sources
from .persons.detect import Detector
from .persons.finding import Boxes
from .persons.following import Answer, Found, Smoothing
from .persons.streaming import stream_frames
from .poses import Poses
from .reading import Reading
from .skeleton import Skeleton
from .timing import Clock, total

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from .model.network import SadiNet
    from .torch_backend import TorchBackend

SIX_SCALES = (0.8, 0.9, 1.0, 1.1, 1.2, 1.3)
"""The image pyramid of the paper's tests (Sec. IV-A; decision 008)."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Inference:
    """How a network is asked.

    Attributes:
        flip: Average with the answer to the mirrored picture.
        scales: Factors on the side of the crop, averaged: ``(1.0,)`` or `SIX_SCALES`.
        batch_size: Persons per pass through the network.
        threads: Threads that cut out persons while the network works.
    """

    flip: bool = True
    scales: tuple[float, ...] = (1.0,)
    batch_size: int = 16
    threads: int = 2

    def __post_init__(self) -> None:
        sizes_fit = bool(self.scales) and all(0 < scale < float("inf") for scale in self.scales)
        if not sizes_fit or self.batch_size < 1 or self.threads < 1:
            raise ConfigError(f"inference: positive scales, batch_size and threads are needed, got {self}")

    def describe(self) -> str:
        """For reports: ``"1 scale + flip"``."""
        scales = "1 scale" if len(self.scales) == 1 else f"{len(self.scales)} scales"
        return scales + (" + flip" if self.flip else "")


class Estimator:
    """Finds the keypoints of persons in pictures.

    Args:
        network: Trained, to be run by PyTorch; or what else makes heatmaps.
        experiment: What it was trained by; or how its heatmaps are read.
        device: Of a network: ``"cpu"``, ``"cuda"``...; None: a GPU where there is one.
        inference: How it is asked.

    Attributes:
        backend: Makes the heatmaps.
        reading: How they are read.
        inference: How the network is asked.

    Raises:
        ConfigError: If there is no such device here.
    """

    def __init__(
        self,
        network: "SadiNet | Backend",
        experiment: Experiment | Reading,
        *,
        device: "str | torch.device | None" = None,
        inference: Inference = Inference(),
    ) -> None:
        made: Any = network if hasattr(network, "heatmaps") else _in_torch(network, device)
        self.backend: Backend = made
        self.reading = Reading.of(experiment) if isinstance(experiment, Experiment) else experiment
        self.inference = inference
        if self.reading.answer == "mean" and self.backend.name != "torch":
            raise ConfigError(f"{self.reading.name} answers with its mean, which needs torch: load its checkpoint")

    @property
    def skeleton(self) -> Skeleton:
        """The keypoints it finds."""
        return self.reading.skeleton

    @property
    def input_size(self) -> int:
        """Side of the crop that the network is shown [px]."""
        return self.reading.input_size

    @property
    def device(self) -> str:
        """What the network is computed on: ``"cpu"``, ``"cuda:0"``..."""
        return self.backend.device

    def predict(
        self,
        image: Source,
        boxes: ArrayLike | None = None,
        *,
        detector: Detector | None = None,
        margin: float | None = None,
    ) -> Poses:
        """The poses in one picture, a person per box.

        Args:
            image: A file, its bytes, a Pillow image, or an array ``(H, W, 3)`` RGB.
            boxes: ``(P, 4)`` or ``(4,)`` xyxy [image px], tight around the persons; None: those that ``detector``
                finds, or without one, a person who fills the picture.
            detector: Finds the persons where there are no boxes; see `sadinet.persons.detect.find_detector`.
            margin: Factor on the longer side of a box that gives the square shown to the network; None: 1.25, and 1.05
                for the boxes of ``detector``, which are wider.

        Raises:
            ImageError: If the picture cannot be read.
            DataError: If a box is empty, not finite or outside the picture.
        """
        clock = Clock()
        pixels = read_image(image)
        height, width = pixels.shape[:2]
        clock.stop("read")
        if boxes is None and detector is not None:
            boxes = detector.detect(pixels).boxes
            margin = DETECTED_MARGIN if margin is None else margin
            clock.stop("detect")
        if boxes is None:
            checked = whole_image(width, height)[None]
            margin = 1.0
        else:
            checked = checked_boxes(boxes, width, height)
            margin = BOX_MARGIN if margin is None else margin
        persons, size = [(pixels, Crop.around(box, margin)) for box in checked], self.batch_size
        batches = (persons[start : start + size] for start in range(0, len(persons), size))
        found = [person for batch in self.answers(batches) for person in batch]
        if not found:
            return replace(Poses.empty(self.skeleton, (width, height)), timing=clock.ms)
        return Poses(
            xy=np.stack([person.xy for person in found]),
            score=np.stack([person.score for person in found]),
            boxes=checked,
            skeleton=self.skeleton,
            image_size=(width, height),
            timing=total(clock.ms, *(person.ms for person in found)),
        )

    def stream(
        self,
        source: Sources,
        *,
        detector: Detector | str | Path | None = None,
        boxes: Boxes | None = None,
        detect_every: int | None = None,
        track: bool | None = None,
        smooth: Smoothing | None = None,
        max_persons: int | None = None,
    ) -> Iterator[Poses]:
        """The poses in every picture and frame of a source, in order, in bounded memory.

        Reading and detecting go on in threads while the network works, on persons of several frames at a time; frames
        of a camera are answered one by one, and those that come too fast are left out. What cannot be read is told as
        a warning of the log and left out. Several streams may run at once. Leave a stream early with ``break`` or
        ``close()``: no thread stays behind.

        Args:
            source: A picture, video, folder, list (.txt) or pattern, the number of a camera, an array or a stack of
                them, bytes, a Pillow image, or an iterable of all these.
            detector: Finds the persons: a `Detector`, an .onnx file, or a name that was fetched. None: what the
                variable ``SADINET_DETECTOR`` names or was fetched, else a person is taken to fill the picture;
                ``"none"``: that without looking.
            boxes: Instead of a detector: ``(P, 4)`` xyxy [image px] for all pictures, or by picture as from
                `sadinet.persons.boxes.read_boxes`.
            detect_every: Of a video, how often the detector looks; between, boxes go evenly. None: every 5th frame.
            track: Give persons ids. None: in videos.
            smooth: ``"one-euro"`` or ``"none"``. None: the former where there are ids.
            max_persons: At most so many per picture, the surest.

        Raises:
            ConfigError: If options make no sense together.
            DataError: If a source does not exist, or is an address on the network.
        """
        answers = stream_frames(
            *(self, source),
            detector=detector,
            boxes=boxes,
            detect_every=detect_every,
            track=track,
            smooth=smooth,
            max_persons=max_persons,
        )
        return _poses_of(answers)

    @property
    def batch_size(self) -> int:
        """Persons per pass through the network."""
        return self.inference.batch_size

    def keypoints(self, persons: Iterable[tuple[NDArray[np.uint8], Crop]]) -> Iterator[tuple[Floats, Floats]]:
        """For each picture and crop, in order, ``xy`` ``(K, 2)`` [image px] and ``score`` ``(K,)`` in [0, 1].

        Persons are read lazily and batched; the next batch is cut out while the network works on this one.
        """
        todo = iter(persons)
        batches = iter(lambda: list(islice(todo, self.inference.batch_size)), [])
        for found in self.answers(batches):
            yield from ((person.xy, person.score) for person in found)

    def answers(
        self, batches: Iterable[Sequence[tuple[NDArray[np.uint8], Crop]]], *, heatmaps: bool = False
    ) -> Generator[list[Found]]:
        """What `keypoints` gives, and what else is known of each person, for one batch after another.

        A batch is cut out while the network works on the one before it, so ``batches`` is one ahead.

        Args:
            batches: Pictures and crops, together through the network; may be empty.
            heatmaps: Also give the persons' heatmaps.
        """
        todo = iter(batches)
        with ThreadPoolExecutor(self.inference.threads, thread_name_prefix="sadinet-crop") as pool:

            def prepare() -> tuple[list[Crop], list[Future[tuple[NDArray[np.uint8], float]]]] | None:
                batch = next(todo, None)
                if batch is None:
                    return None
                return [crop for _, crop in batch], [
                    pool.submit(_cut, image, image_to_crop(_scaled(crop, scale), self.input_size), self.input_size)
                    for scale in self.inference.scales
                    for image, crop in batch
                ]

            ready = prepare()
            while ready:
                crops, waiting = ready
                cut = [future.result() for future in waiting]
                ready = prepare()
                if crops:
                    clock = Clock({"crop": sum(ms for _, ms in cut)})
                    yield self._finish(np.stack([image for image, _ in cut]), crops, clock, heatmaps)
                else:
                    yield []

    def _finish(
        self, images: NDArray[np.uint8], crops: Sequence[Crop], clock: Clock, with_heatmaps: bool
    ) -> list[Found]:
        scales, reference = self.inference.scales, max(self.inference.scales)
        shown = images.reshape(len(scales), len(crops), *images.shape[1:])
        glow: Sequence[NDArray[np.float32] | None] = [None] * len(crops)
        if self.reading.answer == "mean":
            xy, scores = self._regressed(shown)
            clock.stop("network")
        else:
            maps = [self.heatmaps(part) for part in shown]
            clock.stop("network")
            xy, scores = self._decoded(maps)
            if with_heatmaps:
                glow = list(to_numpy(maps[scales.index(reference)]).max(1))
        windows = [_scaled(crop, reference) for crop in crops]
        places = [apply(invert(image_to_crop(w, self.input_size)), at) for w, at in zip(windows, xy, strict=True)]
        clock.stop("decode")
        share = {stage: ms / len(crops) for stage, ms in clock.ms.items()}
        persons = zip(places, scores, windows, glow, strict=True)
        return [Found(at, score, window, heatmap, share) for at, score, window, heatmap in persons]

    def _decoded(self, maps: Sequence[Any]) -> tuple[Floats, Floats]:
        """``xy`` ``(B, K, 2)`` [px of the largest crop] and scores ``(B, K)`` from the heatmaps of every scale."""
        scales, side, sigma = self.inference.scales, maps[0].shape[-1], self.reading.sigma
        if len(maps) == 1:
            found = [decode(maps[0], self.reading.decoding, sigma=sigma)]
        else:
            side, sigma = self.input_size, sigma * self.reading.stride * min(scales) / max(scales)
            persons = len(maps[0])
            step = (
                persons if getattr(maps[0], "is_cuda", False) else 1
            )  # one person's fine maps fit a processor's cache
            averaged = (
                average_scales([part[i : i + step] for part in maps], scales, side) for i in range(0, persons, step)
            )
            found = [decode(part, self.reading.decoding, sigma=sigma) for part in averaged]
        xy, peak = (np.concatenate([to_numpy(part) for part in parts]) for parts in zip(*found, strict=True))
        xy = (xy + 0.5) * (self.input_size / side) - 0.5  # heatmap px to crop px
        return xy.astype(np.float64), self.reading.scores(peak).astype(np.float64)

    def _regressed(self, shown: NDArray[np.uint8]) -> tuple[Floats, Floats]:
        """The same of a network whose answer is the mean; averaged where heatmaps would be."""
        backend = cast("TorchBackend", self.backend)
        scales, reference = self.inference.scales, max(self.inference.scales)
        means, sure = [], []
        for part, scale in zip(shown, scales, strict=True):
            mean, deviation = backend.moments(part)
            if self.inference.flip:
                moments = backend.moments(part[:, :, ::-1])
                mirrored, spread = unmirror_moments(*moments, self.skeleton.flip_index)
                mean, deviation = (mean + mirrored) / 2, (deviation + spread) / 2
            means.append(mean * (scale / reference))
            sure.append(1 - deviation.mean(-1))
        xy = (np.mean(means, 0) + 0.5) * self.input_size - 0.5
        return xy, self.reading.scores(np.mean(sure, 0))

    def heatmaps(self, images: NDArray[np.uint8]) -> "NDArray[np.float32] | Tensor":
        """Heatmaps ``(B, K, h, w)`` float32 of crops ``(B, S, S, 3)`` uint8 RGB, mirrored ones averaged in if set."""
        if not self.inference.flip:
            return self.backend.heatmaps(images)
        both: Any = self.backend.heatmaps(np.concatenate([images, images[:, :, ::-1]]))
        mean: NDArray[np.float32] = (both[: len(images)] + unmirror(both[len(images) :], self.skeleton.flip_index)) / 2
        return mean


def _in_torch(network: Any, device: "str | torch.device | None") -> "TorchBackend":
    from .torch_backend import TorchBackend  # only here, so that others need not wait for PyTorch

    return TorchBackend(network, device)


def _poses_of(answers: Generator[Answer | Failure]) -> Generator[Poses]:
    with closing(answers):
        for answer in answers:
            if isinstance(answer, Failure):
                _log.warning("skipped: %s", answer.error)
            else:
                yield answer.poses
            del answer  # and with it the pixels


def _cut(image: NDArray[np.uint8], image_to_out: Floats, size: int) -> tuple[NDArray[np.uint8], float]:
    """A crop, and how long it took [ms]."""
    clock = Clock()
    return warp(image, image_to_out, size), clock.stop("crop")


def _scaled(crop: Crop, scale: float) -> Crop:
    return Crop(crop.center, crop.side * scale, crop.angle)
