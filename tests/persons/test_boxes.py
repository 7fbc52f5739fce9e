"""Boxes from files: every layout, COCO's corner, and what is refused."""

import json

import numpy as np
import pytest

from sadinet.errors import DataError
from sadinet.persons.boxes import boxes_of, read_boxes
from sadinet.poses import Poses
from sadinet.skeleton import LSP

A, B = [1.0, 2.0, 31.5, 42.25], [5.0, 6.0, 7.0, 8.5]


def as_lists(boxes):
    return {name: found.tolist() for name, found in boxes.items()}


@pytest.fixture
def written(tmp_path):
    """Writes a file of boxes: text as it is, anything else as JSON."""

    def written(data, name="boxes.json"):
        file = tmp_path / name
        file.write_text(data if isinstance(data, str) else json.dumps(data), "utf-8")
        return file

    return written


def poses(source, *boxes):
    shape = (len(boxes), 14)
    return Poses(np.zeros((*shape, 2)), np.ones(shape), np.array(boxes).reshape(-1, 4), LSP, (50, 60), source)


def coco(**more):
    """Picture 7 with a person, a crowd and a dog; picture 9 with nobody."""
    return {
        "images": [{"id": 7, "file_name": "train/a.jpg"}, {"id": 9, "file_name": "b.jpg"}],
        "categories": [{"id": 1, "name": "dog"}, {"id": 3, "name": "person"}],
        "annotations": [
            {"image_id": 7, "category_id": 3, "iscrowd": 0, "bbox": [10, 20, 30, 45]},
            {"image_id": 7, "category_id": 3, "iscrowd": 1, "bbox": [0, 0, 90, 90]},
            {"image_id": 7, "category_id": 1, "iscrowd": 0, "bbox": [1, 1, 2, 2]},
        ],
        **more,
    }


def test_coco_counts_from_the_corner_of_the_first_pixel(written):
    found = read_boxes(written(coco()))
    assert as_lists(found) == {"train/a.jpg": [[9.5, 19.5, 39.5, 64.5]], "b.jpg": []}
    assert found["b.jpg"].shape == (0, 4)


def test_coco_and_back(written):
    (result,) = poses("a.jpg", A).to_coco(7)
    names = {"images": [{"id": 7, "file_name": "a.jpg"}], "annotations": [result]}
    assert as_lists(read_boxes(written(names))) == {"a.jpg": [A]}


def test_what_poses_write(written):
    one, other, nobody = (p.to_json() for p in (poses("x/a.jpg", A, B), poses("b.jpg", B), poses("c.jpg")))
    assert as_lists(read_boxes(written(one))) == {"x/a.jpg": [A, B]}
    wanted = {"x/a.jpg": [A, B], "b.jpg": [B], "c.jpg": []}
    assert as_lists(read_boxes(written([one, other, nobody]))) == wanted
    lines = "\n".join(map(json.dumps, (one, other, nobody))) + "\n\n"
    assert as_lists(read_boxes(written(lines, "boxes.jsonl"))) == wanted


def test_a_mapping(written):
    assert as_lists(read_boxes(written({"a.jpg": [A, B], "b.jpg": []}))) == {"a.jpg": [A, B], "b.jpg": []}
    assert read_boxes(written({})) == {}


def test_csv(written):
    text = "score, file, x0, y0, x1, y1\n0.5, a.jpg, 1, 2, 31.5, 42.25\n, b.jpg,,,,\n1, a.jpg, 5, 6, 7, 8.5\n"
    assert as_lists(read_boxes(written(text, "boxes.csv"))) == {"a.jpg": [A, B], "b.jpg": []}
    assert as_lists(read_boxes(written("﻿file,x0,y0,x1,y1\r\nc\\d.png,5,6,7,8.5\r\n", "b.CSV"))) == {"c/d.png": [B]}


def test_real_coco(shared):
    found = read_boxes(shared / "data" / "coco" / "person_keypoints.json")
    assert (len(found), sum(map(len, found.values()))) == (60, 234)
    np.testing.assert_allclose(found["000000535506.jpg"][0], [119.96, 132.82, 332.27, 631.4], atol=1e-9)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ("{", "cannot be read"),
        ("[1, 2]", "cannot be read"),
        ("null", "cannot be read"),
        ({"a.jpg": 5}, "cannot be read"),
        ({"a.jpg": [[1, 2, 3]]}, r"'a.jpg' has a box \[1, 2, 3\], four numbers are needed"),
        ({"a.jpg": [[1, 2, 3, True]]}, "four numbers"),
        ({"a.jpg": [[1, 2, 1, 4]]}, "'a.jpg' has a box .* empty"),
        ({"a.jpg": [[1, 2, float("nan"), 4]]}, "not finite"),
        ([{"image_id": 7, "bbox": [1, 2, 3, 4]}], "knows pictures by number; put it beside images"),
        ([poses(None, A).to_json()], "without a source"),
        ([{"people": []}], "something has no 'source'"),
        (coco(images=[]), "something has no 7"),
        (coco(annotations=[{"image_id": 7, "category_id": 3}]), "something has no 'bbox'"),
    ],
)
def test_what_is_laid_out_otherwise_is_refused(written, data, why):
    file = written(data)
    with pytest.raises(DataError, match=why) as caught:
        read_boxes(file)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no column file, x0, y0, x1, y1"),
        ("file,x0,y0\na,1,2\n", "no column x1, y1 in the first line"),
        ("file,x0,y0,x1,y1\na.jpg,1,2,3\n", "cannot be read"),
        ("file,x0,y0,x1,y1\na.jpg,1,2,3,four\n", "four"),
    ],
)
def test_csv_that_is_refused(written, text, why):
    with pytest.raises(DataError, match=why):
        read_boxes(written(text, "boxes.csv"))


def test_a_missing_file(tmp_path):
    with pytest.raises(DataError, match=r"gone\.json: no such file"):
        read_boxes(tmp_path / "gone.json")
    with pytest.raises(DataError, match="cannot be read"):
        read_boxes(tmp_path)


def test_pictures_are_found_by_their_path():
    boxes = {name: np.full((1, 4), n) for n, name in enumerate(("a.jpg", "x/a.jpg", "x/b.jpg", "y/c.jpg", "z/c.jpg"))}
    assert boxes_of(boxes, "/data/x/a.jpg")[0, 0] == 1
    assert boxes_of(boxes, "/data/y/a.jpg")[0, 0] == 0
    assert boxes_of(boxes, "a.jpg")[0, 0] == 0
    assert boxes_of(boxes, "elsewhere/b.jpg")[0, 0] == 2  # the only b.jpg
    assert boxes_of(boxes, "elsewhere/c.jpg") is None  # two of them
    assert boxes_of(boxes, "d.jpg") is None
