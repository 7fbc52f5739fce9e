"""MPII Human Pose, from any of the three files its annotation goes around in.

* ``mpii_annotations.json`` (or ``.json.gz``): one record per person, with Tompson's validation flag;
* ``train.json`` and ``valid.json``: the same persons, a file per split, without the occlusion flags;
* ``mpii_human_pose_v1_u12_1.mat``: the official release.

Coordinates in all of them are 1-based. Head sizes of validation persons, which PCKh needs, are in
``valid.h5`` for the JSON files (the extra ``sadinet[h5]`` reads it), and in the ``.mat`` itself.
"""

import gzip
import json
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from ..geometry import Crop, Floats
from ..skeleton import MPII
from .lsp import read_mat, require_images
from .person import Person

Part = Literal["all", "train", "val"]

RELEASE_FILE = "mpii_human_pose_v1_u12_1.mat"
_FLAT_FILES = ("mpii_annotations.json", "mpii_annotations.json.gz")
_SPLIT_FILES = ("train.json", "valid.json")


@dataclass(frozen=True, eq=False)
class _Record:
    """A person as annotated: 1-based pixels, MPII's own scale (body height / 200 px)."""

    image: str
    number: int
    center: tuple[float, float]
    scale: float
    xy: Floats
    labelled: NDArray[np.bool_]
    visible: NDArray[np.bool_]
    validation: bool | None
    head_size: float = math.nan


@dataclass(frozen=True, eq=False)
class _Validation:
    """The rows of ``valid.h5``: who is a validation person and what their head size is."""

    image: list[str]
    number: list[int]
    center_x: Floats
    head_size: Floats


def read_mpii(data: Path, part: Part = "all", *, need_images: bool = True) -> list[Person]:
    """The annotated persons of MPII, in the order of the file; ids ``"mpii/<image stem>#<person, from 1>"``.

    A keypoint at (0, 0) is unlabelled; one that is flagged invisible but has coordinates is occluded and
    labelled. The window is the usual one: 250 px times ``scale``, 15 px times ``scale`` below ``objpos``.
    Keypoints: `sadinet.skeleton.MPII`. Ids from ``train.json`` and ``valid.json``, which do not number the
    persons of an image, count them in the order of the file.

    Args:
        data: The folder that holds ``mpii/``, or that folder itself; the annotation lies in it or in its
            ``annotations/`` or ``annot/``, the pictures in its ``images/``.
        part: ``"train"`` and ``"val"`` are the two sides of Tompson's split of the published training persons.
        need_images: Whether a missing picture is an error.

    Raises:
        DataError: If annotation or pictures are missing or damaged, or the file does not tell who is in ``part``.
    """
    folder = find_mpii(data)
    if folder is None:
        raise DataError(
            f"no MPII annotation in '{data}': expected mpii/annotations/ with one of {', '.join(_FLAT_FILES)}, "
            f"{RELEASE_FILE} or {' and '.join(_SPLIT_FILES)} (the data are not ours to distribute: bring your own copy)"
        )
    records = _chosen(_read_records(folder), part, folder)
    twice = [key for key, count in Counter((r.image, r.number) for r in records).items() if count > 1]
    if twice:
        raise DataError(f"'{folder}' annotates {len(twice)} persons more than once, the first: {twice[0]}")
    images = (folder if (folder / "images").is_dir() else folder.parent) / "images"
    persons = [_person(record, images) for record in records]
    if need_images:
        require_images([Path(str(person.image)) for person in persons], f"mpii: the annotation in '{folder}'")
    return persons


def find_mpii(data: Path) -> Path | None:
    """The folder with MPII's annotation file at or under ``data``; None if there is none."""
    for base in (data / "mpii", data):
        for folder in (base / "annotations", base / "annot", base):
            known = [*_FLAT_FILES, RELEASE_FILE, *(_SPLIT_FILES if folder != data else ())]
            if any((folder / name).is_file() for name in known):
                return folder
    return None


