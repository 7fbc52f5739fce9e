"""What the network found becomes poses: with ids and without tremor in videos."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..geometry import Crop, Floats
from ..media.sources import Frame
from ..poses import Poses
from ..reading import Reading
from ..timing import Clock, total
from .finding import Place
from .smooth import SURE, OneEuroFilter
from .track import Tracker

Smoothing: TypeAlias = Literal["none", "one-euro"]

_INTERVAL = 1 / 30  # from frame to frame where no times are known [s]


@dataclass(frozen=True, eq=False)
class Found:
    """What the network says of one person.

    Attributes:
        xy: ``(K, 2)`` [image px].
        score: ``(K,)`` in [0, 1].
        crop: What the heatmap shows.
        heatmap: ``(h, w)``, at each place the highest of the K heatmaps; None if not asked for.
        ms: The person's share of the time, by stage.
    """

    xy: Floats
    score: Floats
    crop: Crop
    heatmap: NDArray[np.float32] | None = None
    ms: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Answer:
    """A frame and the poses on it.

    Attributes:
        frame: The picture.
        poses: The persons.
        found: What the network said of each, before smoothing.
    """

    frame: Frame
    poses: Poses
    found: tuple[Found, ...] = ()


def as_score(reading: Reading, peak: float) -> float:
    """The score that a network gives a keypoint whose heatmap is so high; where scores are calibrated they differ."""
    return max(float(reading.scores(np.array([peak]))[0]), 1e-6)


class Follower:
    """Makes poses of what was found; follows persons from the first frame of a video to its last.

    Args:
        reading: What the network's answers are.
        track: Give ids; None: in videos.
        smooth: Unless it is ``"none"``, keypoints of persons with ids are smoothed.
    """

    def __init__(self, reading: Reading, track: bool | None, smooth: Smoothing | None) -> None:
        self._skeleton, self._track, self._smooth = reading.skeleton, track, smooth
        self._sure = as_score(reading, SURE)
        self._source: str | None = None
        self._time: float | None = None
        self._tracker: Tracker | None = None
        self._filter: OneEuroFilter | None = None

    def finish(self, place: Place, found: Sequence[Found]) -> Answer:
        """The answer for the next frame, whose persons are ``found`` in the order of their boxes."""
        frame, k = place.frame, len(self._skeleton)
        clock = Clock()
        xy = np.stack([f.xy for f in found]) if found else np.zeros((0, k, 2))
        score = np.stack([f.score for f in found]) if found else np.zeros((0, k))
        ids = None
        if frame.time is not None if self._track is None else self._track:
            xy, ids = self._follow(frame, place.boxes, xy, score)
            clock.stop("track")
        height, width = frame.pixels.shape[:2]
        ms = total({"read": frame.read_ms}, place.ms, *(f.ms for f in found), clock.ms)
        poses = Poses(
            *(xy, score, place.boxes, self._skeleton, (width, height), frame.source),
            ids=ids,
            frame=frame.index,
            time=frame.time,
            timing=ms,
        )
        return Answer(frame, poses, tuple(found))

    def _follow(self, frame: Frame, boxes: Floats, xy: Floats, score: Floats) -> tuple[Floats, NDArray[np.int64]]:
        time = frame.time
        new = self._tracker is None or frame.source != self._source or frame.index == 0
        if time is None:
            time = 0.0 if new or self._time is None else self._time + _INTERVAL
        if new:
            self._tracker, self._filter = Tracker(self._skeleton), OneEuroFilter(sure=self._sure)
        assert self._tracker is not None
        assert self._filter is not None
        self._source, self._time = frame.source, time
        ids = self._tracker.update(boxes, xy, score, time=time)
        if self._smooth != "none":
            xy = self._filter.update(xy, score, boxes, ids, time=time)
        return xy, ids
