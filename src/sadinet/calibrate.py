"""Calibrating the scores of an estimator on annotated persons, and judging them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from . import evaluate
from .calibration import RIGHT_WITHIN, Calibration, Reliability, fit_calibration, reliability
from .data.person import Person
from .errors import ConfigError, DataError
from .estimator import Estimator
from .geometry import Floats

FOLDS = 5
"""Parts of the persons for cross-validation."""


def judge(
    estimator: Estimator, persons: Sequence[Person], *, quiet: bool = True
) -> tuple[Floats, NDArray[np.bool_], NDArray[np.bool_]]:
    """Scores, which keypoints are right, which can be judged; all ``(N, K)``.

    Raises:
        ConfigError: If no person has a head size.
    """
    xy, score = evaluate.predict_persons(estimator, persons, quiet=quiet)
    right, judged = evaluate.judge(xy, persons, estimator.skeleton)
    if not judged.any():
        raise ConfigError(
            f"none of the {len(persons)} persons has a head size, so nothing says what half a head is: calibrate on "
            "persons whose neck and head top are labelled"
        )
    return score, right, judged


def calibrate(
    estimator: Estimator, persons: Sequence[Person], *, quiet: bool = True
) -> tuple[Calibration, Reliability]:
    """The calibration of an estimator that has none yet, and how reliable it is on persons it was not fitted to.

    Args:
        estimator: Its scores are the heatmaps' peaks.
        persons: Annotated; neither trained on nor tested on.
        quiet: No progress bar.

    Returns:
        The calibration fitted to all persons; the reliability of calibrations fitted to four fifths of them, each on
        the other fifth.

    Raises:
        DataError: If there are too few persons.
        ConfigError: If none has a head size.
    """
    peaks, right, judged = judge(estimator, persons, quiet=quiet)
    if len(persons) < FOLDS:
        raise DataError(f"{len(persons)} persons are too few to calibrate scores: give some hundreds")
    fold = np.arange(len(persons)) % FOLDS
    said, truth = [], []
    for number in range(FOLDS):
        fit, check = judged & (fold != number)[:, None], judged & (fold == number)[:, None]
        said.append(fit_calibration(peaks[fit], right[fit])(peaks[check]))
        truth.append(right[check])
    return (
        fit_calibration(peaks[judged], right[judged]),
        reliability(np.concatenate(said), np.concatenate(truth)),
    )


def draw_reliability(found: Reliability, path: Path, title: str = "") -> None:
    """Draws the share of right keypoints over the scores.

    Raises:
        ConfigError: Without matplotlib.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ConfigError('drawing needs matplotlib: pip install "sadinet[train]"') from None
    figure = Figure(figsize=(4.2, 4.6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    middle = (np.arange(len(found.count)) + 0.5) / len(found.count)
    points = [(s, r) for s, r in zip(found.score, found.right, strict=True) if s is not None and r is not None]
    above.plot([0, 1], [0, 1], color="0.7", linewidth=1)
    above.plot(*np.array(points).T, marker="o", color="#1f6fb4")
    above.set(xlim=(0, 1), ylim=(0, 1), ylabel=f"share within {RIGHT_WITHIN:g} head", title=title)
    above.text(0.03, 0.9, f"expected calibration error {100 * found.error:.1f} %")
    below.bar(middle, found.count, width=0.9 / len(found.count), color="#9db8d2")
    below.set(xlabel="score", ylabel="keypoints")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
