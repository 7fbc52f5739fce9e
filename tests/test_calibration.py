"""Scores as probabilities: the fit on paper, its laws, and what the reliability of scores says."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sadinet.calibration import Calibration, fit_calibration, reliability, right_keypoints
from sadinet.errors import DataError


class TestCalibration:
    def test_straight_between_knots_and_flat_beyond(self):
        calibration = Calibration((0.2, 0.6), (0.1, 0.9))
        found = calibration([[0.0, 0.2, 0.3], [0.4, 0.6, 1.5]])
        np.testing.assert_allclose(found, [[0.1, 0.1, 0.3], [0.5, 0.9, 0.9]])

    def test_json_and_back(self):
        calibration = Calibration((0.125, 0.5, 0.75), (0.0, 0.25, 1.0))
        assert Calibration.from_json(calibration.to_json()) == calibration

    @pytest.mark.parametrize(
        ("peak", "probability"),
        [
            ((), ()),
            ((0.1, 0.2), (0.5,)),
            ((0.2, 0.1), (0.3, 0.4)),
            ((0.1, 0.1), (0.3, 0.4)),
            ((0.1, 0.2), (0.4, 0.3)),
            ((0.1, 0.2), (0.4, 1.1)),
            ((0.1, float("nan")), (0.4, 0.5)),
        ],
    )
    def test_what_is_none_is_refused(self, peak, probability):
        with pytest.raises(DataError, match="a calibration"):
            Calibration(peak, probability)

    @pytest.mark.parametrize(
        "data", [{}, {"peak": [0.1]}, {"peak": 3, "probability": 4}, {"peak": ["x"], "probability": [1]}]
    )
    def test_json_of_something_else_is_refused(self, data):
        with pytest.raises(DataError, match="not a calibration"):
            Calibration.from_json(data)


class TestFit:
    def test_on_paper(self):
        # Groups of two, sorted by peak: shares 0, 1/2, 1/2 and 1 at the groups' means.
        peaks = [0.8, 0.1, 0.3, 0.2, 0.9, 0.4, 0.6, 0.5]
        right = [True, False, False, False, True, True, False, True]
        found = fit_calibration(peaks, right, knots=4)
        np.testing.assert_allclose(found.peak, [0, 0.15, 0.35, 0.55, 0.85])
        np.testing.assert_allclose(found.probability, [0, 0.0, 0.5, 0.5, 1.0])

    def test_a_fall_is_levelled(self):
        # Shares 1/2, 0, 1: the first two pool to 1/4.
        found = fit_calibration([0.1, 0.2, 0.3, 0.4, 0.5, 0.6], [1, 0, 0, 0, 1, 1], knots=3)
        np.testing.assert_allclose(found.probability, [0, 0.25, 0.25, 1.0])

    def test_equal_peaks_are_one_knot(self):
        found = fit_calibration([0.5] * 6 + [0.7] * 2, [1, 0, 0, 1, 0, 1, 1, 1], knots=4)
        assert found.peak == pytest.approx((0, 0.5, 0.7))
        assert found.probability == pytest.approx((0, 0.5, 1.0))

    def test_a_peak_of_nothing_is_worth_nothing(self):
        found = fit_calibration([0.2, 0.4], [True, True], knots=1)
        np.testing.assert_allclose(found([-1, 0, 0.15, 0.3, 1]), [0, 0, 0.5, 1, 1])
        assert fit_calibration([0.0, 0.0], [True, True], knots=1) == Calibration((0.0,), (1.0,))

    @given(st.integers(0, 2**32 - 1), st.integers(2, 9))
    def test_rises_and_keeps_the_overall_share(self, seed, knots):
        rng = np.random.default_rng(seed)
        peaks = rng.random(knots * 7)
        right = rng.random(knots * 7) < peaks**2
        found = fit_calibration(peaks, right, knots=knots)
        assert (np.diff(found.probability) >= 0).all()
        # Isotonic regression moves shares between groups but keeps their weighted mean.
        assert np.mean(found.probability[1:]) == pytest.approx(right.mean())

    def test_learns_what_the_peaks_mean(self):
        rng = np.random.default_rng(4)
        peaks = rng.random(20000)
        right = rng.random(20000) < peaks**2
        assert reliability(peaks, right).error > 0.15
        assert reliability(fit_calibration(peaks, right)(rng.random(20000)), rng.random(20000) < 0.5).error > 0.1
        fresh = rng.random(20000)
        assert reliability(fit_calibration(peaks, right)(fresh), rng.random(20000) < fresh**2).error < 0.02

    def test_too_few_are_refused(self):
        with pytest.raises(DataError, match="3 peaks and 3 answers"):
            fit_calibration([0.1, 0.2, 0.3], [True, False, True])


class TestReliability:
    def test_on_paper(self):
        found = reliability([0.1, 0.3, 0.9, 1.0], [False, True, True, True], bins=2)
        assert found.count == (2, 2)
        np.testing.assert_allclose(found.score, [0.2, 0.95])
        np.testing.assert_allclose(found.right, [0.5, 1.0])
        assert found.error == pytest.approx((2 * 0.3 + 2 * 0.05) / 4)
        assert found.brier == pytest.approx((0.01 + 0.49 + 0.01 + 0) / 4)
        assert found.base == pytest.approx(3 / 16)
        assert str(found).startswith("4 keypoints: expected calibration error 17.5 %, Brier score 0.1275 (0.1875")

    def test_empty_bins_count_nothing(self):
        found = reliability([0.05, 0.95], [False, True], bins=5)
        assert found.count == (1, 0, 0, 0, 1)
        assert found.score[1:4] == found.right[1:4] == (None, None, None)
        assert found.error == pytest.approx(0.05)

    def test_none_is_refused(self):
        with pytest.raises(DataError, match="0 scores and 0 answers"):
            reliability([], [])


def test_right_is_within_half_a_head():
    truth = np.zeros((3, 2, 2))
    xy = np.array([[[3, 4], [3, 4.1]], [[0, 0], [9, 9]], [[0, 0], [0, 0]]], dtype=float)
    labelled = np.array([[True, True], [True, False], [True, True]])
    right, judged = right_keypoints(xy, truth, labelled, [10.0, 1.0, np.nan])
    assert right.tolist() == [[True, False], [True, False], [False, False]]
    assert judged.tolist() == [[True, True], [True, False], [False, False]]
