"""Scores by difficulty, on persons made for it."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sadinet.breakdown import break_down, size, turn
from sadinet.cli import main
from sadinet.data.person import Person
from sadinet.geometry import Crop
from sadinet.metrics import LSP_PCK
from sadinet.report import score_persons
from sadinet.skeleton import COCO, LSP

STANDING = np.array(  # LSP's order; shoulder to opposite hip is 50 px
    [
        *((-10, 80), (-12, 60), (-15, 40), (15, 40), (12, 60), (10, 80)),
        *((-30, 40), (-25, 20), (-15, 0), (15, 0), (25, 20), (30, 40), (0, 0), (0, -25)),
    ],
    dtype=float,
)


def person(name: str, *, degrees: float = 0, scale: float = 1.0, occluded: int = 0) -> Person:
    """A standing person turned clockwise, its first keypoints occluded."""
    angle = math.radians(degrees)
    rotation = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    xy = STANDING @ rotation.T * scale + 200
    return Person(name, Path("x.png"), xy, np.ones(14, bool), np.arange(14) >= occluded, Crop((200, 200), 300.0))


@pytest.mark.parametrize("degrees", [0, 30, 90, 150, 180, -120])
def test_the_turn_is_the_angle_by_which_a_person_was_turned(degrees):
    assert turn(person("a", degrees=degrees), LSP) == pytest.approx(abs(degrees), abs=1e-9)


def test_size_and_turn_of_persons_without_labels():
    assert size(person("a", scale=2)) == 210.0
    nobody = replace(person("a"), xy=np.full((14, 2), np.nan))
    assert math.isnan(size(nobody))
    assert math.isnan(turn(nobody, LSP))
    coco = Person("c", Path("x.png"), np.zeros((17, 2)), np.ones(17, bool), np.ones(17, bool), Crop((0, 0), 1.0))
    coco.xy[[11, 12]] = (0, 10)
    assert turn(coco, COCO) == 0


PERSONS = [
    person("a/1", occluded=5),
    person("a/2", degrees=180, scale=2),
    person("b/1", degrees=90, scale=3),
    person("b/2", degrees=10, scale=4),
]


def test_groups_by_hand():
    """The first person's occluded keypoints are missed, and all of the second; nobody of b tells what is occluded."""
    predicted = np.stack([p.xy for p in PERSONS])
    predicted[0, :5] += 300
    predicted[1] += 300
    groups = {group.title: group for group in break_down(predicted, PERSONS, LSP, LSP_PCK)}
    assert list(groups) == [
        *("visible keypoints", "occluded keypoints", "upright", "lying", "upside down"),
        *("small (up to 210 px)", "middle (to 315 px)", "large (from 315 px)"),
    ]
    rows = {title: (g.persons, g.count) for title, g in groups.items()}
    assert rows["visible keypoints"] == (2, 9 + 14)
    assert rows["occluded keypoints"] == (1, 5)
    assert rows["upright"] == (2, 28)
    assert (rows["small (up to 210 px)"], rows["large (from 315 px)"]) == ((2, 28), (1, 14))
    assert groups["occluded keypoints"].mean == 0
    assert groups["upside down"].mean == 0
    assert groups["lying"].mean == 100
    hip = next(part for part in groups["upright"].parts if part.title == "Hip")
    assert (hip.percent, hip.count) == (50.0, 4)


def test_all_persons_are_in_one_turn_and_one_size():
    predicted = np.stack([p.xy for p in PERSONS])
    groups = {group.title: group for group in break_down(predicted, PERSONS, LSP, LSP_PCK)}
    for titles in (("upright", "lying", "upside down"), tuple(t for t in groups if " px" in t)):
        assert sum(groups[title].persons for title in titles) == len(PERSONS)


def test_photographs_that_stand_on_another_side_are_told_apart():
    """LSPET 408 is the photograph of LSP 1659."""
    persons = [person("lsp/im1659"), person("lsp/im1001"), person("lsp/im1002")]
    groups = {g.title: g for g in break_down(np.stack([p.xy for p in persons]), persons, LSP, LSP_PCK)}
    assert groups["photograph also elsewhere"].persons == 1
    assert groups["photograph only here"].persons == 2


def test_a_report_prints_and_writes_its_groups():
    predicted = np.stack([p.xy for p in PERSONS])
    plain = score_persons(predicted, PERSONS, LSP, LSP_PCK)
    report = replace(plain, groups=break_down(predicted, PERSONS, LSP, LSP_PCK))
    assert report.table().startswith(plain.table())
    lines = report.table().removeprefix(plain.table()).strip("\n").splitlines()
    assert lines[0].split() == ["Head", "Sho.", "Elb.", "Wri.", "Hip", "Knee", "Ank.", "Mean", "persons", "keypoints"]
    assert lines[5].split() == ["upside", "down", *["100.0"] * 8, "1", "14"]
    assert len({len(line) for line in lines}) == 1
    assert "| upside down | 100.0 |" in report.table(markdown=True)
    assert json.loads(json.dumps(report.to_json()))["groups"][0]["title"] == "visible keypoints"


def test_the_command_breaks_down(tmp_path, capsys):
    from .micro import toy_folder

    data = toy_folder(tmp_path)
    common = ["evaluate", "lsp-t", "--dataset", "toy", "--data", str(data), "--no-flip", "--quiet"]
    assert main([*common, "--breakdown", "--json"]) == 0
    groups = json.loads(capsys.readouterr().out)["groups"]
    assert sum(" px" in group["title"] for group in groups) == 3
    assert main([*common, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["groups"] == []
