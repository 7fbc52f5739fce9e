"""Smoothing: laws, slow twins, and how much tremor goes for how much lag."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sadinet.errors import ConfigError, DataError
from sadinet.persons.smooth import OneEuroFilter, jitter, smooth_persons, smooth_track

from ..reference import smooth as slow

SIZE = 200.0
BOX = np.array([[10.0, 20.0, 90.0, 20.0 + SIZE]])
FRAME = 1 / 30


def through(smoother, xy, times, score=None, box=BOX):
    """One person ``(T, K, 2)`` through a filter."""
    score = np.ones(xy.shape[:2]) if score is None else score
    steps = zip(xy, score, times, strict=True)
    return np.stack([smoother.update(at[None], s[None], box, [5], time=t)[0] for at, s, t in steps])


def irregular(count, seed):
    return np.cumsum(np.random.default_rng(seed).uniform(0.01, 0.08, count))


def walk(times, rng, noise=0.0):
    """Four keypoints that swing 40 px once a second around a body that goes 60 px a second."""
    phase = np.arange(4)
    x = 100 + 60 * times[:, None] + 40 * np.sin(2 * np.pi * times[:, None] + phase)
    y = 300 + 15 * np.cos(2 * np.pi * times[:, None] + phase)
    xy = np.stack([x, y], -1)
    return xy + rng.normal(0, noise, xy.shape)


class TestOneEuro:
    @pytest.mark.parametrize("seed", range(3))
    def test_as_the_slow_twin(self, seed):
        times = irregular(50, seed)
        xy = np.cumsum(np.random.default_rng(seed).normal(0, 9, (50, 3, 2)), 0)
        found = through(OneEuroFilter(min_cutoff=0.7, beta=3.0, speed_cutoff=1.3), xy, times)
        for k in range(3):
            np.testing.assert_allclose(found[:, k], slow.one_euro(xy[:, k], times, SIZE, 0.7, 3.0, 1.3), atol=1e-9)

    def test_hand_numbers(self):
        smoother = OneEuroFilter(min_cutoff=1 / (2 * np.pi), beta=0, sure=0.5)  # a time constant of one second
        xy = np.array([[[10.0, 0.0]], [[20.0, 40.0]], [[20.0, 40.0]]])
        found = through(smoother, xy, [0.0, 0.25, 0.5], np.array([[1.0], [1.0], [0.25]]))
        # gains 0.25 / 1.25 = 0.2, and half of that where the score is half of what counts in full
        np.testing.assert_allclose(found[:, 0], [[10, 0], [12, 8], [12.8, 11.2]])

    def test_who_rests_stays(self):
        xy = np.full((20, 3, 2), 7.25)
        np.testing.assert_allclose(through(OneEuroFilter(), xy, np.arange(20) * FRAME), xy, atol=1e-12)

    @pytest.mark.parametrize("speed", [0.1, 0.5, 2.0, 10.0])
    def test_the_lag_of_even_motion_is_as_promised(self, speed):
        smoother = OneEuroFilter(min_cutoff=1.0, beta=10.0)
        times = np.arange(4000) / 400
        xy = np.zeros((len(times), 1, 2)) + (times * speed * SIZE)[:, None, None] * (0.6, -0.8)
        lag = np.linalg.norm(xy[-1, 0] - through(smoother, xy, times)[-1, 0]) / SIZE
        assert lag == pytest.approx(speed / (2 * np.pi * (1.0 + 10.0 * speed)), rel=1e-3)
        assert lag < 1 / (2 * np.pi * 10.0)

    def test_a_step_is_followed_without_overshoot(self):
        times = np.arange(60) * FRAME
        xy = np.where(times[:, None, None] < 1, 0.0, 100.0) + np.zeros((60, 1, 2))
        found = through(OneEuroFilter(), xy, times)[:, 0, 0]
        assert (np.diff(found) >= 0).all()
        assert found[29] == 0
        assert found[30] > 30  # at once a good part of the way
        assert found[35] > 95  # within 0.2 s
        assert found[-1] <= 100

    @settings(max_examples=30, deadline=None)
    @given(st.floats(0.01, 100), st.floats(0, 6.3), st.floats(-1000, 1000))
    def test_neither_scale_nor_direction_nor_place_matters(self, scale, turn, shift):
        rng = np.random.default_rng(4)
        times = irregular(30, 4)
        xy = walk(times, rng, 3.0)
        rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        box = np.array([[0, 0, 30, SIZE * scale]])
        if SIZE * scale < 30:
            box[0, 2] = SIZE * scale / 2
        moved = through(OneEuroFilter(), xy @ rotation.T * scale + shift, times, box=box)
        there = through(OneEuroFilter(), xy, times)
        np.testing.assert_allclose(moved, there @ rotation.T * scale + shift, atol=1e-7 * max(scale, 1) * 1000)

    def test_tremor_goes_and_lag_is_bounded(self):
        rng = np.random.default_rng(5)
        times = np.arange(600) * FRAME
        still = np.full((600, 4, 2), 50.0)
        noisy = still + rng.normal(0, 0.01 * SIZE, still.shape)
        assert jitter(through(OneEuroFilter(), noisy, times), times, SIZE) < 0.3 * jitter(noisy, times, SIZE)
        true = walk(times, rng)
        noisy = true + rng.normal(0, 0.01 * SIZE, true.shape)
        smoothed = through(OneEuroFilter(), noisy, times)
        assert jitter(smoothed, times, SIZE) < 0.6 * jitter(noisy, times, SIZE)
        late = [np.abs(smoothed[frames:] - true[: len(true) - frames]).mean() for frames in range(6)]
        assert np.argmin(late) <= 2  # it is most like the truth of at most two frames ago

    def test_a_keypoint_of_low_score_moves_little(self):
        times = np.arange(3) * FRAME
        xy = np.array([[[0.0, 0.0]] * 3, [[0.0, 0.0]] * 3, [[50.0, 0.0]] * 3])
        score = np.ones((3, 3))
        score[2] = 0.3, 0.1, 0.0
        moved = through(OneEuroFilter(), xy, times, score)[2, :, 0]
        assert moved[0] > 2.5 * moved[1] > 0
        assert moved[2] == 0

    def test_gaps(self):
        times = np.arange(40) * FRAME
        xy = np.zeros((40, 2, 2)) + times[:, None, None]
        xy[5:9, 0] = np.nan
        xy[12:30, 0] = np.nan  # 0.6 s
        found = through(OneEuroFilter(max_gap=0.5), xy, times)
        assert (np.isnan(found) == np.isnan(xy)).all()
        assert (found[9, 0] < xy[9, 0]).all()  # it remembers
        np.testing.assert_array_equal(found[30, 0], xy[30, 0])  # it begins anew
        assert (found[30, 1] < xy[30, 1]).all()

    def test_each_person_has_a_memory_that_ends(self):
        smoother = OneEuroFilter(max_gap=0.5)
        one, two = np.zeros((1, 1, 2)), np.full((1, 1, 2), 100.0)
        both, score, boxes = np.concatenate([one, two]), np.ones((2, 1)), BOX[[0, 0]]
        smoother.update(both, score, boxes, [1, 2], time=0.0)
        turned = smoother.update(both[::-1], score, boxes, [2, 1], time=0.1)
        np.testing.assert_array_equal(turned, both[::-1])
        assert smoother.update(two, score[:1], BOX, [1], time=0.2)[0, 0, 0] < 99
        np.testing.assert_array_equal(smoother.update(one, score[:1], BOX, [2], time=0.7), one)  # away for 0.6 s
        assert smoother.update(np.zeros((0, 1, 2)), np.zeros((0, 1)), np.zeros((0, 4)), [], time=0.8).shape == (0, 1, 2)
        smoother.update(one, score[:1], BOX, [9], time=5.0)
        assert set(smoother._states) == {9}

    @pytest.mark.parametrize(
        ("changes", "why"),
        [
            ({"xy": np.zeros((1, 2))}, "do not fit together"),
            ({"score": np.zeros((1, 2))}, "do not fit together"),
            ({"boxes": np.zeros((2, 4))}, "do not fit together"),
            ({"ids": []}, "as many different ids"),
            ({"time": 1.0}, r"at 1\.0 s does not come after the one at 1\.0 s"),
            ({"time": float("nan")}, "does not come after"),
        ],
    )
    def test_what_does_not_fit(self, changes, why):
        smoother = OneEuroFilter()
        right = {"xy": np.zeros((1, 3, 2)), "score": np.ones((1, 3)), "boxes": BOX, "ids": [0]}
        smoother.update(**right, time=1.0)
        with pytest.raises(DataError, match=why):
            smoother.update(**{**right, "time": 2.0, **changes})

    def test_an_id_twice(self):
        with pytest.raises(DataError, match="different ids"):
            OneEuroFilter().update(np.zeros((2, 3, 2)), np.ones((2, 3)), BOX[[0, 0]], [1, 1], time=0)

    @pytest.mark.parametrize(
        "options", [{"min_cutoff": 0}, {"beta": -1}, {"speed_cutoff": 0}, {"sure": 0}, {"max_gap": 0}]
    )
    def test_options_that_make_no_sense(self, options):
        with pytest.raises(ConfigError, match=f"{next(iter(options))}="):
            OneEuroFilter(**options)


class TestTrack:
    @pytest.mark.parametrize("seed", range(3))
    def test_as_the_slow_twin(self, seed):
        rng = np.random.default_rng(seed)
        times = irregular(40, seed)
        xy, score = walk(times, rng, 4.0), rng.uniform(0.1, 1, (40, 4))
        xy[rng.random((40, 4)) < 0.3] = np.nan
        found = smooth_track(xy, score, times, width=0.05)
        np.testing.assert_allclose(found, slow.smooth_track(xy, score, times, 0.05), atol=1e-3)

    @settings(max_examples=30, deadline=None)
    @given(st.integers(0, 2**32 - 1), st.floats(0.02, 0.5))
    def test_even_motion_stays_as_it_is(self, seed, width):
        """At irregular times, with gaps, to both ends."""
        rng = np.random.default_rng(seed)
        times = irregular(30, seed)
        xy = rng.uniform(0, 500, (1, 3, 2)) + times[:, None, None] * rng.normal(0, 200, (1, 3, 2))
        xy[rng.random((30, 3)) < 0.3] = np.nan
        np.testing.assert_allclose(smooth_track(xy, rng.uniform(0, 1, (30, 3)), times, width=width), xy, atol=1e-6)

    def test_time_has_no_direction(self):
        rng = np.random.default_rng(1)
        times = irregular(50, 1)
        xy, score = walk(times, rng, 4.0), rng.uniform(0.1, 1, (50, 4))
        back = smooth_track(xy[::-1], score[::-1], times[-1] - times[::-1])[::-1]
        np.testing.assert_allclose(back, smooth_track(xy, score, times), atol=1e-9)

    def test_a_step_is_where_it_was(self):
        times = np.arange(60) * FRAME
        xy = np.where(np.arange(60)[:, None, None] < 30, 0.0, 100.0) + np.zeros((60, 1, 2))
        found = smooth_track(xy, np.ones((60, 1)), times)[:, 0, 0]
        np.testing.assert_allclose(found + found[::-1], 100, atol=1e-9)  # symmetric about the middle: no lag
        assert 0 < found[29] < 50 < found[30] < 100

    def test_tremor_goes_without_lag(self):
        rng = np.random.default_rng(2)
        times = np.arange(600) * FRAME
        true = walk(times, rng)
        noisy = true + rng.normal(0, 0.01 * SIZE, true.shape)
        smoothed = smooth_track(noisy, np.ones((600, 4)), times)
        assert jitter(smoothed, times, SIZE) < 0.25 * jitter(noisy, times, SIZE)
        error = [np.square(xy - true).sum(-1).mean() ** 0.5 for xy in (noisy, smoothed)]
        assert error[1] < 0.7 * error[0]
        inner = slice(10, -10)
        late = [np.abs(smoothed[inner] - np.roll(true, frames, 0)[inner]).mean() for frames in (-2, -1, 0, 1, 2)]
        assert np.argmin(late) == 2

    def test_a_low_score_counts_little(self):
        times = np.arange(21) * FRAME
        xy = np.zeros((21, 2, 2))
        xy[10] = 90.0
        score = np.ones((21, 2))
        score[10, 1] = 0.01
        found = smooth_track(xy, score, times)[:, :, 0]
        assert found[10, 1] < 3 < 20 < found[10, 0]

    def test_scores_of_zero_and_lonely_frames(self):
        xy = np.array([[[1.0, 2.0]], [[3.0, 4.0]], [[5.0, 7.0]]])
        np.testing.assert_allclose(smooth_track(xy, np.zeros((3, 1)), [0.0, 1.0, 2.0]), xy)
        np.testing.assert_allclose(smooth_track(xy[:1], np.ones((1, 1)), [0.0]), xy[:1])
        assert smooth_track(np.zeros((0, 1, 2)), np.zeros((0, 1)), []).shape == (0, 1, 2)
        nowhere = np.full((3, 1, 2), np.nan)
        assert np.isnan(smooth_track(nowhere, np.zeros((3, 1)), [0.0, 0.01, 0.02])).all()

    @pytest.mark.parametrize(
        ("shapes", "why"),
        [
            (((3, 2), (3, 2), [0, 1, 2]), "do not fit together"),
            (((3, 2, 2), (3, 1), [0, 1, 2]), "do not fit together"),
            (((3, 2, 2), (3, 2), [0, 1]), "do not fit together"),
            (((3, 2, 2), (3, 2), [0, 1, 1]), "increasing"),
            (((3, 2, 2), (3, 2), [0, 1, np.nan]), "finite"),
        ],
    )
    def test_what_does_not_fit(self, shapes, why):
        with pytest.raises(DataError, match=why):
            smooth_track(np.zeros(shapes[0]), np.zeros(shapes[1]), shapes[2])

    def test_a_width_is_needed(self):
        with pytest.raises(ConfigError, match="positive"):
            smooth_track(np.zeros((1, 2, 2)), np.ones((1, 2)), [0.0], width=0)


class TestPersons:
    def test_each_is_smoothed_alone(self):
        rng = np.random.default_rng(3)
        times = irregular(20, 3)
        one, two = walk(times, rng, 5.0), walk(times, rng, 5.0) + 300
        score = rng.uniform(0.2, 1, (2, 20, 4))
        xy, scores, ids = [], [], []
        for n in range(20):  # two is there from frame 5 to 14, in changing places
            order = [7] if not 5 <= n < 15 else [7, 4] if n % 2 else [4, 7]
            xy.append(np.stack([one[n] if i == 7 else two[n] for i in order]))
            scores.append(np.stack([score[0 if i == 7 else 1, n] for i in order]))
            ids.append(order)
        kept = [frame.copy() for frame in xy]
        found = smooth_persons(xy, scores, ids, times)
        np.testing.assert_array_equal(np.concatenate(xy), np.concatenate(kept))
        seven = np.stack([frame[order.index(7)] for frame, order in zip(found, ids, strict=True)])
        four = np.stack([found[n][ids[n].index(4)] for n in range(5, 15)])
        np.testing.assert_allclose(seven, smooth_track(one, score[0], times))
        np.testing.assert_allclose(four, smooth_track(two[5:15], score[1, 5:15], times[5:15]))

    def test_frames_without_persons(self):
        nobody = (np.zeros((0, 3, 2)), np.zeros((0, 3)), np.zeros(0, int))
        found = smooth_persons(*zip(*[nobody] * 2, strict=True), [0.0, 1.0])
        assert [frame.shape for frame in found] == [(0, 3, 2)] * 2
        with pytest.raises(DataError, match="2 times"):
            smooth_persons([nobody[0]], [nobody[1]], [nobody[2]], [0.0, 1.0])


class TestJitter:
    def test_hand_numbers(self):
        # Steps of 0.1 and 0.3 s; velocities 100 and -50 px/s; middles 0.2 s apart; 150 x 0.2 = 30 px of 60.
        xy = np.array([[0.0, 5.0], [10.0, 5.0], [-5.0, 5.0]])[:, None]
        assert jitter(xy, [0.0, 0.1, 0.4], 60) == pytest.approx(0.5)
        still = np.repeat(xy[:1], 3, 0)
        assert jitter(np.concatenate([xy, still], 1), [0.0, 0.1, 0.4], [1.0, 60.0, 7.0]) == pytest.approx(0.5 / 2**0.5)

    def test_even_motion_has_none(self):
        times = irregular(30, 6)
        xy = np.array([5.0, 7.0]) + times[:, None, None] * np.array([[30.0, -90.0], [0.0, 11.0]])
        assert jitter(xy, times, SIZE) == pytest.approx(0, abs=1e-12)

    def test_of_noise_as_promised(self):
        noise = np.random.default_rng(7).normal(0, 3, (4000, 5, 2))
        assert jitter(noise, np.arange(4000) * FRAME, SIZE) == pytest.approx(12**0.5 * 3 / SIZE, rel=0.02)

    def test_keypoints_without_position_are_left_out(self):
        xy = np.random.default_rng(8).normal(0, 3, (20, 2, 2))
        only = jitter(xy[:, :1], np.arange(20), SIZE)
        xy[::2, 1] = np.nan
        assert jitter(xy, np.arange(20), SIZE) == pytest.approx(only)
        assert np.isnan(jitter(xy[:, 1:], np.arange(20), SIZE))
        assert np.isnan(jitter(xy[:2], [0, 1], SIZE))

    def test_what_does_not_fit(self):
        with pytest.raises(DataError, match="do not fit together"):
            jitter(np.zeros((3, 2)), [0, 1, 2], SIZE)
