"""Poses on disk: JSON, JSON lines, tables, COCO results. A file appears under its name when it is complete.

What is in them: docs/results.md. Source: decision 018.
"""

import csv
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeAlias

from ..errors import DataError
from ..files import replacing
from ..poses import Poses, table_columns
from ..skeleton import Skeleton

Add: TypeAlias = Callable[[Poses], None]
"""Adds the poses of one more picture or frame to a file."""


def write_json(poses: Poses, path: Path) -> None:
    """One picture's poses as JSON, indented."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(poses.to_json(), indent=1) + "\n", "utf-8")


@contextmanager
def json_lines(path: Path) -> Iterator[Add]:
    """A file of JSON lines, one for each picture or frame, that exists once the ``with`` block is left."""
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:

        def add(poses: Poses) -> None:
            file.write(json.dumps(poses.to_json()) + "\n")

        yield add


@contextmanager
def table(path: Path, skeleton: Skeleton) -> Iterator[Add]:
    """A table of comma-separated values, a row per person: see `poses.table_columns`."""
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(table_columns(skeleton))

        def add(poses: Poses) -> None:
            rows.writerows(poses.to_rows())

        yield add


@contextmanager
def coco_results(path: Path, number: Callable[[Poses], int]) -> Iterator[Add]:
    """Keypoints in COCO's result format, and beside them which picture has which number.

    ``NAME.coco.json`` is the list that ``COCO.loadRes`` takes, ``NAME.coco-images.json`` the list of ``images`` with
    id, file_name, width, height, and for frames of a video frame and time.

    Args:
        path: Ends in .coco.json.
        number: The image_id of a picture or frame.
    """
    images = path.with_name(path.name.removesuffix(".json") + "-images.json")
    with _json_list(path) as add_person, _json_list(images) as add_image:

        def add(poses: Poses) -> None:
            image_id = number(poses)
            width, height = poses.image_size
            image = {"id": image_id, "file_name": poses.source, "width": width, "height": height}
            add_image(image | ({} if poses.frame is None else {"frame": poses.frame, "time": poses.time}))
            for person in poses.to_coco(image_id):
                add_person(person)

        yield add


def poses_file(stack: ExitStack, path: Path, skeleton: Skeleton, number: Callable[[Poses], int]) -> Add:
    """What adds to ``path``, a .jsonl, .csv or .coco.json that ``stack`` finishes; ``number`` as of `coco_results`."""
    if path.suffix == ".jsonl":
        return stack.enter_context(json_lines(path))
    if path.suffix == ".csv":
        return stack.enter_context(table(path, skeleton))
    return stack.enter_context(coco_results(path, number))


@contextmanager
def _json_list(path: Path) -> Iterator[Callable[[Any], None]]:
    """A JSON list, written as it grows."""
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        separator = "["

        def add(value: Any) -> None:
            nonlocal separator
            file.write(f"{separator}{json.dumps(value)}")
            separator = ",\n"

        yield add
        file.write("[]\n" if separator == "[" else "]\n")


def read_poses(path: str | Path) -> Iterator[Poses]:
    """The poses in a .json or .jsonl file that was written here, one after the other.

    Raises:
        DataError: The file is missing, damaged or something else.
    """
    path = Path(path)
    try:
        with path.open(encoding="utf-8") as file:
            lines = file if path.suffix.lower() == ".jsonl" else [file.read()]
            for number, line in enumerate(lines, 1):
                try:
                    yield Poses.from_json(json.loads(line))
                except (DataError, ValueError) as error:
                    raise DataError(f"{path}: line {number}: {error}") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error})") from error
