"""Videos: frames upright and at their times, damage left out; drawn copies with the same times and the same sound."""

import gc

import numpy as np
import pytest

from sadinet.errors import ConfigError, ImageError
from sadinet.files import replacing
from sadinet.media.recording import VideoWriter
from sadinet.media.video import VideoReader, upright

from ..videos import break_middle, walkers, write_video

av = pytest.importorskip("av", reason="needs PyAV: pip install sadinet[video]")


def corner(count=6):
    """Pictures of which the upper left quarter is red, less so from frame to frame."""
    pictures = np.zeros((count, 48, 64, 3), np.uint8)
    for i in range(count):
        pictures[i, :24, :32, 0] = 250 - 10 * (i % 20)
    return pictures


def read(path):
    with VideoReader(path) as video:
        frames = list(video)
    return [pixels for pixels, _ in frames], [time for _, time in frames], video


class TestReading:
    def test_frames_and_times(self, tmp_path):
        pictures, times, video = read(write_video(tmp_path / "x.mp4", corner(), rate=20))
        assert (len(pictures), video.skipped, video.frames, video.rate, video.live) == (6, 0, 6, 20, False)
        np.testing.assert_allclose(times, np.arange(6) / 20, atol=1e-9)
        assert np.abs(pictures[3].astype(int) - corner()[3]).max() < 60  # at the border of colours
        assert np.abs(pictures[3].astype(int) - corner()[3]).mean() < 4

    def test_frames_do_not_wait_for_the_garbage_collector(self, tmp_path):
        path = write_video(tmp_path / "x.mp4", corner(80))
        gc.collect()
        gc.disable()
        try:
            with VideoReader(path) as video:
                for number, _ in enumerate(video):
                    if number == 60:
                        alive = sum(type(thing).__name__ == "VideoFrame" for thing in gc.get_objects())
            assert alive < 20  # the first, this one, and what the decoder has ready
        finally:
            gc.enable()

    @pytest.mark.parametrize(
        ("turn", "place"), [(0, "upper left"), (90, "lower left"), (-90, "upper right"), (180, "lower right")]
    )
    def test_the_turn_that_a_phone_notes_is_applied(self, tmp_path, turn, place):
        (first, *_), _, _ = read(write_video(tmp_path / "x.mp4", corner(), rotation=turn))
        assert first.shape == ((48, 64, 3) if turn % 180 == 0 else (64, 48, 3))
        height, width = first.shape[:2]
        quarters = {
            f"{v} {h}": first[i * height // 2 :, j * width // 2 :][: height // 2, : width // 2, 0].mean()
            for i, v in enumerate(("upper", "lower"))
            for j, h in enumerate(("left", "right"))
        }
        assert max(quarters, key=quarters.get) == place

    @pytest.mark.parametrize(
        ("matrix", "expected"),
        [
            ([[1, 0], [0, 1]], [[1, 2, 3], [4, 5, 6]]),
            ([[-1, 0], [0, 1]], [[3, 2, 1], [6, 5, 4]]),
            ([[1, 0], [0, -1]], [[4, 5, 6], [1, 2, 3]]),
            ([[0, 1], [1, 0]], [[1, 4], [2, 5], [3, 6]]),
            ([[0, 1], [-1, 0]], [[4, 1], [5, 2], [6, 3]]),
            ([[0, -1], [1, 0]], [[3, 6], [2, 5], [1, 4]]),
        ],
    )
    def test_all_right_angles_and_mirrors(self, matrix, expected):
        """x goes to the first row's direction, y to the second's."""
        whole = np.zeros((3, 3), np.int32)
        whole[:2, :2] = np.array(matrix) * 65536
        pixels = np.repeat(np.array([[1, 2, 3], [4, 5, 6]], np.uint8)[..., None], 3, 2)
        np.testing.assert_array_equal(upright(pixels, whole)[..., 0], expected)

    def test_a_variable_frame_rate_keeps_its_times(self, tmp_path):
        given = [0.0, 0.1, 0.125, 0.5, 0.51, 1.25]
        _, times, _ = read(write_video(tmp_path / "x.mp4", corner(), times=given))
        np.testing.assert_allclose(times, given, atol=1e-4)

    @pytest.mark.parametrize("name", ["x.mp4", "x.mkv"])
    def test_a_damaged_middle_is_left_out_and_counted(self, tmp_path, name):
        pictures, _ = walkers(60)
        path = write_video(tmp_path / name, pictures)
        break_middle(path)
        found, times, video = read(path)
        assert 20 < len(found) < 60
        assert video.skipped > 0 or name == "x.mkv"  # which finds its way again without a word
        assert times[0] == 0
        assert times[-1] == pytest.approx(59 / 25, abs=0.011)  # what follows the damage is read
        assert (np.diff(times) > 0).all()

    def test_a_video_cut_short_gives_what_is_there(self, tmp_path):
        path = write_video(tmp_path / "x.mkv", walkers(60)[0])
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        assert 15 < len(read(path)[0]) < 55

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"", r"x\.mp4: cannot be read as a video"),
            (b"no video " * 99, r"x\.mp4: cannot be read as a video"),
            (None, r"x\.mp4: no such file"),
        ],
    )
    def test_what_is_no_video_is_refused(self, tmp_path, content, message):
        if content is not None:
            (tmp_path / "x.mp4").write_bytes(content)
        with pytest.raises(ImageError, match=message):
            VideoReader(tmp_path / "x.mp4")

    def test_sound_alone_is_refused(self, tmp_path):
        with av.open(str(tmp_path / "x.m4a"), "w", format="mp4") as container:
            audio = container.add_stream("aac", rate=16000, layout="mono")
            block = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.int16), "s16", "mono")
            block.sample_rate = 16000
            container.mux(audio.encode(block))
            container.mux(audio.encode())
        with pytest.raises(ImageError, match="no pictures in it, perhaps only sound"):
            VideoReader(tmp_path / "x.m4a")

    def test_a_video_whose_frames_are_all_damaged_is_refused(self, tmp_path):
        path = write_video(tmp_path / "x.mp4", corner(1))
        break_middle(path, share=1.0)
        with VideoReader(path) as video, pytest.raises(ImageError, match="not one frame of this video can be read"):
            list(video)

    def test_a_camera_that_is_not_there_is_refused(self):
        with pytest.raises(ImageError, match="camera 77: cannot be opened; is it there"):
            VideoReader(77)

    def test_without_pyav_the_way_is_told(self, monkeypatch, tmp_path):
        monkeypatch.setitem(__import__("sys").modules, "av", None)
        with pytest.raises(ConfigError, match=r'x\.mp4: needs PyAV: pip install "sadinet\[video\]"'):
            VideoReader(tmp_path / "x.mp4")


