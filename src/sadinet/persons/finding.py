"""Where to look for persons in each frame: given boxes, a detector, boxes between two detections, or everywhere."""

import logging
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from functools import cache
from itertools import chain
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from ..errors import DataError
from ..geometry import BOX_MARGIN, DETECTED_MARGIN, Crop, Floats, checked_boxes, overlap, whole_image
from ..media.sources import Failure, Frame
from ..timing import Clock
from .boxes import boxes_of
from .detect import Detector, find_detector
from .track import best_pairs

DETECT_EVERY = 5
"""Of how many frames of a video one goes through the detector, unless the caller says otherwise."""

NO_DETECTOR = "none"
"""What to say instead of a detector to look at whole pictures."""

Boxes: TypeAlias = ArrayLike | Mapping[str, Floats]
"""The same boxes ``(P, 4)`` for all pictures, or those of each by its name as from `boxes.read_boxes`."""

_SAME = 0.2  # overlap of the squares around them from which two boxes of two detections are one person
_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Place:
    """A frame and where its persons are to be looked for.

    Attributes:
        frame: The picture.
        boxes: ``(P, 4)`` xyxy [image px].
        margin: From a box to the square that the network is shown.
        ms: What finding them took, by stage.
    """

    frame: Frame
    boxes: Floats
    margin: float = BOX_MARGIN
    ms: Mapping[str, float] = field(default_factory=dict)

    def crops(self) -> list[Crop]:
        """The squares that the network is shown."""
        return [Crop.around(box, self.margin) for box in self.boxes]


@dataclass(frozen=True)
class Finder:
    """Tells where the persons of a frame are.

    Attributes:
        boxes: Where they are, if that is known; else the detector is asked.
        detector: Finds them; None: one person fills the picture.
        most: No more than so many persons, the surest; None: all.
    """

    boxes: Boxes | None = None
    detector: Detector | None = None
    most: int | None = None

    @property
    def detects(self) -> bool:
        """It looks at pixels, so it takes time."""
        return self.boxes is None and self.detector is not None

    def place(self, frame: Frame) -> Place | Failure:
        """Where the persons of this frame are."""
        height, width = frame.pixels.shape[:2]
        clock = Clock()
        if self.boxes is None and self.detector is None:
            return Place(frame, whole_image(width, height)[None][: self.most], 1.0)
        if self.boxes is None:
            assert self.detector is not None
            found = self.detector.detect(frame.pixels).boxes
            clock.stop("detect")
            return Place(frame, found[: self.most], DETECTED_MARGIN, clock.ms)
        try:
            return Place(frame, self._given(frame, width, height)[: self.most])
        except DataError as error:
            return Failure(frame.source or "a picture", f"{frame.source or 'a picture'}: {error}")

    def _given(self, frame: Frame, width: int, height: int) -> Floats:
        if not isinstance(self.boxes, Mapping):
            assert self.boxes is not None
            return checked_boxes(self.boxes, width, height)
        if frame.index is not None or frame.source is None:
            raise DataError("boxes by name are for pictures that have one, not for frames of a video")
        found = boxes_of(self.boxes, frame.source)
        if found is None:
            raise DataError("the file of boxes does not mention this picture")
        return checked_boxes(found, width, height)


def choose_detector(detector: Detector | str | Path | None, *, level: int = logging.WARNING) -> Detector | None:
    """The detector that is meant.

    Args:
        detector: It itself, a file, a name, or ``"none"``; None: what `find_detector` finds.
        level: At which the log tells, once, that nothing was found and how to get one.
    """
    if detector == NO_DETECTOR:
        return None
    if detector is not None and not isinstance(detector, (str, Path)):
        return detector
    found = find_detector(detector)
    if found is None:
        _tell_once(
            level,
            "no person detector: one person is taken to fill each picture. To find several, fetch a detector (sadinet "
            "fetch yolox-nano) or name one: --detector FILE.onnx, detector='FILE.onnx'; 'none' keeps this quiet",
        )
    return found


@cache
def _tell_once(level: int, message: str) -> None:
    _log.log(level, message)


def place_persons(frames: Generator[Frame | Failure], finder: Finder, every: int | None) -> Generator[Place | Failure]:
    """Where the persons of ``frames`` are, in order.

    Of a video, one of ``every`` frames is detected on; between two detections, the boxes of whoever is in both go
    evenly from one to the other, so that nothing waits for the network. Source: decision 019.

    Args:
        frames: Closed at the end.
        finder: Asked about single frames.
        every: How often, from 1; None: `DETECT_EVERY`.
    """
    every = every or DETECT_EVERY
    last: Place | None = None  # the last detection
    waiting: list[Frame] = []  # frames since

    def bridge(end: Place | Failure) -> Iterator[Place | Failure]:
        """The frames that wait, then ``end``."""
        if last is not None and isinstance(end, Place):
            for frame in waiting:
                yield Place(frame, boxes_between(last, end, frame), DETECTED_MARGIN, {"detect": 0.0})
        waiting.clear()
        yield end

    def rest() -> Iterator[Place | Failure]:
        if waiting:
            yield from bridge(finder.place(waiting.pop()))

    with closing(frames):
        for item in frames:
            if isinstance(item, Failure):
                yield from chain(rest(), [item])
                last = None
            elif item.time is None or every == 1 or not finder.detects:
                yield from rest()
                yield finder.place(item)
                last = None
            elif last is None or last.frame.source != item.source or item.index == 0:
                yield from rest()
                found = finder.place(item)
                last = found if isinstance(found, Place) else None
                yield found
            elif len(waiting) + 1 < every:
                waiting.append(item)
            else:
                found = finder.place(item)
                yield from bridge(found)
                last = found if isinstance(found, Place) else None
            del item
        yield from rest()


def boxes_between(start: Place, end: Place, frame: Frame) -> Floats:
    """The boxes ``(P, 4)`` in a frame between two detections.

    Who is in both moves evenly; who is in one alone is taken to be there for the nearer half of the time.
    """
    begin, stop, now = (float(f.time or 0.0) for f in (start.frame, end.frame, frame))
    share = (now - begin) / (stop - begin) if stop > begin else 0.0
    alike = overlap(_squares(start.boxes), _squares(end.boxes))  # a runner leaves a box within a few frames
    pairs = best_pairs(alike, _SAME)
    boxes = [(1 - share) * start.boxes[a] + share * end.boxes[b] for a, b in pairs]
    near, matched = (start, {a for a, _ in pairs}) if share < 0.5 else (end, {b for _, b in pairs})
    boxes += [box for i, box in enumerate(near.boxes) if i not in matched]
    return np.array(boxes, dtype=np.float64).reshape(-1, 4)


def _squares(boxes: Floats) -> Floats:
    """The squares ``(P, 4)`` around boxes."""
    corners = boxes.reshape(-1, 2, 2)
    half = (corners[:, 1] - corners[:, 0]).max(1, keepdims=True) / 2
    centre = corners.mean(1)
    return np.concatenate([centre - half, centre + half], axis=1)
