"""Frames to poses: read and detected ahead by threads, persons of several frames together through the network.

`sadinet.Estimator.stream` is the door to this.
"""

from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from ..ahead import read_ahead
from ..errors import ConfigError
from ..geometry import BOX_MARGIN, DETECTED_MARGIN, Crop
from ..images import Pixels
from ..media.sources import Failure, Frame, Sources, read_frames
from ..poses import Poses
from ..reading import Reading
from ..timing import Clock
from .detect import Detector
from .finding import DETECT_EVERY, Boxes, Finder, Place, choose_detector, place_persons
from .following import Answer, Follower, Found, Smoothing, as_score
from .track import GONE, SEEN, follow_boxes

_PENDING_BYTES = 64_000_000  # of pixels that wait for a batch to fill
_PLACED_AHEAD = 2  # frames whose persons are found while the network works


class Network(Protocol):
    """What is needed of an estimator.

    Attributes:
        reading: What its answers are.
    """

    reading: Reading

    @property
    def batch_size(self) -> int:
        """Persons per pass."""
        ...

    def answers(
        self, batches: Iterable[Sequence[tuple[Pixels, Crop]]], *, heatmaps: bool = False
    ) -> Generator[list[Found]]:
        """For each batch what is found, one batch late."""
        ...

    def find(self, persons: Iterable[tuple[Pixels, Crop]], *, heatmaps: bool = False) -> Generator[Found]:
        """For each person what is found."""
        ...


def stream_frames(
    network: Network,
    source: Sources,
    *,
    detector: Detector | str | Path | None = None,
    boxes: Boxes | None = None,
    detect_every: int | None = None,
    track: bool | None = None,
    smooth: Smoothing | None = None,
    max_persons: int | None = None,
    heatmaps: bool = False,
) -> Generator[Answer | Failure]:
    """As `Estimator.stream`, with the pixels, and with the failures at their places.

    Args:
        network: The estimator.
        source: See `sources.Sources`.
        detector: As in `Estimator.stream`.
        boxes: As there.
        detect_every: As there.
        track: As there.
        smooth: As there.
        max_persons: As there.
        heatmaps: Keep each person's heatmaps.

    Raises:
        ConfigError: If options make no sense together.
        DataError: If a source does not exist.
    """
    if (detect_every is not None and detect_every < 1) or (max_persons is not None and max_persons < 1):
        raise ConfigError(f"detect_every and max_persons count from 1, got {detect_every=} {max_persons=}")
    if track is False and smooth == "one-euro":
        raise ConfigError("smoothing needs to know who is who: leave tracking on, or smooth='none'")
    if smooth not in (None, "none", "one-euro"):
        raise ConfigError(f"smooth={smooth!r}: give 'one-euro' or 'none'")
    finder = Finder(boxes, choose_detector(detector) if boxes is None else None, max_persons)
    follower = Follower(network.reading, track, smooth)
    return _answers(read_frames(source), _Asked(network, finder, follower, detect_every, heatmaps))


@dataclass(frozen=True, eq=False)
class _Asked:
    """Whom to ask for what."""

    network: Network
    finder: Finder
    follower: Follower
    detect_every: int | None
    heatmaps: bool


def _answers(frames: Generator[Frame | Failure], asked: _Asked) -> Generator[Answer | Failure]:
    with closing(frames):
        first = next(frames, None)
        if first is None:
            return
        way = _live if isinstance(first, Frame) and first.live else _filed
        yield from way(_again(first, frames), asked)


def _again(first: Frame | Failure, rest: Iterator[Frame | Failure]) -> Generator[Frame | Failure]:
    yield first
    del first
    yield from rest


def _filed(frames: Generator[Frame | Failure], asked: _Asked) -> Generator[Answer | Failure]:
    """Full batches, over the borders of frames."""
    network, follower = asked.network, asked.follower
    placed = place_persons(frames, asked.finder, asked.detect_every)
    if asked.finder.detects:
        placed = read_ahead(placed, _PLACED_AHEAD)
    waiting: deque[_Pending | Failure] = deque()
    answers = network.answers(_batches(placed, waiting, network.batch_size), heatmaps=asked.heatmaps)
    with closing(placed), closing(answers):
        for batch in answers:
            _hand_out(batch, waiting)
            yield from _finished(waiting, follower)
        yield from _finished(waiting, follower)


def _live(frames: Generator[Frame | Failure], asked: _Asked) -> Generator[Answer | Failure]:
    """Frame by frame as they come: nothing waits for a frame that is not there yet."""
    network, finder = asked.network, asked.finder
    last: Poses | None = None
    since = 0
    seen, gone = as_score(network.reading, SEEN), as_score(network.reading, GONE)
    for item in frames:
        if isinstance(item, Failure):
            yield item
            continue
        since += 1
        if last is not None and len(last) and finder.detects and since < (asked.detect_every or DETECT_EVERY):
            clock = Clock()
            height, width = item.pixels.shape[:2]
            boxes, _ = follow_boxes(
                *(last.xy, last.score, last.boxes),
                skeleton=network.reading.skeleton,
                image_size=(width, height),
                min_score=seen,
                gone=gone,
                margin=BOX_MARGIN / DETECTED_MARGIN,  # boxes like a detector's
            )
            clock.stop("track")
            place: Place | Failure = Place(item, boxes, DETECTED_MARGIN, clock.ms)
        else:
            place, since = finder.place(item), 0
        if isinstance(place, Failure):
            yield place
            continue
        persons = [(item.pixels, crop) for crop in place.crops()]
        answer = asked.follower.finish(place, list(network.find(persons, heatmaps=asked.heatmaps)))
        last = answer.poses
        yield answer


@dataclass(eq=False)
class _Pending:
    """A frame whose persons are on their way through the network."""

    place: Place
    found: list[Found] = field(default_factory=list)

    @property
    def missing(self) -> int:
        return len(self.place.boxes) - len(self.found)


def _batches(
    placed: Iterator[Place | Failure], waiting: deque[_Pending | Failure], size: int
) -> Iterator[list[tuple[Pixels, Crop]]]:
    """Batches of ``size`` persons, smaller ones where pictures are large; frames are put into ``waiting``.

    A batch ends after ``size`` frames too, empty ones among them, so that answers never wait for long.
    """
    batch: list[tuple[Pixels, Crop]] = []
    frames = pixels = 0
    for item in placed:
        frames += 1
        if isinstance(item, Failure):
            waiting.append(item)
        else:
            waiting.append(_Pending(item))
            pixels += item.frame.pixels.nbytes
            for crop in item.crops():
                batch.append((item.frame.pixels, crop))
                if len(batch) == size:
                    yield batch
                    batch, frames, pixels = [], 0, 0
        del item
        if frames >= size or pixels >= _PENDING_BYTES:
            yield batch
            batch, frames, pixels = [], 0, 0
    if batch:
        yield batch


def _hand_out(batch: list[Found], waiting: deque[_Pending | Failure]) -> None:
    """Gives what was found to the frames that wait for it, in order."""
    todo = iter(batch)
    for item in waiting:
        if isinstance(item, _Pending):
            while item.missing:
                found = next(todo, None)
                if found is None:
                    return
                item.found.append(found)


def _finished(waiting: deque[_Pending | Failure], follower: Follower) -> Iterator[Answer | Failure]:
    while waiting and (isinstance(waiting[0], Failure) or not waiting[0].missing):
        item = waiting.popleft()
        yield item if isinstance(item, Failure) else follower.finish(item.place, item.found)
