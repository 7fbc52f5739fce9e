"""The answer for one picture: its shape, its JSON and its COCO form."""

import copy
import json

import numpy as np
import pytest

from sadinet.errors import DataError
from sadinet.poses import Poses
from sadinet.skeleton import COCO, LSP, MPII, SKELETONS, Skeleton

NAN = float("nan")
FACE = Skeleton("face", ("left_eye", "right_eye", "nose"), edges=(("left_eye", "nose"),))


@pytest.fixture
def poses() -> Poses:
    """Two persons of three keypoints; the first has no nose."""
    return Poses(
        xy=np.array([[[1.0, 2.25], [3.0, 4.128], [NAN, NAN]], [[50.5, 60.0], [-7.0, 8.0], [9.0, 10.0]]]),
        score=np.array([[0.5, 1.0, 0.0], [0.12345, 0.25, 0.75]]),
        boxes=np.array([[0.0, 1.0, 20.0, 31.0], [-0.5, -0.5, 99.5, 79.5]]),
        skeleton=FACE,
        image_size=(100, 80),
        source="photo.jpg",
    )


def same(a: Poses, b: Poses, atol: float = 0.0) -> bool:
    facts = (a.skeleton, a.image_size, a.source) == (b.skeleton, b.image_size, b.source)
    return facts and all(
        x.shape == y.shape and np.allclose(x, y, rtol=0, atol=atol, equal_nan=True)
        for x, y in ((a.xy, b.xy), (a.score, b.score), (a.boxes, b.boxes))
    )


def test_json_is_what_the_docstring_says(poses):
    assert poses.to_json() == {
        "version": 2,
        "source": "photo.jpg",
        "image": {"width": 100, "height": 80},
        "frame": None,
        "time": None,
        "skeleton": {
            "name": "face",
            "keypoints": ["left_eye", "right_eye", "nose"],
            "edges": [["left_eye", "nose"]],
        },
        "people": [
            {
                "id": None,
                "box": [0.0, 1.0, 20.0, 31.0],
                "keypoints": {
                    "left_eye": {"x": 1.0, "y": 2.25, "score": 0.5},
                    "right_eye": {"x": 3.0, "y": 4.13, "score": 1.0},
                    "nose": {"x": None, "y": None, "score": 0.0},
                },
            },
            {
                "id": None,
                "box": [-0.5, -0.5, 99.5, 79.5],
                "keypoints": {
                    "left_eye": {"x": 50.5, "y": 60.0, "score": 0.1235},
                    "right_eye": {"x": -7.0, "y": 8.0, "score": 0.25},
                    "nose": {"x": 9.0, "y": 10.0, "score": 0.75},
                },
            },
        ],
        "timing": None,
    }


def test_json_and_back_is_the_same_but_for_rounding(poses):
    back = Poses.from_json(json.loads(json.dumps(poses.to_json(), allow_nan=False)))
    assert same(back, poses, atol=0.005)
    assert same(Poses.from_json(back.to_json()), back)


@pytest.mark.parametrize("skeleton", SKELETONS.values(), ids=SKELETONS)
def test_a_known_skeleton_comes_back_whole(skeleton):
    back = Poses.from_json(Poses.empty(skeleton, (7, 5)).to_json())
    assert back.skeleton is skeleton


def test_a_picture_without_persons():
    empty = Poses.empty(MPII, (640, 480), source="beach.png")
    assert len(empty) == 0
    assert empty.xy.shape == (0, 16, 2)
    assert empty.to_coco(3) == []
    assert same(Poses.from_json(empty.to_json()), empty)


def test_coco_takes_keypoints_as_they_are_and_boxes_from_the_corner(poses):
    first, second = poses.to_coco(42)
    assert first == {
        "image_id": 42,
        "category_id": 1,
        "keypoints": [1.0, 2.25, 0.5, 3.0, 4.13, 1.0, 0.0, 0.0, 0.0],
        "bbox": [0.5, 1.5, 20.0, 30.0],
        "score": 0.5,
    }
    assert second["bbox"] == [0.0, 0.0, 100.0, 80.0]  # the whole picture
    assert json.loads(json.dumps(second, allow_nan=False)) == second


