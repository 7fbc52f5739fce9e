"""The pure parts of the benchmark beside the peers."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from sadinet.geometry import apply, bounding_box, image_to_crop
from sadinet.skeleton import COCO, LSP

PEERS = Path(__file__).parents[2] / "benchmarks" / "peers"


@pytest.fixture
def peers(monkeypatch):
    """Imports a script of the benchmark as it stands; scripts find each other as neighbours."""
    monkeypatch.syspath_prepend(str(PEERS))
    before = set(sys.modules)

    def load(name):
        return __import__(name)

    yield load
    for name in set(sys.modules) - before:
        if str(PEERS) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def test_movenet_answers_in_shares_y_first(peers):
    litert = peers("litert")
    output = np.zeros((1, 1, 17, 3), np.float32)
    output[0, 0, COCO.index("left_wrist")] = (0.25, 0.75, 0.9)  # y, x, score
    xy = litert.movenet_keypoints(output)
    assert xy.shape == (14, 2)
    assert xy[LSP.index("left_wrist")].tolist() == [0.75 * 192 - 0.5, 0.25 * 192 - 0.5]
    assert np.isnan(xy[[LSP.index("neck"), LSP.index("head_top")]]).all()
    assert np.isfinite(xy[:12]).all()


def test_blazepose_answers_in_pixels_x_first(peers):
    litert = peers("litert")
    output = np.arange(195, dtype=np.float32)[None]
    xy = litert.blazepose_keypoints(output)
    # The published numbers of the landmarks.
    known = {"left_shoulder": 11, "right_shoulder": 12, "left_elbow": 13, "right_elbow": 14, "left_wrist": 15}
    known |= {"right_wrist": 16, "left_hip": 23, "right_hip": 24, "left_knee": 25, "right_knee": 26}
    known |= {"left_ankle": 27, "right_ankle": 28}
    for name, number in known.items():
        assert xy[LSP.index(name)].tolist() == [5 * number - 0.5, 5 * number + 0.5]
    assert len(known) == 12
    assert np.isnan(xy[12:]).all()
    assert len(litert.BLAZEPOSE) == len(set(litert.BLAZEPOSE)) == 33


def test_the_mean_over_limbs_leaves_the_head_out_and_weighs_by_count(peers):
    page = peers("page")
    shares = dict(zip(page.COLUMNS, (0.0, 90.0, 80.0, 70.0, 60.0, 50.0, 40.0), strict=True))
    assert page.limb_mean(shares, dict.fromkeys(page.COLUMNS, 20)) == 65.0
    assert page.limb_mean(shares, dict.fromkeys(page.COLUMNS, 1) | {"Sho.": 5}) == (5 * 90 + 300) / 10
    assert tuple(title for title, _ in LSP.parts) == page.COLUMNS


def test_boxes_are_chosen_by_overlap_or_by_place(peers):
    boxes = peers("boxes")
    truth = np.array([10.0, 10.0, 20.0, 30.0])
    detected = np.array([[40.0, 10.0, 60.0, 50.0], [11.0, 10.0, 20.0, 30.0], [10.0, 10.0, 15.0, 30.0]])
    assert boxes.overlaps(detected, truth).tolist() == [0.0, 0.9, 0.5]
    assert boxes.matched(detected, truth).tolist() == detected[1].tolist()
    assert boxes.central(detected, 101, 61).tolist() == detected[0].tolist()
    asked = {"truth": truth, "detected": detected, "width": 101, "height": 61}
    assert boxes.choose("truth", **asked).tolist() == truth.tolist()
    assert boxes.choose("whole", **asked).tolist() == [-0.5, -0.5, 100.5, 60.5]
    assert {rule: bool(np.isfinite(boxes.choose(rule, **asked)).all()) for rule in boxes.RULES} == dict.fromkeys(
        boxes.RULES, True
    )


def test_nobody_detected_is_no_box(peers):
    boxes = peers("boxes")
    truth, nobody = np.array([0.0, 0.0, 9.0, 9.0]), np.zeros((0, 4))
    assert np.isnan(boxes.matched(nobody, truth)).all()
    assert np.isnan(boxes.matched(np.array([[20.0, 0.0, 30.0, 9.0]]), truth)).all()  # somebody else
    assert np.isnan(boxes.central(nobody, 30, 20)).all()


def test_a_whole_picture_gets_no_margin(peers):
    boxes = peers("boxes")
    box = np.array([0.0, 0.0, 10.0, 30.0])
    margins = boxes.Margins(tight=1.5, detected=1.25)
    sides = {rule: boxes.crop_around(box, rule, margins).side for rule in boxes.RULES}
    assert sides == {"truth": 45.0, "matched": 37.5, "central": 37.5, "whole": 30.0}
    assert boxes.crop_around(box, "central", margins).center == (5, 15)


@pytest.mark.parametrize("turn", [0, 40, 90, 200])
def test_upright_crops_show_the_torso_upright_and_all_of_it(peers, turn):
    boxes = peers("boxes")
    angle = np.radians(turn)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    standing = np.array([[-20.0, 0.0], [20.0, 0.0], [-12.0, 60.0], [14.0, 60.0], [3.0, 130.0], [1.0, -30.0]])
    xy = standing @ rotation.T + [300.0, 200.0]
    crop = boxes.upright(xy, [(0, 1), (2, 3)], 1.25)
    shown = apply(image_to_crop(crop, 100), xy)
    shoulders, hips = shown[:2].mean(0), shown[2:4].mean(0)
    assert shoulders[1] < hips[1]
    assert shoulders[0] == pytest.approx(hips[0])
    low, high = np.split(bounding_box(shown), 2)
    assert ((low + high) / 2).tolist() == pytest.approx([49.5, 49.5])
    assert (high - low).max() == pytest.approx(100 / 1.25)


def test_turns_become_a_median_a_spread_and_a_ratio_within_rounds(peers):
    race = peers("race")
    got = race.summarize({0: 30.0, 1: 10.0, 4: 20.0, 7: 50.0}, {0: 10.0, 1: 10.0, 4: 5.0})
    assert got == {"ms": 25.0, "low": 10.0, "high": 50.0, "ratio": 3.0, "turns": 4}
    assert race.summarize({3: 2.0}, None)["ratio"] is None


class FakeWorker:
    def __init__(self, name, ms):
        self.name, self.ms, self.asked = name, ms, 0

    def ask(self, batch, seconds):
        assert seconds <= 0.3
        self.asked += 1
        return {"ms": self.ms * batch, "calls": 1, "peak_mb": 7.0}


def test_rounds_ask_everyone_and_the_reference_always(peers, monkeypatch):
    import random

    race = peers("race")
    clock = iter(range(10_000))
    monkeypatch.setattr(race.time, "sleep", lambda _: None)
    monkeypatch.setattr(race.time, "perf_counter", lambda: float(next(clock)))  # every turn takes a second
    lanes = [race.Lane(FakeWorker("a", 1.0)), race.Lane(FakeWorker("reference", 2.0))]
    lanes[0].spent = -2.0  # it has two turns more to go
    limits = {"least": 3, "most": 50, "reference": "reference"}
    race.run_phase(lanes, 4, 8.0, **limits, order=random.Random(0))
    assert [lane.worker.asked for lane in lanes] == [6, 6]
    assert lanes[0].turns == dict.fromkeys(range(6), 4.0)
    assert lanes[1].turns.keys() == lanes[0].turns.keys()


def test_who_fails_leaves_the_race_alone(peers, monkeypatch):
    import random

    race = peers("race")
    monkeypatch.setattr(race.time, "sleep", lambda _: None)

    class Broken(FakeWorker):
        def ask(self, *_, **__):
            raise race.Failed("out of memory")

    lanes = [race.Lane(FakeWorker("a", 1.0)), race.Lane(Broken("b", 1.0))]
    race.run_phase(lanes, 1, 0.0, least=3, most=9, reference="a", order=random.Random(0))
    assert len(lanes[0].turns) == 3
    assert (lanes[1].turns, lanes[1].failed) == ({}, "out of memory")


ACCURACY = {
    "facts": {"persons": "3", "detector": "a magnifier"},
    "skipped": ["a"],
    "rows": [
        {"model": "Peer", "key": "peer", "kind": "peer", "boxes": "truth", "test": "1 scale", "mean": None}
        | {
            "limbs": 55.0,
            "columns": {"Head": None, "Sho.": 1, "Elb.": 2, "Wri.": 3, "Hip": 4, "Knee": 5, "Ank.": 6.25},
        },
        {"model": "we", "key": "we", "kind": "ours", "boxes": "truth", "test": "1 scale", "mean": 61.0, "limbs": 60.5}
        | {"columns": {"Head": 64, "Sho.": 1, "Elb.": 2, "Wri.": 3, "Hip": 4, "Knee": 5, "Ank.": 6}},
        {"model": "we", "key": "we", "kind": "ours", "boxes": "whole", "test": "1 scale", "mean": 1.0, "limbs": 2.0}
        | {"columns": {"Head": 0, "Sho.": 0, "Elb.": 0, "Wri.": 0, "Hip": 0, "Knee": 0, "Ank.": 0}},
    ],
}
RACE = {
    "reference": "Peer",
    "threads": [1],
    "batches": [1, 16],
    "facts": {"machine": "a toaster"},
    "rows": [
        {"model": "we", "engine": "torch", "kind": "ours", "input": 64, "file_mb": 1.5, "scored_as": "we"}
        | {"startup": {"1": 1.25}, "times": {"1/1": {"ms": 12.5, "low": 11, "high": 14, "ratio": 2.5, "peak_mb": 300}}},
        {"model": "Peer", "engine": "LiteRT", "kind": "peer", "input": 192, "file_mb": 2.0, "scored_as": "peer"}
        | {"startup": {}, "times": {"1/1": {"ms": 5.0, "low": 5, "high": 5, "ratio": 1.0, "peak_mb": 60}}},
        {"model": "old", "engine": "torch", "kind": "rebuilt", "input": 256, "file_mb": 9.0, "scored_as": None}
        | {"startup": {}, "times": {}},
    ],
    "skipped": [{"model": "old", "engine": "torch", "reason": "no time"}],
}


def test_the_table_of_accuracies_puts_the_best_first_and_dashes_where_nothing_is(peers):
    lines = peers("page").accuracy_table(ACCURACY, ["truth"]).splitlines()
    assert lines[0].startswith("|  | test | Head | Sho. |")
    assert lines[2] == "| **we** | 1 scale | 64.0 | 1.0 | 2.0 | 3.0 | 4.0 | 5.0 | 6.0 | 61.0 | **60.5** |"
    assert lines[3] == "| Peer | 1 scale | – | 1.0 | 2.0 | 3.0 | 4.0 | 5.0 | 6.2 | – | **55.0** |"
    assert len(lines) == 4
    assert "| whole picture |" in peers("page").accuracy_table(ACCURACY, ["matched", "whole"])


def test_the_table_of_times_joins_accuracy_where_there_is_one(peers):
    page = peers("page")
    lines = page.race_table(page.joined(RACE, ACCURACY)).splitlines()
    assert lines[0].split(" | ")[-1] == "time / Peer |"
    assert lines[2] == "| Peer | LiteRT | 55.0 | 5.0 (5.0 to 5.0) | – | 1.00 |"
    assert lines[3] == "| **we** | torch | 60.5 | 12.5 (11.0 to 14.0) | – | 2.50 |"
    assert lines[4] == "| old | torch | – | – | – | – |"
    assert page.resources_table(RACE).splitlines()[2] == "| **we** | torch | 64 | 1.5 | 1.2 | 300 | – |"
    assert page.skipped_list(RACE) == "- old, torch: no time"
    assert page.facts_list(RACE) == "- machine: a toaster"


def test_every_mark_of_the_page_names_a_table(peers):
    marks = re.findall(r"<!-- table (\S+) (\S+) -->", (PEERS / "README.md").read_text("utf-8"))
    made = {"peers_accuracy.json": ACCURACY, "race.json": peers("page").joined(RACE, ACCURACY)}
    assert {name for name, _ in marks} == set(peers("page").TABLES)
    assert all(peers("page").TABLES[name](made[file]) for name, file in marks)


def test_the_plot_is_drawn_with_and_without_accuracy(peers, tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: pip install sadinet[train]")
    plot, page = peers("plot"), peers("page")
    assert [p["limbs"] for p in plot.points(page.joined(RACE, ACCURACY))] == [60.5, 55.0]
    for accuracy in (ACCURACY, None):
        plot.draw(page.joined(RACE, accuracy), tmp_path / "race.svg")
        assert {">we<", ">Peer<"} <= set(re.findall(r">\w+<", (tmp_path / "race.svg").read_text("utf-8")))


def test_earlier_rows_stay_unless_measured_again(peers):
    accuracy = peers("accuracy")
    again = {"facts": {"persons": "3", "detector": "not used"}, "rows": [ACCURACY["rows"][1] | {"limbs": 99.0}]}
    merged = accuracy.merge(ACCURACY, again | {"skipped": ["b"]})
    assert [(row["key"], row["boxes"], row["limbs"]) for row in merged["rows"]] == [
        ("peer", "truth", 55.0),
        ("we", "whole", 2.0),
        ("we", "truth", 99.0),
    ]
    assert merged["facts"]["detector"] == "a magnifier"
    assert merged["skipped"] == ["a", "b"]


def test_rows_of_other_persons_are_not_kept(peers, tmp_path):
    accuracy = peers("accuracy")
    out = tmp_path / "out.json"
    arguments = accuracy.parse(["data", "models", "--keep", "--out", str(out)])
    assert accuracy.earlier(arguments, "3") is None
    out.write_text(json.dumps(ACCURACY))
    assert accuracy.earlier(arguments, "3") == ACCURACY
    with pytest.raises(accuracy.SadinetError, match="of 3, not of 4"):
        accuracy.earlier(arguments, "4")


def test_keypoints_of_those_without_a_box_are_missing(peers):
    accuracy = peers("accuracy")

    class Person:
        def read(self):
            return np.zeros((8, 8, 3), np.uint8)

    class Corner:
        def keypoints(self, persons):
            for image, crop in persons:
                assert image.shape == (8, 8, 3)
                yield np.full((14, 2), crop.side), None

    crops = [None, accuracy.Crop((3.0, 3.0), 5.0), None]
    xy = accuracy.find_keypoints(Corner(), [Person()] * 3, crops.__getitem__)
    assert np.isnan(xy[[0, 2]]).all()
    assert (xy[1] == 5).all()


def test_results_hold_no_paths_of_a_machine():
    for file in (PEERS.parent / "results").glob("*.json"):
        assert not [line for line in json.dumps(json.loads(file.read_text("utf-8"))).split('"') if line.startswith("/")]
