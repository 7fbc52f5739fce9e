"""Crops of persons to keypoints: the one way a network is asked, whatever computes it."""

from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from .backend import Backend
from .errors import ConfigError
from .experiment import Experiment
from .geometry import Crop, Floats, apply, image_to_crop, invert
from .heatmaps import average_scales, decode, to_numpy, unmirror, unmirror_moments
from .images import warp
from .persons.following import Found
from .reading import Reading
from .skeleton import Skeleton
from .timing import Clock

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from .model.network import SadiNet
    from .torch_backend import TorchBackend

SIX_SCALES = (0.8, 0.9, 1.0, 1.1, 1.2, 1.3)
"""The image pyramid of the paper's tests (Sec. IV-A; decision 008)."""


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


class CropEstimator:
    """Finds the keypoints of the persons that crops are around.

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

    @property
    def batch_size(self) -> int:
        """Persons per pass through the network."""
        return self.inference.batch_size

    def keypoints(self, persons: Iterable[tuple[NDArray[np.uint8], Crop]]) -> Iterator[tuple[Floats, Floats]]:
        """For each picture and crop, in order, ``xy`` ``(K, 2)`` [image px] and ``score`` ``(K,)`` in [0, 1].

        Persons are read lazily and batched; the next batch is cut out while the network works on this one.
        """
        return ((person.xy, person.score) for person in self.find(persons))

    def find(self, persons: Iterable[tuple[NDArray[np.uint8], Crop]], *, heatmaps: bool = False) -> Generator[Found]:
        """What `keypoints` gives, and what else is known of each person; with their heatmaps if wanted."""
        todo = iter(persons)
        batches = iter(lambda: list(islice(todo, self.inference.batch_size)), [])
        for found in self.answers(batches, heatmaps=heatmaps):
            yield from found

    def answers(
        self, batches: Iterable[Sequence[tuple[NDArray[np.uint8], Crop]]], *, heatmaps: bool = False
    ) -> Generator[list[Found]]:
        """What `find` gives, for one batch after another.

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
            # One person's fine maps fit a processor's cache.
            step = persons if getattr(maps[0], "is_cuda", False) else 1
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


def _cut(image: NDArray[np.uint8], image_to_out: Floats, size: int) -> tuple[NDArray[np.uint8], float]:
    """A crop, and how long it took [ms]."""
    clock = Clock()
    return warp(image, image_to_out, size), clock.stop("crop")


def _scaled(crop: Crop, scale: float) -> Crop:
    return Crop(crop.center, crop.side * scale, crop.angle)
