"""Leeds Sports Pose and its extended training set, as their authors laid the files out.

Both are a ``joints.mat`` beside a folder ``images``. The coordinates in the file are 1-based; the third
number means *occluded* in LSP and *labelled* in LSPET, where unlabelled keypoints carry a made-up point.
"""

import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import scipy.io
from numpy.typing import NDArray

from ..errors import DataError
from ..geometry import Crop, Floats, bounding_box
from ..skeleton import LSP
from .person import Person

MARGIN = 1.25
"""The side of a person's window over the longer side of the box around the labelled keypoints."""

STRAY = 2.0
"""A keypoint farther from the box of the person's other keypoints than this times the box's longer side is wrong.

Measured: the right knee of LSPET image 8075, far outside of its picture, reaches 3.15; the largest of all the
others is 1.43 in LSPET and below 0.75 in LSP.
"""


@dataclass(frozen=True)
class Layout:
    """How a data set with a ``joints.mat`` is laid out on disk.

    Attributes:
        name: The data set; ids begin with it.
        folders: Names under which its folder goes around, the preferred one first.
        digits: Digits in the image names: 4 for ``im0001.jpg``.
        axes: What the axes of ``joints`` in the official file are: a permutation of ``"ckn"``, the three numbers
            (x, y, flag), the keypoints and the images.
        flag: What the third number says when it is 1.
        official: How many images the authors published; None if the number is free.
    """

    name: str
    folders: tuple[str, ...]
    digits: int
    axes: str
    flag: Literal["occluded", "labelled"]
    official: int | None = None

    def stem(self, index: int) -> str:
        """The name, without extension, of the image ``index`` (1-based)."""
        return f"im{index:0{self.digits}d}"


LSP_LAYOUT = Layout(
    "lsp", ("lsp", "lsp_dataset", "lsp_dataset_original", "leeds_sports_pose"), 4, "ckn", "occluded", 2000
)
LSPET_LAYOUT = Layout(
    "lspet",
    ("lspet", "lspet_dataset", "hr_lspet", "lsp_extended", "lsp_extended_dataset", "lsp_dataset_extended", "lspe"),
    5,
    "kcn",
    "labelled",
    10000,
)


def read_lsp(data: Path) -> list[Person]:
    """The persons of Leeds Sports Pose, in the order of the files; ids ``"lsp/im0001"``, ...

    Every keypoint is labelled. Keypoints: `sadinet.skeleton.LSP`.

    Args:
        data: The folder that holds ``lsp/`` (or ``lsp_dataset/``, ``lsp_dataset_original/``), or that folder itself.

    Raises:
        DataError: If the folder, its ``joints.mat`` or pictures are missing or not as published.
    """
    return read_layout(LSP_LAYOUT, data)


def read_lspet(data: Path) -> list[Person]:
    """The persons of Leeds Sports Pose Extended, in the order of the files; ids ``"lspet/im00001"``, ...

    The data set does not tell occluded keypoints: visible is the same as labelled.

    Args:
        data: The folder that holds ``lspet/`` (or ``lspet_dataset/``, ``hr_lspet/``, ...), or that folder itself.

    Raises:
        DataError: If the folder, its ``joints.mat`` or pictures are missing or not as published.
    """
    return read_layout(LSPET_LAYOUT, data)


def read_layout(layout: Layout, data: Path) -> list[Person]:
    """The persons of the data set ``layout`` under ``data``.

    A NaN, infinite or stray (see `STRAY`) coordinate makes its keypoint unlabelled. A person with fewer than two
    labelled keypoints, or all of them in one place, has no window and is left out.

    Raises:
        DataError: If the folder, its ``joints.mat`` or pictures are missing or not as published.
    """
    folder = find_folder(layout, data)
    if folder is None:
        names = ", ".join(f"{name}/" for name in layout.folders)
        raise DataError(
            f"no {layout.name} data in '{data}': expected a folder {names} with joints.mat and images/ in it "
            f"(the pictures are not ours to distribute: bring your own copy)"
        )
    raw = read_joints(layout, folder)
    images = [folder / "images" / f"{layout.stem(i + 1)}.jpg" for i in range(len(raw))]
    require_images(images, f"{layout.name}: {folder / 'joints.mat'}")
    return [
        person
        for image, joints in zip(images, raw, strict=True)
        if (person := _person(layout, image, joints)) is not None
    ]


def find_folder(layout: Layout, data: Path) -> Path | None:
    """The folder of the data set ``layout``: one of its names under ``data``, or ``data`` itself; None if not there."""
    for name in layout.folders:
        if (data / name).is_dir():
            return data / name
    itself = (data / "joints.mat").is_file() and (data / "images" / f"{layout.stem(1)}.jpg").is_file()
    return data if itself else None


