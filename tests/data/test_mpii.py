"""Reading MPII from each of its three files: the same person must come out the same."""

import gzip
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io

from sadinet.data.mpii import RELEASE_FILE, find_mpii, read_mpii
from sadinet.errors import DataError
from sadinet.skeleton import MPII

XY = [[100.0 + 7 * k, 50.0 + 3 * k] for k in range(16)]
MISSING, OCCLUDED = 5, 2


def flat(image: str = "000111.jpg", number: int = 1, val: int = 0, **changed: Any) -> dict[str, Any]:
    """A record of mpii_annotations.json: keypoint 5 missing, keypoint 2 occluded."""
    joints = [[x, y, 1.0] for x, y in XY]
    joints[MISSING] = [0.0, 0.0, 0.0]
    joints[OCCLUDED][2] = 0.0
    record = {"img_paths": image, "people_index": float(number), "isValidation": float(val), "objpos": [150.0, 80.0]}
    return record | {"scale_provided": 1.5, "joint_self": joints} | changed


def write_json(data: Path, records: list[dict[str, Any]], name: str = "mpii_annotations.json") -> None:
    folder = data / "mpii" / "annotations"
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(records).encode()
    (folder / name).write_bytes(gzip.compress(text) if name.endswith(".gz") else text)


def write_h5(data: Path, rows: list[tuple[str, int, float, float]]) -> None:
    """A valid.h5 with rows (image, person from 0, x of the centre, head size)."""
    h5py = pytest.importorskip("h5py")
    with h5py.File(data / "mpii" / "annotations" / "valid.h5", "w") as file:
        file["imgname"] = np.array([row[0].encode() for row in rows])
        file["person"] = np.array([float(row[1]) for row in rows])
        file["center"] = np.array([[row[2], 999.0] for row in rows])
        file["normalize"] = np.array([row[3] for row in rows])


def test_a_json_person(tmp_path: Path) -> None:
    write_json(tmp_path, [flat(number=3)])
    (person,) = read_mpii(tmp_path, need_images=False)
    assert person.id == "mpii/000111#3"
    assert person.image == tmp_path / "mpii" / "images" / "000111.jpg"
    np.testing.assert_array_equal(person.xy[1], [106.0, 52.0])
    assert np.flatnonzero(~person.labelled).tolist() == [MISSING]
    assert np.isnan(person.xy[MISSING]).all()
    assert np.flatnonzero(~person.visible).tolist() == [OCCLUDED, MISSING]
    assert person.crop.center == (149.0, 79.0 + 15 * 1.5)
    assert person.crop.side == 375.0
    assert math.isnan(person.head_size)


def test_a_keypoint_on_an_axis_is_not_missing(tmp_path: Path) -> None:
    joints = flat()["joint_self"]
    joints[7] = [0.0, 61.0, 1.0]
    write_json(tmp_path, [flat(joint_self=joints)])
    (person,) = read_mpii(tmp_path, need_images=False)
    np.testing.assert_array_equal(person.xy[7], [-1.0, 60.0])


@pytest.mark.parametrize("name", ["mpii_annotations.json", "mpii_annotations.json.gz"])
def test_validation_persons_are_flagged(tmp_path: Path, name: str) -> None:
    write_json(tmp_path, [flat("a.jpg"), flat("b.jpg", val=1), flat("b.jpg", 2, val=1)], name)
    ids = {part: [p.id for p in read_mpii(tmp_path, part, need_images=False)] for part in ("all", "train", "val")}
    assert ids == {"all": ["mpii/a#1", "mpii/b#1", "mpii/b#2"], "train": ["mpii/a#1"], "val": ["mpii/b#1", "mpii/b#2"]}


def test_head_sizes_are_matched_by_image_and_centre_not_by_order(tmp_path: Path) -> None:
    records = [
        flat("a.jpg"),
        flat("b.jpg", 1, val=1, objpos=[300.0, 10.0]),
        flat("b.jpg", 2, val=1, objpos=[400.0, 10.0]),
        flat("c.jpg", 1, val=1, objpos=[500.0, 10.0]),
    ]
    write_json(tmp_path, records)
    write_h5(tmp_path, [("c.jpg", 0, 512.0, 33.0), ("b.jpg", 1, 400.0, 22.0), ("b.jpg", 0, 300.0, 11.0)])
    sizes = [p.head_size for p in read_mpii(tmp_path, need_images=False)]
    np.testing.assert_array_equal(sizes, [np.nan, 11.0, 22.0, np.nan])


def split_record(image: str, **changed: Any) -> dict[str, Any]:
    """The same person as `flat` in the form of train.json and valid.json."""
    joints = [list(xy) for xy in XY]
    joints[MISSING] = [-1.0, -1.0]
    flags = [int(k != MISSING) for k in range(16)]
    record = {"image": image, "center": [150.0, 80.0], "scale": 1.5, "joints": joints, "joints_vis": flags}
    return record | changed


