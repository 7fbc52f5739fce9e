"""Who is who from frame to frame, and where to look for them next.

Times are in seconds. Source: decision 017.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import ConfigError, DataError
from ..geometry import Floats, bounding_box, overlap
from ..metrics import sigmas_of
from ..skeleton import Skeleton

MEMORY = 0.1
"""Over how long velocities are averaged [s]."""

_BODY_SHARE = 0.53  # of its box, the area of a person: what COCO's annotations give on average

SEEN, GONE = 0.2, 0.12
"""Heights of heatmaps' peaks below which a keypoint, or on average a person, is taken not to be there.

Scores of calibrated weights are no heights but probabilities: ``estimator.reading.scores`` makes them of these.
"""

_MISSING = 0.25  # the share of missing keypoints from which on the others do not tell how large a person is


@dataclass
class _Track:
    """A person as last seen."""

    id: int
    xy: Floats  # (K, 2)
    score: Floats  # (K,)
    box: Floats  # (4,)
    time: float
    velocity: Floats | None = None  # (2,) [px/s]; None before the second sight


class Tracker:
    """Gives persons ids that stay the same from frame to frame.

    A person is expected where the velocity so far leads. Those expected and those seen are assigned to each other
    such that the sum of their similarities, the mean of the boxes' overlap and the keypoints' OKS, is largest. Ids
    count from 0 and are never given twice. Equal inputs give equal ids.

    Args:
        skeleton: Of the keypoints.
        max_lost: A person who comes back after at most this long keeps the id [s].
        min_similarity: Less alike, they are two persons.
        interval: Time from one frame to the next where no times are given [s].

    Raises:
        ConfigError: If an option makes no sense.

    Source: decision 017.
    """

    def __init__(
        self,
        skeleton: Skeleton,
        *,
        max_lost: float = 1.0,
        min_similarity: float = 0.1,
        interval: float = 1 / 30,
    ) -> None:
        if not (0 <= max_lost < np.inf and 0 < min_similarity < 1 and 0 < interval < np.inf):
            raise ConfigError(
                "tracking: max_lost >= 0, min_similarity between 0 and 1 and interval > 0 are needed, "
                f"got {max_lost=} {min_similarity=} {interval=}"
            )
        self.skeleton = skeleton
        self.max_lost = max_lost
        self.min_similarity = min_similarity
        self.interval = interval
        self._sigmas = sigmas_of(skeleton)
        self._tracks: list[_Track] = []
        self._next = 0
        self._time: float | None = None

    def update(
        self, boxes: ArrayLike, xy: ArrayLike, score: ArrayLike, *, time: float | None = None
    ) -> NDArray[np.int64]:
        """The ids ``(P,)`` of the persons of the next frame.

        Args:
            boxes: ``(P, 4)`` xyxy [image px].
            xy: ``(P, K, 2)`` [image px], NaN where a keypoint has no position.
            score: ``(P, K)`` in [0, 1].
            time: Of the frame [s], later than the last one's; None: one ``interval`` later.

        Raises:
            DataError: If shapes do not fit together, a box is not finite, or time does not go on.
        """
        places, points, scores = _checked(boxes, xy, score, len(self.skeleton))
        now = self._advance(time)
        self._tracks = [track for track in self._tracks if now - track.time <= self.max_lost + 1e-9]
        alike = self._similarity(places, points, scores, now)
        ids = np.full(len(places), -1, dtype=np.int64)
        for row, person in best_pairs(alike, 0):
            track = self._tracks[row]
            _follow(track, places[person], points[person], scores[person], now)
            ids[person] = track.id
        for person in np.flatnonzero(ids < 0).tolist():
            ids[person] = self._next
            self._tracks.append(_Track(self._next, points[person], scores[person], places[person], now))
            self._next += 1
        return ids

    def _advance(self, time: float | None) -> float:
        if time is None:
            time = 0.0 if self._time is None else self._time + self.interval
        if not np.isfinite(time) or (self._time is not None and time <= self._time):
            raise DataError(f"tracking: the frame at {time} s does not come after the one at {self._time} s")
        self._time = float(time)
        return self._time

    def _similarity(self, boxes: Floats, xy: Floats, score: Floats, now: float) -> Floats:
        """How alike tracks and persons are, ``(T, P)``; 0 where they cannot be the same."""
        if not self._tracks or not len(boxes):
            return np.zeros((len(self._tracks), len(boxes)))
        moved = np.stack([_moved(track, now) for track in self._tracks])
        expected = np.stack([track.box for track in self._tracks]) + np.tile(moved, 2)
        points = np.stack([track.xy for track in self._tracks]) + moved[:, None]
        of_boxes = overlap(expected, boxes)
        of_points = pose_similarity(
            points, np.stack([track.score for track in self._tracks]), expected, xy, score, boxes, self._sigmas
        )
        alike = np.where(np.isnan(of_points), of_boxes, (of_boxes + of_points) / 2)
        return np.where(alike >= self.min_similarity, alike, 0.0)


def pose_similarity(
    xy: Floats,
    score: Floats,
    boxes: Floats,
    other_xy: Floats,
    other_score: Floats,
    other_boxes: Floats,
    sigmas: ArrayLike,
) -> Floats:
    """OKS ``(A, B)`` in [0, 1] between persons and others, weighted by the scores of both.

    Args:
        xy: ``(A, K, 2)`` [image px].
        score: ``(A, K)``.
        boxes: ``(A, 4)`` xyxy [image px]; the area of OKS is 0.53 of the mean of the two boxes'.
        other_xy: ``(B, K, 2)``.
        other_score: ``(B, K)``.
        other_boxes: ``(B, 4)``.
        sigmas: ``(K,)`` as from `metrics.sigmas_of`.

    Returns:
        NaN where two have no keypoint in common that has a position and a score in both.
    """
    area = _BODY_SHARE * (_areas(boxes)[:, None] + _areas(other_boxes)) / 2  # (A, B)
    offset = xy[:, None] - other_xy  # (A, B, K, 2)
    spread = 2 * np.asarray(sigmas, dtype=np.float64)
    scale = np.maximum(area, 1e-9)[..., None] * spread**2
    near = np.exp(-(offset**2).sum(-1) / (2 * scale))
    weight = np.sqrt(np.nan_to_num(score)[:, None] * np.nan_to_num(other_score))
    weight = np.where(np.isfinite(near), weight, 0.0)
    total = weight.sum(-1)
    found = (weight * np.nan_to_num(near)).sum(-1) / np.where(total > 0, total, 1.0)
    return np.where(total > 0, found, np.nan)


def best_pairs(alike: Floats, least: float) -> list[tuple[int, int]]:
    """Rows and columns of ``alike`` ``(P, Q)``, paired for the greatest sum; without pairs of ``least`` or less."""
    from scipy.optimize import linear_sum_assignment  # takes a quarter of a second to import

    rows, columns = linear_sum_assignment(alike, maximize=True)
    return [(a, b) for a, b in zip(rows.tolist(), columns.tolist(), strict=True) if alike[a, b] > least]


def follow_boxes(
    xy: ArrayLike,
    score: ArrayLike,
    boxes: ArrayLike,
    *,
    skeleton: Skeleton,
    image_size: tuple[int, int],
    min_score: float = SEEN,
    gone: float = GONE,
    same: float = 0.85,
    margin: float = 1.1,
) -> tuple[Floats, NDArray[np.bool_]]:
    """Boxes for the next frame from this frame's poses, for frames without detection.

    Where all keypoints have ``min_score``, the box is theirs, ``margin`` times as large around its centre. Where a
    quarter or more have not, the box keeps its size, which the others cannot tell, and moves as little as makes it hold
    them; it grows if they need more. Between, it is between. Left out are persons whose mean score says that nobody is
    there, whose box has left the picture, and the less sure of two that have become the same.

    Args:
        xy: ``(P, K, 2)`` [image px].
        score: ``(P, K)`` in [0, 1].
        boxes: ``(P, 4)`` xyxy [image px]: where they were looked for.
        skeleton: Of the keypoints.
        image_size: Width and height of the picture [px].
        min_score: Keypoints below it say nothing about the box; for calibrated weights ``reading.scores`` of `SEEN`.
        gone: A person whose mean score is below it is gone; for calibrated weights ``reading.scores`` of `GONE`.
        same: Two persons with a higher OKS than this are one.
        margin: From the box of the keypoints to the box of the person, which has hands, feet and clothes.

    Returns:
        The boxes ``(N, 4)`` of the persons that stay, in their order, and which those are: ``(P,)`` bool.

    Raises:
        DataError: If shapes do not fit together, or a box is not finite.
    """
    places, points, scores = _checked(boxes, xy, score, len(skeleton))
    seen = np.isfinite(points).all(-1) & (scores >= min_score)  # (P, K)
    following = places.copy()
    for person, (at, sure) in enumerate(zip(points, seen, strict=True)):
        if sure.any():
            following[person] = _follow_box(places[person], bounding_box(at[sure]), sure.mean(), margin)
    limit = np.array(image_size) - 0.5
    there = (following[:, :2] < limit).all(1) & (following[:, 2:] > -0.5).all(1)
    there &= (following[:, :2] < following[:, 2:]).all(1)
    mean = np.nan_to_num(scores).mean(1)
    keep = there & (mean >= gone)
    alike = pose_similarity(points, scores, places, points, scores, places, sigmas_of(skeleton)) > same
    for person in np.argsort(-mean, kind="stable"):  # the surest first
        if keep[person]:
            keep &= ~alike[person]
            keep[person] = True
    return following[keep], keep


def _follow_box(box: Floats, tight: Floats, share: float, margin: float) -> Floats:
    """The next box of who was in ``box`` and of whose keypoints a ``share`` has been seen, within ``tight``."""
    low, high = tight.reshape(2, 2)
    shift = np.minimum(low - box[:2], 0) + np.maximum(high - box[2:], 0)
    holding = np.concatenate([np.minimum(box[:2] + shift, low), np.maximum(box[2:] + shift, high)])
    fitting = np.tile((low + high) / 2, 2) + np.concatenate([low - high, high - low]) * margin / 2
    known = max(0.0, 1 - (1 - share) / _MISSING)
    following: Floats = known * fitting + (1 - known) * holding
    return following


def _moved(track: _Track, now: float) -> Floats:
    """How far a person should have come since last seen, ``(2,)`` [px]."""
    return np.zeros(2) if track.velocity is None else track.velocity * (now - track.time)


def _follow(track: _Track, box: Floats, xy: Floats, score: Floats, now: float) -> None:
    passed = now - track.time
    weight = np.sqrt(track.score * score)
    offset = xy - track.xy
    weight[~np.isfinite(offset).all(1)] = 0.0
    if weight.sum() > 0:
        shift = (weight[:, None] * np.nan_to_num(offset)).sum(0) / weight.sum()
    else:
        shift = (box - track.box).reshape(2, 2).mean(0)
    velocity = shift / passed
    if track.velocity is None:
        track.velocity = velocity
    else:
        track.velocity = track.velocity + (1 - np.exp(-passed / MEMORY)) * (velocity - track.velocity)
    track.box, track.xy, track.score, track.time = box, xy, score, now


def _areas(boxes: Floats) -> Floats:
    areas: Floats = np.maximum(boxes[:, 2:] - boxes[:, :2], 0.0).prod(1)
    return areas


def _checked(boxes: ArrayLike, xy: ArrayLike, score: ArrayLike, keypoints: int) -> tuple[Floats, Floats, Floats]:
    places, points, scores = (np.array(value, dtype=np.float64) for value in (boxes, xy, score))
    persons = len(places) if places.ndim else 0
    if [a.shape for a in (places, points, scores)] != [(persons, 4), (persons, keypoints, 2), (persons, keypoints)]:
        raise DataError(
            f"persons: boxes {places.shape}, xy {points.shape} and score {scores.shape} do not fit together: "
            f"give (P, 4), (P, {keypoints}, 2) and (P, {keypoints})"
        )
    if not np.isfinite(places).all():
        raise DataError("the box of a person is not finite")
    return places, points, np.nan_to_num(scores)