def _person(record: _Record, images: Path) -> Person:
    name = f"mpii/{Path(record.image).stem}#{record.number}"
    xy = np.where(record.labelled[:, None], record.xy - 1.0, np.nan)
    x, y = record.center[0] - 1.0, record.center[1] - 1.0 + 15.0 * record.scale
    if not (record.scale > 0 and math.isfinite(x) and math.isfinite(y)):
        raise DataError(f"{name}: centre {record.center} and scale {record.scale} give no window: mend the annotation")
    visible = record.labelled & record.visible
    crop = Crop((x, y), 200.0 * record.scale * 1.25)
    return Person(name, images / record.image, xy, record.labelled, visible, crop, record.head_size)


def _chosen(records: list[_Record], part: Part, folder: Path) -> list[_Record]:
    if part == "all":
        return records
    if any(record.validation is None for record in records):
        raise DataError(
            f"'{folder}' does not tell training from validation persons: put valid.h5 beside the annotation and "
            f"install sadinet[h5], or use mpii_annotations.json"
        )
    seen = {record.image for record in records if record.validation}
    if part == "val":
        chosen = [record for record in records if record.validation]
    else:  # Tompson's split leaves out whoever stands in the same picture as a validation person
        chosen = [record for record in records if record.image not in seen]
    if not chosen:
        raise DataError(f"'{folder}' has no persons of the MPII split '{part}': complete your copy of the annotation")
    return chosen


def _read_records(folder: Path) -> list[_Record]:
    known = _read_validation(folder / "valid.h5")
    for name in _FLAT_FILES:
        if (folder / name).is_file():
            return _with_head_sizes([_flat_record(r, folder / name) for r in _read_json(folder / name)], known)
    if (folder / RELEASE_FILE).is_file():
        return _marked(_read_release(folder / RELEASE_FILE), known)
    return _with_head_sizes(list(_split_records(folder)), known)


# ---- JSON


def _read_json(file: Path) -> list[dict[str, Any]]:
    try:
        with gzip.open(file, "rt") if file.suffix == ".gz" else file.open() as stream:
            content = json.load(stream)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"'{file}' cannot be read as JSON: {error}") from error
    if not isinstance(content, list):
        raise DataError(f"'{file}' is not a list of persons: is it the file of the data set?")
    return content


