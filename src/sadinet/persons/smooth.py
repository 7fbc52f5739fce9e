"""Keypoints without tremor: as they come, from the past alone; or afterwards, from past and future.

Times are in seconds and need not be regular. A keypoint without a position stays without. Source: decision 017.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import ConfigError, DataError
from ..geometry import Floats

SURE = 0.3
"""Height of a heatmap's peak from which on a keypoint counts in full.

Scores of calibrated weights are no heights but probabilities: ``estimator.reading.scores`` makes them of this.
"""

_REACH = 3.0  # deviations of a Gaussian beyond which its weight is as good as nothing


@dataclass
class _State:
    """What is known of one person's keypoints."""

    xy: Floats  # (K, 2) smoothed; NaN before the first sight
    raw: Floats  # (K, 2) as last seen
    speed: Floats  # (K, 2) smoothed velocity [sizes/s]
    time: Floats  # (K,) when each was last seen
    seen: float  # when the person was


class OneEuroFilter:
    """Smooths keypoints as they come: still ones much, moving ones little.

    A low-pass filter of first order whose cutoff is ``min_cutoff + beta * speed`` [Hz]. Speed is the length of the
    velocity, itself smoothed, in sizes of the person per second; so near and far persons are treated alike, and so
    are all directions. A keypoint in even motion lags by speed / (2 pi cutoff), always less than 1 / (2 pi beta) sizes,
    1.6 % of the size by default, if it is sure.

    How far a keypoint moves what is known is multiplied by ``score / sure`` where that is less than 1.

    Args:
        min_cutoff: Of a keypoint that rests [Hz]; lower: stiller, and slower to begin to move.
        beta: By how much the cutoff rises with speed [Hz per size/s]; higher: less lag, more tremor in motion.
        speed_cutoff: Of the filter of the velocity [Hz].
        sure: Scores from here on count in full; for calibrated weights ``reading.scores`` of `SURE`.
        max_gap: A person or keypoint that was away for longer begins anew [s].

    Raises:
        ConfigError: If an option makes no sense.

    Source: Casiez, Roussel and Vogel, 1€ Filter, CHI 2012; size, direction and score: decision 017.
    """

    def __init__(
        self,
        *,
        min_cutoff: float = 1.0,
        beta: float = 10.0,
        speed_cutoff: float = 2.0,
        sure: float = SURE,
        max_gap: float = 0.5,
    ) -> None:
        options = (min_cutoff, speed_cutoff, sure, max_gap)
        if not (all(0 < value < np.inf for value in options) and 0 <= beta < np.inf):
            raise ConfigError(
                "smoothing: positive min_cutoff, speed_cutoff, sure and max_gap, and beta >= 0 are needed, "
                f"got {min_cutoff=} {speed_cutoff=} {sure=} {max_gap=} {beta=}"
            )
        self.min_cutoff = min_cutoff
        self.beta = beta
        self.speed_cutoff = speed_cutoff
        self.sure = sure
        self.max_gap = max_gap
        self._states: dict[int, _State] = {}
        self._time: float | None = None

    def update(
        self, xy: ArrayLike, score: ArrayLike, boxes: ArrayLike, ids: Sequence[int] | NDArray[np.int64], *, time: float
    ) -> Floats:
        """The keypoints of the next frame, smoothed.

        Args:
            xy: ``(P, K, 2)`` [image px], NaN where a keypoint has no position.
            score: ``(P, K)`` in [0, 1].
            boxes: ``(P, 4)`` xyxy [image px]; a person's size is the longer side.
            ids: ``(P,)``: who they are.
            time: Of the frame [s], later than the last one's.

        Returns:
            ``(P, K, 2)`` [image px], NaN where ``xy`` is.

        Raises:
            DataError: If shapes do not fit together, an id comes twice, or time does not go on.
        """
        points, scores = np.array(xy, dtype=np.float64), np.nan_to_num(np.asarray(score, dtype=np.float64))
        places = np.asarray(boxes, dtype=np.float64)
        if points.ndim != 3 or scores.shape != points.shape[:2] or places.shape != (len(points), 4):
            raise DataError(
                f"smoothing: xy {points.shape}, score {scores.shape} and boxes {places.shape} do not fit together: "
                "give (P, K, 2), (P, K) and (P, 4)"
            )
        names = [int(name) for name in ids]
        if len(names) != len(points) or len(set(names)) != len(names):
            raise DataError(f"smoothing: {len(points)} persons need as many different ids, not {names}")
        if not np.isfinite(time) or (self._time is not None and time <= self._time):
            raise DataError(f"smoothing: the frame at {time} s does not come after the one at {self._time} s")
        self._time = time
        self._states = {name: state for name, state in self._states.items() if time - state.seen <= self.max_gap}
        for person, name in enumerate(names):
            size = max(float((places[person, 2:] - places[person, :2]).max()), 1.0)
            if name not in self._states:
                self._states[name] = _unknown(points.shape[1])
            points[person] = self._step(self._states[name], points[person], scores[person], size, time)
        return points

    def _step(self, state: _State, xy: Floats, score: Floats, size: float, time: float) -> Floats:
        found: NDArray[np.bool_] = np.asarray(np.isfinite(xy).all(-1))
        fresh = found & ~(time - state.time <= self.max_gap)  # written so that NaN, never seen, is fresh
        state.xy[fresh], state.raw[fresh], state.speed[fresh] = xy[fresh], xy[fresh], 0.0
        known = found & ~fresh
        passed = np.where(known, time - state.time, 1.0)[:, None]
        weight = np.clip(score / self.sure, 0.0, 1.0)[:, None]
        velocity = np.where(known[:, None], (xy - state.raw) / passed / size, 0.0)
        speed = state.speed + weight * _gain(self.speed_cutoff, passed) * (velocity - state.speed)
        cutoff = self.min_cutoff + self.beta * np.hypot(speed[:, :1], speed[:, 1:])
        smoothed = state.xy + weight * _gain(cutoff, passed) * (xy - state.xy)
        state.speed[known], state.xy[known] = speed[known], smoothed[known]
        state.raw[found], state.time[found], state.seen = xy[found], time, time
        return np.where(found[:, None], state.xy, np.nan)


