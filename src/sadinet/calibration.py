"""Scores that mean something: from a heatmap's peak to the probability that its keypoint is right."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import DataError
from .geometry import Floats

RIGHT_WITHIN = 0.5
"""A keypoint counts as right if it is at most this many head sizes from the truth."""


@dataclass(frozen=True)
class Calibration:
    """A rising function from peaks to probabilities: straight lines between knots, flat beyond them.

    Attributes:
        peak: Where the knots are, rising strictly.
        probability: Its value there, in [0, 1], never falling.
    """

    peak: tuple[float, ...]
    probability: tuple[float, ...]

    def __post_init__(self) -> None:
        values = np.array([*self.peak, *self.probability], dtype=np.float64)
        if not self.peak or len(self.peak) != len(self.probability) or not np.isfinite(values).all():
            raise DataError("a calibration needs as many finite peaks as probabilities, at least one")
        if (np.diff(self.peak) <= 0).any() or (np.diff(self.probability) < 0).any():
            raise DataError("a calibration's peaks must rise and its probabilities must not fall")
        if not 0 <= self.probability[0] <= self.probability[-1] <= 1:
            raise DataError("a calibration's probabilities must be in [0, 1]")

    def __call__(self, peaks: ArrayLike) -> Floats:
        """The probabilities of ``peaks``, of the same shape."""
        found: Floats = np.interp(np.asarray(peaks, dtype=np.float64), self.peak, self.probability)
        return found

    def to_json(self) -> dict[str, list[float]]:
        """As plain lists, see `from_json`."""
        return {"peak": list(self.peak), "probability": list(self.probability)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Calibration":
        """The calibration that `to_json` wrote.

        Raises:
            DataError: If it is incomplete or contradicts itself.
        """
        try:
            return cls(tuple(map(float, data["peak"])), tuple(map(float, data["probability"])))
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise DataError(f"not a calibration, which has lists 'peak' and 'probability': {error}") from None


def fit_calibration(peaks: ArrayLike, right: ArrayLike, *, knots: int = 16) -> Calibration:
    """The calibration that keypoints with these peaks ask for.

    Peaks are sorted and cut into ``knots`` groups of equal size; each gives its mean peak and its share of right
    keypoints, and the shares are made to rise by isotonic regression (the closest rising sequence, group sizes as
    weights). Below the first group the line goes to 0 at a peak of 0: a heatmap that shows nothing knows nothing.

    Args:
        peaks: ``(N,)``.
        right: ``(N,)`` bool.
        knots: The most knots.

    Raises:
        DataError: If there are fewer than two keypoints for each knot.

    Source: decision 024.
    """
    from scipy.optimize import isotonic_regression  # takes a quarter of a second, and only fitting needs it

    value, truth = np.asarray(peaks, dtype=np.float64).ravel(), np.asarray(right, dtype=np.float64).ravel()
    if value.shape != truth.shape or len(value) < 2 * knots or not np.isfinite(value).all():
        raise DataError(f"{len(value)} peaks and {len(truth)} answers are too few, or unequal, for {knots} knots")
    order = np.argsort(value, kind="stable")
    groups = np.array_split(order, knots)
    at = np.array([value[group].mean() for group in groups])
    share = np.array([truth[group].mean() for group in groups])
    weight = np.array([float(len(group)) for group in groups])
    at, first = np.unique(at, return_inverse=True)  # groups of one and the same peak are one
    total = np.bincount(first, weight)
    share = np.bincount(first, weight * share) / total
    rising = np.clip(isotonic_regression(share, weights=total).x, 0.0, 1.0)
    if at[0] > 0:
        at, rising = np.concatenate([[0.0], at]), np.concatenate([[0.0], rising])
    return Calibration(tuple(float(v) for v in at), tuple(float(v) for v in rising))


@dataclass(frozen=True)
class Reliability:
    """How far scores can be believed.

    Attributes:
        score: Mean score of each bin of equal width in [0, 1]; None in an empty one.
        right: Share of right keypoints in it; None in an empty one.
        count: How many keypoints it has.
        error: Expected calibration error: the mean of ``|score - right|`` over keypoints.
        brier: Mean of ``(score - right)²`` over keypoints, 0 is perfect.
        base: The Brier score of always saying the overall share of right keypoints.
    """

    score: tuple[float | None, ...]
    right: tuple[float | None, ...]
    count: tuple[int, ...]
    error: float
    brier: float
    base: float

    def __str__(self) -> str:
        return (
            f"{sum(self.count)} keypoints: expected calibration error {100 * self.error:.1f} %, Brier score "
            f"{self.brier:.4f} ({self.base:.4f} if every score were the mean)"
        )


def reliability(score: ArrayLike, right: ArrayLike, *, bins: int = 10) -> Reliability:
    """How scores ``(N,)`` in [0, 1] fit the keypoints that were ``right`` ``(N,)``.

    Raises:
        DataError: If there are none, or not as many of one as of the other.
    """
    said, truth = np.asarray(score, dtype=np.float64).ravel(), np.asarray(right, dtype=np.float64).ravel()
    if said.shape != truth.shape or not len(said):
        raise DataError(f"{len(said)} scores and {len(truth)} answers: give as many of one as of the other")
    place = np.clip((said * bins).astype(np.int64), 0, bins - 1)
    count = np.bincount(place, minlength=bins)
    with np.errstate(invalid="ignore"):
        mean, share = (np.bincount(place, values, minlength=bins) / count for values in (said, truth))
    gap = np.where(count > 0, np.abs(mean - share), 0.0)
    return Reliability(
        tuple(float(v) if n else None for v, n in zip(mean, count, strict=True)),
        tuple(float(v) if n else None for v, n in zip(share, count, strict=True)),
        tuple(count.tolist()),
        float((gap * count).sum() / count.sum()),
        float(np.square(said - truth).mean()),
        float(truth.mean() * (1 - truth.mean())),
    )


def right_keypoints(
    xy: ArrayLike, truth: ArrayLike, labelled: ArrayLike, head_sizes: ArrayLike
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which keypoints are right, and which of them can be judged.

    Args:
        xy: Predicted ``(N, K, 2)`` [image px].
        truth: True ``(N, K, 2)`` [image px]; NaN where not labelled.
        labelled: ``(N, K)`` bool.
        head_sizes: ``(N,)`` [image px]; NaN where unknown.

    Returns:
        ``right`` and ``judged``, both ``(N, K)``.
    """
    size = np.asarray(head_sizes, dtype=np.float64)
    offset = np.asarray(xy, dtype=np.float64) - np.asarray(truth, dtype=np.float64)
    judged = np.asarray(labelled, dtype=np.bool_) & (np.isfinite(size) & (size > 0))[:, None]
    right = judged & (np.hypot(offset[..., 0], offset[..., 1]) <= RIGHT_WITHIN * size[:, None])
    return right, judged
