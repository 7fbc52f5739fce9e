"""One annotated person, free of every quirk of the data set it came from."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, ImageError
from ..geometry import BOX_MARGIN, Crop, Floats
from ..images import Pixels, read_image
from ..skeleton import Skeleton

_NECK = ("neck", "upper_neck", "thorax")


@dataclass(frozen=True)
class PackedPicture:
    """A picture that is a part of a file, see `sadinet.data.pack`.

    Attributes:
        file: The pack.
        offset: Its first byte in there.
        length: How many bytes it has.
    """

    file: Path
    offset: int
    length: int

    def read(self) -> bytes:
        """The encoded picture.

        Raises:
            DataError: If the file has gone or become shorter.
        """
        try:
            with self.file.open("rb") as stream:
                stream.seek(self.offset)
                content = stream.read(self.length)
        except OSError as error:
            raise DataError(f"'{self.file}' cannot be read any more: {error}") from error
        if len(content) < self.length:
            raise DataError(f"'{self.file}' ends before byte {self.offset + self.length}: write the pack again")
        return content


@dataclass(frozen=True, eq=False)
class Person:
    """An annotated person.

    Attributes:
        id: Unique and stable, ``"lspet/im00408"`` or ``"mpii/015601864#1"``; splits are lists of it.
        image: Where the picture is; `read` reads it.
        xy: Keypoints ``(K, 2)`` [image px, 0-based, pixel centres]; NaN where not labelled.
        labelled: ``(K,)`` bool: has coordinates; counts for losses and metrics.
        visible: ``(K,)`` bool: labelled and not occluded, as far as the data set tells.
        crop: The window that the data set's protocol puts around the person [image px].
        head_size: The reference length of PCKh [image px]; NaN where the data set has none.
    """

    id: str
    image: Path | PackedPicture
    xy: NDArray[np.float64]
    labelled: NDArray[np.bool_]
    visible: NDArray[np.bool_]
    crop: Crop
    head_size: float = float("nan")

    def read(self) -> Pixels:
        """The picture ``(H, W, 3)`` uint8 RGB, upright.

        Raises:
            ImageError: If it is missing or damaged; the message names the person.
            DataError: If the pack it was in has gone or become shorter.
        """
        try:
            if isinstance(self.image, Path):
                return read_image(self.image)
            return read_image(self.image.read())
        except ImageError as error:
            where = "" if isinstance(self.image, Path) else f" in '{self.image.file}'"
            raise ImageError(f"{self.id}{where}: {error}") from error
        except DataError as error:
            raise DataError(f"{self.id}: {error}") from error


def hash_ids(ids: Iterable[str]) -> str:
    """Twelve hex digits that tell which ids these are, whatever their order."""
    return hashlib.sha256("\n".join(sorted(ids)).encode()).hexdigest()[:12]


def draw_of(key: str) -> float:
    """A number in [0, 1) that depends on ``key`` alone: what decides on which side of a split something is."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8]) / 2**64


def box_sides(persons: Sequence[Person]) -> Floats:
    """The longer sides ``(N,)`` of the boxes that the windows were made around with `BOX_MARGIN` [image px]."""
    return np.array([person.crop.side / BOX_MARGIN for person in persons], dtype=np.float64)


def head_sizes(persons: Sequence[Person], skeleton: Skeleton) -> Floats:
    """The head sizes ``(N,)`` [image px]: the data set's own, else from neck to head top; NaN where not labelled.

    Of keypoint sets without a head, a tenth of the box's longer side, which scores are judged by in its place.
    """
    neck = next((name for name in _NECK if name in skeleton.keypoints), None)
    own = np.array([person.head_size for person in persons], dtype=np.float64)
    if neck is None or "head_top" not in skeleton.keypoints:
        return np.where(np.isfinite(own), own, 0.1 * box_sides(persons))
    ends = np.array([person.xy[[skeleton.index(neck), skeleton.index("head_top")]] for person in persons])
    length = np.hypot(*np.moveaxis(ends[:, 0] - ends[:, 1], -1, 0))
    return np.where(np.isfinite(own), own, length)
