"""The answer for one picture: its shape, its JSON and its COCO form."""

import copy
import dataclasses
import json
import sys

import numpy as np
import pytest

from sadinet.errors import ConfigError, DataError
from sadinet.poses import Poses, table_columns
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


@pytest.fixture
def moving(poses) -> Poses:
    """The same persons, followed through a video."""
    facts = {"source": "clip.mp4", "ids": [7, 3], "frame": 12, "time": 0.48, "timing": {"read": 1.23456, "network": 20}}
    return dataclasses.replace(poses, **facts)


class TestOfVideos:
    def test_json_tells_who_and_when_and_comes_back(self, moving):
        data = moving.to_json()
        assert (data["source"], data["frame"], data["time"]) == ("clip.mp4", 12, 0.48)
        assert [person["id"] for person in data["people"]] == [7, 3]
        assert data["timing"] == {"read": 1.235, "network": 20.0}
        back = Poses.from_json(json.loads(json.dumps(data, allow_nan=False)))
        assert same(back, moving, atol=0.005)
        assert back.ids is not None
        assert back.ids.tolist() == [7, 3]
        assert (back.frame, back.time, back.timing) == (12, 0.48, data["timing"])

    def test_version_1_is_read(self, poses):
        old = poses.to_json() | {"version": 1}
        for key in ("frame", "time", "timing"):
            del old[key]
        for person in old["people"]:
            del person["id"]
        back = Poses.from_json(old)
        assert same(back, poses, atol=0.005)
        assert (back.ids, back.frame, back.time, back.timing) == (None, None, None, None)

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"ids": [1]}, r"ids has shape \(1,\), not \(2,\)"),
            ({"ids": [4, 4]}, r"same id: \[4, 4\]"),
            ({"time": NAN}, "time of a pose is nan"),
        ],
    )
    def test_nonsense_is_refused(self, moving, changes, message):
        with pytest.raises(DataError, match=message):
            dataclasses.replace(moving, **changes)

    @pytest.mark.parametrize(
        ("path", "value", "message"),
        [
            (("people", 0, "id"), 1.5, "1.5 is not a whole number"),
            (("people", 0, "id"), None, "None is not a whole number"),
            (("people", 0, "id"), 3, "contradict themselves: .* same id"),
            (("frame",), "12", "'12' is not a whole number"),
            (("time",), "late", "'late' is not a number"),
            (("timing",), [3], "not as Poses.to_json writes"),
        ],
    )
    def test_json_of_another_kind_is_refused(self, moving, path, value, message):
        with pytest.raises(DataError, match=message):
            Poses.from_json(broken(moving.to_json(), path, value))

    def test_rows(self, moving):
        columns = table_columns(FACE)
        first, second = (dict(zip(columns, row, strict=True)) for row in moving.to_rows())
        assert columns[:10] == ["source", "frame", "time", "person", "id", "x0", "y0", "x1", "y1", "score"]
        assert columns[10:13] == ["left_eye_x", "left_eye_y", "left_eye_score"]
        assert (first["source"], first["frame"], first["time"], first["person"], first["id"]) == (
            "clip.mp4",
            12,
            0.48,
            0,
            7,
        )
        assert (first["x0"], first["y1"], first["score"]) == (0.0, 31.0, 0.5)
        assert (first["right_eye_y"], first["nose_x"], first["nose_score"]) == (4.13, None, 0.0)
        assert (second["person"], second["id"], second["nose_x"]) == (1, 3, 9.0)
        assert Poses.empty(FACE, (4, 3)).to_rows() == []


class TestOtherTools:
    def test_dataframe(self, moving, poses):
        pytest.importorskip("pandas")
        table = moving.to_dataframe()
        assert table.shape == (2, 19)
        assert table["id"].tolist() == [7, 3]
        assert table["nose_x"].isna().tolist() == [True, False]
        nobody, still = Poses.empty(FACE, (4, 3)).to_dataframe(), poses.to_dataframe()
        assert nobody.shape == (0, 19)
        assert nobody.dtypes.equals(table.dtypes.where(table.columns != "source", nobody.dtypes))
        assert still["id"].isna().all()
        assert still["frame"].isna().all()

    @pytest.mark.filterwarnings("ignore")  # of supervision itself
    def test_supervision(self, moving):
        supervision = pytest.importorskip("supervision")
        points = moving.to_supervision()
        assert isinstance(points, supervision.KeyPoints)
        assert points.xy.shape == (2, 3, 2)
        np.testing.assert_allclose(points.xy[1], moving.xy[1], atol=1e-4)
        np.testing.assert_array_equal(points.xy[0, 2], [0, 0])
        np.testing.assert_array_equal(points.visible, [[True, True, False], [True, True, True]])
        np.testing.assert_allclose(points.keypoint_confidence, moving.score, atol=1e-6)
        np.testing.assert_array_equal(points.data["id"], [7, 3])
        assert Poses.empty(FACE, (4, 3)).to_supervision().xy.shape == (0, 3, 2)

    @pytest.mark.parametrize(("method", "module"), [("to_dataframe", "pandas"), ("to_supervision", "supervision")])
    def test_what_is_not_installed_is_told(self, poses, monkeypatch, method, module):
        monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(ConfigError, match=f"{method}: needs {module}: pip install {module}"):
            getattr(poses, method)()
