"""Writing a video of frames given one by one, with the sound of another. PyAV does the work, an extra.

Source: decision 019.
"""

import logging
from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from ..errors import ConfigError, ImageError
from ..images import Pixels
from .video import import_av

_log = logging.getLogger(__name__)


class VideoWriter:
    """An .mp4 of frames given one by one: H.264 where PyAV has an encoder for it, else MPEG-4.

    Pictures of odd width or height get their last column or row twice. Meant for `files.replacing`, which gives the
    finished file its name.

    Args:
        path: The file to write.
        size: Width and height of the frames [px].
        rate: Frames per second, on average; only a hint for the encoder.
        time_base: Unit of the time stamps [s]; that of the video the times come from keeps them to the last bit.
        sound: A video whose sound is copied as it is, if .mp4 can hold it.
        start: Added to all times, so that they are in the count of ``sound`` [s].

    Attributes:
        has_sound: There is sound to copy, and it can be.

    Raises:
        ConfigError: PyAV is not installed.
        ImageError: The disk refuses.
    """

    def __init__(
        self,
        path: Path,
        size: tuple[int, int],
        *,
        rate: Fraction = Fraction(25),
        time_base: Fraction = Fraction(1, 90_000),
        sound: Path | None = None,
        start: float = 0.0,
    ) -> None:
        self._av = import_av(str(path))
        self._path, self._start, self._last = path, start, -1
        self._container = self._av.open(str(path), "w", format="mp4")
        name, options = _encoder(self._av)
        if name == "mpeg4" and time_base.denominator > 65_535:  # all that its header has room for
            time_base = Fraction(1, 60_000)
        self._time_base = time_base
        video = self._container.add_stream(name, rate=rate.limit_denominator(65_535), options=options)
        video.width, video.height = (length + length % 2 for length in size)
        video.pix_fmt = "yuv420p"
        video.codec_context.time_base = time_base
        if name == "mpeg4":
            video.bit_rate = max(round(size[0] * size[1] * float(rate) * 0.15), 400_000)
        for field, value in (("colorspace", 1), ("color_primaries", 1), ("color_trc", 1), ("color_range", 1)):
            setattr(video.codec_context, field, value)  # BT.709, as the frames are converted
        self._video = video
        self._sound = _Sound(self._av, sound, self._container) if sound is not None else None
        self.has_sound = self._sound is not None and self._sound.stream is not None

    def write(self, pixels: Pixels, time: float) -> None:
        """Adds a frame ``(H, W, 3)`` uint8 RGB at ``time`` [s]; times must grow."""
        height, width = pixels.shape[:2]
        if height % 2 or width % 2:
            pixels = np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), "edge")
        frame = self._av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
        frame = frame.reformat(
            self._video.width, self._video.height, "yuv420p", src_colorspace="ITU709", dst_colorspace="ITU709"
        )
        frame.pts = self._last = max(round((time + self._start) / self._time_base), self._last + 1)
        frame.time_base = self._time_base
        self._mux(self._video.encode(frame))
        if self._sound is not None:
            self._sound.copy(until=time + self._start)

    def close(self) -> None:
        """Writes what is left, the rest of the sound too, and the index."""
        self._mux(self._video.encode())
        if self._sound is not None:
            self._sound.copy(until=float(self._last * self._time_base) + 1.0)
        self.abort()

    def abort(self) -> None:
        """Lets go of the files; what was written is no video unless `close` did this."""
        if self._sound is not None:
            self._sound.close()
        try:
            self._container.close()
        except (self._av.FFmpegError, OSError) as error:
            raise ImageError(f"{self._path}: cannot be written ({error})") from error

    def _mux(self, packets: Any) -> None:
        try:
            self._container.mux(packets)
        except (self._av.FFmpegError, OSError) as error:
            raise ImageError(f"{self._path}: cannot be written ({error})") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            with suppress(ImageError):  # the first error is the one to tell
                self.abort()


def _encoder(av: Any) -> tuple[str, dict[str, str]]:
    for name, options in (("libx264", {"preset": "veryfast", "crf": "20"}), ("libopenh264", {}), ("mpeg4", {})):
        with suppress(av.codec.codec.UnknownCodecError):
            av.codec.Codec(name, "w")
            return name, options
    raise ConfigError("this PyAV has no encoder for videos; install one from PyPI: pip install --force-reinstall av")


class _Sound:
    """The sound of a video, copied packet by packet as the pictures go on."""

    def __init__(self, av: Any, source: Path, target: Any) -> None:
        self.stream: Any = None
        self._av, self._target = av, target
        self._container = av.open(str(source))
        self._packets: Iterator[Any] = iter(())
        self._next: Any = None
        tracks = self._container.streams.audio
        if not tracks:
            return
        codec = tracks[0].codec_context.name
        if codec not in target.supported_codecs:
            _log.warning("%s: its sound (%s) cannot be kept in an .mp4 as it is, and is left out", source, codec)
            return
        self.stream = target.add_stream_from_template(tracks[0])
        self._packets = self._whole(tracks[0])

    def _whole(self, track: Any) -> Iterator[Any]:
        with suppress(self._av.FFmpegError):  # a damaged rest is left out, as of the pictures
            yield from (packet for packet in self._container.demux(track) if packet.dts is not None)

    def copy(self, until: float) -> None:
        while True:
            if self._next is None:
                self._next = next(self._packets, None)
            if self._next is None or float(self._next.dts * self._next.time_base) > until:
                return
            self._next.stream = self.stream
            with suppress(self._av.FFmpegError, ValueError):  # a damaged piece of sound is no reason to lose pictures
                self._target.mux(self._next)
            self._next = None

    def close(self) -> None:
        self._container.close()
