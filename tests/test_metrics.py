"""PCK, PCKh, AUC and OKS: laws, numbers to check on paper, and a slow twin."""

import math

import numpy as np
import pytest

from sadinet.errors import ConfigError, DataError
from sadinet.metrics import (
    COCO_SIGMAS,
    LSP_PCK,
    MPII_PCKH,
    auc,
    counts,
    distances,
    oks,
    pck,
    pck_by_part,
    pooled,
    torso_sizes,
)
from sadinet.skeleton import COCO, LSP, Skeleton

from .reference import metrics as slow

NAN, INF = math.nan, math.inf

HAND = np.array(  # 4 persons, 3 keypoints; the last keypoint is labelled once
    [
        [0.0, 0.5, NAN],
        [0.2, NAN, 0.3],
        [0.4, 0.1, NAN],
        [INF, 0.6, NAN],
    ]
)


@pytest.fixture
def crowd(rng):
    """Predicted, target, labelled and reference of five persons with seven keypoints: all that may happen to them."""
    target = rng.uniform(0, 100, (5, 7, 2))
    predicted = target + rng.normal(0, 15, target.shape)
    labelled = rng.random((5, 7)) < 0.8
    labelled[:, 3] = False
    target[~labelled] = NAN
    predicted[2, 4] = NAN
    reference = np.array([30.0, NAN, 2.5, 80.0, 0.0])
    return predicted, target, labelled, reference


@pytest.fixture
def rng():
    return np.random.default_rng(11)


def test_an_error_is_a_distance_in_reference_lengths():
    target = np.zeros((2, 3, 2))
    predicted = [[[3, 4], [0, 0], [NAN, 1]], [[6, 8], [1, 0], [INF, 0]]]
    labelled = [[True, False, True], [True, True, True]]
    errors = distances(predicted, target, labelled, [10, 2])
    np.testing.assert_array_equal(errors, [[0.5, NAN, INF], [5.0, 0.5, INF]])


@pytest.mark.parametrize("length", [0.0, -1.0, NAN, INF])
def test_a_person_without_a_reference_length_does_not_count(length):
    errors = distances(np.ones((2, 3, 2)), np.ones((2, 3, 2)), np.ones((2, 3), bool), [length, 1.0])
    np.testing.assert_array_equal(errors, [[NAN, NAN, NAN], [0, 0, 0]])


def test_a_prediction_absurdly_far_away_is_a_miss():
    errors = distances([[[1e308, -1e308]]], [[[-1e308, 1e308]]], [[True]], [1e-300])
    assert errors == INF


def test_unlabelled_keypoints_may_have_any_truth():
    errors = distances(np.zeros((1, 3, 2)), [[[NAN, NAN], [INF, 0], [0, 9]]], [[False, False, True]], [3.0])
    np.testing.assert_array_equal(errors, [[NAN, NAN, 3.0]])


@pytest.mark.parametrize(
    ("predicted", "target", "labelled", "reference"),
    [
        ((2, 4, 2), (2, 3, 2), (2, 3), (2,)),
        ((2, 3, 3), (2, 3, 3), (2, 3), (2,)),
        ((2, 3, 2), (2, 3, 2), (3, 2), (2,)),
        ((2, 3, 2), (2, 3, 2), (2, 3), (2, 1)),
        ((2, 3), (2, 3), (2, 3), (2,)),
    ],
)
def test_shapes_that_do_not_fit_are_refused(predicted, target, labelled, reference):
    with pytest.raises(DataError, match="do not fit together"):
        distances(np.ones(predicted), np.ones(target), np.ones(labelled, bool), np.ones(reference))


def test_a_label_without_coordinates_is_refused():
    target = np.ones((2, 3, 2))
    target[1, 2, 0] = NAN
    with pytest.raises(DataError, match="keypoint 2 of person 1 is labelled but has no coordinates"):
        distances(np.ones((2, 3, 2)), target, np.ones((2, 3), bool), np.ones(2))


def test_pck_by_hand():
    np.testing.assert_allclose(pck(HAND, 0.2), [50, 100 / 3, 0])
    np.testing.assert_allclose(pck(HAND, 0.5), [75, 200 / 3, 100])
    np.testing.assert_array_equal(counts(HAND), [4, 3, 1])


def test_the_threshold_itself_is_right():
    assert pooled(np.array([[0.5]]), 0.5) == 100
    assert pooled(np.array([[np.nextafter(0.5, 1)]]), 0.5) == 0


def test_pooled_by_hand():
    assert pooled(HAND, 0.2) == pytest.approx(100 * 3 / 8)
    assert pooled(HAND, INF) == 100


def test_what_never_counts_has_no_score():
    nothing = np.full((2, 3), NAN)
    assert np.isnan(pck(nothing, 0.5)).all()
    assert np.isnan(pck(np.zeros((0, 3)), 0.5)).all()
    assert math.isnan(pooled(nothing, 0.5))
    assert math.isnan(auc(nothing, 0.5, 4))


def test_parts_pool_their_keypoints():
    skeleton = Skeleton("bug", ("eye", "left_leg", "right_leg"), parts=(("Legs", ("left_leg", "right_leg")),))
    np.testing.assert_allclose(pck_by_part(HAND, 0.3, skeleton), [100 * 2 / 4])


def test_auc_by_hand():
    # Shares at 0, 0.25, 0.5: 1/8, 3/8 and 6/8.
    assert auc(HAND, 0.5, 2) == pytest.approx(100 * ((1 + 3) / 2 + (3 + 6) / 2) / 8 / 2)


