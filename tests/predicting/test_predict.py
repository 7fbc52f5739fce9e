"""Pictures and folders to files: every good picture is done, every bad one is told, none is written over."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sadinet.errors import DataError
from sadinet.estimator import Estimator
from sadinet.images import read_image
from sadinet.poses import Poses
from sadinet.predicting import predict as module
from sadinet.predicting.job import Job
from sadinet.predicting.predict import predict_pictures, predict_sources
from sadinet.predicting.results import read_poses
from sadinet.presets import preset


class Bright(torch.nn.Module):
    """Every keypoint is where the window is brightest."""

    def backbone_heatmaps(self, images):
        return torch.nn.functional.avg_pool2d(images.mean(1, keepdim=True), 4).expand(-1, 14, -1, -1)


@pytest.fixture(scope="module")
def estimator():
    return Estimator(Bright(), preset("toy-t"), device="cpu")


@pytest.fixture
def folder(tmp_path):
    """Pictures in two folders, a bad one among them."""
    places = ["a.jpg", "b.PNG", "deep/a.jpg", "deep/er/c.webp", "bad.jpg"]
    for number, place in enumerate(places):
        path = tmp_path / "in" / place
        path.parent.mkdir(parents=True, exist_ok=True)
        picture = np.zeros((50 + number, 70, 3), np.uint8)
        picture[20:30, 40:50] = 250
        Image.fromarray(picture).save(path)
    (tmp_path / "in" / "bad.jpg").write_bytes((tmp_path / "in" / "bad.jpg").read_bytes()[:100])
    (tmp_path / "in" / "notes.txt").write_text("no picture")
    return tmp_path / "in"


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


class TestPredict:
    def test_all_good_ones_are_done_and_the_bad_one_is_told(self, estimator, folder, tmp_path):
        results = list(predict_pictures(estimator, [folder], tmp_path / "out"))
        assert [result.source.name for result in results if result.poses is None] == ["bad.jpg"]
        (bad,) = (result for result in results if result.poses is None)
        assert "bad.jpg: cannot be decoded" in bad.error
        assert bad.written == ()
        names = ["a", "b", "deep/a", "deep/er/c"]
        assert files(tmp_path / "out") == sorted(f"{name}.{suffix}" for name in names for suffix in ("jpg", "json"))
        written = [str(path.relative_to(tmp_path / "out")) for result in results for path in result.written]
        assert sorted(written) == files(tmp_path / "out")

    def test_the_json_is_the_answer(self, estimator, folder, tmp_path):
        boxes = [(30.0, 10.0, 60.0, 45.0), (10.5, 5.0, 69.0, 40.0)]
        (result,) = predict_pictures(estimator, [folder / "b.PNG"], tmp_path / "out", boxes=boxes)
        read = Poses.from_json(json.loads((tmp_path / "out" / "b.json").read_text()))
        assert read.source == str(folder / "b.PNG")
        assert read.image_size == (70, 51)
        np.testing.assert_allclose(read.xy, estimator.predict(folder / "b.PNG", boxes).xy, atol=0.0051)
        np.testing.assert_allclose(read.boxes, boxes)
        np.testing.assert_array_equal(result.poses.xy, estimator.predict(folder / "b.PNG", boxes).xy)

    def test_the_drawing_is_the_picture_with_something_on_it(self, estimator, folder, tmp_path):
        list(predict_pictures(estimator, [folder / "b.PNG"], tmp_path / "out"))
        drawn, picture = read_image(tmp_path / "out" / "b.jpg"), read_image(folder / "b.PNG")
        assert drawn.shape == picture.shape
        assert np.abs(drawn.astype(int) - picture).max() > 50
        list(predict_pictures(estimator, [folder / "b.PNG"], tmp_path / "none", min_score=1.01))
        assert np.abs(read_image(tmp_path / "none" / "b.jpg").astype(int) - picture).max() < 50

    def test_drawings_may_be_left_out(self, estimator, folder, tmp_path):
        list(predict_pictures(estimator, [folder / "b.PNG"], tmp_path / "out", draw=False))
        assert files(tmp_path / "out") == ["b.json"]

    def test_without_a_folder_nothing_is_written(self, estimator, folder, tmp_path):
        before = files(tmp_path)
        results = list(predict_pictures(estimator, [folder], None))
        assert sum(result.poses is not None for result in results) == 4
        assert not any(result.written for result in results)
        assert files(tmp_path) == before

    def test_a_missing_source_stops_before_anything_is_done(self, estimator, folder, tmp_path):
        with pytest.raises(DataError, match=r"nowhere\.jpg: no such file or folder"):
            list(predict_pictures(estimator, [folder, folder / "nowhere.jpg"], tmp_path / "out"))
        assert not (tmp_path / "out").exists()

    def test_a_bad_box_is_told_for_each_picture(self, estimator, folder):
        results = list(predict_pictures(estimator, [folder / "a.jpg"], None, boxes=(900, 900, 999, 999)))
        assert "outside the picture of 70 x 50" in results[0].error

    def test_results_come_one_by_one(self, estimator, folder, tmp_path):
        results = predict_pictures(estimator, [folder], tmp_path / "out")
        next(results)
        assert files(tmp_path / "out") == ["a.jpg", "a.json"]
        results.close()

    @pytest.mark.parametrize("failing", ["write_image", "json"])
    def test_what_fails_leaves_nothing_half_written(self, estimator, folder, tmp_path, monkeypatch, failing):
        out = tmp_path / "out"
        if failing == "json":
            (out / "a.json").mkdir(parents=True)  # cannot be replaced by a file
        else:

            def fail(*_):
                raise OSError(28, "No space left on device")

            monkeypatch.setattr(module, "write_image", fail)
        results = list(predict_pictures(estimator, [folder / "a.jpg", folder / "b.PNG"], out))
        assert results[0].poses is None
        assert results[0].error
        assert results[0].written == ()
        assert not [name for name in files(out) if "tmp" in name or name.startswith(".")]
        assert (results[1].poses is None) == (failing == "write_image")


class TestSave:
    def wish(self, *save, **options):
        return Job(frozenset(save), stream={"detector": "none"}, **options)

    def test_shared_files_hold_all_pictures(self, estimator, folder, tmp_path):
        out = tmp_path / "out"
        results = list(predict_sources(estimator, folder, out, self.wish("jsonl", "csv", "coco")))
        assert files(out) == ["poses.coco-images.json", "poses.coco.json", "poses.csv", "poses.jsonl"]
        assert [bool(result.error) for result in results] == [False, False, True, False, False]
        assert [Path(p.source).name for p in read_poses(out / "poses.jsonl")] == ["a.jpg", "b.PNG", "a.jpg", "c.webp"]
        images = json.loads((out / "poses.coco-images.json").read_text())
        assert [image["id"] for image in images] == [1, 2, 4, 5]  # the third could not be read
        assert [r["image_id"] for r in json.loads((out / "poses.coco.json").read_text())] == [1, 2, 4, 5]
        assert len((out / "poses.csv").read_text().splitlines()) == 5

    def test_pictures_whose_names_are_numbers_keep_them_in_coco(self, estimator, folder, tmp_path):
        for number in ("000139", "7"):
            (tmp_path / f"{number}.jpg").write_bytes((folder / "a.jpg").read_bytes())
        list(
            predict_sources(
                estimator, [tmp_path / "000139.jpg", tmp_path / "7.jpg"], tmp_path / "out", self.wish("coco")
            )
        )
        results = json.loads((tmp_path / "out" / "poses.coco.json").read_text())
        assert [result["image_id"] for result in results] == [139, 7]

    def test_heatmaps_change_the_drawing(self, estimator, folder, tmp_path):
        for name, heatmaps in (("plain", False), ("hot", True)):
            wish = self.wish("img", heatmaps=heatmaps, min_score=1.1)
            list(predict_sources(estimator, folder / "a.jpg", tmp_path / name, wish))
        plain, hot = (read_image(tmp_path / name / "a.jpg").astype(int) for name in ("plain", "hot"))
        spot = (slice(22, 28), slice(42, 48))
        assert hot[spot][..., 0].mean() > plain[spot][..., 2].mean() - 60
        assert np.abs(hot[spot] - plain[spot]).mean() > 20

    def test_a_list_and_a_pattern(self, estimator, folder, tmp_path):
        (folder / "list.txt").write_text("a.jpg\ngone.jpg\n")
        sources = [str(folder / "list.txt"), str(folder / "deep" / "*.jpg")]
        results = list(predict_sources(estimator, sources, tmp_path / "out", self.wish("json")))
        assert ["gone.jpg: no such file" in result.error for result in results] == [False, True, False]
        assert files(tmp_path / "out") == ["a.jpg-2.json", "a.jpg.json"]  # two of one name

    def test_what_has_no_name_is_refused(self, estimator, folder):
        with pytest.raises(DataError, match=r"needs a name: give paths, and use Estimator\.stream"):
            list(predict_sources(estimator, np.zeros((5, 4, 3), np.uint8), folder / "out", self.wish("json")))


def test_real_pictures_through_the_detector(estimator, shared, tmp_path):
    """Every picture is done, with every format, and somebody is found on each."""
    pytest.importorskip("onnxruntime", reason="needs onnxruntime: pip install sadinet[onnx]")
    sources = [shared / "data" / "mpii" / "images", str(shared / "data" / "coco" / "images" / "00000000[01]*.jpg")]
    stream = {"detector": str(shared / "models" / "yolox_nano.onnx")}
    job = Job(frozenset({"img", "json", "csv", "coco"}), stream=stream)
    results = list(predict_sources(estimator, sources, tmp_path, job))
    assert len(results) > 6
    assert [result.error for result in results if result.error] == []
    assert all(result.persons for result in results[:6])
    assert len(list(tmp_path.glob("*.jpg"))) == len(list(tmp_path.glob("0*.json"))) == len(results)
    assert len(json.loads((tmp_path / "poses.coco.json").read_text())) == sum(result.persons for result in results)
    for result in results:
        assert read_image(tmp_path / f"{result.source.stem}.jpg").shape == read_image(result.source).shape


class TestResume:
    def test_only_what_is_missing_is_done(self, estimator, folder, tmp_path):
        out = tmp_path / "out"
        job = Job(frozenset({"img", "json", "csv"}), resume=True, stream={"detector": "none"})
        first = list(predict_sources(estimator, folder, out, job))
        table = (out / "poses.csv").read_text()
        assert not any(result.skipped for result in first)
        (out / "b.jpg").unlink()
        kept = (out / "a.json").stat().st_mtime_ns, (out / "deep" / "a.jpg").stat().st_mtime_ns
        again = list(predict_sources(estimator, folder, out, job))
        assert [result.skipped for result in again] == [True, False, False, True, True]
        assert [path.name for result in again for path in result.written] == ["b.jpg", "b.json"]
        assert again[2].error  # the bad one is tried again
        assert ((out / "a.json").stat().st_mtime_ns, (out / "deep" / "a.jpg").stat().st_mtime_ns) == kept
        assert (out / "poses.csv").read_text() == table  # those done before are in it

    def test_without_it_all_is_done_again(self, estimator, folder, tmp_path):
        for _ in range(2):
            results = list(predict_pictures(estimator, [folder / "a.jpg"], tmp_path / "out"))
            assert not results[0].skipped
            assert len(results[0].written) == 2


class TestCollisions:
    @pytest.fixture
    def same(self, tmp_path):
        picture = Image.new("RGB", (30, 20), "red")
        for place in ("x/a.jpg", "x/a.png", "x/a.jpg.bmp", "y/a.jpg"):
            (tmp_path / place).parent.mkdir(exist_ok=True)
            picture.save(tmp_path / place)
        return tmp_path

    def test_pictures_that_share_a_stem_keep_their_full_names(self, estimator, same):
        list(predict_pictures(estimator, [same / "x" / "a.jpg", same / "x" / "a.png"], same / "out", draw=False))
        assert files(same / "out") == ["a.jpg.json", "a.png.json"]

    def test_nothing_is_written_twice(self, estimator, same):
        sources = [same / "x", same / "y", same / "y" / "a.jpg", same / "y" / "a.jpg"]
        results = list(predict_pictures(estimator, sources, same / "out"))
        written = [path for result in results for path in result.written]
        assert len(results) == 6
        assert len(set(written)) == 12
        assert len(files(same / "out")) == 12
        for result in results:
            assert Poses.from_json(json.loads(result.written[1].read_text())).source == str(result.source)

    @pytest.mark.parametrize("link", [False, True])
    def test_a_picture_is_never_written_over_by_its_drawing(self, estimator, same, link):
        out = same / "y"
        if link:
            (same / "z").symlink_to(out)
            out = same / "z"
        before = (same / "y" / "a.jpg").read_bytes()
        with pytest.raises(DataError, match=r"a\.jpg: would be written over by its own drawing"):
            list(predict_pictures(estimator, [same / "y"], out))
        assert (same / "y" / "a.jpg").read_bytes() == before
        assert files(same / "y") == ["a.jpg"]
        list(predict_pictures(estimator, [same / "y"], out, draw=False))
        assert files(same / "y") == ["a.jpg", "a.json"]