def smooth_track(xy: ArrayLike, score: ArrayLike, times: ArrayLike, *, width: float = 0.04) -> Floats:
    """One person's keypoints, smoothed afterwards and without lag.

    At each time a straight line is fitted to what lies around it, weighted by score and by a Gaussian in time; its
    value there is the answer. Even motion stays as it is to the ends and across gaps, and what is reversed in time
    gives the reversed answer.

    Args:
        xy: ``(T, K, 2)`` [image px], NaN where a keypoint has no position.
        score: ``(T, K)`` in [0, 1].
        times: ``(T,)`` [s], increasing.
        width: Standard deviation of the Gaussian [s].

    Returns:
        ``(T, K, 2)`` [image px], NaN where ``xy`` is.

    Raises:
        DataError: If shapes do not fit together, or times do not increase.
        ConfigError: If ``width`` is not positive.

    Source: local linear regression; why not a recursive filter run both ways: decision 017.
    """
    points, scores, when = np.asarray(xy, dtype=np.float64), np.asarray(score, dtype=np.float64), _times(times)
    if points.ndim != 3 or scores.shape != points.shape[:2] or when.shape != points.shape[:1]:
        raise DataError(
            f"smoothing: xy {points.shape}, score {scores.shape} and times {when.shape} do not fit together: "
            "give (T, K, 2), (T, K) and (T,)"
        )
    if not 0 < width < np.inf:
        raise ConfigError(f"smoothing: width {width} s; give a positive one")
    found: NDArray[np.bool_] = np.asarray(np.isfinite(points).all(-1))
    weight = np.where(found, np.nan_to_num(scores) + 1e-6, 0.0)  # where all scores are 0 they still count alike
    values = np.where(found[..., None], points, 0.0)
    # Sums of weight, of time and of squared time; of xy and of time times xy.
    sums = np.zeros((3, *weight.shape))
    moments = np.zeros((2, *values.shape))
    for step in range(-_reach(when, width), _reach(when, width) + 1):
        here, there = slice(max(0, -step), len(when) - max(0, step)), slice(max(0, step), len(when) - max(0, -step))
        apart = (when[there] - when[here]) / width
        near = np.where(np.abs(apart) <= _REACH, np.exp(-(apart**2) / 2), 0.0)
        w = weight[there] * near[:, None]
        t = apart[:, None]
        sums[:, here] += np.stack([w, w * t, w * t * t])
        moments[:, here] += np.stack([w[..., None] * values[there], (w * t)[..., None] * values[there]])
    total, first, second = sums[..., None]
    spread = total * second - first**2
    line = spread > 1e-9 * total**2  # else all that is near lies at one time
    with np.errstate(invalid="ignore", divide="ignore"):
        fitted = np.where(line, (second * moments[0] - first * moments[1]) / spread, moments[0] / total)
    return np.where(found[..., None], fitted, np.nan)


