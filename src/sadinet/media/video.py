"""Videos and cameras: upright frames and their times. PyAV does the work, an extra.

Source: decision 019.
"""

import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError, ImageError
from ..images import Pixels

VIDEOS = (
    *(".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".wmv", ".flv"),
    *(".3gp", ".ogv"),
)
"""Suffixes of the files that are read as videos."""

_GUESSED_RATE = 25  # frames per second where a video does not tell
_MOST_DAMAGE = 1000  # packets in a row that cannot be read before the rest is given up


def import_av(what: str) -> Any:
    """The module ``av``; ``what`` needs it.

    Raises:
        ConfigError: PyAV is not installed.
    """
    try:
        import av  # an extra
    except ImportError:
        raise ConfigError(f'{what}: needs PyAV: pip install "sadinet[video]"') from None
    return av


class VideoReader:
    """A video file, or a camera: an iterator of upright frames and their times, once.

    The turn or mirror image that a phone notes beside the frames is applied. Damaged packets are skipped and counted.
    Use it in a ``with`` block, or `close` it.

    Args:
        source: The file; or the number of a camera, from 0.

    Attributes:
        name: What the source is called.
        live: It is a camera: frames come when they come, and without an end.
        skipped: Damaged packets and frames left out so far.
        start: Time of the first frame in the file's own count [s]; 0 before it is read.

    Raises:
        ConfigError: PyAV is not installed.
        ImageError: It is missing, damaged or has no pictures in it; the camera is not there.
    """

    def __init__(self, source: str | Path | int) -> None:
        self.live = isinstance(source, int)
        self.name = f"camera {source}" if self.live else str(source)
        self.skipped = 0
        self.start = 0.0
        self._av = import_av(self.name)
        if not self.live and not Path(source).exists():  # type: ignore[arg-type]
            raise ImageError(f"{self.name}: no such file")
        try:
            self._container = self._open_camera(int(source)) if self.live else self._av.open(str(source))  # type: ignore[arg-type]
        except (self._av.FFmpegError, OSError, ValueError) as error:
            if self.live:
                raise ImageError(f"{self.name}: cannot be opened; is it there, and not in use? ({error})") from None
            raise ImageError(f"{self.name}: cannot be read as a video, perhaps damaged or cut short") from error
        streams = self._container.streams.video
        if not streams:
            self.close()
            raise ImageError(f"{self.name}: has no pictures in it, perhaps only sound")
        self._stream = streams[0]
        self._stream.thread_type = "AUTO"

    @property
    def time_base(self) -> Fraction:
        """The unit of the file's time stamps [s]."""
        return Fraction(self._stream.time_base or Fraction(1, 90_000))

    @property
    def rate(self) -> Fraction:
        """Frames per second, on average."""
        return Fraction(self._stream.average_rate or self._stream.base_rate or _GUESSED_RATE)

    @property
    def frames(self) -> int | None:
        """How many frames there are, as far as the file tells or lets guess."""
        if self._stream.frames:
            return int(self._stream.frames)
        if self._stream.duration:
            return round(float(self._stream.duration * self.time_base * self.rate))
        if self._container.duration and not self.live:
            return round(float(self._container.duration / 1_000_000 * self.rate))
        return None

    def __iter__(self) -> Iterator[tuple[Pixels, float]]:
        """Every frame ``(H, W, 3)`` uint8 RGB and its time since the first one [s].

        Raises:
            ImageError: Not a single frame can be read.
        """
        last: float | None = None
        matrix: NDArray[np.int32] | None = None
        step = float(1 / self.rate)
        for frame in self._decoded():
            time = frame.time
            if time is None or (last is not None and time <= last):  # a stamp that is missing or runs backwards
                time = 0.0 if last is None else last + step
            if last is None:
                self.start, matrix = time, _display_matrix(frame)
            last = time
            yield upright(frame.to_ndarray(format="rgb24"), matrix), time - self.start
        if last is None:
            raise ImageError(f"{self.name}: not one frame of this video can be read")

    def _decoded(self) -> Iterator[Any]:
        damaged = 0  # in a row
        while damaged < _MOST_DAMAGE:
            try:
                for packet in self._container.demux(self._stream):
                    try:
                        for frame in packet.decode():
                            if frame.is_corrupt:
                                self.skipped += 1
                                continue
                            damaged = 0
                            yield frame
                    except self._av.FFmpegError:
                        damaged, self.skipped = damaged + 1, self.skipped + 1
                return
            except self._av.EOFError:
                return
            except self._av.FFmpegError:  # between packets; what follows may be whole
                damaged, self.skipped = damaged + 1, self.skipped + 1

    def _open_camera(self, number: int) -> Any:
        kind, place = {
            "darwin": ("avfoundation", str(number)),
            "win32": ("dshow", f"video={number}"),
        }.get(sys.platform, ("v4l2", f"/dev/video{number}"))
        return self._av.open(place, format=kind)

    def close(self) -> None:
        """Lets go of the file or camera."""
        self._container.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def upright(pixels: Pixels, matrix: NDArray[np.int32] | None) -> Pixels:
    """``pixels`` turned and mirrored by a display matrix ``(3, 3)`` to the nearest of the eight right angles."""
    if matrix is None:
        return pixels
    (a, b), (c, d) = matrix[:2, :2].astype(np.float64)  # where x and where y go: to a, b and to c, d
    if abs(b) + abs(c) > abs(a) + abs(d):  # x becomes y
        pixels, (a, b), (c, d) = pixels.transpose(1, 0, 2), (c, d), (a, b)
    return np.ascontiguousarray(pixels[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1])


def _display_matrix(frame: Any) -> NDArray[np.int32] | None:
    """Ask one frame only: those that were asked lie in memory until garbage is collected."""
    data = frame.side_data.get("DISPLAYMATRIX")
    return None if data is None else np.frombuffer(bytes(data), np.int32).reshape(3, 3)
