"""How far predictions lie from the truth: PCK, PCKh, its area under the curve, and OKS.

An error is a distance divided by a reference length of the same person (``distances``); every score
is a share of errors at or below a threshold, in percent. NaN marks what does not count.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import ConfigError, DataError
from .skeleton import COCO, Skeleton

Floats: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class Protocol:
    """What a score means; printed beside every number.

    Attributes:
        name: What the protocol is called.
        metric: ``"PCK"``, or ``"PCKh"`` if errors are relative to the head.
        threshold: A keypoint is found if its error is at most this many reference lengths.
        reference: The reference length: the torso size, the head size or the longer side of the box of the annotation.
        counted: Which keypoints count, in words.
        mean: The mean that published tables of this protocol call so: over all keypoints pooled, over the
            columns of the table, or over the keypoints' own shares.
    """

    name: str
    metric: Literal["PCK", "PCKh"]
    threshold: float
    reference: Literal["torso", "head", "box"]
    counted: str
    mean: Literal["pooled", "parts", "keypoints"] = "pooled"

    @property
    def label(self) -> str:
        """The metric with its threshold, ``"PCKh@0.5"``."""
        return f"{self.metric}@{self.threshold:g}"

    def describe(self) -> str:
        """The protocol in one sentence."""
        return (
            f"{self.label} ({self.name}): share of keypoints [%] with error <= {self.threshold:g} x "
            f"{_REFERENCES[self.reference]}; {self.counted}; mean {_MEANS[self.mean]}."
        )


_REFERENCES = {
    "torso": "torso size (true left shoulder to right hip)",
    "head": "head size (0.6 x diagonal of the annotated head box)",
    "box": "the longer side of the annotated box",
}
_MEANS = {
    "pooled": "pooled over all keypoints",
    "parts": "of the columns",
    "keypoints": "of the keypoints' own shares",
}

LSP_PCK = Protocol(
    name="LSP",
    metric="PCK",
    threshold=0.2,
    reference="torso",
    counted="all 14 keypoints count, visible or not; person-centric annotations",
    mean="parts",
)
"""PCK@0.2 of Leeds Sports Pose, as its benchmark's person-centric table."""

MPII_PCKH = Protocol(
    name="MPII",
    metric="PCKh",
    threshold=0.5,
    reference="head",
    counted="pelvis and thorax left out, occluded keypoints count, unlabelled ones do not",
    mean="pooled",
)
"""PCKh@0.5 of MPII Human Pose, as its single-person benchmark."""


BOX_PCK = Protocol(
    name="own keypoints",
    metric="PCK",
    threshold=0.05,
    reference="box",
    counted="all labelled keypoints count, occluded or not",
    mean="pooled",
)
"""PCK@0.05 of the box, for keypoint sets that have no benchmark of their own (decision 026)."""


def distances(predicted: ArrayLike, target: ArrayLike, labelled: ArrayLike, reference: ArrayLike) -> Floats:
    """Errors ``(N, K)`` in units of each person's reference length.

    Args:
        predicted: Keypoints ``(N, K, 2)`` [px]; one that is not finite is a miss, its error infinite.
        target: True keypoints ``(N, K, 2)`` in the same frame.
        labelled: ``(N, K)`` bool: has a truth.
        reference: Reference lengths ``(N,)`` [px].

    Returns:
        The errors; NaN where a keypoint does not count: not labelled, or the reference length of its person is
        not a positive number.

    Raises:
        DataError: Shapes that do not fit together, or a labelled keypoint without coordinates.
    """
    ours, truth, known, length = _checked(predicted, target, labelled, reference)
    found: NDArray[np.bool_] = np.asarray(np.isfinite(ours).all(-1))
    with np.errstate(over="ignore"):  # absurdly far is a miss, not an accident
        offset = np.where(found[..., None], ours, 0.0) - truth
        usable = np.isfinite(length) & (length > 0)
        error: Floats = np.hypot(offset[..., 0], offset[..., 1]) / np.where(usable, length, 1.0)[:, None]
    error[~found] = np.inf
    error[~(known & usable[:, None])] = np.nan
    return error


def pck(distances: Floats, threshold: float) -> Floats:
    """The share [%] of each keypoint's errors ``<= threshold``, ``(K,)``; NaN where no error counts.

    Args:
        distances: Errors ``(N, K)``, NaN where not counted.
        threshold: The largest error that is still right; the border belongs to it, as in MPII's benchmark.
    """
    return _percent((distances <= threshold).sum(0), counts(distances))


def pooled(distances: Floats, threshold: float) -> float:
    """The share [%] of all counted errors ``<= threshold``, whosever they are; NaN if there are none."""
    return float(_percent((distances <= threshold).sum(), counts(distances).sum()))


def pck_by_part(distances: Floats, threshold: float, skeleton: Skeleton) -> Floats:
    """The pooled share [%] of the keypoints of each of ``skeleton.parts``, in their order; NaN where none counts."""
    columns = [[skeleton.index(name) for name in names] for _, names in skeleton.parts]
    return np.array([pooled(distances[:, column], threshold) for column in columns], dtype=np.float64)


