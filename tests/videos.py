"""Videos made on the spot: people of data/toy who walk, with any timing, turn, sound and damage."""

from fractions import Fraction
from pathlib import Path

import numpy as np

from sadinet.data.toy import _draw, _pose


def walkers(count, size=(160, 120), persons=2, seed=0):
    """``count`` pictures ``(H, W, 3)`` of figures that walk, and their boxes ``(count, P, 4)`` xyxy [image px]."""
    rng = np.random.default_rng(seed)
    tall = round(size[1] * 0.8)
    figures = []
    for _ in range(persons):
        xy = _pose(rng, tall // 2, tall)
        figures.append((np.asarray(_draw(rng, tall // 2, tall, xy)), xy))
    room = size[0] - tall // 2
    pictures = np.full((count, size[1], size[0], 3), 90, np.uint8)
    boxes = np.zeros((count, persons, 4))
    for i in range(count):
        for p, (figure, xy) in enumerate(figures):
            left = round(room * ((p + 0.5) / persons + 0.3 * np.sin(i / 15 + 2 * p)) * 0.8)
            left = min(max(left, 0), room)
            top = (size[1] - tall) // 2
            pictures[i, top : top + tall, left : left + tall // 2] = figure
            boxes[i, p] = np.stack([xy.min(0), xy.max(0)]).ravel() + np.array([left, top, left, top])
    return pictures, boxes


def write_video(path, pictures, *, rate=25, times=None, rotation=None, sound=None, codec="libx264", gop=6):
    """Writes ``pictures`` with PyAV; ``times`` [s] instead of even steps; ``sound``: a codec for a tone."""
    import av

    unit = Fraction(1, 12800)
    with av.open(str(path), "w") as container:
        video = container.add_stream(codec, rate=rate)
        video.height, video.width = pictures.shape[1:3]
        video.pix_fmt = "yuv420p"
        video.codec_context.time_base = unit
        video.codec_context.gop_size = gop
        if codec == "libx264":
            video.options = {"preset": "ultrafast", "crf": "12", "bf": "0"}
        if rotation is not None:
            video.set_display_rotation(rotation)
        audio = container.add_stream(sound, rate=16000, layout="mono") if sound else None
        for i, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, "rgb24")
            frame.pts = round((i / rate if times is None else times[i]) / unit)
            frame.time_base = unit
            container.mux(video.encode(frame))
        container.mux(video.encode())
        if audio is not None:
            length = len(pictures) / rate if times is None else times[-1]
            wave = np.sin(np.arange(round(16000 * length)) * 0.17) * 9000
            for start in range(0, len(wave) - 1023, 1024):
                block = av.AudioFrame.from_ndarray(wave[None, start : start + 1024].astype(np.int16), "s16", "mono")
                block.sample_rate, block.pts = 16000, start
                container.mux(audio.encode(block))
            container.mux(audio.encode())
    return Path(path)


def break_middle(path, share=0.2):
    """Overwrites a part in the middle of a file's frames."""
    data = bytearray(Path(path).read_bytes())
    start, length = 0, len(data)
    if b"mdat" in data:  # of an .mp4, whose index is at its end
        start = data.index(b"mdat") + 4
        length = int.from_bytes(data[start - 8 : start - 4], "big") - 8
    low, high = start + round(length * (0.5 - share / 2)), start + round(length * (0.5 + share / 2))
    data[low:high] = bytes(np.random.default_rng(0).integers(0, 256, high - low, dtype=np.uint8))
    Path(path).write_bytes(data)
