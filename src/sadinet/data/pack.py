"""Packs: a data set as one file, every person cut out and encoded once, small enough to copy and quick to read.

A pack is a safetensors file. With N persons of K keypoints it holds

* ``pictures``: uint8, picture files one after the other; ``offsets`` ``(N + 1,)`` int64: where each begins and ends;
* ``xy`` ``(N, K, 2)`` float64, NaN where unlabelled, ``labelled`` and ``visible`` ``(N, K)`` bool, ``crops``
  ``(N, 4)`` float64 (centre x, y, side, angle) and ``head_size`` ``(N,)`` float64, all in pixels of its picture;
* as metadata, JSON: ``ids``; ``splits``, from ``"<data set>/<split>"`` to the places of its persons and their hash; and
  ``skeleton``, the keypoint set.
"""

import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from tqdm import tqdm

from ..errors import ConfigError, DataError
from ..files import replacing
from ..geometry import Crop, apply, compose, resample
from ..images import Pixels
from ..skeleton import Skeleton
from ..values import from_dict, to_dict
from .person import PackedPicture, Person, hash_ids

FORMAT = "sadinet-pack-1"

SCALE, SHIFT = 1.3, 0.1
"""The largest factor on a crop's side and the largest move of its centre that a pack has pixels for."""

REACH = SCALE * math.sqrt(2) + 2 * SHIFT
"""What is kept around a person: a square so many times the side of the crop. It holds the crop enlarged by `SCALE`,
turned by any angle and moved by `SHIFT` of its side; what lies farther out, if the picture goes on, is lost."""

WORTH = 2.0
"""A picture is cut only if its file is more than so many times as long as the cut."""


@dataclass(frozen=True)
class PackSummary:
    """What was written.

    Attributes:
        path: The file.
        persons: How many are in it.
        bytes: Its length.
        splits: Names of its splits and how many persons each has.
    """

    path: Path
    persons: int
    bytes: int
    splits: Mapping[str, int]


def write_pack(
    splits: Mapping[str, Sequence[Person]],
    path: Path,
    *,
    skeleton: Skeleton,
    size: int = 320,
    quality: int = 80,
    workers: int = 2,
    quiet: bool = True,
) -> PackSummary:
    """Write the persons of ``splits`` into one file, each person once however many splits it is in.

    Small pictures, such as LSP's, are stored as they are: a cut that is not less than half as long as its file is not
    worth what encoding once more costs. Of MPII's 12 GB, 0.7 to 0.8 remain. The file appears under its name only when
    it is complete. All encoded pictures are in memory meanwhile.

    Args:
        splits: ``"<data set>/<split>"`` to its persons, all with the same keypoints.
        path: The file.
        skeleton: The keypoints.
        size: A crop with a longer side is scaled down to this [px]; none is ever scaled up.
        quality: Of the JPEG encoding, 1 to 95; colours keep their full resolution.
        workers: Threads that decode and encode.
        quiet: No progress bar.

    Raises:
        ImageError: If a picture cannot be read.
        DataError: If there are no persons, or the file cannot be written.
    """
    persons = list({person.id: person for side in splits.values() for person in side}.values())
    if not persons:
        raise DataError(f"'{path}': there are no persons to pack")
    shared = [list(group) for _, group in groupby(persons, key=lambda person: person.image)]
    cuts: list[tuple[bytes, Person]] = []
    with (
        ThreadPoolExecutor(max(workers, 1), thread_name_prefix="sadinet-pack") as pool,
        tqdm(total=len(persons), desc=path.name, unit="person", disable=quiet, leave=False) as bar,
    ):
        for some in pool.map(lambda group: _cut_all(group, size, quality), shared):
            cuts += some
            bar.update(len(some))
    place = {person.id: i for i, (_, person) in enumerate(cuts)}
    about = {
        "ids": list(place),
        "splits": {
            name: {"hash": hash_ids(p.id for p in side), "persons": [place[p.id] for p in side]}
            for name, side in splits.items()
        },
        "skeleton": to_dict(skeleton),
        "size": size,
        "quality": quality,
    }
    _save(path, _tensors(cuts), {"format": FORMAT, **{key: json.dumps(value) for key, value in about.items()}})
    counts = {name: len(side) for name, side in splits.items()}
    return PackSummary(path, len(cuts), path.stat().st_size, counts)


def read_pack(path: Path, split: str) -> tuple[Person, ...]:
    """The persons of ``split``, ``"<data set>/<split>"``, in a file that `write_pack` wrote, in the same order.

    Pictures stay in the file until they are read; keypoints, crop and head size are in pixels of the picture there.

    Raises:
        DataError: If the file is missing, damaged or no pack, or has no such split.
    """
    with _opened(path) as (file, about):
        splits: dict[str, Any] = json.loads(about["splits"])
        if split not in splits:
            raise DataError(f"'{path}' holds {', '.join(splits)}, not {split}: name another file, or write a new pack")
        tensors = {key: file.get_tensor(key) for key in file.keys() if key != "pictures"}  # noqa: SIM118
        size = file.get_slice("pictures").get_shape()
        ids = json.loads(about["ids"])
        offsets = tensors["offsets"]
        if not (
            len(offsets) == len(ids) + 1 and offsets[0] == 0 and [offsets[-1]] == size and (np.diff(offsets) > 0).all()
        ):
            raise DataError(f"'{path}' is damaged, its pictures overlap or have gone: write it again")
        first = _first_byte(path, "pictures")
        persons = tuple(_person(path, ids, tensors, first, i) for i in splits[split]["persons"])
        if hash_ids(person.id for person in persons) != splits[split]["hash"]:
            raise DataError(f"'{path}' is damaged, {split} is not what was written: write it again")
        return persons