def test_auc_ends():
    assert auc(np.zeros((2, 3)), 0.5, 50) == 100
    assert auc(np.full((2, 3), INF), 0.5, 50) == 0
    assert auc(np.array([[0.3]]), 0.5, 50) == pytest.approx(100 * (0.5 - 0.3 + 0.005) / 0.5)


@pytest.mark.parametrize(("threshold", "steps"), [(0.0, 5), (-1.0, 5), (0.5, 0)])
def test_auc_needs_a_width(threshold, steps):
    with pytest.raises(ConfigError, match="must be positive"):
        auc(HAND, threshold, steps)


def test_scaling_everything_changes_nothing(crowd):
    predicted, target, labelled, reference = crowd
    before = distances(predicted, target, labelled, reference)
    after = distances(predicted * 4 + 8, target * 4 + 8, labelled, reference * 4)
    np.testing.assert_allclose(after, before, rtol=1e-12)


def test_scores_rise_with_the_threshold(crowd):
    errors = distances(*crowd)
    rising = np.array([pck(errors, t) for t in np.linspace(0, 3, 40)])
    scored = counts(errors) > 0
    assert (np.diff(rising[:, scored], axis=0) >= 0).all()
    assert rising[0, scored].max() == 0
    assert np.isnan(rising[:, ~scored]).all()


def test_the_order_of_persons_and_keypoints_does_not_matter(crowd, rng):
    predicted, target, labelled, reference = crowd
    people, points = rng.permutation(5), rng.permutation(7)
    shuffled = (a[people][:, points] for a in (predicted, target, labelled))
    errors, other = distances(*crowd), distances(*shuffled, reference[people])
    np.testing.assert_array_equal(other, errors[people][:, points])
    np.testing.assert_array_equal(pck(other, 0.4), pck(errors, 0.4)[points])
    assert pooled(other, 0.4) == pooled(errors, 0.4)


@pytest.mark.parametrize("threshold", [0.1, 0.5, 2.0])
def test_the_slow_twin_agrees(crowd, threshold):
    errors = distances(*crowd)
    for k in range(7):
        expected = slow.share(slow.errors(*crowd, [k]), threshold)
        assert pck(errors, threshold)[k] == pytest.approx(expected, nan_ok=True)
    everything = slow.errors(*crowd, range(7))
    assert pooled(errors, threshold) == pytest.approx(slow.share(everything, threshold))
    assert auc(errors, threshold, 13) == pytest.approx(slow.area(everything, np.linspace(0, threshold, 14)))


def test_torso_is_left_shoulder_to_right_hip():
    xy = np.zeros((2, 14, 2))
    xy[:, LSP.index("left_shoulder")] = [[3, 4], [NAN, NAN]]
    np.testing.assert_array_equal(torso_sizes(xy, LSP), [5, NAN])


def test_a_set_without_torso_has_no_torso_size():
    with pytest.raises(ConfigError, match="'bug' has no torso"):
        torso_sizes(np.zeros((1, 1, 2)), Skeleton("bug", ("eye",)))


def test_protocols_say_what_they_are():
    assert LSP_PCK.describe() == (
        "PCK@0.2 (LSP): share of keypoints [%] with error <= 0.2 x torso size (true left shoulder to right hip); "
        "all 14 keypoints count, visible or not; person-centric annotations; mean of the columns."
    )
    assert MPII_PCKH.describe() == (
        "PCKh@0.5 (MPII): share of keypoints [%] with error <= 0.5 x head size (0.6 x diagonal of the annotated head "
        "box); pelvis and thorax left out, occluded keypoints count, unlabelled ones do not; mean pooled over all "
        "keypoints."
    )


def test_oks_by_hand():
    # One keypoint exact, one sqrt(2) of its "standard deviations" 2 sigma sqrt(area) away, one unlabelled.
    away = math.sqrt(2) * 2 * 0.1 * 30
    predicted = [[[5, 5], [away, 0], [70, 70]], [[NAN, 0], [0, 0], [0, 0]], [[0, 0]] * 3, [[0, 0]] * 3]
    target = [[[5, 5], [0, 0], [0, 0]], *[[[0, 0]] * 3] * 3]
    labelled = [[True, True, False], [True, True, True], [False] * 3, [True] * 3]
    similarity = oks(predicted, target, labelled, [900, 900, 900, 0], sigmas=[0.2, 0.1, 0.3])
    np.testing.assert_allclose(similarity, [(1 + math.exp(-1)) / 2, 2 / 3, NAN, NAN])


def test_oks_agrees_with_its_slow_twin(rng):
    target = rng.uniform(0, 200, (6, 17, 2))
    predicted = target + rng.normal(0, 9, target.shape)
    labelled = rng.random((6, 17)) < 0.7
    area = rng.uniform(500, 9000, 6)
    expected = [slow.similarity(*row, COCO_SIGMAS) for row in zip(predicted, target, labelled, area, strict=True)]
    np.testing.assert_allclose(oks(predicted, target, labelled, area), expected)


def test_every_coco_keypoint_has_a_sigma():
    assert len(COCO_SIGMAS) == len(COCO)
    by_name = dict(zip(COCO.keypoints, COCO_SIGMAS, strict=True))
    assert (by_name["nose"], by_name["left_hip"], by_name["right_hip"]) == (0.026, 0.107, 0.107)
    with pytest.raises(DataError, match="17 sigmas for 3 keypoints"):
        oks(np.ones((2, 3, 2)), np.ones((2, 3, 2)), np.ones((2, 3), bool), np.ones(2))