def packets(path):
    """The sound of a file: bytes and times [s]."""
    with av.open(str(path)) as container:
        return [(bytes(p), round(float(p.pts * p.time_base), 4)) for p in container.demux(audio=0) if p.size]


class TestWriting:
    def copy(self, source, target):
        with VideoReader(source) as video, replacing(target) as temporary:
            frames = iter(video)
            first, time = next(frames)
            size = (first.shape[1], first.shape[0])
            writer = VideoWriter(
                *(temporary, size), rate=video.rate, time_base=video.time_base, sound=source, start=video.start
            )
            with writer:
                writer.write(first, time)
                for pixels, time in frames:
                    writer.write(pixels, time)
        return writer

    @pytest.mark.parametrize("size", [(64, 48), (61, 47)])
    def test_pictures_times_and_sound_are_those_of_the_source(self, tmp_path, size):
        pictures, _ = walkers(40, (64, 48))
        given = np.cumsum([0.0, *([0.04, 0.02, 0.06] * 13)])
        source = write_video(tmp_path / "x.mkv", pictures, times=given, sound="aac")
        with (
            VideoReader(source) as video,
            VideoWriter(tmp_path / "y.mp4", size, time_base=video.time_base, sound=source) as writer,
        ):
            for pixels, time in video:
                writer.write(pixels[: size[1], : size[0]], time)
        assert writer.has_sound
        copied, times, _ = read(tmp_path / "y.mp4")
        assert copied[0].shape == (48, 64, 3) if size == (64, 48) else (48, 62, 3)
        np.testing.assert_allclose(times, given, atol=2e-3)  # what .mkv, which counts in ms, keeps of them
        near = copied[20].astype(int)[: size[1], : size[0]] - read(source)[0][20][: size[1], : size[0]]
        assert np.abs(near).mean() < 5
        ours, theirs = packets(tmp_path / "y.mp4"), packets(source)
        assert [data for data, _ in ours] == [data for data, _ in theirs]
        np.testing.assert_allclose([t for _, t in ours], [t for _, t in theirs], atol=2e-3)

    def test_sound_that_mp4_cannot_hold_is_left_out_and_told(self, tmp_path, caplog):
        source = write_video(tmp_path / "x.mov", corner(), sound="pcm_mulaw")
        writer = self.copy(source, tmp_path / "y.mp4")
        assert not writer.has_sound
        assert "its sound (pcm_mulaw) cannot be kept" in caplog.text
        assert len(read(tmp_path / "y.mp4")[0]) == 6

    def test_without_sound_nothing_is_told(self, tmp_path, caplog):
        assert not self.copy(write_video(tmp_path / "x.mp4", corner()), tmp_path / "y.mp4").has_sound
        assert caplog.text == ""
        assert sorted(path.name for path in tmp_path.iterdir()) == ["x.mp4", "y.mp4"]

    def test_without_an_encoder_for_h264_it_is_mpeg4(self, tmp_path, monkeypatch):
        known = av.codec.Codec
        unknown = av.codec.codec.UnknownCodecError

        def only_mpeg4(name, mode):
            if name != "mpeg4":
                raise unknown(name)
            return known(name, mode)

        monkeypatch.setattr(av.codec, "Codec", only_mpeg4)
        self.copy(write_video(tmp_path / "x.mp4", corner(), sound="aac"), tmp_path / "y.mp4")
        with av.open(str(tmp_path / "y.mp4")) as container:
            assert container.streams.video[0].codec_context.name == "mpeg4"
        _, times, _ = read(tmp_path / "y.mp4")
        np.testing.assert_allclose(times, np.arange(6) / 25, atol=1e-4)

    def test_an_error_on_the_way_leaves_no_file(self, tmp_path):
        def fail():
            with replacing(tmp_path / "y.mp4") as temporary, VideoWriter(temporary, (64, 48)) as writer:
                writer.write(corner()[0], 0.0)
                raise KeyError

        with pytest.raises(KeyError):
            fail()
        assert list(tmp_path.iterdir()) == []