def _flat_record(record: dict[str, Any], file: Path) -> _Record:
    try:
        joints = np.asarray(record["joint_self"], dtype=np.float64).reshape(len(MPII), 3)
        x, y = (float(v) for v in record["objpos"])
        labelled = np.isfinite(joints).all(1) & (joints[:, :2] != 0).any(1)
        return _Record(
            image=str(record["img_paths"]),
            number=int(record["people_index"]),
            center=(x, y),
            scale=float(record["scale_provided"]),
            xy=joints[:, :2],
            labelled=labelled,
            visible=joints[:, 2] > 0,
            validation=bool(record["isValidation"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"'{file}': a person's record is not as expected ({error!r}): {str(record)[:120]}") from error


def _split_records(folder: Path) -> Iterator[_Record]:
    seen: Counter[str] = Counter()
    for name in _SPLIT_FILES:
        file = folder / name
        for record in _read_json(file) if file.is_file() else []:
            try:
                image = str(record["image"])
                xy = np.asarray(record["joints"], dtype=np.float64).reshape(len(MPII), 2)
                # Here the flag means labelled: missing keypoints stand at (-1, -1) or (0, 0) with flag 0.
                flag = np.asarray(record["joints_vis"], dtype=np.float64).reshape(len(MPII))
                labelled = np.isfinite(xy).all(1) & (xy != 0).any(1) & (flag > 0)
                x, y = (float(v) for v in record["center"])
                scale = float(record["scale"])
            except (KeyError, TypeError, ValueError) as error:
                raise DataError(
                    f"'{file}': a person's record is not as expected ({error!r}): {str(record)[:120]}"
                ) from error
            seen[image] += 1
            yield _Record(image, seen[image], (x, y), scale, xy, labelled, labelled, name == "valid.json")


# ---- valid.h5


def _read_validation(file: Path) -> _Validation | None:
    """The rows of ``valid.h5``; None if the file or h5py is not there."""
    if not file.is_file():
        return None
    try:
        import h5py  # an extra: only the head sizes of the JSON annotation need it
    except ImportError:
        return None
    try:
        with h5py.File(file, "r") as rows:
            return _Validation(
                image=[bytes(name).rstrip(b"\0").decode() for name in rows["imgname"][:]],
                number=[int(person) + 1 for person in rows["person"][:]],
                center_x=np.asarray(rows["center"][:, 0], dtype=np.float64),
                head_size=np.asarray(rows["normalize"][:], dtype=np.float64),
            )
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise DataError(f"'{file}' is not MPII's valid.h5 ({error}): replace it or take it away") from error


def _with_head_sizes(records: list[_Record], known: _Validation | None) -> list[_Record]:
    """The records, those of validation persons with the head size of the row of the same image and centre.

    Only x is compared: the file's centres are moved down by 15 px times the scale already.
    """
    if known is None:
        return records
    rows: dict[tuple[str, int], list[float]] = {}
    for name, x, size in zip(known.image, known.center_x, known.head_size, strict=True):
        rows.setdefault((name, round(float(x))), []).append(float(size))

    def head_size(record: _Record) -> float:
        sizes = rows.get((record.image, round(record.center[0])), [])
        return sizes[0] if len(set(sizes)) == 1 else math.nan

    return [replace(r, head_size=head_size(r)) if r.validation else r for r in records]


def _marked(records: list[_Record], known: _Validation | None) -> list[_Record]:
    """The records of the official release with the validation persons marked, where they are known."""
    if known is None:
        return records
    validation = set(zip(known.image, known.number, strict=True))
    return [replace(record, validation=(record.image, record.number) in validation) for record in records]


# ---- the official release


def _read_release(file: Path) -> list[_Record]:
    """The persons with keypoints, centre and scale on the training images of the official ``.mat``."""
    release = read_mat(file, "RELEASE", squeeze=True)
    images, training = elements_of(field_of(release, "annolist")), np.atleast_1d(field_of(release, "img_train"))
    if len(images) != len(training):
        raise DataError(f"'{file}' lists {len(images)} images but {len(training)} training flags: it is damaged")
    return [
        record
        for image, is_training in zip(images, training, strict=True)
        if is_training
        for number, person in enumerate(elements_of(field_of(image, "annorect")), start=1)
        if (record := _release_record(str(field_of(field_of(image, "image"), "name")), number, person)) is not None
    ]


def _release_record(image: str, number: int, person: Any) -> _Record | None:
    points = elements_of(field_of(field_of(person, "annopoints"), "point"))
    center, scale = field_of(person, "objpos"), field_of(person, "scale")
    if not points or center is None or scale is None:
        return None
    xy = np.full((len(MPII), 2), np.nan)
    visible = np.zeros(len(MPII), dtype=np.bool_)
    for point in points:
        k = int(point.id)
        if not 0 <= k < len(MPII):
            raise DataError(f"{image}, person {number}: keypoint id {k} is outside of 0 to {len(MPII) - 1}")
        xy[k] = float(point.x), float(point.y)
        flag = field_of(point, "is_visible")  # never given for the head; a number or a text for the others
        visible[k] = flag is None or float(flag) > 0
    return _Record(
        image=image,
        number=number,
        center=(float(center.x), float(center.y)),
        scale=float(scale),
        xy=xy,
        labelled=np.isfinite(xy).all(1),
        visible=visible,
        validation=None,
        head_size=_head_size(person),
    )


def _head_size(person: Any) -> float:
    """PCKh's reference length: 0.6 times the diagonal of the head box; NaN where there is no box."""
    x1, y1, x2, y2 = (field_of(person, name) for name in ("x1", "y1", "x2", "y2"))
    if x1 is None or y1 is None or x2 is None or y2 is None:
        return math.nan
    return 0.6 * math.hypot(float(x2) - float(x1), float(y2) - float(y1))


def field_of(struct: Any, name: str) -> Any:
    """The field of a MATLAB struct; None if the struct, the field or its content is missing."""
    value = getattr(struct, name, None)
    empty = not value if isinstance(value, str) else isinstance(value, np.ndarray) and not value.size
    return None if empty else value


def elements_of(value: Any) -> list[Any]:
    """The elements of a MATLAB struct array, which is read as itself where it has only one."""
    return [] if value is None else list(np.atleast_1d(value).ravel())
