"""The test persons of MPII: where they stand, from the official release; their keypoints are not public."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError
from ..geometry import Crop
from ..skeleton import MPII
from .lsp import read_mat, require_images
from .mpii import RELEASE_FILE, elements_of, field_of, find_mpii
from .person import Person


@dataclass(frozen=True)
class BenchmarkImage:
    """A test picture of the release.

    Attributes:
        name: Of the file.
        persons: How many the release lists on it, asked for or not.
        asked: Those that the single-person benchmark asks for, by their number from 1; no keypoint is labelled.
    """

    name: str
    persons: int
    asked: dict[int, Person]


def read_mpii_test(data: Path, *, need_images: bool = True) -> list[BenchmarkImage]:
    """The test pictures, in the order of the release, which is that of a submission.

    Asked for are the persons that the release calls sufficiently separated, with a rough place and scale.

    Args:
        data: The folder that holds ``mpii/``, or that folder itself.
        need_images: Whether a missing picture of a person asked for is an error.

    Raises:
        DataError: If the release's file or pictures are missing or damaged, or nobody is asked for.
    """
    folder = find_mpii(data)
    file = None if folder is None else folder / RELEASE_FILE
    if folder is None or file is None or not file.is_file():
        raise DataError(
            f"no {RELEASE_FILE} in '{folder or data}': the test persons are in the official release alone, not in the "
            "JSON files; put it beside them"
        )
    release = read_mat(file, "RELEASE", squeeze=True)
    images, training = elements_of(field_of(release, "annolist")), np.atleast_1d(field_of(release, "img_train"))
    single = field_of(release, "single_person")
    chosen = [None] * len(images) if single is None else [single] if len(images) == 1 else list(np.atleast_1d(single))
    if not len(images) == len(training) == len(chosen):
        raise DataError(
            f"'{file}' lists {len(images)} images, {len(training)} training flags and {len(chosen)} lists of single "
            "persons: it is damaged"
        )
    pictures = (folder if (folder / "images").is_dir() else folder.parent) / "images"
    tests = [
        _test_image(image, numbers, pictures)
        for image, is_training, numbers in zip(images, training, chosen, strict=True)
        if not is_training
    ]
    asked = [person for test in tests for person in test.asked.values()]
    if not asked:
        raise DataError(f"'{file}' has no test persons with a place and a scale: it is damaged")
    if need_images:
        require_images([Path(str(person.image)) for person in asked], f"mpii: the test persons in '{file}'")
    return tests


def _test_image(image: Any, numbers: Any, pictures: Path) -> BenchmarkImage:
    """``numbers``: of the single persons, from 1; None: the release does not tell, so all are asked for."""
    name = str(field_of(field_of(image, "image"), "name"))
    rects = elements_of(field_of(image, "annorect"))
    wanted = range(1, len(rects) + 1) if numbers is None else [int(n) for n in np.atleast_1d(numbers).ravel()]
    asked = {}
    for number in wanted:
        rect = rects[number - 1] if 0 < number <= len(rects) else None
        place, scale = field_of(rect, "objpos"), field_of(rect, "scale")
        if place is None or scale is None:
            continue
        size = float(scale)
        crop = Crop((float(place.x) - 1.0, float(place.y) - 1.0 + 15.0 * size), 250.0 * size)
        nothing = np.zeros(len(MPII), np.bool_)
        asked[number] = Person(
            f"mpii/{Path(name).stem}#{number}", pictures / name, np.full((len(MPII), 2), np.nan), nothing, nothing, crop
        )
    return BenchmarkImage(name, len(rects), asked)