def test_a_file_per_split(tmp_path: Path) -> None:
    write_json(tmp_path, [split_record("a.jpg"), split_record("a.jpg")], "train.json")
    write_json(tmp_path, [split_record("b.jpg")], "valid.json")
    write_h5(tmp_path, [("b.jpg", 0, 150.0, 44.0)])
    assert [p.id for p in read_mpii(tmp_path, "train", need_images=False)] == ["mpii/a#1", "mpii/a#2"]
    (person,) = read_mpii(tmp_path, "val", need_images=False)
    assert person.head_size == 44.0
    np.testing.assert_array_equal(person.xy[1], [106.0, 52.0])
    assert np.flatnonzero(~person.labelled).tolist() == [MISSING]
    assert person.crop.center == (149.0, 101.5)


# ---- the official release: nested structs, written with the quirks of the real file


def points(visible: dict[int, Any], ids: list[int]) -> dict[str, Any]:
    """annopoints with the keypoints ``ids``; without any ``visible`` the field is absent, as in the real file."""
    fields = ["x", "y", "id", *(["is_visible"] if visible else [])]
    array = np.zeros((1, len(ids)), dtype=[(name, object) for name in fields])
    for i, k in enumerate(ids):
        array[0, i]["x"], array[0, i]["y"], array[0, i]["id"] = XY[k][0], XY[k][1], k
        if visible:
            array[0, i]["is_visible"] = visible.get(k, np.zeros((0, 0)))
    return {"point": array}


def structs(*elements: dict[str, Any]) -> np.ndarray[Any, Any]:
    """A 1 x n struct array; absent fields are empty, as MATLAB has it."""
    names = list(dict.fromkeys(name for element in elements for name in element))
    array = np.zeros((1, len(elements)), dtype=[(name, object) for name in names])
    for i, element in enumerate(elements):
        for name in names:
            array[0, i][name] = element.get(name, np.zeros((0, 0)))
    return array


def annotated(annopoints: Any, **changed: Any) -> dict[str, Any]:
    box = {"x1": 10.0, "y1": 20.0, "x2": 40.0, "y2": 60.0}
    return box | {"annopoints": annopoints, "scale": 1.5, "objpos": {"x": 150.0, "y": 80.0}} | changed


def write_release(data: Path, images: list[tuple[str, Any]], training: list[int]) -> None:
    annolist = structs(*({"image": {"name": name}, "annorect": rects} for name, rects in images))
    folder = data / "mpii"
    folder.mkdir(parents=True)
    release = {"annolist": annolist, "img_train": np.array([training])}
    scipy.io.savemat(str(folder / RELEASE_FILE), {"RELEASE": release})


@pytest.fixture
def release(tmp_path: Path) -> Path:
    most = [k for k in range(16) if k != MISSING]
    flags: dict[int, Any] = dict.fromkeys(most, 1) | {OCCLUDED: 0, 8: np.zeros((0, 0)), 9: ""}
    texts: dict[int, Any] = dict.fromkeys(most, "1") | {OCCLUDED: "0"}
    empty = np.zeros((0, 0))
    images = [
        ("a.jpg", structs(annotated(points(flags, most)))),
        ("b.jpg", structs({"x1": 1.0}, annotated(points(texts, most)), annotated(points({}, [6])))),
        ("c.jpg", structs(annotated(empty), annotated(points(flags, most), scale=empty), annotated({"point": empty}))),
        ("d.jpg", empty),
        ("test.jpg", structs(annotated(points(flags, most)))),
    ]
    write_release(tmp_path, images, [1, 1, 1, 1, 0])
    return tmp_path


def test_the_release_gives_training_persons_with_keypoints_and_a_scale(release: Path) -> None:
    assert [p.id for p in read_mpii(release, need_images=False)] == ["mpii/a#1", "mpii/b#2", "mpii/b#3"]


def test_the_release_gives_the_same_person_as_the_json(release: Path, tmp_path: Path) -> None:
    write_json(tmp_path / "other", [flat("a.jpg")])
    (expected,) = read_mpii(tmp_path / "other", need_images=False)
    for person in read_mpii(release, need_images=False)[:2]:
        np.testing.assert_array_equal(person.xy, expected.xy)
        np.testing.assert_array_equal(person.labelled, expected.labelled)
        np.testing.assert_array_equal(person.visible, expected.visible)
        assert person.crop == expected.crop
        assert person.head_size == pytest.approx(0.6 * 50)


def test_a_single_point_without_flags_is_visible(release: Path) -> None:
    person = read_mpii(release, need_images=False)[2]
    assert np.flatnonzero(person.labelled).tolist() == [6]
    assert np.flatnonzero(person.visible).tolist() == [6]
    np.testing.assert_array_equal(person.xy[6], [141.0, 67.0])