def read_joints(layout: Layout, folder: Path) -> Floats:
    """What ``joints.mat`` in ``folder`` holds, as ``(N, 14, 3)``: x, y [image px, 0-based] and the flag as it stands.

    Raises:
        DataError: If the file is missing or damaged, or no axes of 3 numbers and 14 keypoints can be told apart.
    """
    file = folder / "joints.mat"
    if not file.is_file():
        raise DataError(f"{layout.name}: no annotation file '{file}': complete your copy of the data set")
    raw = np.asarray(read_mat(file, "joints"))
    if raw.ndim == 2:  # one image only: MATLAB drops a last axis of length 1
        raw = raw[:, :, None]
    axes = _axes(raw.shape, layout.axes) if raw.dtype.kind in "fiub" else None
    if axes is None:
        size = {"c": "3", "k": str(len(LSP)), "n": "N"}
        expected = ", ".join(size[axis] for axis in layout.axes)
        raise DataError(f"{layout.name}: 'joints' in '{file}' has the shape {raw.shape}, expected ({expected})")
    joints = raw.transpose([axes.index(axis) for axis in "nkc"]).astype(np.float64)
    joints[..., :2] -= 1.0  # MATLAB counts pixels from 1
    return joints


def read_mat(file: Path, variable: str, *, squeeze: bool = False) -> Any:
    """What the MATLAB file calls ``variable``: an array, or a struct as an object with attributes.

    With ``squeeze``, axes of length 1 are dropped at every depth: a single struct is itself, not an array of one.

    Raises:
        DataError: If the file cannot be read or has no such variable.
    """
    try:
        content = scipy.io.loadmat(str(file), variable_names=[variable], squeeze_me=squeeze, struct_as_record=False)
    except _MAT_ERRORS as error:
        raise DataError(f"'{file}' cannot be read as a MATLAB file, replace it: {error}") from error
    if variable not in content:
        raise DataError(f"'{file}' has no variable '{variable}': is it the file of the data set?")
    return content[variable]


_MAT_ERRORS = (
    *(OSError, EOFError, ValueError, TypeError, LookupError, OverflowError, NotImplementedError),
    *(zlib.error, scipy.io.matlab.MatReadError),
)
"""What scipy has been seen to raise on damaged files."""


def require_images(images: Iterable[Path], what: str) -> None:
    """Do nothing if every file of ``images`` exists.

    Raises:
        DataError: Naming ``what`` refers to them, how many are missing and the first few.
    """
    wanted = dict.fromkeys(images)
    # One listing per folder: asking for 25 000 files one by one is slow on network disks.
    present = {file for folder in {file.parent for file in wanted} if folder.is_dir() for file in folder.iterdir()}
    missing = [file for file in wanted if file not in present]
    if not missing:
        return
    first = ", ".join(file.name for file in missing[:5]) + (", ..." if len(missing) > 5 else "")
    raise DataError(
        f"{what} refers to {len(wanted)} pictures, of which {len(missing)} are missing in "
        f"'{missing[0].parent}': {first} (the pictures are not ours to distribute: complete your own copy)"
    )


def usable_keypoints(layout: Layout, joints: Floats) -> NDArray[np.bool_]:
    """Which keypoints of one person's ``joints`` ``(14, 3)`` count as labelled: ``(14,)``."""
    labelled = np.isfinite(joints[:, 0]) & np.isfinite(joints[:, 1])
    if layout.flag == "labelled":
        labelled &= joints[:, 2] == 1
    return labelled & ~_stray(joints[:, :2], labelled)


def _person(layout: Layout, image: Path, joints: Floats) -> Person | None:
    labelled = usable_keypoints(layout, joints)
    xy = np.where(labelled[:, None], joints[:, :2], np.nan)
    left, top, right, bottom = (float(v) for v in bounding_box(xy))
    side = max(right - left, bottom - top)
    if not side > 0:  # also where there is no keypoint at all: NaN
        return None
    visible = labelled if layout.flag == "labelled" else labelled & (joints[:, 2] == 0)
    crop = Crop(((left + right) / 2, (top + bottom) / 2), side * MARGIN)
    return Person(f"{layout.name}/{image.stem}", image, xy, labelled, visible.copy(), crop)


def _stray(xy: Floats, labelled: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which labelled keypoints lie absurdly far from the box of all the others: ``(14,)``."""
    if labelled.sum() < 4:  # a box of two keypoints says nothing about the person's size
        return np.zeros(len(xy), dtype=np.bool_)
    others = (labelled & ~np.eye(len(xy), dtype=np.bool_))[:, :, None]  # row k: all the labelled ones but k
    low = np.where(others, xy, np.inf).min(axis=1)
    high = np.where(others, xy, -np.inf).max(axis=1)
    point = np.where(labelled[:, None], xy, low)
    size = (high - low).max(axis=1)
    away = np.maximum(low - point, point - high).max(axis=1)
    return np.asarray((size > 0) & (away > STRAY * size), dtype=np.bool_)


def _axes(shape: tuple[int, ...], official: str) -> str | None:
    """What the axes of an array of ``shape`` are, as letters of ``"ckn"``; None if that cannot be told."""
    size = {"c": 3, "k": len(LSP)}
    if len(shape) != 3:
        return None
    if all(size.get(axis, length) == length for axis, length in zip(official, shape, strict=True)):
        return official
    if shape.count(3) == 1 and shape.count(len(LSP)) == 1:
        return "".join({3: "c", len(LSP): "k"}.get(length, "n") for length in shape)
    return None
