"""Data sets of one's own: pictures annotated in COCO's keypoint format, with any keypoints (decision 026).

A data set ``NAME`` is a folder of that name. It holds the pictures, one JSON file per split or one for all, under the
names that COCO itself and common annotation tools give them, and, where the files do not tell enough about the
keypoints, ``keypoints.json``. See docs/own-data.md.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cache
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np

from ..errors import ConfigError, DataError
from ..geometry import BOX_MARGIN, Crop, Floats, bounding_box
from ..skeleton import SKELETONS, Skeleton, unsided
from ..values import from_dict
from .lsp import require_images
from .person import Person, draw_of

KEYPOINTS_FILE = "keypoints.json"
SPLIT_NAMES = ("train", "val", "test")

_FILES = {
    "train": ("train.json", "person_keypoints_train*.json", "train/_annotations.coco.json"),
    "val": (
        *("val.json", "valid.json", "person_keypoints_val*.json"),
        *("val/_annotations.coco.json", "valid/_annotations.coco.json"),
    ),
    "test": ("test.json", "person_keypoints_test*.json", "test/_annotations.coco.json"),
    "all": (
        "annotations.json",
        "person_keypoints.json",
        "person_keypoints_default.json",
        "result.json",
        "_annotations.coco.json",
    ),
}
"""Names of annotation files: ours, COCO's and CVAT's, Roboflow's, Label Studio's; in lower case."""

_SHARES = {"train": 0.8, "val": 0.9, "test": 1.0}
_MOST_COLUMNS = 8
_KEYPOINT_MARGIN = 0.1  # of the longer side, on every side of keypoints that have no box


@dataclass(frozen=True)
class _Annotations:
    """One annotation file.

    Attributes:
        file: Where it is.
        images: Records by id.
        people: Records of what has keypoints.
        skeleton: Of the keypoints.
    """

    file: Path
    images: Mapping[Any, Mapping[str, Any]]
    people: Sequence[Mapping[str, Any]]
    skeleton: Skeleton


def find_coco(name: str, data: Path) -> Path | None:
    """The folder of the data set ``name`` in ``data``, if one is there and has annotation files."""
    folder = data / name
    return folder if PurePosixPath(name).name == name and folder.is_dir() and _matches(folder) else None


def own_datasets(data: Path) -> list[str]:
    """Names of the folders in ``data`` that `find_coco` finds."""
    return [folder.name for folder in sorted(data.iterdir()) if find_coco(folder.name, data)] if data.is_dir() else []


def coco_splits(folder: Path) -> tuple[str, ...]:
    """Which splits a data set has: those with a file, or all three of one that is divided here."""
    files = _files(folder)
    return SPLIT_NAMES if "all" in files else tuple(split for split in SPLIT_NAMES if split in files)


def read_keypoints(folder: Path) -> Skeleton:
    """The keypoint set of a data set.

    Raises:
        DataError: If its first annotation file or its ``keypoints.json`` is damaged, or they contradict each other.
    """
    return _read(folder, next(iter(_files(folder).values()))).skeleton


def read_coco(folder: Path, split: str, *, need_images: bool = True) -> tuple[list[Person], Skeleton]:
    """The annotated persons of ``split`` in ``folder``, in the order of the file, and their keypoint set.

    Ids are ``"NAME/SPLIT/<annotation id>"``, without the split where one file holds all. Coordinates are taken as they
    stand (an integer is the centre of a pixel, as in COCO's own files), boxes are moved by half a pixel from COCO's
    corners to ours. Crowds and whoever has no labelled keypoint are left out. Without a box it is made around the
    labelled keypoints, a tenth of its longer side larger on every side. The window is the box's, `BOX_MARGIN` larger.

    One file for all is divided by the pictures' names: about 80 % train, 10 % validate, 10 % test, and a picture stays
    where it is when others come.

    Args:
        folder: Of `find_coco`.
        split: ``"train"``, ``"val"`` or ``"test"``.
        need_images: Whether a missing picture is an error.

    Raises:
        DataError: If the split, annotations or pictures are missing, damaged or contradict each other.
    """
    files = _files(folder)
    if split not in files and "all" not in files:
        raise DataError(
            f"'{folder}' has no '{split}', only {', '.join(files)}: add {split}.json, or name a single file "
            "annotations.json to have it divided"
        )
    read = _read(folder, files[split] if split in files else files["all"])
    find_image = _finder(_roots(folder, read.file, split))
    prefix = f"{folder.name}/{split}" if split in files else folder.name
    persons = []
    for record in read.people:
        image = read.images.get(record.get("image_id"))
        if image is None:
            raise DataError(f"'{read.file}': annotation {record.get('id')} is of a picture that is not listed in it")
        name = _file_name(image, read.file)
        if split in files or _split_of(name) == split:
            person = _person(f"{prefix}/{record.get('id')}", record, find_image(name), read)
            persons += [] if person is None else [person]
    if need_images:
        require_images([Path(str(person.image)) for person in persons], f"{folder.name}: '{read.file}'")
    return persons, read.skeleton


# ---- files


def _files(folder: Path) -> dict[str, Path]:
    """The annotation file of each split; ``"all"`` for one that is to be divided.

    Raises:
        DataError: If a split has several.
    """
    found = _matches(folder)
    for split, paths in found.items():
        if len(paths) > 1:
            raise DataError(f"'{folder}' has several annotation files for '{split}': {', '.join(map(str, paths))}")
    return {split: found[split][0] for split in _FILES if split in found}


def _matches(folder: Path) -> dict[str, list[Path]]:
    """All files with the name of an annotation file, by split."""
    found: dict[str, list[Path]] = {}
    for base in (folder, folder / "annotations"):
        for path in sorted((*base.glob("*.json"), *base.glob("*/_annotations.coco.json"))):
            name = path.relative_to(base).as_posix().lower()
            for split, patterns in _FILES.items():
                if any(fnmatch(name, pattern) for pattern in patterns):
                    found.setdefault(split, []).append(path)
    if len(found) > 1:
        found.pop("all", None)  # the parts are there too
    return found


def _read(folder: Path, file: Path) -> _Annotations:
    content = _json(file)
    try:
        images = {image["id"]: image for image in content["images"]}
        categories = [c for c in content["categories"] if isinstance(c, dict)]
        records = [r for r in content["annotations"] if r.get("keypoints") and not r.get("iscrowd")]
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"'{file}' is not in COCO's keypoint format ({error!r}): it needs images, annotations and categories"
        ) from None
    ids, skeleton = _keypoint_set(folder, file, categories)
    return _Annotations(file, images, [r for r in records if r.get("category_id") in ids], skeleton)


def _json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"'{file}' cannot be read as JSON: {error}") from error
    if not isinstance(content, dict):
        raise DataError(f"'{file}' holds a {type(content).__name__}, not a table: is it the right file?")
    return content


# ---- keypoints


def _keypoint_set(folder: Path, file: Path, categories: Sequence[Mapping[str, Any]]) -> tuple[list[Any], Skeleton]:
    """The ids of the categories that count, and their keypoint set."""
    told = _json(folder / KEYPOINTS_FILE) if (folder / KEYPOINTS_FILE).is_file() else {}
    wanted = told.pop("category", None)
    if wanted is not None:
        counted = [c for c in categories if c.get("name") == wanted]
    else:
        counted = [c for c in categories if c.get("keypoints")] or (list(categories) if "keypoints" in told else [])
    different = {tuple(c.get("keypoints") or ()) for c in counted}
    if len(different) != 1:
        there = ", ".join(str(c.get("name")) for c in categories)
        problem = "of none of them are keypoints named" if not counted else "their keypoints differ"
        raise DataError(
            f"'{file}' has the categories {there or '(none)'}, and {problem}: say in '{folder / KEYPOINTS_FILE}' "
            '{"category": ...} or {"keypoints": [...]}'
        )
    named = different.pop()
    ids = [c.get("id") for c in counted]
    if not told and (known := next((s for s in SKELETONS.values() if s.keypoints == named), None)):
        return ids, known
    source = str(folder / KEYPOINTS_FILE) if told else str(file)
    try:
        whole = {"name": folder.name, "keypoints": list(named), **told}
        names: tuple[str, ...] = tuple(whole["keypoints"])
        if named and len(names) != len(named):
            raise ValueError(f"{len(names)} keypoints, but '{file}' has {len(named)}: name all of them, in its order")
        whole.setdefault("edges", _edges(counted[0].get("skeleton") or [], names))
        made = from_dict(Skeleton, whole)
        return ids, made if "parts" in told else from_dict(Skeleton, {**whole, "parts": _parts(made)})
    except (ConfigError, TypeError, ValueError, IndexError) as error:
        raise DataError(f"'{source}': {error}") from None


def _edges(limbs: Sequence[Sequence[int]], names: Sequence[str]) -> list[list[str]]:
    """COCO's limbs, pairs of numbers from 1 (some tools count from 0), as pairs of names."""
    first = 0 if any(0 in limb for limb in limbs) else 1
    if any(not first <= number < len(names) + first for limb in limbs for number in limb):
        raise ValueError(f"a limb of 'skeleton' is not among {len(names)} keypoints: {list(map(list, limbs))}")
    return [[names[a - first], names[b - first]] for a, b in limbs]


def _parts(skeleton: Skeleton) -> list[list[Any]]:
    """Columns of score tables: mirror pairs and single keypoints; none where there would be many."""
    right_of = dict(skeleton.mirror_pairs)
    columns: list[list[Any]] = []
    for name, side in zip(skeleton.keypoints, skeleton.sides, strict=True):
        if side == "left":
            columns.append([unsided(name, right_of[name]), [name, right_of[name]]])
        elif not side:
            columns.append([name, [name]])
    scored = [[title, names] for title, names in columns if not set(names) & set(skeleton.unscored)]
    return scored if len(scored) <= _MOST_COLUMNS else []


# ---- persons


def _person(name: str, record: Mapping[str, Any], image: Path, read: _Annotations) -> Person | None:
    """The person of a record; None without a labelled keypoint."""
    try:
        values = np.asarray(record["keypoints"], dtype=np.float64).reshape(len(read.skeleton), 3)
        box = np.asarray(record.get("bbox") or [0, 0, 0, 0], dtype=np.float64).reshape(4)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"'{read.file}': annotation {record.get('id')} does not have x, y and a flag for each of the "
            f"{len(read.skeleton)} keypoints of '{read.skeleton.name}' and a box of four numbers ({error})"
        ) from None
    labelled = (values[:, 2] > 0) & np.isfinite(values).all(1)
    if not labelled.any():
        return None
    xy = np.where(labelled[:, None], values[:, :2], np.nan)
    box = np.array([*box[:2], *(box[:2] + box[2:])]) - 0.5
    if not np.isfinite(box).all() or box[2] <= box[0] or box[3] <= box[1]:
        box = _around(xy)
    crop = Crop.around(box, BOX_MARGIN)
    return Person(name, image, xy, labelled, labelled & (values[:, 2] > 1), crop)


