"""Boxes of persons from files: COCO's JSON, this package's, a plain mapping, or CSV."""

import csv
import json
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from ..errors import DataError
from ..geometry import Floats

_COLUMNS = ("file", "x0", "y0", "x1", "y1")
_LAYOUTS = "COCO annotations, Poses.to_json, a list of those, JSON lines of them, or {picture: [[x0, y0, x1, y1], ...]}"
_Found = Iterator[tuple[str, Sequence[Any] | None]]
"""Names of pictures with a box each, or with None to say only that the picture is there."""


def read_boxes(path: str | Path) -> Mapping[str, Floats]:
    """Boxes of persons by picture: ``(P, 4)`` xyxy [image px] each, in the order of the file.

    The file is one of

    - COCO annotations (``images``, ``annotations`` with ``bbox``): persons that are not crowds. COCO's xywh counts from
      the corner of the first pixel, so its corner minus 0.5 is this package's.
    - What ``Poses.to_json`` makes, a list of that, or a ``.jsonl`` file with one per line; pictures by ``source``.
    - ``{"photo.jpg": [[x0, y0, x1, y1], ...], ...}``.
    - ``.csv`` with the columns file, x0, y0, x1, y1, and others that are ignored. A line with four empty values says
      that the picture has nobody.

    Pictures are called as the file calls them, with ``/`` between folders; `boxes_of` finds one by its path. A picture
    that the file mentions without boxes has ``(0, 4)``.

    Raises:
        DataError: The file is missing, damaged or laid out otherwise, or a box is empty or not finite.
    """
    path = Path(path)
    boxes: defaultdict[str, list[list[float]]] = defaultdict(list)
    try:
        if path.suffix.lower() == ".csv":
            with path.open(encoding="utf-8-sig", newline="") as stream:
                for name, box in _from_csv(stream):
                    _add(boxes, name, box)
        else:
            text = path.read_text("utf-8-sig")
            lines = path.suffix.lower() == ".jsonl"
            data = [json.loads(line) for line in text.splitlines() if line.strip()] if lines else json.loads(text)
            for name, box in _from_json(data):
                _add(boxes, name, box)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except KeyError as error:
        raise DataError(f"{path}: something has no {error}; what can be read: {_LAYOUTS}") from error
    except (OSError, ValueError, TypeError, AttributeError, csv.Error, RecursionError) as error:
        raise DataError(f"{path}: boxes cannot be read ({error}); what can be: {_LAYOUTS}, or .csv") from error
    return {name: np.array(found, dtype=np.float64).reshape(-1, 4) for name, found in boxes.items()}


def boxes_of(boxes: Mapping[str, Floats], picture: str | PurePath) -> Floats | None:
    """The boxes of the picture with that path; None where the file did not mention it.

    The longest end of the path that is a name in ``boxes`` counts; else the one name there that ends like the path.
    """
    parts = PurePath(picture).parts
    for start in range(len(parts)):
        found = boxes.get("/".join(parts[start:]))
        if found is not None:
            return found
    same = [name for name in boxes if parts and PurePath(name).name == parts[-1]]
    return boxes[same[0]] if len(same) == 1 else None


def _add(boxes: defaultdict[str, list[list[float]]], name: str, box: Sequence[Any] | None) -> None:
    here = boxes[PurePath(name.replace("\\", "/")).as_posix()]
    if box is None:
        return
    if len(box) != 4 or any(isinstance(value, bool) for value in box):
        raise ValueError(f"'{name}' has a box {list(box)}, four numbers are needed")
    values = [float(value) for value in box]
    if not (all(map(math.isfinite, values)) and values[0] < values[2] and values[1] < values[3]):
        raise ValueError(f"'{name}' has a box {values}, which is empty or not finite")
    here.append(values)


def _from_json(data: Any) -> _Found:
    if isinstance(data, list):
        for entry in data:
            if "image_id" in entry:
                raise ValueError("a list of results knows pictures by number; put it beside images, as annotations do")
            yield from _from_poses(entry)
    elif "annotations" in data:
        yield from _from_coco(data)
    elif "people" in data:
        yield from _from_poses(data)
    else:
        for name, boxes in data.items():
            yield name, None
            yield from ((name, box) for box in boxes)


def _from_poses(data: Mapping[str, Any]) -> _Found:
    if not isinstance(data["source"], str):
        raise ValueError("poses without a source belong to no picture")
    yield data["source"], None
    yield from ((data["source"], person["box"]) for person in data["people"])


def _from_coco(data: Mapping[str, Any]) -> _Found:
    names = {image["id"]: image["file_name"] for image in data["images"]}
    persons = {category["id"] for category in data.get("categories", ()) if category["name"] == "person"} or {1}
    yield from ((name, None) for name in names.values())
    for annotation in data["annotations"]:
        if annotation.get("category_id", 1) in persons and not annotation.get("iscrowd"):
            x, y, width, height = map(float, annotation["bbox"])
            yield names[annotation["image_id"]], (x - 0.5, y - 0.5, x + width - 0.5, y + height - 0.5)


def _from_csv(stream: Iterable[str]) -> _Found:
    rows = csv.DictReader(stream, skipinitialspace=True)
    missing = [column for column in _COLUMNS if column not in (rows.fieldnames or ())]
    if missing:
        raise ValueError(f"no column {', '.join(missing)} in the first line, which must name {', '.join(_COLUMNS)}")
    for row in rows:
        values = [row[column] for column in _COLUMNS[1:]]
        yield row["file"], values if any(values) else None
