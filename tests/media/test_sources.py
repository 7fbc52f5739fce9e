"""One iterator of frames from whatever pictures come in: all of them, in order, read when they are needed."""

import threading
import weakref
from itertools import islice

import numpy as np
import pytest
from PIL import Image

from sadinet.errors import DataError
from sadinet.images import read_image
from sadinet.media.sources import Entry, Failure, Frame, find_entries, read_frames
from sadinet.media.video import VideoReader

from ..videos import walkers, write_video


@pytest.fixture
def folder(tmp_path):
    """Pictures in folders, a bad one among them, and what is no picture."""
    for number, place in enumerate(["b.png", "a.jpg", "deep/a.jpg", "deep/er/c.WEBP"]):
        path = tmp_path / place
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20 + number, 10), (10 * number, 0, 0)).save(path)
    (tmp_path / "bad.jpg").write_bytes((tmp_path / "a.jpg").read_bytes()[:80])
    (tmp_path / "notes.md").write_text("no picture")
    return tmp_path


def names(entries):
    return [(entry.kind, str(entry.place)) for entry in entries]


class TestFind:
    def test_a_folder_gives_its_pictures_with_all_below_in_order(self, folder):
        assert names(find_entries(folder)) == [
            ("picture", name) for name in ("a.jpg", "b.png", "bad.jpg", "deep/a.jpg", "deep/er/c.WEBP")
        ]

    def test_a_folder_without_pictures_is_refused(self, tmp_path):
        with pytest.raises(DataError, match=r"no pictures in this folder \(\.jpg, "):
            list(find_entries(tmp_path))

    def test_a_file_is_taken_whatever_its_suffix(self, folder):
        assert names(find_entries(folder / "notes.md")) == [("picture", "notes.md")]
        (folder / "x.MP4").touch()
        assert names(find_entries(str(folder / "x.MP4"))) == [("video", "x.MP4")]

    def test_a_pattern_gives_what_fits_sorted(self, folder):
        assert names(find_entries(str(folder / "*.???"))) == [("picture", n) for n in ("a.jpg", "b.png", "bad.jpg")]
        assert len(list(find_entries(str(folder / "**" / "*.jpg")))) == 3
        with pytest.raises(DataError, match=r"\*\.tiff: no file fits this pattern"):
            list(find_entries(str(folder / "*.tiff")))

    def test_a_file_whose_name_looks_like_a_pattern_is_itself(self, folder):
        (folder / "a[1].jpg").write_bytes((folder / "a.jpg").read_bytes())
        assert names(find_entries(folder / "a[1].jpg")) == [("picture", "a[1].jpg")]

    def test_a_list_names_files_beside_it(self, folder):
        (folder / "list.txt").write_text("# holiday\nb.png\n\ngone.jpg  # perhaps\ndeep\nx.mov\n")
        found = list(find_entries(folder / "list.txt"))
        assert [(e.kind, e.source.relative_to(folder).as_posix()) for e in found[:2]] == [
            ("picture", "b.png"),
            ("picture", "gone.jpg"),
        ]
        assert names(found)[2:] == [("picture", "a.jpg"), ("picture", "er/c.WEBP"), ("video", "x.mov")]
        (folder / "empty.txt").write_text("# nothing\n")
        with pytest.raises(DataError, match=r"empty\.txt: lists no files"):
            list(find_entries(folder / "empty.txt"))

    def test_numbers_are_cameras_unless_a_file_is_called_so(self, folder, monkeypatch):
        assert names(find_entries("0")) == names(find_entries(0)) == [("camera", "camera0")]
        monkeypatch.chdir(folder)
        (folder / "0").write_bytes(b"")
        assert names(find_entries("0")) == [("picture", "0")]

    @pytest.mark.parametrize(
        "address", ["https://example.org/x.jpg", "rtsp://10.0.0.1/live", "file:///x.jpg", "s3://a/b"]
    )
    def test_addresses_are_refused(self, address):
        with pytest.raises(DataError, match="nothing is downloaded here; fetch it first"):
            list(find_entries(address))

    @pytest.mark.parametrize(
        ("source", "message"), [("gone.jpg", "gone.jpg: no such file"), (None, "NoneType"), (1.5, "float")]
    )
    def test_what_is_nothing_is_refused(self, source, message):
        with pytest.raises(DataError, match=message):
            list(find_entries(source))

    def test_many_are_taken_one_after_the_other_when_they_are_asked_for(self, folder):
        asked = []

        def sources():
            for name in ("b.png", "a.jpg", "gone"):
                asked.append(name)
                yield folder / name

        entries = find_entries(sources())
        assert names([next(entries), next(entries)]) == [("picture", "b.png"), ("picture", "a.jpg")]
        assert asked == ["b.png", "a.jpg"]
        assert names(find_entries(Entry("picture", "x", None))) == [("picture", "None")]


