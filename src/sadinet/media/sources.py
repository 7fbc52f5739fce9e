"""Where pictures come from: files, folders, patterns, lists, videos, cameras, arrays; one lazy iterator of frames.

Nothing here touches the network. One bad file does not stop the others: it becomes a `Failure`.
"""

import glob
import re
import time
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from PIL import Image

from ..ahead import read_ahead
from ..errors import DataError, SadinetError
from ..images import Pixels, read_image
from .video import VIDEOS, VideoReader

PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif")
"""Suffixes of the files taken from folders."""

LIST = ".txt"
"""Suffix of files that list others, one a line; ``#`` begins a comment."""

Sources: TypeAlias = Any
"""A path to a picture, video, folder or list, a pattern (``"holiday/*.jpg"``), the number of a camera, a picture's
bytes, a Pillow image, an array ``(H, W, 3)`` or a stack ``(T, H, W, 3)``, a `Frame`, an `Entry`, an open `VideoReader`,
or an iterable of these."""

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_AHEAD = 4  # frames that wait decoded


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture of a source.

    Attributes:
        pixels: ``(H, W, 3)`` uint8 RGB, upright.
        source: What its source is called; None: it has no name.
        index: Its number in a video or stack, from 0; None: a picture for itself.
        time: Since the first frame of the video [s]; None: not of a video.
        live: It comes from a camera.
        read_ms: What reading took.
    """

    pixels: Pixels
    source: str | None = None
    index: int | None = None
    time: float | None = None
    live: bool = False
    read_ms: float = 0.0


@dataclass(frozen=True)
class Failure:
    """A source, or the rest of one, that cannot be read.

    Attributes:
        source: What it is called.
        error: What is wrong, naming the source.
    """

    source: str
    error: str


@dataclass(frozen=True)
class Entry:
    """One picture, video or camera that sources name.

    Attributes:
        kind: What it is.
        source: The file, the number of a camera, or the picture itself.
        place: Its place below an output folder; None: it has no name.
    """

    kind: Literal["picture", "video", "camera"]
    source: Any = field(repr=False)
    place: Path | None = None

    @property
    def name(self) -> str | None:
        """What it is called."""
        if isinstance(self.source, VideoReader):
            return self.source.name
        if self.kind == "camera":
            return f"camera {self.source}"
        return str(self.source) if isinstance(self.source, (str, Path)) else None


def find_entries(sources: Sources) -> Iterator[Entry]:
    """What ``sources`` name, lazily and in order: folders with all pictures below, sorted; patterns sorted.

    Raises:
        DataError: A path does not exist, nothing fits a pattern, a folder holds no picture, or it is an address on
            the network.
    """
    if isinstance(sources, (str, Path)):
        yield from _find(sources)
    elif isinstance(sources, Entry):
        yield sources
    elif isinstance(sources, VideoReader):
        yield Entry("camera" if sources.live else "video", sources)
    elif isinstance(sources, int):
        yield Entry("camera", sources, Path(f"camera{sources}"))
    elif isinstance(sources, np.ndarray) and sources.ndim == 4:
        yield from (Entry("picture", Frame(read_image(picture), index=i)) for i, picture in enumerate(sources))
    elif isinstance(sources, (np.ndarray, bytes, Image.Image, Frame)):
        yield Entry("picture", sources)
    elif isinstance(sources, Iterable):
        for source in sources:
            yield from find_entries(source)
    else:
        raise DataError(f"cannot read pictures from {type(sources).__name__}: give paths, arrays, or a camera's number")


def _find(source: str | Path) -> Iterator[Entry]:
    text, path = str(source), Path(source)
    if _URL.match(text):
        raise DataError(f"{text}: nothing is downloaded here; fetch it first and give the file")
    if path.is_dir():
        found = sorted(p for p in path.rglob("*") if p.suffix.lower() in PICTURES and p.is_file())
        if not found:
            raise DataError(f"{path}: no pictures in this folder ({', '.join(PICTURES)})")
        yield from (Entry("picture", p, p.relative_to(path)) for p in found)
    elif path.exists():
        yield from _list(path) if path.suffix.lower() == LIST else [_file(path)]
    elif text.isdecimal():
        yield from find_entries(int(text))
    elif glob.has_magic(text):
        matches = sorted(Path(match) for match in glob.glob(text, recursive=True))  # noqa: PTH207 - may be absolute
        files = [match for match in matches if match.is_file()]
        if not files:
            raise DataError(f"{text}: no file fits this pattern")
        yield from map(_file, files)
    else:
        raise DataError(f"{text}: no such file or folder")


def _file(path: Path) -> Entry:
    return Entry("video" if path.suffix.lower() in VIDEOS else "picture", path, Path(path.name))


def _list(path: Path) -> Iterator[Entry]:
    """The files that a list names, those that do not exist too: only reading them fails."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not a list of files, one a line ({error})") from error
    named = [name for line in lines if (name := line.partition("#")[0].strip())]
    if not named:
        raise DataError(f"{path}: lists no files; write one a line")
    for name in named:
        beside = path.parent / name  # as whoever wrote the list saw them; else from here
        if _URL.match(name) or glob.has_magic(name) or beside.is_dir():
            yield from _find(name if _URL.match(name) else beside)
        else:
            yield _file(beside if beside.exists() or not Path(name).exists() else Path(name))


def read_frames(sources: Sources, *, ahead: int = _AHEAD) -> Generator[Frame | Failure]:
    """The frames of ``sources`` in order, read a few ahead by a thread.

    Args:
        sources: See `Sources`. Iterables are asked in the thread.
        ahead: Frames that wait decoded at most; of a camera only the newest does.

    Raises:
        DataError: As `find_entries`; frames before it are given.
    """
    live = _is_camera(sources)
    return read_ahead(_all_frames(sources), depth=1 if live else ahead, newest=live)


def _is_camera(source: Sources) -> bool:
    """Whether it is one camera, asked directly."""
    if isinstance(source, VideoReader):
        return source.live
    if isinstance(source, Entry):
        return source.kind == "camera"
    return isinstance(source, int) or (isinstance(source, str) and source.isdecimal() and not Path(source).exists())


def _all_frames(sources: Sources) -> Iterator[Frame | Failure]:
    for entry in find_entries(sources):
        yield from read_entry(entry)


def read_entry(entry: Entry) -> Iterator[Frame | Failure]:
    """The frames of one entry; a failure last if there is one."""
    name = entry.name
    try:
        if entry.kind == "picture":
            yield _read_picture(entry.source, name)
        elif isinstance(entry.source, VideoReader):
            yield from video_frames(entry.source)  # whoever opened it closes it
        else:
            with VideoReader(entry.source) as video:
                yield from video_frames(video)
    except SadinetError as error:
        yield Failure(name or "a picture", str(error))


def _read_picture(source: Any, name: str | None) -> Frame:
    started = time.perf_counter()
    if isinstance(source, Frame):
        return source
    pixels = read_image(source)
    return Frame(pixels, name, read_ms=1000 * (time.perf_counter() - started))


def video_frames(video: VideoReader) -> Generator[Frame]:
    """The frames of an open video.

    Raises:
        ImageError: Not a single one can be read.
    """
    pictures = iter(video)
    index = 0
    while True:
        started = time.perf_counter()
        found = next(pictures, None)
        if found is None:
            return
        elapsed = 1000 * (time.perf_counter() - started)
        yield Frame(found[0], video.name, index, found[1], video.live, elapsed)
        del found  # not kept while the consumer works
        index += 1
