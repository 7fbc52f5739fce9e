"""A data set of one's own from annotation to poses, through every command that takes one."""

import json

import numpy as np
import pytest

import sadinet
from sadinet.cli import main
from sadinet.data.splits import read_split
from sadinet.errors import ConfigError
from sadinet.metrics import BOX_PCK
from sadinet.presets import preset
from sadinet.skeleton import Skeleton

from .micro import MICRO, OWN, own_folder

CHANGES = [word for change in (*MICRO, "training.batch_size=4") for word in ("--set", change)]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with the data set ``dolls`` and a training ``run`` on it."""
    place = own_folder(tmp_path_factory.mktemp("own"))
    out = ["--out", str(place / "run"), "--device", "cpu", "-q"]
    assert main(["train", "dolls-t", "--data", str(place), *out, *CHANGES]) == 0
    return place


def test_the_experiment_is_of_the_data_s_keypoints(place):
    experiment = preset("dolls-s-rfm", place)
    assert experiment.name == "dolls-s-rfm"
    assert experiment.data.dataset == "dolls"
    assert experiment.network.keypoints == 5
    assert not experiment.network.learn_distribution
    assert experiment.skeleton == Skeleton(
        name="dolls",
        keypoints=tuple(OWN),
        edges=(("L_hand", "head"), ("head", "R_hand"), ("head", "L_foot"), ("head", "R_foot")),
        parts=(("hand", ("L_hand", "R_hand")), ("head", ("head",)), ("foot", ("L_foot", "R_foot"))),
    )
    assert experiment.skeleton.flip_index == (2, 1, 0, 4, 3)
    assert sadinet.load_checkpoint(place / "run" / "best.safetensors").experiment.skeleton == experiment.skeleton


@pytest.mark.parametrize("name", ["dolls", "dolls-x", "dolls-t-nonsense", "-t"])
def test_other_names_are_refused(place, name):
    with pytest.raises(ConfigError, match=r"FOLDER is a data set of your own in --data \(dolls-t\)"):
        preset(name, place)


def test_a_folder_that_is_not_there_is_told(place, tmp_path):
    with pytest.raises(ConfigError, match=r"no data set 'cats'; there are: .*, dolls, and any folder"):
        preset("cats-t", place)
    with pytest.raises(ConfigError, match="no experiment is called 'dolls-t'"):
        preset("dolls-t")
    (tmp_path / "my-dolls").symlink_to(place / "dolls")
    assert preset("my-dolls-t-hourglass", tmp_path).data.dataset == "my-dolls"


def test_it_is_scored_by_the_box(place, capsys, tmp_path):
    words = ["--dataset", "dolls", "--data", str(place)]
    saved = tmp_path / "saved.npz"
    assert main(["evaluate", str(place / "run"), *words, "--save", str(saved), "--breakdown", "-q", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["protocol"]["label"] == "PCK@0.05"
    assert [part["title"] for part in report["parts"]] == ["hand", "head", "foot"]
    assert report["metadata"]["data"] == "dolls/test"
    split = read_split("dolls", "test", place)
    found = np.load(saved)["xy"]
    sides = np.array([person.crop.side / 1.25 for person in split.persons])
    truth = np.stack([person.xy for person in split.persons])
    right = np.hypot(*(found - truth).transpose(2, 0, 1)) <= BOX_PCK.threshold * sides[:, None]
    assert report["mean"] == pytest.approx(100 * right.mean())
    assert report["reliability"] is not None
    assert main(["score", str(saved), *words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["mean"] == pytest.approx(report["mean"])
    assert main(["evaluate", "lsp-t", *words, "-q"]) == 2
    assert "dolls/test has the 5 keypoints of 'dolls', these weights the 14 of 'lsp'" in capsys.readouterr().err


def test_poses_have_its_names_and_sides(place, tmp_path):
    estimator = sadinet.load(place / "run", device="cpu")
    picture = place / "dolls" / "images" / "im0001.jpg"
    poses = estimator.predict(picture)
    again = sadinet.Poses.from_json(json.loads(json.dumps(poses.to_json())))
    assert again.skeleton.keypoints == tuple(OWN)
    assert again.skeleton.sides == ("left", "", "right", "left", "right")
    assert main(["predict", str(picture), "--weights", str(place / "run"), "--out", str(tmp_path), "-q"]) == 0
    (written,) = tmp_path.glob("*.json")
    assert list(json.loads(written.read_text())["people"][0]["keypoints"]) == list(OWN)
    assert list(tmp_path.glob("*.jpg"))


def test_an_export_carries_it(place, tmp_path):
    pytest.importorskip("onnxruntime")
    assert main(["export", str(place / "run"), str(tmp_path / "dolls.onnx"), "-q"]) == 0
    exported = sadinet.load(tmp_path / "dolls.onnx")
    assert exported.skeleton == preset("dolls-t", place).skeleton
    picture = place / "dolls" / "images" / "im0002.jpg"
    ours = sadinet.load(place / "run", device="cpu", backend="torch").predict(picture)
    np.testing.assert_allclose(exported.predict(picture).xy, ours.xy, atol=0.05)


def test_a_pack_stands_for_the_folder(place, tmp_path):
    pack = tmp_path / "dolls.pack"
    assert main(["data", "pack", str(place), str(pack), "--dataset", "dolls", "-q"]) == 0
    assert preset("dolls-t", pack) == preset("dolls-t", place)
    for part in ("train", "val", "test"):
        there, here = read_split("dolls", part, pack), read_split("dolls", part, place)
        assert (there.hash, there.skeleton, there.protocol) == (here.hash, here.skeleton, here.protocol)
    out = ["--out", str(tmp_path / "run"), "--device", "cpu", "-q", "--set", "training.epochs=1"]
    assert main(["train", "dolls-t", "--data", str(pack), *CHANGES, *out]) == 0
    assert main(["evaluate", str(tmp_path / "run"), "--dataset", "dolls", "--data", str(pack), "-q"]) == 0
    with pytest.raises(ConfigError, match="no data set 'cats'"):
        read_split("cats", "train", pack)


def test_weights_of_other_keypoints_are_a_start(place, tmp_path):
    changes = [*CHANGES, "--set", "training.epochs=1"]
    base = ["--data", str(place), "--device", "cpu", "-q"]
    first = place / "run" / "best.safetensors"
    assert main(["train", "dolls-t", *base, *changes, "--init", str(first), "--out", str(tmp_path / "a")]) == 0
    assert main(["train", "dolls-t", *base, *changes, "--init", "nothing", "--out", str(tmp_path / "b")]) == 2
    assert not (tmp_path / "b").exists()


def test_an_experiment_of_other_keypoints_is_refused(place, tmp_path, capsys):
    out = ["--out", str(tmp_path / "run"), "-q"]
    assert main(["train", "toy-t", "--data", str(place), "--set", "data.dataset=dolls", *out]) == 2
    assert "dolls/train has the 5 keypoints of 'dolls', the experiment 'toy-t' the 14" in capsys.readouterr().err


def test_galleries_calibrations_and_studies_take_it(place, tmp_path, capsys):
    words = ["--dataset", "dolls", "--data", str(place), "-q"]
    assert main(["gallery", str(place / "run"), *words, "--split", "val", "--out", str(tmp_path / "gallery")]) == 0
    calibrated = tmp_path / "calibrated.safetensors"
    assert main(["calibrate", str(place / "run"), str(calibrated), *words, "--split", "train"]) == 0
    assert sadinet.load(calibrated).reading.calibration is not None
    assert main(["calibrate", "lsp-t", str(calibrated), *words]) == 2
    assert "these weights the 14 of 'lsp'" in capsys.readouterr().err
    study = ["study", "ablation-iii", *words, "--rows", "hourglass", "--seeds", "0", "--out", str(tmp_path / "studies")]
    assert main([*study, "--device", "cpu", *CHANGES, "--set", "training.epochs=1"]) == 0
    assert "| Hourglass |" in capsys.readouterr().out
