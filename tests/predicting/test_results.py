"""Files of poses: what goes in comes out, whole or not at all."""

import csv
import json

import numpy as np
import pytest

from sadinet.errors import DataError
from sadinet.poses import Poses, table_columns
from sadinet.predicting.results import coco_results, json_lines, read_poses, table, write_json
from sadinet.skeleton import LSP


def posed(persons, frame):
    rng = np.random.default_rng(frame)
    xy = rng.uniform(0, 90, (persons, 14, 2)).round(2)
    boxes = np.tile([1.0, 2.0, 80.0, 90.0], (persons, 1))
    score = rng.uniform(0, 1, (persons, 14)).round(4)
    return Poses(xy, score, boxes, LSP, (100, 95), "clip.mp4", ids=np.arange(persons), frame=frame, time=frame / 25)


@pytest.fixture
def clip():
    """Three frames with two, no and one person."""
    return [posed(2, 0), posed(0, 1), posed(1, 2)]


def same(a, b):
    for name in ("xy", "score", "boxes"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    assert (a.frame, a.time, a.source) == (b.frame, b.time, b.source)


def test_json_lines_come_back(clip, tmp_path):
    with json_lines(tmp_path / "deep" / "x.jsonl") as add:
        for poses in clip:
            add(poses)
        assert not (tmp_path / "deep" / "x.jsonl").exists()
    back = list(read_poses(tmp_path / "deep" / "x.jsonl"))
    for ours, theirs in zip(clip, back, strict=True):
        same(theirs, ours)


def test_json_comes_back(clip, tmp_path):
    write_json(clip[0], tmp_path / "x.json")
    (back,) = read_poses(tmp_path / "x.json")
    same(back, clip[0])


@pytest.mark.parametrize(
    ("name", "content"), [("x.json", "{"), ("x.json", "[]"), ("x.jsonl", '{"version": 9}'), ("x.json", None)]
)
def test_other_files_are_refused_by_name(tmp_path, name, content):
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=name):
        list(read_poses(tmp_path / name))


def test_a_table_has_a_row_per_person(clip, tmp_path):
    with table(tmp_path / "x.csv", LSP) as add:
        for poses in clip:
            add(poses)
    with (tmp_path / "x.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == table_columns(LSP)
    assert [(row["frame"], row["id"]) for row in rows] == [("0", "0"), ("0", "1"), ("2", "0")]
    assert float(rows[2]["neck_y"]) == clip[2].xy[0, LSP.index("neck"), 1]
    pandas = pytest.importorskip("pandas")
    read = pandas.read_csv(tmp_path / "x.csv")
    whole = pandas.concat([poses.to_dataframe() for poses in clip if len(poses)], ignore_index=True)
    np.testing.assert_array_equal(
        read.drop(columns="source").to_numpy(float), whole.drop(columns="source").to_numpy(float)
    )


@pytest.mark.parametrize("frames", [3, 0])
def test_coco_results_have_the_documented_form(clip, tmp_path, frames):
    with coco_results(tmp_path / "x.coco.json", lambda poses: 10 + poses.frame) as add:
        for poses in clip[:frames]:
            add(poses)
    results = json.loads((tmp_path / "x.coco.json").read_text())
    images = json.loads((tmp_path / "x.coco-images.json").read_text())
    if not frames:
        assert results == images == []
        return
    assert [result["image_id"] for result in results] == [10, 10, 12]
    for result in results:
        assert set(result) == {"image_id", "category_id", "keypoints", "bbox", "score"}
        assert len(result["keypoints"]) == 3 * 14
    assert results[1] == clip[0].to_coco(10)[1]
    assert images[1] == {"id": 11, "file_name": "clip.mp4", "width": 100, "height": 95, "frame": 1, "time": 0.04}


def test_an_error_on_the_way_leaves_no_file(clip, tmp_path):
    def fail(writing):
        with writing as add:
            add(clip[0])
            raise KeyError

    for writing in (
        json_lines(tmp_path / "x.jsonl"),
        table(tmp_path / "x.csv", LSP),
        coco_results(tmp_path / "x.coco.json", lambda _: 1),
    ):
        with pytest.raises(KeyError):
            fail(writing)
    assert list(tmp_path.iterdir()) == []
