"""The way a user goes: toy data, a short training, scores, poses, an export, and the same poses again."""

import json
from pathlib import Path

import numpy as np
import pytest

import sadinet
from sadinet.cli import main
from sadinet.data.splits import read_split
from sadinet.metrics import LSP_PCK
from sadinet.poses import Poses
from sadinet.reading import Reading
from sadinet.report import score_persons

MICRO = {
    "network.backbone.channels": "8,16,32,64",
    "network.backbone.blocks": "1,1,1,1",
    "network.backbone.features": "32",
    "network.fusion.features": "32",
    "network.fusion.widths": "16,32,64,128",
    "network.fusion.outputs": "128",
    "network.distribution.table_size": "33",
    "training.epochs": "2",
    "training.batch_size": "8",
    "decoding": "dark",
}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with toy data and a training ``run`` of two epochs."""
    place = tmp_path_factory.mktemp("flow")
    assert main(["data", "toy", str(place), "--count", "40", "--seed", "2"]) == 0
    changes = [word for field, value in MICRO.items() for word in ("--set", f"{field}={value}")]
    words = ["train", "toy-t", "--data", str(place), "--out", str(place / "run"), "--device", "cpu", "--quiet"]
    assert main([*words, *changes]) == 0
    return place


def test_the_training_left_what_it_should(place):
    lines = [json.loads(line) for line in (place / "run" / "log.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2]
    assert all(np.isfinite(line["loss_total"]) for line in lines)
    experiment = sadinet.load_checkpoint(place / "run" / "best.safetensors").experiment
    assert experiment.training.epochs == 2
    assert json.loads((place / "run" / "experiment.json").read_text())["training"]["batch_size"] == 8
    assert sadinet.load(place / "run", device="cpu").reading == Reading.of(experiment)


def test_it_is_not_written_over_and_goes_on_where_it_stopped(place, capsys):
    words = ["train", str(place / "run" / "experiment.json"), "--data", str(place), "--out", str(place / "run"), "-q"]
    assert main(words) == 2
    assert "--resume" in capsys.readouterr().err
    before = (place / "run" / "best.safetensors").read_bytes()
    assert main([*words, "--resume", "--device", "cpu"]) == 0  # nothing is left to do
    assert (place / "run" / "best.safetensors").read_bytes() == before


def test_saved_predictions_have_the_score_that_evaluate_printed(place, capsys, tmp_path):
    words = ["evaluate", str(place / "run"), "--dataset", "toy", "--data", str(place), "--json", "--device", "cpu"]
    assert main([*words, "--save", str(tmp_path / "x.npz")]) == 0
    printed = json.loads(capsys.readouterr().out)
    split = read_split("toy", "test", place)
    with np.load(tmp_path / "x.npz") as saved:
        report = score_persons(saved["xy"], split.persons, sadinet.LSP, LSP_PCK)
        assert tuple(saved["ids"]) == split.ids
    assert printed["persons"] == len(split) == 4
    assert printed["mean"] == report.mean
    assert [part["percent"] for part in printed["parts"]] == [part.percent for part in report.parts]


def test_a_person_s_crop_and_box_give_the_same_keypoints(place, tmp_path):
    """What `evaluate` scores is what `predict` answers for the same box."""
    words = ["evaluate", str(place / "run"), "--dataset", "toy", "--data", str(place), "--quiet", "--device", "cpu"]
    assert main([*words, "--save", str(tmp_path / "x.npz")]) == 0
    estimator = sadinet.load(place / "run", device="cpu")
    persons = read_split("toy", "test", place).persons
    with np.load(tmp_path / "x.npz") as saved:
        for person, xy in zip(persons, saved["xy"], strict=True):
            (x, y), half = person.crop.center, person.crop.side / 2
            poses = estimator.predict(person.image, (x - half, y - half, x + half, y + half), margin=1.0)
            np.testing.assert_allclose(poses.xy[0], xy, atol=0.02)


def test_exported_weights_give_the_same_poses(place, tmp_path, capsys):
    small = tmp_path / "small.safetensors"
    assert main(["export", str(place / "run"), str(small), "--half"]) == 0
    best = place / "run" / "best.safetensors"
    assert small.stat().st_size < 0.4 * best.stat().st_size
    pictures = [str(place / "toy" / "images" / f"im{number:04d}.jpg") for number in (1, 17, 40)]
    answers = []
    for weights in (best, small):
        capsys.readouterr()
        assert main(["predict", *pictures, "--weights", str(weights), "--json", "--device", "cpu"]) == 0
        answers.append([Poses.from_json(json.loads(line)) for line in capsys.readouterr().out.splitlines()])
    for ours, theirs, picture in zip(*answers, pictures, strict=True):
        assert ours.source == picture
        # A hardly trained network has maps with peaks of nearly the same height, of which rounding may choose another.
        near = np.linalg.norm(ours.xy - theirs.xy, axis=-1) < 0.02 * max(ours.image_size)
        assert near.mean() > 0.9
        np.testing.assert_allclose(theirs.score, ours.score, atol=0.01)


def test_drawn_pictures_and_files_for_a_folder(place, tmp_path, capsys):
    words = ["predict", str(place / "toy" / "images"), "--weights", str(place / "run"), "--out", str(tmp_path), "-q"]
    assert main([*words, "--device", "cpu", "--no-flip"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 40
    assert len(list(Path(tmp_path).glob("*.jpg"))) == len(list(Path(tmp_path).glob("*.json"))) == 40