def test_other_number_types_become_float64():
    poses = Poses(np.ones((3, 14, 2), np.float32), np.ones((3, 14), int), [[0, 1, 2, 3]] * 3, LSP, (9, 8))  # type: ignore[arg-type]
    assert len(poses) == 3
    assert {poses.xy.dtype, poses.score.dtype, poses.boxes.dtype} == {np.dtype(np.float64)}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"xy": np.zeros((2, 4, 2))}, r"xy has shape \(2, 4, 2\), not \(2, 3, 2\)"),
        ({"xy": np.float64(3)}, "xy has shape"),
        ({"score": np.zeros((3, 2))}, r"score has shape \(3, 2\), not \(2, 3\)"),
        ({"boxes": np.zeros(4)}, r"boxes has shape \(4,\), not \(2, 4\)"),
        ({"score": np.full((2, 3), 1.01)}, r"score .* not in \[0, 1\]"),
        ({"score": np.full((2, 3), NAN)}, r"score .* not in \[0, 1\]"),
        ({"xy": np.full((2, 3, 2), NAN)}, "not finite"),
        ({"xy": np.full((2, 3, 2), np.inf), "score": np.zeros((2, 3))}, "not finite"),
        ({"boxes": np.array([[5.0, 0.0, 4.0, 9.0]] * 2)}, "x0 <= x1"),
        ({"boxes": np.full((2, 4), NAN)}, "x0 <= x1"),
        ({"image_size": (0, 5)}, "cannot be 0 x 5"),
        ({"skeleton": COCO}, r"not \(2, 17, 2\)"),
    ],
)
def test_what_does_not_fit_together_is_refused(poses, changes, message):
    fields = {name: getattr(poses, name) for name in ("xy", "score", "boxes", "skeleton", "image_size")}
    with pytest.raises(DataError, match=message):
        Poses(**fields | changes)


def broken(data: dict, path: tuple, value: object) -> dict:
    """A copy of ``data`` with another value at ``path``; without that entry if the value is ``...``."""
    changed = copy.deepcopy(data)
    inner = changed
    for step in path[:-1]:
        inner = inner[step]
    if value is ...:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return changed


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("version",), 3, "not poses of version 2 or older but 3"),
        (("version",), ..., "not poses of version 2 or older but None"),
        (("people",), ..., "poses without 'people'"),
        (("people",), 5, "not as Poses.to_json writes"),
        (("people", 0), "someone", "not as Poses.to_json writes"),
        (("people", 1, "box"), [1, 2, 3], "not as Poses.to_json writes"),
        (("people", 1, "box"), [1, 2, "3", 4], "'3' is not a number"),
        (("people", 1, "keypoints", "nose"), ..., "poses without 'nose'"),
        (("people", 1, "keypoints", "nose", "x"), True, "True is not a number"),
        (("people", 1, "keypoints", "nose", "score"), 1.5, r"contradict themselves: .* \[0, 1\]"),
        (("people", 1, "keypoints", "nose", "score"), None, "contradict themselves"),
        (("image",), [3, 4], "not as Poses.to_json writes"),
        (("image", "width"), 0, "contradict themselves"),
        (("image", "width"), float("inf"), "not as Poses.to_json writes"),
        (("skeleton", "keypoints"), ["left_eye", "nose"], "contradict themselves: .* right_eye"),
        (("skeleton", "keypoints"), [["left_eye"]], "not as Poses.to_json writes"),
        (("skeleton", "keypoints"), 3, "not as Poses.to_json writes"),
        (("source",), 7, "not as Poses.to_json writes"),
    ],
)
def test_json_of_another_kind_is_refused(poses, path, value, message):
    with pytest.raises(DataError, match=message):
        Poses.from_json(broken(poses.to_json(), path, value))


@pytest.mark.parametrize("data", [[], "poses", None, 3])
def test_json_that_is_no_object_is_refused(data):
    with pytest.raises(DataError, match=f"not poses of version 2 or older but '{type(data).__name__}'"):
        Poses.from_json(data)
