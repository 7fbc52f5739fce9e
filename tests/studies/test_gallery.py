"""Galleries of hard persons: who is chosen, and what is drawn."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sadinet.checkpoint import save_checkpoint
from sadinet.cli import main
from sadinet.data.splits import read_split
from sadinet.errors import ConfigError, DataError
from sadinet.estimator import Estimator
from sadinet.geometry import image_to_crop
from sadinet.images import read_image, warp
from sadinet.model.network import SadiNet
from sadinet.models import load
from sadinet.presets import preset
from sadinet.studies.gallery import ask, check, choose, draw_heatmaps, short_names, write_gallery

from ..micro import toy_folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_folder(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="module")
def split(data):
    return read_split("toy", "val", data)


@pytest.fixture(scope="module")
def answers(split):
    return [ask("lsp-t", load("lsp-t", flip=False), split)]


def test_the_share_found_is_counted(split, answers):
    (answer,) = answers
    assert answer.xy.shape == (len(split), 14, 2)
    for errors, found in zip(answer.errors, answer.found, strict=True):
        assert found == pytest.approx(100 * np.mean(errors[~np.isnan(errors)] <= 0.2))


def test_the_hardest_are_chosen_by_each_rule(split, answers):
    persons = list(split.persons)
    persons[2] = replace(persons[2], visible=np.arange(14) > 4)
    persons[1] = replace(persons[1], visible=np.arange(14) > 1, xy=persons[1].xy * (1, -1))
    found = np.array([50.0, np.nan, 20, 20])
    errors = np.full((4, 14), 0.1)
    errors[3] = 5
    errors[1] = np.nan
    answer = replace(answers[0], found=found, errors=errors)
    assert choose("worst", persons, [answer], 9) == [3, 2, 0]
    assert choose("worst", persons, [answer], 1) == [3]
    assert choose("occluded", persons, [answer], 9)[:2] == [2, 1]
    assert choose("upside-down", persons, [answer], 9) == [1]


def test_the_pictures_have_a_column_per_person_and_a_row_per_weights(split, answers, tmp_path):
    both = [*answers, replace(answers[0], name="runs/other")]
    written = write_gallery(split, both, tmp_path, rules=("worst",), count=2, heatmaps=True, side=96)
    assert [path.name for path in written] == [
        *("worst.jpg", "worst-heatmaps-1.jpg", "worst-heatmaps-2.jpg", "gallery.json"),
    ]
    assert read_image(written[0]).shape == (3 * (96 + 18), 2 * 96, 3)
    listed = json.loads(written[-1].read_text())
    assert listed["persons_hash"] == split.hash
    first, second = (next(iter(entry["found"].values())) for entry in listed["worst"])
    assert first <= second
    assert set(listed["worst"][0]["found"]) == {"lsp-t", "runs/other"}


def test_photographs_can_be_left_out(split, answers, tmp_path):
    (sheet, _) = write_gallery(split, answers, tmp_path, rules=("worst",), count=2, photographs=False, side=96)
    cells = read_image(sheet)[18 : 18 + 96].reshape(-1, 3).astype(int)
    plain = (np.abs(cells - 72) < 4).all(1).mean()
    assert 0.5 < plain < 1  # grey, and sticks on it


def test_heatmaps_without_the_photograph_lie_on_the_labelled_figure(split, answers):
    person, side = split.persons[0], 160
    picture = draw_heatmaps(person, answers, photographs=False, side=side)
    seen = draw_heatmaps(person, answers, side=side)
    assert picture.shape == seen.shape
    cell, other = (p[36 : 36 + side, 2 * side : 3 * side].astype(int) for p in (picture, seen))
    plain = (np.abs(cell - round(0.6 * 72)) < 4).all(2)
    assert 0.5 < plain.mean() < 1
    assert (np.abs(other - round(0.6 * 72)) < 4).all(2).mean() < 0.5  # where the photograph was


def test_a_heatmap_is_yellow_at_its_peak(split, answers):
    """The last keypoint's cell is the last of the second block."""
    person, side = split.persons[0], 160
    picture = draw_heatmaps(person, answers, side=side)
    assert picture.shape == (2 * (18 + 18 + side), 8 * side, 3)
    cell = picture[-side:, -side:].astype(int)
    size = answers[0].estimator.input_size
    crop = warp(person.read(), image_to_crop(person.crop, size), size)[None]
    heatmap = answers[0].estimator.heatmaps(crop)[0, -1]
    y, x = divmod(int(heatmap.argmax()), heatmap.shape[1])
    scale = side / heatmap.shape[1]
    around = cell[int((y + 0.5) * scale), int((x + 0.5) * scale)]
    assert around[0] > 230
    assert around[1] > 180
    assert around[2] < 90


def test_weights_that_do_not_fit_are_refused(split):
    experiment = preset("toy-t-regression")
    with pytest.raises(ConfigError, match="r regresses a mean and draws no heatmaps"):
        check("r", Estimator(SadiNet(experiment.network), experiment), split, heatmaps=True)
    other = preset("mpii-t-rfm")
    with pytest.raises(DataError, match="toy/val has the 14 keypoints of 'lsp', m the 16 of 'mpii', with pelvis"):
        check("m", Estimator(SadiNet(other.network), other), split)


def test_weights_are_refused_before_any_are_asked(data, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("sadinet.studies.gallery.predict_persons", lambda *_, **__: pytest.fail("asked"))
    other = preset("mpii-t-rfm")
    save_checkpoint(tmp_path / "m.safetensors", SadiNet(other.network), other)
    where = ["--dataset", "toy", "--data", str(data), "--out", str(tmp_path / "gallery"), "-q"]
    assert main(["gallery", "lsp-t", str(tmp_path / "m.safetensors"), *where]) == 2
    assert "m.safetensors the 16 of 'mpii'" in capsys.readouterr().err
    assert not (tmp_path / "gallery").exists()


def test_the_command_draws(data, tmp_path, capsys):
    out = tmp_path / "gallery"
    common = ["--dataset", "toy", "--data", str(data), "--out", str(out), "--count", "1", "--no-flip", "-q"]
    assert main(["gallery", "lsp-t", "lsp-t", *common]) == 0
    paths = capsys.readouterr().out.split()
    assert str(out / "worst.jpg") in paths
    assert all(Path(path).is_file() for path in paths)
    assert main(["gallery", "lsp-t", *common, "--heatmaps", "--no-photographs"]) == 0
    assert (out / "worst-heatmaps-1.jpg").is_file()


def test_weights_of_one_name_are_told_apart_by_their_folders():
    assert short_names(["runs/iv/rfm/seed-0", "lsp-t", "runs/iv/hourglass/seed-0"]) == [
        *("rfm/seed-0", "lsp-t", "hourglass/seed-0")
    ]
    assert short_names(["runs/best.safetensors"]) == ["best.safetensors"]
    assert short_names(["a/x", "a/x"]) == ["x", "x"]
