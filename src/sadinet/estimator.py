"""Pictures and boxes to poses: the one inference path that prediction, evaluation and training's validation share."""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from .backend import Backend, TorchBackend
from .errors import ConfigError, DataError
from .experiment import Experiment
from .geometry import Crop, Floats, apply, image_to_crop, invert, whole_image
from .heatmaps import decode, unmirror, unmirror_moments
from .images import Source, read_image, warp
from .model.network import SadiNet
from .poses import Poses
from .reading import Reading
from .skeleton import Skeleton

SIX_SCALES = (0.8, 0.9, 1.0, 1.1, 1.2, 1.3)
"""The image pyramid of the paper's tests (Sec. IV-A; decision 008)."""

BOX_MARGIN = 1.25
"""A given box is taken as tight around the person; the network was trained on squares this much larger."""


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
        network: SadiNet | Backend,
        experiment: Experiment | Reading,
        *,
        device: str | torch.device | None = None,
        inference: Inference = Inference(),
    ) -> None:
        self.backend: Backend = TorchBackend(network, device) if isinstance(network, nn.Module) else network
        self.reading = Reading.of(experiment) if isinstance(experiment, Experiment) else experiment
        self.inference = inference
        if self.reading.answer == "mean" and not isinstance(self.backend, TorchBackend):
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
    def device(self) -> torch.device:
        """Where the network is computed."""
        return self.backend.device

    def predict(self, image: Source, boxes: ArrayLike | None = None, *, margin: float = BOX_MARGIN) -> Poses:
        """The poses in one picture, a person per box.

        Args:
            image: A file, its bytes, a Pillow image, or an array ``(H, W, 3)`` RGB.
            boxes: ``(P, 4)`` or ``(4,)`` xyxy [image px], tight around the persons; None: one person fills the picture.
            margin: Factor on the longer side of a box that gives the square shown to the network.

        Raises:
            ImageError: If the picture cannot be read.
            DataError: If a box is empty, not finite or outside the picture.
        """
        pixels = read_image(image)
        height, width = pixels.shape[:2]
        if boxes is None:
            checked = whole_image(width, height)[None]
            margin = 1.0
        else:
            checked = _checked_boxes(boxes, width, height)
        found = list(self.keypoints((pixels, Crop.around(box, margin)) for box in checked))
        empty = (np.zeros((0, len(self.skeleton), 2)), np.zeros((0, len(self.skeleton))))
        xy, score = (np.stack(part) for part in zip(*found, strict=True)) if found else empty
        return Poses(xy=xy, score=score, boxes=checked, skeleton=self.skeleton, image_size=(width, height))

    def keypoints(self, persons: Iterable[tuple[NDArray[np.uint8], Crop]]) -> Iterator[tuple[Floats, Floats]]:
        """For each picture and crop, in order, ``xy`` ``(K, 2)`` [image px] and ``score`` ``(K,)`` in [0, 1].

        Persons are read lazily and batched; the next batch is cut out while the network works on this one.
        """
        todo = iter(persons)
        with ThreadPoolExecutor(self.inference.threads, thread_name_prefix="sadinet-crop") as pool:

            def prepare() -> tuple[list[Crop], list[Future[NDArray[np.uint8]]]]:
                batch = list(islice(todo, self.inference.batch_size))
                return [crop for _, crop in batch], [
                    pool.submit(warp, image, image_to_crop(_scaled(crop, scale), self.input_size), self.input_size)
                    for scale in self.inference.scales
                    for image, crop in batch
                ]

            crops, waiting = prepare()
            while crops:
                images = np.stack([future.result() for future in waiting])
                here, (crops, waiting) = crops, prepare()
                yield from self._finish(images, here)

    def _finish(self, images: NDArray[np.uint8], crops: Sequence[Crop]) -> Iterator[tuple[Floats, Floats]]:
        scales = self.inference.scales
        shown = images.reshape(len(scales), len(crops), *images.shape[1:])
        if self.reading.answer == "mean":
            yield from self._finish_regressed(shown, crops)
            return
        maps = [self.heatmaps(part) for part in shown]
        reference, side = max(scales), maps[0].shape[-1]
        sigma = self.reading.sigma
        if len(maps) == 1:
            xy, peak = decode(maps[0], self.reading.decoding, sigma=sigma)
        else:
            side, sigma = self.input_size, sigma * self.reading.stride * min(scales) / reference
            step = 1 if maps[0].device.type == "cpu" else len(crops)  # one person's fine maps fit a processor's cache
            averaged = (
                average_scales([part[i : i + step] for part in maps], scales, side) for i in range(0, len(crops), step)
            )
            found = [decode(part, self.reading.decoding, sigma=sigma) for part in averaged]
            xy, peak = (torch.cat(parts) for parts in zip(*found, strict=True))
        xy = (xy + 0.5) * (self.input_size / side) - 0.5  # heatmap px to crop px
        points, scores = (part.cpu().numpy().astype(np.float64) for part in (xy, self.reading.scores(peak)))
        for crop, at, score in zip(crops, points, scores, strict=True):
            yield apply(invert(image_to_crop(_scaled(crop, reference), self.input_size)), at), score

    def _finish_regressed(self, shown: NDArray[np.uint8], crops: Sequence[Crop]) -> Iterator[tuple[Floats, Floats]]:
        """The answer of a network whose answer is the mean; averaged where heatmaps would be."""
        assert isinstance(self.backend, TorchBackend)
        scales, reference = self.inference.scales, max(self.inference.scales)
        means, sure = [], []
        for part, scale in zip(shown, scales, strict=True):
            mean, deviation = self.backend.moments(part)
            if self.inference.flip:
                moments = self.backend.moments(part[:, :, ::-1])
                mirrored, spread = unmirror_moments(*moments, self.skeleton.flip_index)
                mean, deviation = (mean + mirrored) / 2, (deviation + spread) / 2
            means.append(mean * (scale / reference))
            sure.append(1 - deviation.mean(-1))
        xy = (torch.stack(means).mean(0).double().cpu().numpy() + 0.5) * self.input_size - 0.5
        scores = self.reading.scores(torch.stack(sure).mean(0)).double().cpu().numpy()
        for crop, at, score in zip(crops, xy, scores, strict=True):
            yield apply(invert(image_to_crop(_scaled(crop, reference), self.input_size)), at), score

    def heatmaps(self, images: NDArray[np.uint8]) -> Tensor:
        """Heatmaps ``(B, K, h, w)`` float32 of crops ``(B, S, S, 3)`` uint8 RGB, mirrored ones averaged in if set."""
        if not self.inference.flip:
            return self.backend.heatmaps(images)
        plain, mirrored = self.backend.heatmaps(np.concatenate([images, images[:, :, ::-1]])).chunk(2)
        return (plain + unmirror(mirrored, self.skeleton.flip_index)) / 2