def smooth_persons(
    xy: Sequence[ArrayLike],
    score: Sequence[ArrayLike],
    ids: Sequence[ArrayLike],
    times: ArrayLike,
    *,
    width: float = 0.04,
) -> list[Floats]:
    """The keypoints of all persons of a video, each smoothed by `smooth_track`.

    Args:
        xy: For each of T frames ``(P, K, 2)`` [image px].
        score: For each frame ``(P, K)``.
        ids: For each frame ``(P,)``: who they are.
        times: ``(T,)`` [s], increasing.
        width: Standard deviation of the Gaussian [s].

    Returns:
        For each frame ``(P, K, 2)`` [image px].

    Raises:
        DataError: If there are not T of each, or times do not increase.
    """
    when = _times(times)
    if not len(xy) == len(score) == len(ids) == len(when):
        raise DataError(f"smoothing: {len(xy)} xy, {len(score)} score, {len(ids)} ids and {len(when)} times differ")
    smoothed = [np.array(frame, dtype=np.float64) for frame in xy]
    where: dict[int, list[tuple[int, int]]] = {}
    for frame, names in enumerate(ids):
        for person, name in enumerate(np.asarray(names).tolist()):
            where.setdefault(name, []).append((frame, person))
    for places in where.values():
        track = np.stack([smoothed[frame][person] for frame, person in places])
        sure = np.stack([np.asarray(score[frame], dtype=np.float64)[person] for frame, person in places])
        answer = smooth_track(track, sure, when[[frame for frame, _ in places]], width=width)
        for (frame, person), at in zip(places, answer, strict=True):
            smoothed[frame][person] = at
    return smoothed


def jitter(xy: ArrayLike, times: ArrayLike, size: ArrayLike) -> float:
    """How much keypoints tremble: the root mean square of their acceleration, in sizes of the person per frame².

    An acceleration is the change of velocity at a frame, divided by the time between the middles of the steps before
    and after it, times the square of that time. Even motion has none, at irregular times too. Independent errors of
    deviation ``s`` px in x and in y give ``sqrt(12) s / size`` at regular times. True accelerations count as well, so
    compare the same motion only.

    Args:
        xy: ``(T, K, 2)`` [image px], NaN where a keypoint has no position; counted where three frames in turn have one.
        times: ``(T,)`` [s], increasing.
        size: Of the person, one number or ``(T,)`` [image px], as the longer side of the box.

    Returns:
        NaN where no three frames in turn have a keypoint.

    Raises:
        DataError: If shapes do not fit together, or times do not increase.
    """
    points, when = np.asarray(xy, dtype=np.float64), _times(times)
    sizes = np.broadcast_to(np.asarray(size, dtype=np.float64), when.shape)
    if points.ndim != 3 or len(points) != len(when):
        raise DataError(f"jitter: xy {points.shape} and times {when.shape} do not fit together: (T, K, 2) and (T,)")
    steps = np.diff(when)[:, None, None]
    velocity = np.diff(points, axis=0) / steps
    between = (steps[1:] + steps[:-1]) / 2
    change = np.diff(velocity, axis=0) * between / sizes[1:-1, None, None]
    squares = (change**2).sum(-1)
    squares = squares[np.isfinite(squares)]
    return float(np.sqrt(squares.mean())) if squares.size else float("nan")


def _gain(cutoff: Floats | float, passed: Floats) -> Floats:
    """The share of the way to the new value that a low-pass filter of first order goes in the time ``passed``."""
    turn = 2 * np.pi * cutoff * passed
    gain: Floats = turn / (turn + 1)
    return gain


def _unknown(keypoints: int) -> _State:
    nowhere = np.full((keypoints, 2), np.nan)
    return _State(nowhere.copy(), nowhere.copy(), np.zeros((keypoints, 2)), np.full(keypoints, np.nan), 0.0)


def _reach(times: Floats, width: float) -> int:
    """How many frames apart two can be that lie within the reach of each other."""
    last = np.searchsorted(times, times + _REACH * width, side="right") - 1
    return int((last - np.arange(len(times))).max(initial=0))


def _times(times: ArrayLike) -> Floats:
    when = np.asarray(times, dtype=np.float64)
    if when.ndim != 1 or not np.isfinite(when).all() or (np.diff(when) <= 0).any():
        raise DataError("times must be (T,), finite and increasing, in seconds")
    return when
