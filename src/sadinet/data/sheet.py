"""Persons of data sets as a picture, to see whether an annotation is what it should be."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from ..errors import DataError
from ..geometry import apply, image_to_crop
from ..images import warp
from ..skeleton import LSP, MPII, Skeleton
from .check import other_datasets
from .coco import coco_splits, read_coco
from .lsp import LSP_LAYOUT, LSPET_LAYOUT, find_folder, read_layout
from .mpii import find_mpii, read_mpii
from .person import Person
from .toy import TOY_LAYOUT


def contact_sheet(persons: Sequence[tuple[Person, Skeleton]], path: Path, columns: int = 8, cell: int = 160) -> None:
    """Draw the persons' windows with their keypoints into one picture, row by row.

    Warm colours are the person's right side, cool ones the left side; a ring is an occluded keypoint.

    Args:
        persons: At least one, each with its keypoint set.
        path: Where to write; the extension tells the format.
        columns: Windows in a row.
        cell: Side of a drawn window [px].

    Raises:
        DataError: If there are no persons.
        ImageError: If a picture cannot be read.
    """
    if not persons:
        raise DataError("no persons to draw: give at least one")
    columns = min(columns, len(persons))
    rows = -(-len(persons) // columns)
    sheet = Image.new("RGB", (columns * cell, rows * cell))
    for i, (person, skeleton) in enumerate(persons):
        sheet.paste(_drawn(person, skeleton, cell), (i % columns * cell, i // columns * cell))
    sheet.save(path)


def some_persons(data: Path, count: int = 16) -> list[tuple[Person, Skeleton]]:
    """Up to ``count`` persons of each data set in ``data``, evenly spread, whose pictures are there; for a sheet."""
    found: list[tuple[Person, Skeleton]] = []
    for layout in (LSP_LAYOUT, LSPET_LAYOUT, TOY_LAYOUT):
        if find_folder(layout, data) is not None:
            found += _spread(read_layout(layout, data), LSP, count)
    if find_mpii(data) is not None:
        found += _spread(read_mpii(data, need_images=False), MPII, count)
    for name in other_datasets(data):
        for split in coco_splits(data / name):
            persons, skeleton = read_coco(data / name, split, need_images=False)
            found += _spread(persons, skeleton, count)
    return found


def _spread(persons: list[Person], skeleton: Skeleton, count: int) -> list[tuple[Person, Skeleton]]:
    there = [(person, skeleton) for person in persons if isinstance(person.image, Path) and person.image.is_file()]
    return there[:: max(len(there) // count, 1)][:count]


_COLOURS = {"right": (255, 120, 30), "left": (40, 160, 255), "": (230, 230, 230)}


def _drawn(person: Person, skeleton: Skeleton, cell: int) -> Image.Image:
    to_cell = image_to_crop(person.crop, cell)
    window = Image.fromarray(warp(person.read(), to_cell, cell))
    pen = ImageDraw.Draw(window)
    xy = apply(to_cell, person.xy)
    for a, b in skeleton.edge_index:
        if person.labelled[a] and person.labelled[b]:
            pen.line((*map(float, xy[a]), *map(float, xy[b])), fill=_COLOURS[skeleton.side(a, b)], width=2)
    for k in np.flatnonzero(person.labelled):
        x, y = (float(v) for v in xy[k])
        colour = _COLOURS[skeleton.side(int(k))]
        pen.ellipse((x - 2, y - 2, x + 2, y + 2), outline=colour, fill=colour if person.visible[k] else None)
    pen.text((2, 1), person.id, fill=(255, 255, 0))
    return window
