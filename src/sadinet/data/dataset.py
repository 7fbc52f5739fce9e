"""From persons to batches: decode, cut out, augment; in threads, in order, the same whatever their number."""

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import ConfigError
from ..geometry import Floats, apply, swap_sides
from ..images import Pixels, warp
from .augment import IDENTITY, Augmentation, AugmentConfig, draw_augmentation, example_rng
from .person import PackedPicture, Person

T = TypeVar("T")
R = TypeVar("R")


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
        images = self.images.to(device, non_blocking=True)
        images = images.to(torch.float32, memory_format=torch.channels_last)  # a new tensor, so the rest is in place
        images *= (self.gains.to(device, non_blocking=True) / 255)[..., None, None]
        return images.clamp_(max=1)


class PictureCache:
    """Decoded pictures kept in memory until ``capacity`` bytes are full; later ones are decoded every time."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._kept: dict[Path | PackedPicture, Pixels] = {}
        self._bytes = 0
        self._lock = threading.Lock()

    def read(self, person: Person) -> Pixels:
        """The picture of ``person`` ``(H, W, 3)``, not to be written to; raises as `Person.read`."""
        image = self._kept.get(person.image)
        if image is None:
            image = person.read()
            with self._lock:
                if person.image not in self._kept and self._bytes + image.nbytes <= self.capacity:
                    self._kept[person.image] = image
                    self._bytes += image.nbytes
        return image


def moved_keypoints(
    person: Person, change: Augmentation, image_to_input: Floats, flip_index: Sequence[int]
) -> NDArray[np.float32]:
    """The keypoints of ``person`` ``(K, 2)`` [input px] after ``change``, which gave ``image_to_input``; NaN stays."""
    xy = apply(image_to_input, np.where(person.labelled[:, None], person.xy, np.nan))
    if change.mirrored:
        xy = swap_sides(xy, flip_index)
    return xy.astype(np.float32)


def make_sample(image: Pixels, person: Person, change: Augmentation, size: int, flip_index: Sequence[int]) -> Sample:
    """``person`` cut out of ``image``: one and the same map moves picture and keypoints."""
    image_to_input = change.image_to_input(person.crop, size)
    picture = warp(image, image_to_input, size)
    for cutout in change.cutouts:
        left, top, right, bottom = cutout.pixels(size)
        picture[top:bottom, left:right] = cutout.color
    xy = moved_keypoints(person, change, image_to_input, flip_index)
    return Sample(picture, xy, np.array(change.gains, np.float32))


class PersonDataset:
    """Examples of persons; the example of (seed, epoch, index) never changes.

    Args:
        persons: Whom.
        size: Side of the network's input [px].
        flip_index: The skeleton's.
        upper_body: Channels of the upper body, see `augment.upper_body`; ``augment.half_body`` needs them.
        augment: Random changes; None for none.
        seed: Of those.
        cache: Bytes of decoded pictures to keep in memory.

    Raises:
        ConfigError: If half bodies are wanted and ``upper_body`` is empty.
    """

    def __init__(
        self,
        persons: Sequence[Person],
        *,
        size: int,
        flip_index: Sequence[int],
        upper_body: Sequence[int] = (),
        augment: AugmentConfig | None = None,
        seed: int = 0,
        cache: int = 0,
    ) -> None:
        if augment is not None and augment.half_body and not upper_body:
            raise ConfigError("augment.half_body needs upper_body, the channels of the keypoints above the pelvis")
        self.persons = persons
        self.size = size
        self.flip_index = flip_index
        self.upper_body = upper_body
        self.augment = augment
        self.seed = seed
        self._pictures = PictureCache(cache)

    def __len__(self) -> int:
        return len(self.persons)

    def change(self, epoch: int, index: int) -> Augmentation:
        """What happens to example ``index`` in ``epoch``."""
        if self.augment is None:
            return IDENTITY
        rng = example_rng(self.seed, epoch, index)
        return draw_augmentation(rng, self.augment, self.persons[index], self.upper_body)

    def sample(self, epoch: int, index: int) -> Sample:
        """Example ``index`` as it looks in ``epoch``; raises as `Person.read`."""
        person = self.persons[index]
        return make_sample(self._pictures.read(person), person, self.change(epoch, index), self.size, self.flip_index)

    def order(self, epoch: int) -> NDArray[np.int64]:
        """All indices in the order of ``epoch``: shuffled where there is augmentation."""
        if self.augment is None:
            return np.arange(len(self))
        return np.random.default_rng((self.seed, epoch)).permutation(len(self))

    def batches(self, epoch: int, indices: Sequence[NDArray[np.int64]], workers: int = 2) -> Iterator[Batch]:
        """One batch for each entry of ``indices``, in order, prepared ahead by ``workers`` threads (0: none).

        An error in a sample is raised where its batch is due.
        """
        ahead = 2 * max(map(len, indices), default=1)
        flat = (int(i) for i in chain.from_iterable(indices))
        with closing(prepare_ahead(partial(self.sample, epoch), flat, workers, ahead)) as samples:
            for rows in indices:
                yield collate(list(islice(samples, len(rows))), rows)


def prepare_ahead(function: Callable[[T], R], items: Iterable[T], workers: int, ahead: int) -> Generator[R, None, None]:
    """``function`` of every item, in order, computed by ``workers`` threads (0: none) up to ``ahead`` items early."""
    if workers == 0:
        yield from map(function, items)
        return
    pool = ThreadPoolExecutor(workers, thread_name_prefix="sadinet-data")
    waiting: deque[Future[R]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
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
