"""Videos and cameras to files: a drawn copy, poses frame by frame, in memory that does not grow with their length."""

import logging
from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from ..ahead import read_ahead
from ..errors import DataError, SadinetError
from ..estimator import Estimator
from ..files import replacing
from ..media.recording import VideoWriter
from ..media.sources import Entry, Failure, Frame, video_frames
from ..media.video import VideoReader
from ..persons.following import Answer
from ..persons.smooth import smooth_persons
from ..persons.streaming import stream_frames
from ..timing import Clock, total
from .job import Job, Result, is_done
from .results import poses_file

_ANSWERED_AHEAD = 2  # frames that wait to be drawn
_log = logging.getLogger(__name__)


def predict_video(
    estimator: Estimator, entry: Entry, target: Path | None, job: Job, *, quiet: bool = True
) -> Iterator[Result]:
    """The poses in a video, or in what a camera shows until it is interrupted.

    Args:
        estimator: Finds them.
        entry: The video or camera.
        target: Its files without their suffix; None: nothing is written, and every frame is a result.
        job: What is wanted.
        quiet: No progress bar.
    """
    path = Path(str(entry.name))
    if entry.kind == "camera" and job.smooth == "offline":
        yield Result(path, error=f"{path}: a camera has no end to smooth from; use --smooth one-euro", frames=0)
        return
    suffixes = job.suffixes(entry.kind)
    if job.resume and target is not None and entry.kind == "video" and is_done(target, suffixes):
        yield Result(path, skipped=True, frames=0)
        return
    try:
        with VideoReader(entry.source) as video:
            if target is None:
                for answer in _answers(estimator, video, job, quiet):
                    poses = answer.poses
                    yield Result(path, poses, persons=len(poses), ms=dict(poses.timing or {}))
                if video.skipped:
                    yield Result(path, frames=0, damaged=video.skipped)
            else:
                yield _write(estimator, video, path, target, suffixes, job, quiet)
    except (SadinetError, OSError) as error:
        yield Result(path, error=str(error), frames=0)


def _write(
    estimator: Estimator, video: VideoReader, path: Path, target: Path, suffixes: list[str], job: Job, quiet: bool
) -> Result:
    frames = persons = 0
    ms: dict[str, float] = {}
    files = {suffix: target.with_name(target.name + suffix) for suffix in suffixes}
    with ExitStack() as stack:
        drawn = _Drawing(stack, video, files.pop(".mp4"), job) if ".mp4" in files else None
        adds = [poses_file(stack, file, estimator.skeleton, lambda poses: poses.frame or 0) for file in files.values()]
        answers = stack.enter_context(closing(read_ahead(_answers(estimator, video, job, quiet), _ANSWERED_AHEAD)))
        try:
            for answer in answers:  # made by a thread while this one draws and writes
                clock = Clock(answer.poses.timing)
                if drawn is not None:
                    drawn.add(answer, clock)
                for add in adds:
                    add(answer.poses)
                clock.stop("write")
                frames, persons, ms = frames + 1, persons + len(answer.poses), total(ms, clock.ms)
                del answer
        except KeyboardInterrupt:
            if not video.live:
                raise
            _log.info("%s: stopped; what was seen so far is kept", video.name)
    written = tuple(target.with_name(target.name + suffix) for suffix in suffixes)
    return Result(path, written=written, frames=frames, persons=persons, damaged=video.skipped, ms=ms)


def _answers(estimator: Estimator, video: VideoReader, job: Job, quiet: bool) -> Generator[Answer]:
    """The frames and their poses, smoothed as wanted."""
    smooth = "none" if job.smooth == "offline" else job.smooth
    answers = stream_frames(estimator, video, heatmaps=job.heatmaps, smooth=smooth, **job.stream)
    counted = _counted(answers, video, quiet)
    with closing(answers), closing(counted):
        yield from _smoothed(counted, video, job) if job.smooth == "offline" else counted


def _counted(answers: Iterator[Answer | Failure], video: VideoReader, quiet: bool) -> Generator[Answer]:
    """With a bar that tells frames per second and when it will be done; a failure is raised."""
    with tqdm(total=video.frames, desc=Path(video.name).name, unit=" frames", disable=quiet) as bar:
        for answer in answers:
            if isinstance(answer, Failure):
                raise DataError(answer.error)
            yield answer
            bar.update()
            del answer


def _smoothed(answers: Iterator[Answer], video: VideoReader, job: Job) -> Iterator[Answer]:
    """All keypoints first, which are small, then smoothed; pixels are read once more if they are to be drawn on."""
    raw = [answer.poses for answer in answers]
    ids = [poses.ids for poses in raw if poses.ids is not None]
    smooth = smooth_persons([p.xy for p in raw], [p.score for p in raw], ids, np.array([p.time for p in raw]))
    better = (replace(poses, xy=xy) for poses, xy in zip(raw, smooth, strict=True))
    if ".mp4" not in job.suffixes("video"):
        nothing = Frame(np.zeros((0, 0, 3), np.uint8))
        yield from (Answer(nothing, poses) for poses in better)
        return
    with VideoReader(video.name) as again:
        for frame, poses in zip(video_frames(again), better, strict=False):
            yield Answer(frame, poses)


class _Drawing:
    """The drawn copy of a video, begun with its first frame."""

    def __init__(self, stack: ExitStack, video: VideoReader, path: Path, job: Job) -> None:
        self._stack, self._video, self._job = stack, video, job
        self._path = stack.enter_context(replacing(path))
        self._writer: VideoWriter | None = None

    def add(self, answer: Answer, clock: Clock) -> None:
        pixels = self._job.draw(answer)
        clock.stop("draw")
        if self._writer is None:
            video = self._video
            more: dict[str, Any] = {} if video.live else {"time_base": video.time_base, "sound": Path(video.name)}
            size = (pixels.shape[1], pixels.shape[0])
            writer = VideoWriter(self._path, size, rate=video.rate, start=video.start, **more)
            self._writer = self._stack.enter_context(writer)
        self._writer.write(pixels, answer.poses.time or 0.0)
