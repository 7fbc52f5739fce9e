"""Videos to files: a drawn copy, lines, tables; complete, or not there."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from sadinet.crops import Inference
from sadinet.errors import ConfigError, DataError
from sadinet.estimator import Estimator
from sadinet.images import write_image
from sadinet.media.sources import Entry
from sadinet.media.video import VideoReader
from sadinet.persons.detect import Detections
from sadinet.predicting import film
from sadinet.predicting.job import Job, Summary
from sadinet.predicting.predict import predict_sources
from sadinet.predicting.results import read_poses
from sadinet.presets import preset

from ..videos import break_middle, walkers, write_video

pytest.importorskip("av", reason="needs PyAV: pip install sadinet[video]")


class Bright(torch.nn.Module):
    """Keypoints are where the window is brightest, everywhere equally."""

    def backbone_heatmaps(self, images):
        return torch.nn.functional.avg_pool2d(images.mean(1, keepdim=True), 4).expand(-1, 14, -1, -1)


class Both:
    """Finds the same two persons everywhere."""

    def detect(self, _):
        return Detections(np.array([[8.0, 10.0, 60.0, 110.0], [90.0, 10.0, 150.0, 112.0]]), np.array([0.9, 0.8]))


@pytest.fixture(scope="module")
def estimator():
    return Estimator(Bright(), preset("toy-t"), device="cpu", inference=Inference(flip=False))


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return write_video(tmp_path_factory.mktemp("film") / "clip.mp4", walkers(24)[0], sound="aac")


def job(*save, detector=None, **options):
    return Job(frozenset(save) or None, stream={"detector": detector or Both()}, **options)


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("*") if path.is_file())


class TestFiles:
    def test_a_drawn_copy_and_lines_by_default(self, estimator, clip, tmp_path):
        (result,) = predict_sources(estimator, clip, tmp_path, job())
        assert files(tmp_path) == ["clip.jsonl", "clip.mp4"]
        assert [path.name for path in result.written] == ["clip.mp4", "clip.jsonl"]
        assert (result.error, result.frames, result.persons, result.damaged) == ("", 24, 48, 0)
        assert {"read", "detect", "crop", "network", "decode", "track", "draw", "write"} <= set(result.ms)
        poses = list(read_poses(tmp_path / "clip.jsonl"))
        assert [p.frame for p in poses] == list(range(24))
        assert [p.ids.tolist() for p in poses] == [[0, 1]] * 24
        with VideoReader(tmp_path / "clip.mp4") as drawn, VideoReader(clip) as plain:
            pairs = list(zip(drawn, plain, strict=True))
        assert [t for (_, t), _ in pairs] == [t for _, (_, t) in pairs]
        differences = [np.abs(a.astype(int) - b).max() for (a, _), (b, _) in pairs]
        assert min(differences) > 60  # something is drawn on every frame

    def test_every_format(self, estimator, clip, tmp_path):
        (result,) = predict_sources(estimator, clip, tmp_path, job("json", "csv", "coco"))
        assert files(tmp_path) == ["clip.coco-images.json", "clip.coco.json", "clip.csv", "clip.jsonl"]
        results = json.loads((tmp_path / "clip.coco.json").read_text())
        assert sorted({entry["image_id"] for entry in results}) == list(range(24))
        assert len((tmp_path / "clip.csv").read_text().splitlines()) == 1 + 48
        assert result.persons == 48

    def test_without_files_every_frame_is_a_result(self, estimator, clip):
        results = list(predict_sources(estimator, clip, None, job()))
        assert [result.poses.frame for result in results] == list(range(24))

    def test_offline_smoothing_draws_in_a_second_pass(self, estimator, clip, tmp_path):
        (raw,) = predict_sources(estimator, clip, tmp_path / "raw", job(smooth="none"))
        (result,) = predict_sources(estimator, clip, tmp_path / "smooth", job(smooth="offline"))
        assert (result.frames, result.persons, result.error) == (raw.frames, raw.persons, "")
        rough, smooth = (
            np.stack([p.xy for p in read_poses(tmp_path / name / "clip.jsonl")]) for name in ("raw", "smooth")
        )
        assert np.abs(np.diff(smooth, 2, axis=0)).mean() < 0.5 * np.abs(np.diff(rough, 2, axis=0)).mean()
        with VideoReader(tmp_path / "smooth" / "clip.mp4") as video:
            assert len(list(video)) == 24
        (bare,) = predict_sources(estimator, clip, tmp_path / "bare", job("jsonl", smooth="offline"))
        assert bare.frames == 24
        again = [p.to_json()["people"] for p in read_poses(tmp_path / "bare" / "clip.jsonl")]
        assert again == [p.to_json()["people"] for p in read_poses(tmp_path / "smooth" / "clip.jsonl")]

    def test_pictures_around_a_video_share_their_files(self, estimator, clip, tmp_path):
        pictures = [tmp_path / "a.png", tmp_path / "b.png"]
        for path in pictures:
            write_image(walkers(1)[0][0], path)
        results = list(
            predict_sources(estimator, [pictures[0], clip, pictures[1]], tmp_path / "out", job("csv", "video"))
        )
        assert [result.source.name for result in results] == ["a.png", "b.png", "clip.mp4"]
        assert files(tmp_path / "out") == ["a.jpg", "b.jpg", "clip.csv", "clip.mp4", "poses.csv"]
        assert len((tmp_path / "out" / "poses.csv").read_text().splitlines()) == 1 + 2 * 2

    def test_heatmaps_are_drawn(self, estimator, clip, tmp_path):
        list(predict_sources(estimator, clip, tmp_path, job("video", heatmaps=True, min_score=1.1)))
        with VideoReader(tmp_path / "clip.mp4") as drawn, VideoReader(clip) as plain:
            (a, _), (b, _) = next(iter(drawn)), next(iter(plain))
        assert np.abs(a.astype(int) - b).mean() > 15


class TestTrouble:
    def test_a_damaged_middle_is_counted(self, estimator, tmp_path):
        path = write_video(tmp_path / "broken.mp4", walkers(60)[0])
        break_middle(path)
        (result,) = predict_sources(estimator, path, tmp_path / "out", job())
        assert result.error == ""
        assert result.damaged > 0
        assert 20 < result.frames < 60
        assert files(tmp_path / "out") == ["broken.jsonl", "broken.mp4"]
        assert sum(r.damaged for r in predict_sources(estimator, path, None, job())) == result.damaged

    def test_one_that_cannot_be_read_leaves_nothing_and_the_next_is_done(self, estimator, clip, tmp_path):
        (tmp_path / "no.mp4").write_bytes(b"no video")
        bad, good = predict_sources(estimator, [tmp_path / "no.mp4", clip], tmp_path / "out", job("jsonl"))
        assert "no.mp4: cannot be read as a video" in bad.error
        assert good.error == ""
        assert files(tmp_path / "out") == ["clip.jsonl"]

    def test_a_camera_that_is_not_there(self, estimator, tmp_path):
        (result,) = predict_sources(estimator, "77", tmp_path / "out", job())
        assert str(result.source) == "camera 77"
        assert "cannot be opened; is it there" in result.error
        assert not (tmp_path / "out").exists()
        (result,) = predict_sources(estimator, "77", tmp_path / "out", job(smooth="offline"))
        assert "a camera has no end" in result.error

    def test_an_interrupted_video_leaves_nothing_and_an_interrupted_camera_what_was_seen(
        self, estimator, clip, tmp_path, monkeypatch
    ):
        class Interrupted(VideoReader):
            def __iter__(self):
                for number, frame in enumerate(super().__iter__()):
                    if number == 9:
                        raise KeyboardInterrupt
                    yield frame

        monkeypatch.setattr(film, "VideoReader", Interrupted)
        with pytest.raises(KeyboardInterrupt):
            list(predict_sources(estimator, clip, tmp_path / "out", job()))
        assert files(tmp_path / "out") == []

        class Camera(Interrupted):
            def __init__(self, _):
                super().__init__(clip)
                self.live = True

        monkeypatch.setattr(film, "VideoReader", Camera)
        (result,) = predict_sources(estimator, Entry("camera", 0, Path("camera0")), tmp_path / "out", job())
        assert result.error == ""
        assert 1 <= result.frames <= 9
        assert files(tmp_path / "out") == ["camera0.jsonl", "camera0.mp4"]
        with VideoReader(tmp_path / "out" / "camera0.mp4") as video:
            assert len(list(video)) == result.frames

    def test_a_video_is_never_written_over(self, estimator, clip):
        before = clip.read_bytes()
        with pytest.raises(DataError, match=r"clip\.mp4: would be written over"):
            list(predict_sources(estimator, clip, clip.parent, job()))
        assert clip.read_bytes() == before


class TestResume:
    def test_what_is_done_is_left_alone(self, estimator, clip, tmp_path):
        list(predict_sources(estimator, clip, tmp_path, job("jsonl")))
        (tmp_path / "clip.jsonl").write_text("mine")
        (result,) = predict_sources(estimator, clip, tmp_path, job("jsonl", "json", resume=True))
        assert (result.skipped, result.frames, result.written) == (True, 0, ())
        assert (tmp_path / "clip.jsonl").read_text() == "mine"
        (result,) = predict_sources(estimator, clip, tmp_path, job("json", "csv", resume=True))
        assert not result.skipped
        assert len((tmp_path / "clip.jsonl").read_text().splitlines()) == 24


class TestJob:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"save": frozenset({"img", "gif"})}, "cannot save gif: choose among img, json"),
            ({"save": frozenset()}, "cannot save nothing"),
            ({"smooth": "much"}, "smooth 'much'"),
            ({"smooth": "offline", "heatmaps": True}, "offline smoothing"),
            ({"smooth": "offline", "stream": {"track": False}}, "offline smoothing"),
            ({"resume": True, "save": frozenset({"csv"})}, "save that too"),
        ],
    )
    def test_nonsense_is_refused(self, options, message):
        with pytest.raises(ConfigError, match=message):
            Job(**options)

    def test_a_summary_counts(self, estimator, clip, tmp_path):
        (tmp_path / "no.mp4").write_bytes(b"no video")
        summary = Summary()
        for result in predict_sources(estimator, [tmp_path / "no.mp4", clip], tmp_path / "out", job("jsonl")):
            summary.add(result)
        text = summary.describe()
        assert (summary.failed, summary.damaged) == (1, 0)
        assert "24 pictures and frames with 48 persons in " in text
        assert "1 failed" in text
        assert "network " in text
