"""From persons to batches: decode, cut out, augment; in threads, in order, the same whatever their number."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..geometry import apply, swap_sides
from ..images import read_image, warp
from .augment import IDENTITY, Augmentation, AugmentConfig, draw_augmentation, example_rng
from .person import Person


@dataclass(frozen=True, eq=False)
class Sample:
    """One training example.

    Attributes:
        image: ``(S, S, 3)`` uint8 RGB.
        xy: Keypoints ``(K, 2)`` float32 [input px]; NaN where not labelled.
        gains: Factors on red, green and blue ``(3,)`` float32.
    """

    image: NDArray[np.uint8]
    xy: NDArray[np.float32]
    gains: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Batch:
    """Examples as tensors.

    Attributes:
        images: ``(B, 3, S, S)`` uint8 RGB.
        xy: ``(B, K, 2)`` float32 [input px]; NaN where not labelled.
        labelled: ``(B, K)`` bool.
        gains: ``(B, 3)`` float32.
        index: ``(B,)`` the persons' places in the data set.
    """

    images: Tensor
    xy: Tensor
    labelled: Tensor
    gains: Tensor
    index: Tensor

    def inputs(self, device: torch.device) -> Tensor:
        """The network's input on ``device``: RGB in [0, 1] with the gains applied, ``(B, 3, S, S)`` channels last."""
        images = self.images.to(device, non_blocking=True).float() / 255
        images = (images * self.gains.to(device)[..., None, None]).clamp_(0, 1)
        return images.contiguous(memory_format=torch.channels_last)


class PictureCache:
    """Decoded pictures kept in memory until ``capacity`` bytes are full; later ones are decoded every time."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._kept: dict[Path, NDArray[np.uint8]] = {}
        self._bytes = 0

    def read(self, path: Path) -> NDArray[np.uint8]:
        """The picture ``(H, W, 3)``, not to be written to."""
        image = self._kept.get(path)
        if image is None:
            image = read_image(path)
            if self._bytes + image.nbytes <= self.capacity:
                self._kept[path] = image
                self._bytes += image.nbytes
        return image


def make_sample(
    image: NDArray[np.uint8], person: Person, change: Augmentation, size: int, flip_index: Sequence[int]
) -> Sample:
    """``person`` cut out of ``image``: one and the same map moves picture and keypoints."""
    image_to_input = change.image_to_input(person.crop, size)
    xy = apply(image_to_input, np.where(person.labelled[:, None], person.xy, np.nan))
    if change.mirrored:
        xy = swap_sides(xy, flip_index)
    return Sample(warp(image, image_to_input, size), xy.astype(np.float32), np.array(change.gains, np.float32))


class PersonDataset:
    """Examples of persons; the example of (seed, epoch, index) never changes.

    Args:
        persons: Whom.
        size: Side of the network's input [px].
        flip_index: The skeleton's.
        augment: Random changes; None for none.
        seed: Of those.
        cache: Bytes of decoded pictures to keep in memory.
    """

    def __init__(
        self,
        persons: Sequence[Person],
        *,
        size: int,
        flip_index: Sequence[int],
        augment: AugmentConfig | None = None,
        seed: int = 0,
        cache: int = 0,
    ) -> None:
        self.persons = persons
        self.size = size
        self.flip_index = flip_index
        self.augment = augment
        self.seed = seed
        self._pictures = PictureCache(cache)

    def __len__(self) -> int:
        return len(self.persons)

    def sample(self, epoch: int, index: int) -> Sample:
        """Example ``index`` as it looks in ``epoch``."""
        person = self.persons[index]
        change = IDENTITY
        if self.augment is not None:
            change = draw_augmentation(example_rng(self.seed, epoch, index), self.augment)
        return make_sample(self._pictures.read(person.image), person, change, self.size, self.flip_index)

    def order(self, epoch: int) -> NDArray[np.int64]:
        """All indices in the order of ``epoch``: shuffled where there is augmentation."""
        if self.augment is None:
            return np.arange(len(self))
        return np.random.default_rng((self.seed, epoch)).permutation(len(self))

    def batches(self, epoch: int, indices: Sequence[NDArray[np.int64]], workers: int = 2) -> Iterator[Batch]:
        """One batch for each entry of ``indices``, in order, prepared ahead by ``workers`` threads (0: none)."""
        if workers == 0:
            for rows in indices:
                yield collate([self.sample(epoch, int(i)) for i in rows], rows)
            return
        pool = ThreadPoolExecutor(workers, thread_name_prefix="sadinet-data")
        waiting: deque[tuple[list[Future[Sample]], NDArray[np.int64]]] = deque()
        try:
            for rows in indices:
                waiting.append(([pool.submit(self.sample, epoch, int(i)) for i in rows], rows))
                if len(waiting) > 2:
                    futures, done = waiting.popleft()
                    yield collate([f.result() for f in futures], done)
            while waiting:
                futures, done = waiting.popleft()
                yield collate([f.result() for f in futures], done)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def collate(samples: Sequence[Sample], index: NDArray[np.int64]) -> Batch:
    """Samples stacked into a batch."""
    xy = torch.from_numpy(np.stack([s.xy for s in samples]))
    return Batch(
        images=torch.from_numpy(np.stack([s.image for s in samples])).permute(0, 3, 1, 2),
        xy=xy,
        labelled=xy.isfinite().all(-1),
        gains=torch.from_numpy(np.stack([s.gains for s in samples])),
        index=torch.from_numpy(np.asarray(index)),
    )
