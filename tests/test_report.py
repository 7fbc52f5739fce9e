"""The score table and its JSON."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from sadinet.data.person import Person
from sadinet.errors import ConfigError, DataError
from sadinet.geometry import Crop
from sadinet.metrics import LSP_PCK, MPII_PCKH, Protocol
from sadinet.report import Report, score_persons
from sadinet.skeleton import LSP, MPII, Skeleton

NAN, INF = math.nan, math.inf

BUG = Skeleton(
    "bug",
    ("eye", "crown", "left_leg", "right_leg", "tail"),
    parts=(("Head", ("eye", "crown")), ("Leg", ("left_leg", "right_leg"))),
    unscored=("tail",),
    torso=("crown", "tail"),
)
CRAWL = Protocol("bug", "PCK", 0.5, "torso", "the tail does not count", mean="pooled")
ERRORS = np.array(  # right at 0.5: eye 2 of 3, crown 0 of 1, legs 2 of 3 and 1 of 1; the tail is left out
    [
        [0.0, NAN, 0.0, NAN, 0.0],
        [0.5, 0.9, 0.1, NAN, INF],
        [0.6, NAN, INF, 0.2, INF],
    ]
)

# AUC: on a grid of 0.01 up to 0.5, an error e below 0.5 is worth (0.5 - e + 0.005) / 0.5, an error of 0 is worth 1:
# two zeros, 0.1, 0.2 and 0.5 make 1 + 1 + 0.81 + 0.61 + 0.01 = 3.43 of 8, 42.875 %.
TABLE = """\
          Head    Leg   Mean
PCK@0.5   50.0   75.0   62.5
PCK@0.5 (bug): share of keypoints [%] with error <= 0.5 x torso size (true left shoulder to right hip); \
the tail does not count; mean pooled over all keypoints.
Means: pooled 62.50, columns 62.50, keypoints 58.33; AUC 42.88.
3 persons, 8 keypoints.
Head is eye and crown.
dataset: meadow; box: true
Note: it rained."""

MARKDOWN = """\
|  | Head | Leg | Mean |
| --- | ---: | ---: | ---: |
| PCK@0.5 | 50.0 | 75.0 | 62.5 |