def test_a_release_of_one_image(tmp_path: Path) -> None:
    write_release(tmp_path, [("z.jpg", structs(annotated(points({}, [0, 15]), x2=np.zeros((0, 0)))))], [1])
    (person,) = read_mpii(tmp_path, need_images=False)
    assert person.id == "mpii/z#1"
    assert math.isnan(person.head_size)


def test_the_release_needs_valid_h5_to_be_split(release: Path) -> None:
    with pytest.raises(DataError, match=r"put valid\.h5 beside"):
        read_mpii(release, "train", need_images=False)
    (release / "mpii" / "annotations").mkdir()
    write_h5(release, [("b.jpg", 1, 150.0, 77.0)])
    (release / "mpii" / "annotations" / "valid.h5").rename(release / "mpii" / "valid.h5")
    (person,) = read_mpii(release, "val", need_images=False)
    assert person.id == "mpii/b#2"
    assert person.head_size == pytest.approx(30)  # the release has its own head boxes
    # mpii/b#3 is on the picture of a validation person
    assert [p.id for p in read_mpii(release, "train", need_images=False)] == ["mpii/a#1"]


# ---- what can be wrong


def test_missing_pictures_are_counted_unless_they_are_not_needed(tmp_path: Path) -> None:
    write_json(tmp_path, [flat("a.jpg"), flat("b.jpg"), flat("b.jpg", 2), flat("c.jpg", val=1)])
    images = tmp_path / "mpii" / "images"
    images.mkdir()
    (images / "c.jpg").touch()
    with pytest.raises(DataError, match=r"3 pictures, of which 2 are missing .*: a\.jpg, b\.jpg"):
        read_mpii(tmp_path)
    assert len(read_mpii(tmp_path, "val")) == 1


def test_the_folder_itself_may_be_given(tmp_path: Path) -> None:
    write_json(tmp_path, [flat()])
    assert find_mpii(tmp_path / "mpii") == find_mpii(tmp_path) == tmp_path / "mpii" / "annotations"
    (person,) = read_mpii(tmp_path / "mpii", need_images=False)
    assert person.image == tmp_path / "mpii" / "images" / "000111.jpg"


def test_no_annotation_says_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no MPII annotation in .*mpii_annotations\.json.*bring your own copy"):
        read_mpii(tmp_path)


@pytest.mark.parametrize("records", [[flat(), flat()], [flat("a.png"), flat("a.png")]])
def test_persons_annotated_twice_are_refused(tmp_path: Path, records: list[dict[str, Any]]) -> None:
    write_json(tmp_path, records)
    with pytest.raises(DataError, match="more than once"):
        read_mpii(tmp_path, need_images=False)


@pytest.mark.parametrize(
    "changed", [{"joint_self": [[1.0, 2.0, 1.0]]}, {"objpos": [1.0]}, {"scale_provided": "big"}, {"people_index": None}]
)
def test_a_damaged_record_is_the_packages_own_error(tmp_path: Path, changed: dict[str, Any]) -> None:
    write_json(tmp_path, [flat(**changed)])
    with pytest.raises(DataError, match="record is not as expected"):
        read_mpii(tmp_path, need_images=False)


def test_a_person_without_a_window_is_named(tmp_path: Path) -> None:
    write_json(tmp_path, [flat(scale_provided=0.0)])
    with pytest.raises(DataError, match="mpii/000111#1"):
        read_mpii(tmp_path, need_images=False)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("mpii_annotations.json", b"[{"),
        ("mpii_annotations.json", b"{}"),
        ("mpii_annotations.json", b"\xff\xfe"),
        ("mpii_annotations.json.gz", b"not gzip"),
        ("mpii_annotations.json.gz", gzip.compress(b"[]" * 50)[:-9]),
        (RELEASE_FILE, b"not a MATLAB file at all" * 20),
        (RELEASE_FILE, b""),
    ],
)
def test_a_damaged_file_is_the_packages_own_error(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / "mpii").mkdir()
    (tmp_path / "mpii" / name).write_bytes(content)
    with pytest.raises(DataError, match=name):
        read_mpii(tmp_path, need_images=False)


def test_a_damaged_h5_is_the_packages_own_error(tmp_path: Path) -> None:
    pytest.importorskip("h5py")
    write_json(tmp_path, [flat()])
    (tmp_path / "mpii" / "annotations" / "valid.h5").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"valid\.h5"):
        read_mpii(tmp_path, need_images=False)


def test_real_mpii(shared: Path) -> None:
    pytest.importorskip("h5py")
    persons = read_mpii(shared / "data", need_images=False)
    assert len(persons) == len({p.id for p in persons}) == 25204
    sized = [p for p in persons if not math.isnan(p.head_size)]
    assert len(sized) == 2958
    first = next(p for p in persons if p.id == "mpii/005808361#1")
    assert first.head_size == pytest.approx(117.96219733456985)
    np.testing.assert_allclose(first.xy[MPII.index("right_ankle")], [803, 710])
