"""MPII from end to end: training, validation and the benchmark's file, on made and on real pictures."""

import gzip
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io

from sadinet.cli import main
from sadinet.data.mpii import RELEASE_FILE, read_mpii
from sadinet.data.mpii_benchmark import read_mpii_test
from sadinet.errors import DataError
from sadinet.geometry import Crop
from sadinet.images import write_image
from sadinet.models import load
from sadinet.submission import save_submission, write_submission

EMPTY = np.zeros((0, 0))


def structs(*elements: dict[str, Any]) -> np.ndarray[Any, Any]:
    names = list(dict.fromkeys(name for element in elements for name in element))
    array = np.zeros((1, len(elements)), dtype=[(name, object) for name in names])
    for i, element in enumerate(elements):
        for name in names:
            array[0, i][name] = element.get(name, EMPTY)
    return array


def rect(x: float, y: float, scale: float) -> dict[str, Any]:
    return {"objpos": {"x": x, "y": y}, "scale": scale}


def cells(*numbers: list[int]) -> np.ndarray[Any, Any]:
    """A column of MATLAB cells, as the release has it."""
    array = np.empty((len(numbers), 1), dtype=object)
    for i, values in enumerate(numbers):
        array[i, 0] = np.array(values, dtype=np.float64).reshape(-1, 1)
    return array


IMAGES = [
    ("train.jpg", structs(rect(9, 9, 1.0)), 1, [1]),
    ("a.jpg", structs(rect(150, 80, 1.5), rect(60, 61, 0.5), {"scale": 2.0}), 0, [1, 2, 3]),
    ("b.jpg", structs(rect(33, 44, 0.8), rect(70, 50, 1.2)), 0, [2]),
    ("c.jpg", EMPTY, 0, []),
]


def write_release(data: Path, images: list[Any], *, single: bool = True) -> Path:
    annolist = structs(*({"image": {"name": name}, "annorect": rects} for name, rects, _, _ in images))
    release: dict[str, Any] = {"annolist": annolist, "img_train": np.array([[training for *_, training, _ in images]])}
    if single:
        release["single_person"] = cells(*(numbers for *_, numbers in images))
    (data / "mpii" / "images").mkdir(parents=True, exist_ok=True)
    scipy.io.savemat(str(data / "mpii" / RELEASE_FILE), {"RELEASE": release})
    return data


def read_back(path: Path) -> Any:
    return scipy.io.loadmat(str(path), squeeze_me=False, struct_as_record=False)["pred"]


def test_the_persons_asked_for_are_those_that_stand_apart(tmp_path):
    images = read_mpii_test(write_release(tmp_path, IMAGES), need_images=False)
    assert [(image.name, image.persons, list(image.asked)) for image in images] == [
        ("a.jpg", 3, [1, 2]),  # the third has no place
        ("b.jpg", 2, [2]),
        ("c.jpg", 0, []),
    ]
    person = images[0].asked[1]
    assert person.id == "mpii/a#1"
    assert person.crop == Crop((149.0, 79.0 + 22.5), 375.0)
    assert not person.labelled.any()


def test_without_such_a_list_everybody_with_a_place_is_asked_for(tmp_path):
    images = read_mpii_test(write_release(tmp_path, IMAGES, single=False), need_images=False)
    assert [list(image.asked) for image in images] == [[1, 2], [1, 2], []]


def test_what_is_written_is_read_back_counted_from_one(tmp_path):
    images = read_mpii_test(write_release(tmp_path, IMAGES), need_images=False)
    rng = np.random.default_rng(2)
    predicted = {p.id: rng.uniform(-5, 300, (16, 2)) for image in images for p in image.asked.values()}
    save_submission(tmp_path / "pred.mat", images, predicted)
    pred = read_back(tmp_path / "pred.mat")
    assert pred.shape == (1, 3)
    assert [str(element.image[0, 0].name[0]) for element in pred[0]] == ["a.jpg", "b.jpg", "c.jpg"]
    assert [element.annorect.shape for element in pred[0]] == [(1, 3), (1, 2), (1, 0)]
    for name, i, r in (("mpii/a#1", 0, 0), ("mpii/a#2", 0, 1), ("mpii/b#2", 1, 1)):
        points = pred[0, i].annorect[0, r].annopoints[0, 0].point[0]
        assert [int(point.id[0, 0]) for point in points] == list(range(16))
        xy = np.array([(point.x[0, 0], point.y[0, 0]) for point in points])
        np.testing.assert_allclose(xy - 1, predicted[name])
    assert pred[0, 0].annorect[0, 2].annopoints.size == pred[0, 1].annorect[0, 0].annopoints.size == 0


