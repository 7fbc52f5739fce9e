"""Calibrating weights: fitted on a split, stored with the weights, applied by every estimator that loads them."""

import dataclasses
import json

import numpy as np
import pytest
import torch

import sadinet
from sadinet.calibrate import calibrate, draw_reliability, judge
from sadinet.checkpoint import load_checkpoint, save_checkpoint
from sadinet.cli import main
from sadinet.data.person import head_sizes
from sadinet.data.splits import read_split
from sadinet.errors import CheckpointError, ConfigError, DataError
from sadinet.estimator import Estimator
from sadinet.geometry import Crop
from sadinet.model.network import SadiNet
from sadinet.skeleton import COCO, LSP, MPII, Skeleton

from .micro import micro, toy_folder


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return toy_folder(tmp_path_factory.mktemp("calibrate"), count=80)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(1)
    experiment = micro("network.learn_distribution=false")
    path = tmp_path_factory.mktemp("weights") / "raw.safetensors"
    save_checkpoint(path, SadiNet(experiment.network), experiment, {"epoch": 7})
    return path


def persons_of(data, count=None):
    return read_split("toy", "train", data).persons[:count]


class TestHeadSizes:
    def test_from_neck_to_head_top(self, data):
        (person,) = persons_of(data, 1)
        neck, top = person.xy[LSP.index("neck")], person.xy[LSP.index("head_top")]
        assert head_sizes([person], LSP) == pytest.approx([np.hypot(*(neck - top))])

    def test_the_data_sets_own_comes_first(self, data):
        (person,) = persons_of(data, 1)
        own = type(person)(**{**vars(person), "head_size": 12.5})
        assert head_sizes([own], LSP) == pytest.approx([12.5])

    def test_a_tenth_of_the_box_where_the_set_has_no_head(self, data):
        (person,) = persons_of(data, 1)
        window = dataclasses.replace(person, crop=Crop((3.0, 4.0), 75.0))  # around a box of 60 px
        assert head_sizes([window], COCO) == pytest.approx([6.0])

    def test_mpii_has_its_neck_by_another_name(self, data):
        (person,) = persons_of(data, 1)
        xy = np.arange(32.0).reshape(16, 2)
        other = type(person)(**{**vars(person), "xy": xy})
        assert head_sizes([other], MPII) == pytest.approx([np.hypot(2, 2)])  # channels 8 and 9


def test_scores_become_shares_of_right_keypoints(data, weights):
    checkpoint = load_checkpoint(weights)
    persons = persons_of(data)
    estimator = Estimator(checkpoint.network, checkpoint.experiment)
    found, reliability = calibrate(estimator, persons)
    peaks, right, judged = judge(estimator, persons)
    assert judged.all()
    assert found(peaks).mean() == pytest.approx(right.mean(), abs=0.02)
    assert 0 <= reliability.error <= 1
    assert sum(reliability.count) == judged.sum()


def test_command_to_prediction(data, weights, tmp_path, capsys):
    out = tmp_path / "calibrated.safetensors"
    arguments = [str(weights), str(out), "--data", str(data), "--dataset", "toy", "--split", "train"]
    assert main(["calibrate", *arguments, "--json", "--draw", str(tmp_path / "r.png")]) == 0
    said = json.loads(capsys.readouterr().out)
    checkpoint = load_checkpoint(out)
    assert checkpoint.calibration.to_json() == {key: said[key] for key in ("peak", "probability")}
    assert checkpoint.facts["epoch"] == 7
    assert "1 scale + flip" in checkpoint.facts["calibrated_on"]
    assert (tmp_path / "r.png").stat().st_size > 1000
    raw, calibrated = sadinet.load(weights), sadinet.load(out)
    (person,) = persons_of(data, 1)
    a, b = raw.predict(person.read()), calibrated.predict(person.read())
    np.testing.assert_array_equal(a.xy, b.xy)
    np.testing.assert_allclose(b.score, checkpoint.calibration(a.score), atol=1e-6)
    # Calibrating again starts from the peaks, not from the scores.
    assert main(["calibrate", str(out), str(tmp_path / "again.safetensors"), *arguments[2:], "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["peak"] == said["peak"]


def test_too_few_persons_are_refused(data, weights):
    checkpoint = load_checkpoint(weights)
    with pytest.raises(DataError, match="4 persons are too few"):
        calibrate(Estimator(checkpoint.network, checkpoint.experiment), persons_of(data, 4))


def test_persons_without_heads_are_refused(data, weights, monkeypatch):
    checkpoint = load_checkpoint(weights)
    monkeypatch.setattr("sadinet.evaluate.head_sizes", lambda persons, _: np.full(len(persons), np.nan))
    with pytest.raises(ConfigError, match="none of the 6 persons has a head size"):
        calibrate(Estimator(checkpoint.network, checkpoint.experiment), persons_of(data, 6))


def test_a_broken_calibration_is_refused(weights, tmp_path):
    checkpoint = load_checkpoint(weights)
    path = tmp_path / "broken.safetensors"
    save_checkpoint(path, checkpoint.network, checkpoint.experiment, {"calibration": {"peak": [1, 0]}})
    with pytest.raises(CheckpointError, match=r"broken\.safetensors: .*not a calibration"):
        sadinet.load(path)


def test_drawing_without_matplotlib_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    with pytest.raises(ConfigError, match=r"sadinet\[train\]"):
        draw_reliability(None, tmp_path / "x.png")


def test_a_skeleton_without_a_neck():
    assert head_sizes([], Skeleton("dog", ("nose", "tail"))).shape == (0,)


def test_evaluation_says_how_far_scores_can_be_believed(data, weights, capsys):
    assert main(["evaluate", str(weights), "--dataset", "toy", "--data", str(data), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert sum(report["reliability"]["count"]) == 14 * report["persons"]
    assert report["reliability"]["base"] <= 0.25
    assert main(["evaluate", str(weights), "--dataset", "toy", "--data", str(data), "-q"]) == 0
    assert "Scores as probabilities: 112 keypoints: expected calibration error" in capsys.readouterr().out
