"""Examples that live on the device: cut out once, then turned, scaled and mirrored there, a batch at a time."""

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from ..errors import ConfigError
from ..geometry import Crop, Floats, compose, image_to_crop, invert
from ..images import Pixels, warp
from .augment import CUTOUTS, Augmentation, AugmentConfig
from .dataset import Batch, PersonDataset, moved_keypoints, prepare_ahead
from .person import Person

MAX_REACH = 2.5
"""The largest `reach`: no canvas has a longer side than so many inputs."""

_CHUNK = 16  # persons that one task cuts out


def reach(augment: AugmentConfig | None) -> float:
    """The side of a square, over the side of the crop, in which every change that ``augment`` draws stays.

    The defaults (30 degrees, scale to 1.25) need 1.71; any angle and scale to 1.3, 1.84.
    """
    if augment is None:
        return 1.0
    most = augment.rotation * (2 if augment.distribution == "clipped-normal" else 1)
    turn = math.radians(min(abs(most), 45.0))
    return max(1.0, augment.scale[1] * (math.cos(turn) + math.sin(turn)) + 2 * augment.shift)


def canvas_side(size: int, augment: AugmentConfig | None) -> int:
    """The side of a person's canvas [px] for inputs of side ``size``: `reach` times as long, the same density.

    It differs from ``size`` by an even number, so that an unchanged example is a part of its canvas, pixel by pixel.
    """
    return size + 2 * math.ceil((reach(augment) - 1) * size / 2 - 1e-9)


def resident_bytes(count: int, size: int, augment: AugmentConfig | None) -> int:
    """What ``count`` persons take on the device: three times the square of `canvas_side` each.

    With the default augmentation and ``size`` 256 that is 0.58 MB per person (6.1 GB for 10 500 persons, 12.9 GB for
    22 200), with no augmentation 0.20 MB. A batch takes five times as much again for each of its persons, for a moment.
    """
    return count * 3 * canvas_side(size, augment) ** 2