def auc(distances: Floats, max_threshold: float, steps: int) -> float:
    """Area under the curve of ``pooled`` over thresholds from 0 to ``max_threshold``, scaled to [0, 100].

    Args:
        distances: Errors ``(N, K)``, NaN where not counted.
        max_threshold: The right end of the curve.
        steps: Number of equal steps of the threshold, joined by straight lines; MPII's grid 0, 0.01 ... 0.5 is
            ``auc(distances, 0.5, 50)``.

    Raises:
        ConfigError: ``max_threshold`` or ``steps`` is not positive.
    """
    if not (max_threshold > 0 and steps > 0):
        raise ConfigError(f"no curve from 0 to {max_threshold} in {steps} steps: both must be positive")
    curve = [pooled(distances, max_threshold * step / steps) for step in range(steps + 1)]
    return float(np.mean([(a + b) / 2 for a, b in pairwise(curve)]))


def counts(distances: Floats) -> NDArray[np.int64]:
    """How many errors count for each keypoint, ``(K,)``."""
    number: NDArray[np.int64] = np.count_nonzero(~np.isnan(distances), axis=0)
    return number


def torso_sizes(xy: ArrayLike, skeleton: Skeleton) -> Floats:
    """The torso size ``(N,)`` [px] of true keypoints ``(N, K, 2)`` [px]: left shoulder to right hip; NaN if unknown.

    Raises:
        ConfigError: The keypoint set has no torso.
    """
    if skeleton.torso is None:
        raise ConfigError(f"keypoint set '{skeleton.name}' has no torso: name its two ends to score by PCK")
    points = np.asarray(xy, dtype=np.float64)
    torso = points[:, skeleton.index(skeleton.torso[0])] - points[:, skeleton.index(skeleton.torso[1])]
    length: Floats = np.hypot(torso[:, 0], torso[:, 1])
    return length


_SIDE_SIGMAS = (0.025, 0.035, 0.079, 0.072, 0.062, 0.107, 0.087, 0.089)  # eye, ear, shoulder ... ankle

COCO_SIGMAS = (0.026, *(sigma for sigma in _SIDE_SIGMAS for _ in ("left", "right")))
"""How far annotators differ on each of COCO's 17 keypoints, in units of the square root of the person's area."""

_LIKE = {"neck": "left_shoulder", "upper_neck": "left_shoulder", "thorax": "left_shoulder", "head_top": "left_shoulder"}


def sigmas_of(skeleton: Skeleton) -> tuple[float, ...]:
    """How far annotators differ on each of the set's K keypoints, in units of the square root of the person's area.

    COCO measured its own keypoints. Keypoints that COCO does not have are taken to be as uncertain as what lies
    nearest: neck, upper neck, thorax and head top as a shoulder, the pelvis as a hip, and anything else as a hip too,
    the largest of all.
    """
    known = dict(zip(COCO.keypoints, COCO_SIGMAS, strict=True))
    return tuple(known.get(_LIKE.get(name, name), known["left_hip"]) for name in skeleton.keypoints)


def oks(
    predicted: ArrayLike, target: ArrayLike, labelled: ArrayLike, area: ArrayLike, sigmas: Sequence[float] = COCO_SIGMAS
) -> Floats:
    """The object keypoint similarity ``(N,)`` in [0, 1] of each prediction with its own truth.

    Args:
        predicted: Keypoints ``(N, K, 2)`` [px]; one that is not finite contributes 0.
        target: True keypoints ``(N, K, 2)`` [px].
        labelled: ``(N, K)`` bool: has a truth.
        area: The persons' areas ``(N,)`` [px²].
        sigmas: The annotators' spread of each keypoint, ``K`` values.

    Returns:
        The mean over labelled keypoints of ``exp(-d² / (2 area (2 sigma)²))``; NaN for a person without labelled
        keypoints or without a positive area.

    Raises:
        DataError: Shapes that do not fit together.
    """
    scale = np.sqrt(np.maximum(np.asarray(area, dtype=np.float64), 0.0))
    error = distances(predicted, target, labelled, scale)
    if len(sigmas) != error.shape[1]:
        raise DataError(f"{len(sigmas)} sigmas for {error.shape[1]} keypoints: give one per keypoint")
    with np.errstate(over="ignore"):  # absurdly far counts 0
        similarity = np.exp(-((error / (2 * np.asarray(sigmas, dtype=np.float64))) ** 2) / 2)
    number = counts(error.T)
    total = np.where(np.isnan(similarity), 0.0, similarity).sum(1)
    return np.where(number > 0, total / np.maximum(number, 1), np.nan)


def _percent(hits: ArrayLike, total: ArrayLike) -> Floats:
    total = np.asarray(total)
    return np.where(total > 0, 100.0 * np.asarray(hits) / np.maximum(total, 1), np.nan)


def _checked(
    predicted: ArrayLike, target: ArrayLike, labelled: ArrayLike, reference: ArrayLike
) -> tuple[Floats, Floats, NDArray[np.bool_], Floats]:
    ours, truth = np.asarray(predicted, dtype=np.float64), np.asarray(target, dtype=np.float64)
    known, length = np.asarray(labelled, dtype=np.bool_), np.asarray(reference, dtype=np.float64)
    persons, keypoints = truth.shape[:2] if truth.ndim == 3 else (-1, -1)
    expected = [(persons, keypoints, 2), (persons, keypoints, 2), (persons, keypoints), (persons,)]
    if [a.shape for a in (ours, truth, known, length)] != expected:
        raise DataError(
            f"predictions {ours.shape}, targets {truth.shape}, labelled {known.shape} and reference lengths "
            f"{length.shape} do not fit together: give (N, K, 2), (N, K, 2), (N, K) and (N,)"
        )
    lost = np.argwhere(known & ~np.isfinite(truth).all(-1))
    if len(lost):
        raise DataError(f"keypoint {lost[0][1]} of person {lost[0][0]} is labelled but has no coordinates")
    return ours, truth, known, length