- PCK@0.5 (bug): share of keypoints [%] with error <= 0.5 x torso size (true left shoulder to right hip); \
the tail does not count; mean pooled over all keypoints.
- Means: pooled 62.50, columns 62.50, keypoints 58.33; AUC 42.88.
- 3 persons, 8 keypoints.
- Head is eye and crown.
- dataset: meadow; box: true
- Note: it rained."""


@pytest.fixture
def report():
    return Report.from_distances(ERRORS, BUG, CRAWL, {"dataset": "meadow", "box": "true"}, ["it rained."])


def person(number, xy, head_size=NAN):
    xy = np.asarray(xy, dtype=float)
    labelled = np.isfinite(xy).all(1)
    return Person(f"meadow/{number}", Path("x.jpg"), xy, labelled, labelled, Crop((0, 0), 9), head_size)


def test_the_table(report):
    assert report.table() == TABLE


def test_the_table_in_markdown(report):
    assert report.table(markdown=True) == MARKDOWN


def test_the_table_of_a_set_with_the_papers_columns():
    lines = Report.from_distances(np.zeros((2, 14)), LSP, LSP_PCK).table().splitlines()
    assert lines[0].split() == ["Head", "Sho.", "Elb.", "Wri.", "Hip", "Knee", "Ank.", "Mean"]
    assert lines[1].split() == ["PCK@0.2"] + ["100.0"] * 8
    assert len(lines) == 2 + 4


def test_what_was_not_counted_is_a_dash():
    errors = ERRORS.copy()
    errors[:, :2] = NAN
    report = Report.from_distances(errors, BUG, CRAWL)
    assert report.table().splitlines()[1].split() == ["PCK@0.5", "-", "75.0", "75.0"]
    assert report.mean_parts == 75
    empty = Report.from_distances(np.zeros((0, 5)), BUG, CRAWL)
    assert empty.table().splitlines()[1].split() == ["PCK@0.5", "-", "-", "-"]


def test_shares_and_counts(report):
    assert [(p.title, p.keypoints, p.percent, p.count) for p in report.parts] == [
        ("Head", ("eye", "crown"), 50.0, 4),
        ("Leg", ("left_leg", "right_leg"), 75.0, 4),
    ]
    assert [(k.title, k.count) for k in report.keypoints] == [
        ("eye", 3),
        ("crown", 1),
        ("left_leg", 3),
        ("right_leg", 1),
    ]
    np.testing.assert_allclose([k.percent for k in report.keypoints], [200 / 3, 0, 200 / 3, 100])
    assert (report.persons, report.count) == (3, 8)


def test_the_three_means_differ_when_keypoints_are_labelled_unequally():
    errors = np.array([[0.0, 0.0, 9.0, NAN, NAN], [0.0, NAN, NAN, NAN, NAN]])
    means = {}
    for mean in ("pooled", "parts", "keypoints"):
        report = Report.from_distances(errors, BUG, Protocol("bug", "PCK", 0.5, "torso", "all", mean=mean))
        means[mean] = report.mean
    assert means == {"pooled": 75.0, "parts": 50.0, "keypoints": pytest.approx(200 / 3)}


def test_pelvis_and_thorax_are_left_out_of_mpii():
    errors = np.zeros((3, 16))
    errors[:, [MPII.index("pelvis"), MPII.index("thorax")]] = INF
    report = Report.from_distances(errors, MPII, MPII_PCKH)
    assert (report.mean_pooled, report.mean_parts, report.mean_keypoints, report.auc) == (100, 100, 100, 100)
    assert report.count == 3 * 14


def test_json_is_plain_and_complete(report):
    plain = report.to_json()
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert plain["protocol"]["label"] == "PCK@0.5"
    assert plain["protocol"]["description"] == CRAWL.describe()
    assert plain["mean"] == plain["mean_pooled"] == 62.5
    assert plain["parts"][1] == {"title": "Leg", "keypoints": ["left_leg", "right_leg"], "percent": 75.0, "count": 4}
    assert plain["metadata"] == {"dataset": "meadow", "box": "true"}
    assert plain["notes"] == ["it rained."]


def test_json_says_none_where_nothing_is_known():
    plain = Report.from_distances(np.full((2, 5), NAN), BUG, CRAWL).to_json()
    assert plain["mean"] is plain["auc"] is plain["parts"][0]["percent"] is None
    json.dumps(plain, allow_nan=False)


def test_errors_of_another_set_are_refused():
    with pytest.raises(DataError, match=r"errors \(2, 7\) are not \(N, 5\) of keypoint set 'bug'"):
        Report.from_distances(np.zeros((2, 7)), BUG, CRAWL)


def test_persons_are_measured_by_their_own_torso():
    xy = np.array([[1, 1], [0, 0], [2, 2], [NAN, NAN], [0, 10.0]])
    persons = [person(1, xy), person(2, xy * 2)]
    assert [p.xy[4, 1] - p.xy[1, 1] for p in persons] == [10, 20]
    half = np.stack([xy, xy * 2]) + np.array([[[3, 4]], [[6, 8]]])
    report = score_persons(half, persons, BUG, CRAWL)
    assert (report.mean_pooled, report.count) == (100, 6)
    assert score_persons(half + np.array([0, 0.01]), persons, BUG, CRAWL).mean_pooled == 0


def test_persons_without_a_head_size_are_left_out_and_mentioned():
    xy = np.ones((16, 2))
    persons = [person(1, xy, 4.0), person(2, xy), person(3, xy, 0.0)]
    report = score_persons(np.stack([xy, xy, xy]), persons, MPII, MPII_PCKH)
    assert (report.persons, report.count) == (3, 14)
    assert report.notes == ("2 persons without a head size are left out.",)


def test_no_reference_length_at_all_is_an_error():
    with pytest.raises(DataError, match=r"none of the 1 persons has a head size.*sadinet\[h5\]"):
        score_persons(np.ones((1, 16, 2)), [person(1, np.ones((16, 2)))], MPII, MPII_PCKH)


def test_nobody_to_score_is_an_error():
    with pytest.raises(DataError, match="no persons to score"):
        score_persons(np.ones((0, 5, 2)), [], BUG, CRAWL)


def test_a_set_without_torso_cannot_be_scored_by_it():
    with pytest.raises(ConfigError, match="no torso"):
        score_persons(np.ones((1, 1, 2)), [person(1, [[1, 1]])], Skeleton("dot", ("eye",)), CRAWL)