class TestRead:
    def test_every_kind_of_picture_is_the_same_picture(self, folder):
        path = folder / "a.jpg"
        pixels = read_image(path)
        kinds = [path, str(path), path.read_bytes(), Image.open(path), pixels, Frame(pixels, "mine")]
        frames = list(read_frames(kinds))
        for frame in frames:
            np.testing.assert_array_equal(frame.pixels, pixels)
            assert (frame.index, frame.time, frame.live) == (None, None, False)
        assert [frame.source for frame in frames] == [str(path), str(path), None, None, None, "mine"]

    def test_a_stack_is_numbered_frames_without_times(self):
        stack = np.arange(3 * 4 * 5 * 3, dtype=np.uint8).reshape(3, 4, 5, 3)
        frames = list(read_frames(stack))
        assert [(f.index, f.time) for f in frames] == [(0, None), (1, None), (2, None)]
        np.testing.assert_array_equal(np.stack([f.pixels for f in frames]), stack)

    def test_bad_ones_are_told_at_their_place(self, folder):
        (folder / "list.txt").write_text("gone.jpg\nb.png\n")
        found = list(read_frames([folder / "a.jpg", folder / "bad.jpg", folder / "list.txt", b"no picture"]))
        assert [type(item) for item in found] == [Frame, Failure, Failure, Frame, Failure]
        assert found[1].source == str(folder / "bad.jpg")
        assert "bad.jpg: cannot be decoded" in found[1].error
        assert "gone.jpg: no such file" in found[2].error
        assert found[4].source == "a picture"

    def test_a_video_among_pictures(self, folder):
        pytest.importorskip("av")
        write_video(folder / "x.mp4", walkers(5)[0])
        (folder / "broken.mp4").write_bytes(b"no video")
        found = list(read_frames([folder / "a.jpg", folder / "x.mp4", folder / "broken.mp4"]))
        assert [(f.index, f.time) for f in found[1:6]] == [(i, pytest.approx(i / 25)) for i in range(5)]
        assert {f.source for f in found[1:6]} == {str(folder / "x.mp4")}
        assert isinstance(found[6], Failure)
        assert len(found) == 7

    def test_an_open_video_is_read_and_left_open(self, folder):
        pytest.importorskip("av")
        with VideoReader(write_video(folder / "x.mp4", walkers(5)[0])) as video:
            assert len(list(read_frames(video))) == 5
            assert video.frames == 5

    def test_a_camera_that_is_not_there_is_a_failure(self):
        pytest.importorskip("av")
        (found,) = read_frames("77")
        assert found.source == "camera 77"
        assert "cannot be opened; is it there" in found.error

    def test_what_does_not_exist_is_raised(self, folder):
        frames = read_frames([folder / "a.jpg", "gone"])
        assert isinstance(next(frames), Frame)
        with pytest.raises(DataError, match="gone: no such file"):
            next(frames)

    def test_frames_that_were_taken_are_not_kept_and_no_thread_stays(self):
        seen = []

        def pictures():
            for number in range(60):
                picture = np.full((30, 40, 3), number, np.uint8)
                yield picture

        frames = read_frames(pictures(), ahead=2)
        for frame in islice(frames, 50):
            seen.append(weakref.ref(frame))
            del frame
        assert sum(ref() is not None for ref in seen) <= 1
        frames.close()
        assert not [thread for thread in threading.enumerate() if thread.name.startswith("sadinet")]