def pack_splits(path: Path) -> dict[str, Any]:
    """The splits in a file that `write_pack` wrote, ``"<data set>/<split>"`` to the places of its persons.

    Raises:
        DataError: If the file is missing, damaged or no pack.
    """
    with _opened(path) as (_, about):
        return dict(json.loads(about["splits"]))


def pack_skeleton(path: Path) -> Skeleton:
    """The keypoint set in a file that `write_pack` wrote.

    Raises:
        DataError: If the file is missing, damaged or no pack.
    """
    with _opened(path) as (_, about):
        return from_dict(Skeleton, json.loads(about["skeleton"]))


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, dict[str, str]]]:
    """The file and its texts; what goes wrong meanwhile is damage."""
    if not path.is_file():
        raise DataError(f"no pack '{path}'")
    try:
        with safe_open(path, framework="numpy") as file:
            about = file.metadata() or {}
            if about.get("format") != FORMAT:
                raise DataError(f"'{path}' is no pack of a data set (format {about.get('format')!r})")
            yield file, about
    except (SafetensorError, ConfigError, OSError, ValueError, KeyError, IndexError, TypeError) as error:
        raise DataError(f"'{path}' is no pack of a data set, or damaged: write it again ({error})") from error


def _cut_all(persons: Sequence[Person], size: int, quality: int) -> list[tuple[bytes, Person]]:
    """Encoded pictures of persons in the same picture, and the persons as they are in those."""
    image = persons[0].read()
    return [_cut(image, person, size, quality) for person in persons]


def _cut(image: Pixels, person: Person, size: int, quality: int) -> tuple[bytes, Person]:
    crop = person.crop
    scale = min(1.0, size / crop.side)
    limit = np.array([image.shape[1], image.shape[0]])
    center, half = np.array(crop.center), crop.side * REACH / 2
    # At least one pixel, also where the window misses the picture; one to spare, as bilinear looks at the neighbour.
    low = np.clip(np.floor(center - half), 0, limit - 1).astype(int)
    high = np.clip(np.floor(center + half) + 2, low + 1, limit).astype(int)
    (left, top), (right, bottom) = low.tolist(), high.tolist()
    part = Image.fromarray(image[top:bottom, left:right])
    if scale < 1:
        width, height = (max(1, math.floor(side * scale)) for side in part.size)
        # Whole pixels of the result, so the last ones of the part may go unused: the scale stays exact.
        used = (0.0, 0.0, min(width / scale, part.width), min(height / scale, part.height))
        part = part.resize((width, height), Image.Resampling.LANCZOS, box=used)
    file = io.BytesIO()
    part.save(file, "JPEG", quality=quality, subsampling=0)
    original = person.image.read_bytes() if isinstance(person.image, Path) else person.image.read()
    if len(original) <= WORTH * file.tell():
        return original, person
    image_to_picture = compose(np.array([[1.0, 0.0, -left], [0.0, 1.0, -top]]), resample(scale))
    x, y = (float(v) for v in apply(image_to_picture, center))
    moved = replace(
        person,
        xy=apply(image_to_picture, np.where(person.labelled[:, None], person.xy, np.nan)),
        crop=Crop((x, y), crop.side * scale, crop.angle),
        head_size=person.head_size * scale,
    )
    return file.getvalue(), moved


def _tensors(cuts: Sequence[tuple[bytes, Person]]) -> dict[str, Any]:
    pictures, persons = zip(*cuts, strict=True)
    return {
        "pictures": np.frombuffer(b"".join(pictures), np.uint8),
        "offsets": np.cumsum([0, *map(len, pictures)], dtype=np.int64),
        "xy": np.stack([person.xy for person in persons]),
        "labelled": np.stack([person.labelled for person in persons]),
        "visible": np.stack([person.visible for person in persons]),
        "crops": np.array([(*p.crop.center, p.crop.side, p.crop.angle) for p in persons], np.float64),
        "head_size": np.array([person.head_size for person in persons], np.float64),
    }


def _person(path: Path, ids: Sequence[str], tensors: Mapping[str, Any], first: int, i: int) -> Person:
    begin, end = (int(v) for v in tensors["offsets"][i : i + 2])
    x, y, side, angle = (float(v) for v in tensors["crops"][i])
    return Person(
        id=ids[i],
        image=PackedPicture(path, first + begin, end - begin),
        xy=tensors["xy"][i],
        labelled=tensors["labelled"][i],
        visible=tensors["visible"][i],
        crop=Crop((x, y), side, angle),
        head_size=float(tensors["head_size"][i]),
    )


def _first_byte(path: Path, tensor: str) -> int:
    """Where ``tensor`` begins in a safetensors file: eight bytes give the length of a header that says so."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
    return 8 + length + int(header[tensor]["data_offsets"][0])


def _save(path: Path, tensors: dict[str, Any], about: dict[str, str]) -> None:
    try:
        with replacing(path) as temporary:
            save_file(tensors, temporary, metadata=about)
    except (OSError, SafetensorError) as error:
        raise DataError(f"'{path}' cannot be written: {error}. Is the disk full?") from error
