"""A file for MPII's single-person benchmark: MATLAB's ``pred`` in ``pred_keypoints_mpii.mat``."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io
from numpy.typing import NDArray

from .data.mpii_benchmark import BenchmarkImage, read_mpii_test
from .errors import DataError
from .estimator import Estimator
from .evaluate import predict_persons
from .files import replacing
from .geometry import Floats
from .skeleton import MPII

NAME = "pred_keypoints_mpii.mat"
"""What the benchmark calls the file."""


def write_submission(estimator: Estimator, data: Path, path: Path, *, quiet: bool = True) -> int:
    """Predicts the test persons and writes the file; returns how many.

    Args:
        estimator: With MPII's keypoints.
        data: The folder that holds ``mpii/`` with the official release and its pictures.
        path: The file, see `save_submission`.
        quiet: No progress bar.

    Raises:
        DataError: If the estimator has other keypoints, or the release or its pictures are not there.
    """
    if estimator.skeleton != MPII:
        raise DataError(f"a submission needs MPII's keypoints and these weights have '{estimator.skeleton.name}'")
    images = read_mpii_test(data)
    persons = [person for image in images for person in image.asked.values()]
    xy, _ = predict_persons(estimator, persons, quiet=quiet)
    save_submission(path, images, dict(zip((person.id for person in persons), xy, strict=True)))
    return len(persons)


def save_submission(path: Path, images: Sequence[BenchmarkImage], predicted: Mapping[str, Floats]) -> None:
    """Writes predictions in the benchmark's format.

    ``pred`` has an element per test picture, in the order of the release:
    ``pred(i).annorect(r).annopoints.point(p)`` with ``x`` and ``y``, pixels counted from 1, and ``id``, the keypoint
    from 0 to 15 in the order of `sadinet.skeleton.MPII`; ``pred(i).image.name`` is the picture. Persons that are not
    asked for have no points. Source: the evaluation page of the benchmark.

    Args:
        path: A ``.mat`` file.
        images: Of `read_mpii_test`.
        predicted: By person's id, ``(16, 2)`` [image px, 0-based].

    Raises:
        DataError: If a person asked for has no finite prediction.
    """
    asked = [person.id for image in images for person in image.asked.values()]
    bad = [name for name in asked if name not in predicted or not np.isfinite(predicted[name]).all()]
    if bad:
        raise DataError(f"{len(bad)} of {len(asked)} test persons have no finite prediction, the first: {bad[0]}")
    pred = _structs(
        [
            {"image": {"name": image.name}, "annorect": _structs([_rect(image, n, predicted) for n in _numbers(image)])}
            for image in images
        ],
        ("image", "annorect"),
    )
    with replacing(path) as file:
        scipy.io.savemat(str(file), {"pred": pred}, appendmat=False, do_compression=True)


def _numbers(image: BenchmarkImage) -> range:
    return range(1, image.persons + 1)


def _rect(image: BenchmarkImage, number: int, predicted: Mapping[str, Floats]) -> dict[str, Any]:
    person = image.asked.get(number)
    if person is None:
        return {"annopoints": np.zeros((0, 0))}
    points = [
        {"x": float(x) + 1.0, "y": float(y) + 1.0, "id": float(k)} for k, (x, y) in enumerate(predicted[person.id])
    ]
    return {"annopoints": {"point": _structs(points, ("x", "y", "id"))}}


def _structs(elements: Sequence[Mapping[str, Any]], names: Sequence[str] = ("annopoints",)) -> NDArray[np.void]:
    """A 1 x n struct array of MATLAB."""
    array = np.zeros((1, len(elements)), dtype=[(name, object) for name in names])
    for i, element in enumerate(elements):
        for name in names:
            array[0, i][name] = element[name]
    return array
