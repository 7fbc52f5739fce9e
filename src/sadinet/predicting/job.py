"""What a prediction job is asked for, and what became of each source."""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ..draw import MIN_SCORE, draw_heatmaps, draw_poses
from ..errors import ConfigError
from ..images import Pixels
from ..persons.following import Answer
from ..poses import Poses
from ..timing import total

SAVE = ("img", "json", "jsonl", "csv", "coco", "video")
"""What can be written; img and video are the same, and for a video json and jsonl."""


@dataclass(frozen=True)
class Result:
    """What became of one source; of one frame where nothing is written.

    Attributes:
        source: The picture or video.
        poses: The answer; None if it failed, was skipped, or is a whole video.
        error: Why it failed; empty if it did not.
        written: The files made.
        skipped: Its files were there already.
        frames: Pictures or frames done.
        persons: Found in them, together.
        damaged: Packets of a video that could not be read and were left out.
        ms: What the stages took.
    """

    source: Path
    poses: Poses | None = None
    error: str = ""
    written: tuple[Path, ...] = ()
    skipped: bool = False
    frames: int = 1
    persons: int = 0
    damaged: int = 0
    ms: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Job:
    """How to predict, and what to write.

    Attributes:
        save: Some of `SAVE`; None: drawn pictures and JSON, for videos JSON lines.
        min_score: Keypoints below it are not drawn.
        heatmaps: Draw where the network thinks the keypoints are.
        smooth: ``"none"``, ``"one-euro"``, or for videos ``"offline"``, which looks ahead; None: one-euro where
            persons are followed.
        resume: Leave alone what has its files already.
        stream: More for `Estimator.stream`: detector, boxes, detect_every, track, max_persons.

    Raises:
        ConfigError: If they make no sense together.
    """

    save: frozenset[str] | None = None
    min_score: float = MIN_SCORE
    heatmaps: bool = False
    smooth: Literal["none", "one-euro", "offline"] | None = None
    resume: bool = False
    stream: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        unknown = sorted((self.save or frozenset()) - set(SAVE))
        if unknown or self.save == frozenset():
            raise ConfigError(f"cannot save {', '.join(unknown) or 'nothing'}: choose among {', '.join(SAVE)}")
        if self.smooth not in (None, "none", "one-euro", "offline"):
            raise ConfigError(f"smooth '{self.smooth}': give none, one-euro or offline")
        if self.smooth == "offline" and (self.heatmaps or self.stream.get("track") is False):
            raise ConfigError("offline smoothing needs tracking, and cannot be drawn with heatmaps")
        if self.resume and self.save and self.save & {"jsonl", "csv", "coco"} and "json" not in self.save:
            raise ConfigError(
                "resume puts pictures done before into jsonl, csv and coco from their json: save that too"
            )

    def suffixes(self, kind: str) -> list[str]:
        """Of the files that each source gets."""
        save = self.save or ({"img", "json"} if kind == "picture" else {"video", "jsonl"})
        drawn = bool(save & {"img", "video"})
        if kind == "picture":
            wanted = [(drawn, ".jpg"), ("json" in save, ".json")]
        else:
            lines = bool(save & {"json", "jsonl"})
            wanted = [(drawn, ".mp4"), (lines, ".jsonl"), ("csv" in save, ".csv"), ("coco" in save, ".coco.json")]
        return [suffix for asked, suffix in wanted if asked]

    def together(self) -> list[str]:
        """Of the files that all pictures share."""
        wanted = (("jsonl", ".jsonl"), ("csv", ".csv"), ("coco", ".coco.json"))
        return [suffix for name, suffix in wanted if name in (self.save or ())]

    def draw(self, answer: Answer) -> Pixels:
        """The picture with what was found on it."""
        pixels = answer.frame.pixels
        if self.heatmaps:
            pixels = draw_heatmaps(pixels, ((f.crop, f.heatmap) for f in answer.found if f.heatmap is not None))
        return draw_poses(pixels, answer.poses, min_score=self.min_score)


class Summary:
    """Counts what became of many sources.

    Attributes:
        failed: Sources that could not be done.
        damaged: Packets of videos that were left out.
    """

    def __init__(self) -> None:
        self.failed = self.damaged = 0
        self._skipped = self._frames = self._persons = 0
        self._ms: dict[str, float] = {}
        self._started = time.perf_counter()

    def add(self, result: Result) -> None:
        """Counts one more."""
        self.failed += bool(result.error)
        self.damaged += result.damaged
        self._skipped += result.skipped
        self._frames += result.frames
        self._persons += result.persons
        self._ms = total(self._ms, result.ms)

    def describe(self) -> str:
        """In a line or two: what was done, how fast, and where the time went."""
        seconds = time.perf_counter() - self._started
        parts = [f"{self._frames} pictures and frames with {self._persons} persons in {seconds:.1f} s"]
        parts += [f"{self._frames / seconds:.1f} a second"] if self._frames else []
        parts += [f"{self._skipped} there already"] if self._skipped else []
        parts += [f"{self.failed} failed"] if self.failed else []
        parts += [f"{self.damaged} damaged packets left out"] if self.damaged else []
        stages = ", ".join(f"{stage} {ms / 1000:.2f}" for stage, ms in self._ms.items())
        return "; ".join(parts) + (f"\n  seconds by stage, some side by side: {stages}" if stages else "")


def is_done(target: Path, suffixes: Iterable[str]) -> bool:
    """Whether all files of a source are there; each is whole if it is."""
    return all(target.with_name(target.name + suffix).is_file() for suffix in suffixes)