def average_scales(heatmaps: Sequence[Tensor], scales: Sequence[float], size: int) -> Tensor:
    """The mean of heatmaps of differently large crops, on the grid of the largest crop at ``size`` x ``size``.

    Args:
        heatmaps: One ``(B, K, h, w)`` per scale.
        scales: Factors on the crop's side.
        size: Side of the result; a crop counts 0 beyond its border.

    Returns:
        ``(B, K, size, size)``.

    Source: paper Sec. IV-A ("image pyramids with six scales"); the common grid: decision 008.
    """
    reference = max(scales)
    total: Tensor | None = None
    for maps, scale in zip(heatmaps, scales, strict=True):
        side = (torch.arange(size, dtype=maps.dtype, device=maps.device) * 2 + 1) / size - 1
        grid = torch.stack(torch.meshgrid(side, side, indexing="xy"), -1) * (reference / scale)
        sampled = F.grid_sample(maps, grid.expand(len(maps), -1, -1, -1), align_corners=False)
        total = sampled if total is None else total + sampled
    if total is None:
        raise ConfigError("no scales to average")
    return total / len(scales)


def _scaled(crop: Crop, scale: float) -> Crop:
    return Crop(crop.center, crop.side * scale, crop.angle)


def _checked_boxes(boxes: ArrayLike, width: int, height: int) -> Floats:
    try:
        array = np.array(boxes, dtype=np.float64, ndmin=2)
    except (TypeError, ValueError) as error:
        raise DataError(f"boxes are not numbers ({error}): give (P, 4), x0 y0 x1 y1 in pixels") from None
    if array.shape in ((1, 0), (0, 4)):  # an empty list, or an empty table
        return np.zeros((0, 4))
    if array.ndim != 2 or array.shape[1] != 4:
        raise DataError(f"boxes have shape {array.shape}: give (P, 4), x0 y0 x1 y1 in pixels")
    for number, (left, top, right, bottom) in enumerate(array):
        problem = None
        if not np.isfinite(array[number]).all():
            problem = "is not finite"
        elif left >= right or top >= bottom:
            problem = "is empty: x0 < x1 and y0 < y1 must hold"
        elif left > width - 0.5 or top > height - 0.5 or right < -0.5 or bottom < -0.5:
            problem = f"lies outside the picture of {width} x {height} px"
        if problem:
            raise DataError(f"box {number} ({left:g} {top:g} {right:g} {bottom:g}) {problem}")
    return array