def _around(xy: Floats) -> Floats:
    """A box around keypoints."""
    box = bounding_box(xy)
    margin = max(_KEYPOINT_MARGIN * float(max(box[2:] - box[:2])), 0.5)
    grown: Floats = box + margin * np.array([-1, -1, 1, 1])
    return grown


def _file_name(image: Mapping[str, Any], file: Path) -> str:
    """The path of a picture as annotated, which stays below the data set's folder."""
    name = str(image.get("file_name", "")).replace("\\", "/")
    outside = PurePosixPath(name).is_absolute() or PureWindowsPath(name).drive or ".." in PurePosixPath(name).parts
    if not name or outside:
        raise DataError(f"'{file}': picture {image.get('id')} is called {name!r}: give its path below the data set")
    return name


def _split_of(name: str) -> str:
    return next(split for split, upper in _SHARES.items() if draw_of(name) < upper)


def _roots(folder: Path, file: Path, split: str) -> list[Path]:
    """Where pictures may be, those of the split first."""
    bases = (folder / "images", folder)
    names = (split, "default")  # CVAT's name for what is in no subset
    own = [d for base in bases if base.is_dir() for d in sorted(base.iterdir()) if d.name.lower().startswith(names)]
    return [*(d for d in own if d.is_dir()), file.parent, *bases]


def _finder(roots: Sequence[Path]) -> Callable[[str], Path]:
    """What finds the picture of a name: in the first root that has it, else where it should be.

    Each folder is listed once, as by `require_images`: asking for every file is slow on network disks.
    """

    @cache
    def listed(folder: Path) -> frozenset[Path]:
        return frozenset(folder.iterdir()) if folder.is_dir() else frozenset()

    @cache
    def find(name: str) -> Path:
        places = [root / name for root in roots]
        return next((place for place in places if place in listed(place.parent)), places[-2])

    return find