class ResidentDataset(PersonDataset):
    """The examples of a `PersonDataset`, cut from canvases that are held on a device.

    The changes are the same, and so are the keypoints. Pictures are interpolated twice, so they are a little softer:
    with the default changes and inputs of 256 px by 0.8 of 255 levels in the mean over LSPET's persons, 1.8 over a few
    of MPII's, which are shrunk; unchanged or mirrored ones are equal. A window closer than the crop (``scale`` below 1,
    half bodies) shows no more detail than the crop at the input's size has.

    Args:
        persons: Whom.
        size: Side of the network's input [px].
        flip_index: The skeleton's.
        upper_body: Channels of the upper body, see `augment.upper_body`; ``augment.half_body`` needs them.
        augment: Random changes; None for none.
        seed: Of those.
        device: Where the canvases are; they take `resident_bytes`.
        workers: Threads that cut them out.
        quiet: No progress bar meanwhile.

    Raises:
        ConfigError: If the changes reach farther than `MAX_REACH`.
        ImageError, DataError: If a picture cannot be read.
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
        device: torch.device | str = "cpu",
        workers: int = 2,
        quiet: bool = True,
    ) -> None:
        super().__init__(persons, size=size, flip_index=flip_index, upper_body=upper_body, augment=augment, seed=seed)
        if reach(augment) > MAX_REACH:
            raise ConfigError(
                f"these changes reach {reach(augment):.2f} times the crop, more than the {MAX_REACH:g} that examples "
                "on the device may: narrow augment.scale or augment.shift, or read examples from files"
            )
        self.device = torch.device(device)
        self._side = canvas_side(size, augment)
        self._canvases = self._fill(workers, quiet)

    def batches(self, epoch: int, indices: Sequence[NDArray[np.int64]], workers: int = 2) -> Iterator[Batch]:
        """One batch for each entry of ``indices``, in order, its tensors on the device; only ``index`` is not.

        Changes are drawn ahead by one thread, unless ``workers`` is 0.
        """
        with closing(prepare_ahead(partial(self._plan, epoch), indices, min(workers, 1), ahead=2)) as plans:
            for plan in plans:
                yield self._show(plan)

    def _fill(self, workers: int, quiet: bool) -> Tensor:
        canvases = torch.empty((len(self), 3, self._side, self._side), dtype=torch.uint8, device=self.device)
        starts = range(0, len(self), _CHUNK)
        with (
            ThreadPoolExecutor(max(workers, 1), thread_name_prefix="sadinet-data") as pool,
            tqdm(total=len(self), desc="cutting out", unit="person", disable=quiet, leave=False) as bar,
        ):
            parts = pool.map(lambda start: self._cut(self.persons[start : start + _CHUNK]), starts)
            for start, part in zip(starts, parts, strict=True):
                canvases[start : start + len(part)] = torch.from_numpy(part).permute(0, 3, 1, 2)
                bar.update(len(part))
        return canvases

    def _cut(self, persons: Sequence[Person]) -> Pixels:
        """Canvases ``(n, C, C, 3)``; a picture that the next person is in too is read once."""
        canvases = np.empty((len(persons), self._side, self._side, 3), np.uint8)
        for canvas, person, last in zip(canvases, persons, [None, *persons], strict=False):
            if last is None or last.image != person.image:
                image = person.read()
            canvas[:] = warp(image, self._image_to_canvas(person), self._side)
        return canvases

    def _image_to_canvas(self, person: Person) -> Floats:
        crop = person.crop
        return image_to_crop(Crop(crop.center, crop.side * self._side / self.size, crop.angle), self._side)

    def _plan(self, epoch: int, rows: NDArray[np.int64]) -> "_Plan":
        changes = [self.change(epoch, int(i)) for i in rows]
        persons = [self.persons[int(i)] for i in rows]
        maps = [change.image_to_input(p.crop, self.size) for change, p in zip(changes, persons, strict=True)]
        moved = [
            moved_keypoints(p, change, image_to_input, self.flip_index)
            for p, change, image_to_input in zip(persons, changes, maps, strict=True)
        ]
        input_to_canvas = [
            compose(invert(image_to_input), self._image_to_canvas(p))
            for p, image_to_input in zip(persons, maps, strict=True)
        ]
        return _Plan(
            index=np.asarray(rows, np.int64),
            input_to_canvas=np.array(input_to_canvas),
            xy=np.stack(moved),
            gains=np.array([change.gains for change in changes], np.float32),
            cutouts=_cutouts(changes, self.size),
        )

    def _show(self, plan: "_Plan") -> Batch:
        canvases = self._canvases.index_select(0, self._send(plan.index)).float()
        grid = self._grid(self._send(_normalised(plan.input_to_canvas, self._side)))
        images = functional.grid_sample(canvases, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
        images = images.round_().to(torch.uint8)
        if plan.cutouts is not None:
            images = _painted(images, self._send(plan.cutouts))
        xy = self._send(plan.xy)
        return Batch(images, xy, xy.isfinite().all(-1), self._send(plan.gains), torch.from_numpy(plan.index))

    def _grid(self, to_canvas: Tensor) -> Tensor:
        """Where on its canvas, in [-1, 1], each pixel of the inputs lies, ``(B, S, S, 2)``."""
        # Written out: a matrix product may be computed in a narrower type, which would cost a tenth of a pixel.
        at = torch.arange(self.size, dtype=torch.float32, device=self.device)
        linear = to_canvas[:, None, None]  # (B, 1, 1, 2, 3)
        return linear[..., 0] * at[:, None] + linear[..., 1] * at[:, None, None] + linear[..., 2]

    def _send(self, array: NDArray[np.generic]) -> Tensor:
        tensor = torch.from_numpy(array)
        if self.device.type == "cuda":
            return tensor.pin_memory().to(self.device, non_blocking=True)
        return tensor.to(self.device)


@dataclass(frozen=True, eq=False)
class _Plan:
    """A batch before its pictures: ``input_to_canvas`` ``(B, 2, 3)`` [px], ``cutouts`` as `_cutouts` gives them."""

    index: NDArray[np.int64]
    input_to_canvas: Floats
    xy: NDArray[np.float32]
    gains: NDArray[np.float32]
    cutouts: NDArray[np.int64] | None


def _normalised(input_to_canvas: Floats, side: int) -> NDArray[np.float32]:
    """The maps to coordinates that are -1 and 1 at the outer edges of a canvas of ``side`` pixels."""
    scaled = input_to_canvas * (2 / side)
    scaled[..., 2] += 1 / side - 1
    return scaled.astype(np.float32)


def _cutouts(changes: Sequence[Augmentation], size: int) -> NDArray[np.int64] | None:
    """Left, top, right, bottom, red, green, blue of every rectangle ``(B, CUTOUTS, 7)``, zeros for none; None if all
    are."""
    if not any(change.cutouts for change in changes):
        return None
    table = np.zeros((len(changes), CUTOUTS, 7), np.int64)
    for row, change in zip(table, changes, strict=True):
        for cell, cutout in zip(row, change.cutouts, strict=False):
            cell[:] = (*cutout.pixels(size), *cutout.color)
    return table


def _painted(images: Tensor, cutouts: Tensor) -> Tensor:
    """``images`` ``(B, 3, S, S)`` with the rectangles of `_cutouts`."""
    at = torch.arange(images.shape[-1], device=images.device)
    for left, top, right, bottom, *color in cutouts.permute(1, 2, 0)[..., None]:  # each (B, 1)
        across, down = (at >= left) & (at < right), (at >= top) & (at < bottom)
        inside = across[:, None, None, :] & down[:, None, :, None]
        images = torch.where(inside, torch.stack(color, 1)[..., None].to(torch.uint8), images)
    return images