def test_what_is_missing_is_named(tmp_path):
    images = read_mpii_test(write_release(tmp_path, IMAGES), need_images=False)
    with pytest.raises(DataError, match="3 of 3 test persons have no finite prediction, the first: mpii/a#1"):
        save_submission(tmp_path / "pred.mat", images, {})
    with pytest.raises(DataError, match=r"2 pictures, of which 2 are missing"):
        read_mpii_test(tmp_path)
    with pytest.raises(DataError, match="needs MPII's keypoints and these weights have 'lsp'"):
        write_submission(load("lsp-t"), tmp_path, tmp_path / "pred.mat")
    (tmp_path / "mpii" / RELEASE_FILE).unlink()
    with pytest.raises(DataError, match=f"no {RELEASE_FILE} in"):
        read_mpii_test(tmp_path)
    write_release(tmp_path, IMAGES[:1])
    with pytest.raises(DataError, match="no test persons"):
        read_mpii_test(tmp_path)
    assert not (tmp_path / "pred.mat").exists()


MICRO = (
    *("network.input_size=64", "network.backbone.channels=4,8,8,16", "network.backbone.blocks=1,1,1,1"),
    *("network.backbone.features=8", "network.fusion.features=8", "network.fusion.widths=8,8,16,16"),
    *("network.fusion.outputs=16", "network.distribution.table_size=17", "network.distribution.flow_hidden=8"),
    *("training.epochs=2", "training.batch_size=2", "training.warmup_epochs=0"),
)


def walk(data: Path, out: Path, capsys: pytest.CaptureFixture[str], persons: int) -> dict[str, Any]:
    """Trains the MPII preset, scores it on the validation persons and writes a submission."""
    sets = [text for change in MICRO for text in ("--set", change)]
    run = str(out / "run")
    assert main(["train", "mpii-t", "--data", str(data), "--out", run, *sets, "--device", "cpu", "--quiet"]) == 0
    capsys.readouterr()
    assert main(["evaluate", run, "--dataset", "mpii", "--data", str(data), "--json", "--quiet"]) == 0
    report: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert main(["submission", run, "--data", str(data), "--out", str(out / "pred.mat"), "--quiet"]) == 0
    assert f"pred.mat: {persons} persons" in capsys.readouterr().out
    assert (out / "pred.mat").is_file()
    return report


def test_mpii_from_end_to_end_on_real_pictures(shared, tmp_path, capsys):
    """The six pictures at hand, all of validation persons: four are made to train, all to test."""
    pytest.importorskip("h5py")
    source = shared / "data" / "mpii"
    names = sorted(path.name for path in (source / "images").iterdir())
    if len(names) < 4:
        pytest.skip("needs some pictures of MPII")
    with gzip.open(source / "annotations" / "mpii_annotations.json.gz", "rt") as file:
        records = [record for record in json.load(file) if record["img_paths"] in names]
    for record in records:
        record["isValidation"] = float(record["img_paths"] in names[4:])
    folder = tmp_path / "mpii"
    (folder / "annotations").mkdir(parents=True)
    (folder / "images").symlink_to(source / "images")
    (folder / "annotations" / "mpii_annotations.json").write_text(json.dumps(records))
    shutil.copy(source / "annotations" / "valid.h5", folder / "annotations")
    images = [
        (r["img_paths"], structs(*[rect(*r["objpos"], r["scale_provided"])] * int(r["people_index"])), 0)
        for r in records
    ]
    release = write_release(tmp_path / "other", [(*image, [image[1].shape[1]]) for image in images])
    shutil.copy(release / "mpii" / RELEASE_FILE, folder / "annotations")
    report = walk(tmp_path, tmp_path, capsys, len(records))
    assert report["protocol"]["label"] == "PCKh@0.5"
    assert report["persons"] == len(names[4:])
    labelled = sum(int(p.labelled[[k for k in range(16) if k not in (6, 7)]].sum()) for p in read_mpii(tmp_path, "val"))
    assert report["count"] == labelled


def test_mpii_from_end_to_end_on_made_pictures(tmp_path, capsys):
    """The same without any data set: noise for pictures, keypoints at random."""
    h5py = pytest.importorskip("h5py")
    rng = np.random.default_rng(4)
    folder = tmp_path / "mpii"
    release = write_release(tmp_path, [(f"{i}.jpg", structs(rect(60, 50, 0.4)), 0, [1]) for i in range(2)])
    records = []
    for i in range(4):
        write_image(rng.integers(0, 255, (90, 120, 3), dtype=np.uint8), folder / "images" / f"{i}.jpg")
        joints = np.concatenate([rng.uniform(20, 80, (16, 2)), np.ones((16, 1))], 1).tolist()
        records.append(
            {"img_paths": f"{i}.jpg", "people_index": 1.0, "isValidation": float(i > 1), "objpos": [60.0, 50.0]}
            | {"scale_provided": 0.4, "joint_self": joints}
        )
    (folder / "annotations").mkdir()
    (folder / "annotations" / "mpii_annotations.json").write_text(json.dumps(records))
    shutil.move(str(release / "mpii" / RELEASE_FILE), folder / "annotations")
    with h5py.File(folder / "annotations" / "valid.h5", "w") as file:
        file["imgname"], file["person"] = np.array([b"2.jpg", b"3.jpg"]), np.zeros(2)
        file["center"], file["normalize"] = np.array([[60.0, 56.0]] * 2), np.array([20.0, 30.0])
    report = walk(tmp_path, tmp_path, capsys, 2)
    assert (report["persons"], report["count"]) == (2, 28)
