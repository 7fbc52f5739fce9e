"""Tracking: scripted crossings, churn, and boxes that follow."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sadinet.errors import ConfigError, DataError
from sadinet.geometry import overlap
from sadinet.metrics import oks, sigmas_of
from sadinet.persons.track import Tracker, follow_boxes, pose_similarity
from sadinet.skeleton import COCO, LSP, MPII

K = len(LSP)
# A walker 200 px tall, ankle to ankle and up, facing right; in the order of LSP.
LEGS = [(-20, 100), (-8, 55), (-6, 5), (6, 5), (10, 52), (24, 98)]
ARMS = [(-22, 0), (-16, -30), (-12, -62), (12, -62), (18, -32), (30, -8)]
WALKER = np.array([*LEGS, *ARMS, (2, -72), (5, -100)], float)


def walker(x, phase, *, facing=1, y=300.0):
    """A person at (x, y) whose limbs swing with the phase [rad]."""
    swing = np.zeros((K, 2))
    for name, reach in (("ankle", 22), ("knee", 10), ("wrist", -18), ("elbow", -8)):
        swing[LSP.index(f"right_{name}"), 0] = reach * np.sin(phase)
        swing[LSP.index(f"left_{name}"), 0] = -reach * np.sin(phase)
    return (WALKER + swing) * (facing, 1) + (x, y)


def box_of(xy):
    """100 x 220 px around the person, whatever the limbs do."""
    x, y = xy[[LSP.index("right_hip"), LSP.index("left_hip")]].mean(0)
    return np.array([x - 50, y - 112, x + 50, y + 108])


def track(tracker, frames, **more):
    """Ids of frames, each a list of ``xy``."""
    found = []
    for frame in frames:
        xy = np.array(frame).reshape(-1, K, 2)
        boxes = np.array([box_of(person) for person in xy]).reshape(-1, 4)
        found.append(tracker.update(boxes, xy, np.full(xy.shape[:2], 0.8), **more).tolist())
    return found


class TestCrossing:
    """Two persons pass each other; for several frames their boxes are as good as one."""

    @pytest.mark.parametrize("seed", range(10))
    @pytest.mark.parametrize(
        ("speeds", "facing", "frames"),
        [
            ((4, -4), (1, -1), 90),  # towards each other
            ((-4, 4), (-1, 1), 90),  # the other way round
            ((2, -2), (1, -1), 160),  # slowly
            ((9, 5), (1, 1), 120),  # one overtakes the other
            ((-4.5, -9), (-1, -1), 120),
        ],
    )
    def test_nobody_changes_the_id(self, seed, speeds, facing, frames):
        rng = np.random.default_rng(seed)
        middle, overlaps, script, orders = frames / 2 + rng.uniform(-1, 1), [], [], []
        for n in range(frames):
            persons = [
                walker(
                    400 + speed * (n - middle),
                    0.35 * n * abs(speed) / 7 + 2.1 * who,
                    facing=facing[who],
                    y=300 + 2 * who,
                )
                for who, speed in enumerate(speeds)
            ]
            noisy = [person + rng.normal(0, 2.5, person.shape) for person in persons]
            overlaps.append(overlap(box_of(persons[0])[None], box_of(persons[1])[None])[0, 0])
            order = rng.permutation(2)
            script.append([noisy[who] for who in order])
            orders.append(order)
        assert sum(o > 0.7 for o in overlaps) >= 3  # the script is as hard as it says
        found = zip(track(Tracker(LSP), script), orders, strict=True)
        ids = [[frame[list(order).index(who)] for who in (0, 1)] for frame, order in found]
        assert ids == [ids[0]] * frames
        assert sorted(ids[0]) == [0, 1]

    @pytest.mark.parametrize("seed", range(10))
    @pytest.mark.parametrize("front", [0, 1])
    def test_one_is_hidden_behind_the_other(self, seed, front):
        rng = np.random.default_rng(seed)
        script = []
        for n in range(60):
            persons = [walker(400 + s * (n - 30), 0.35 * n + 2 * w, facing=np.sign(s)) for w, s in enumerate((7, -7))]
            hidden = abs(n - 30) <= 4
            script.append([p + rng.normal(0, 2, p.shape) for p in ([persons[front]] if hidden else persons)])
        ids = track(Tracker(LSP), script)
        assert ids[:26] == [[0, 1]] * 26
        assert ids[26:35] == [[front]] * 9
        assert ids[35:] == [[0, 1]] * 25


class TestIds:
    def test_nobody(self):
        assert track(Tracker(LSP), [[], [], []]) == [[], [], []]
        assert Tracker(LSP).update(np.zeros((0, 4)), np.zeros((0, K, 2)), np.zeros((0, K))).dtype == np.int64

    def test_new_persons_get_new_ids(self):
        a, b, c = (walker(x, 0) for x in (100, 400, 700))
        assert track(Tracker(LSP), [[b], [a, b], [c, a, b]]) == [[0], [1, 0], [2, 1, 0]]

    @pytest.mark.parametrize(("away", "back"), [(29, 0), (30, 1)])
    def test_lost_persons_keep_their_id_for_a_second(self, away, back):
        here = walker(100, 0)
        frames = [[here], *[[]] * away, [here]]
        assert track(Tracker(LSP), frames)[-1] == [back]
        assert track(Tracker(LSP, max_lost=away * 0.1 - 0.15, interval=0.1), frames)[-1] == [1]

    def test_times_count_where_they_are_given(self):
        here = [walker(100, 0)]
        tracker = Tracker(LSP)
        ids = [track(tracker, [here], time=time)[0][0] for time in (10.0, 10.9, 11.9, 12.91, 12.92)]
        assert ids == [0, 0, 0, 1, 1]

    def test_speed_leads_on(self):
        # 60 px a frame is more than the width of the box; then four frames without anybody.
        script = [[walker(100 + 12 * n, 0)] for n in range(0, 10)]
        script += [[] for _ in range(6)] + [[walker(100 + 12 * 16, 0)]]
        assert track(Tracker(LSP), script)[-1] == [0]
        still = [[walker(100 + 12 * 9, 0)]] * 10 + script[10:]
        assert track(Tracker(LSP), still)[-1] == [1]  # who stood does not explain someone 84 px away

    def test_keypoints_without_position(self):
        tracker = Tracker(LSP)
        there = walker(100, 0)
        partly = there.copy()
        partly[::2] = np.nan
        nowhere = np.full((K, 2), np.nan)
        box = box_of(there)[None]
        scores = [np.full((1, K), 0.9), np.where(np.isnan(partly[None, :, 0]), 0, 0.9), np.zeros((1, K))]
        for xy, score in zip((there, partly, nowhere, nowhere, there), [*scores, scores[2], scores[0]], strict=True):
            assert tracker.update(box, xy[None], score).tolist() == [0]

    @settings(max_examples=40, deadline=None)
    @given(
        st.lists(st.sets(st.integers(0, 5)), min_size=1, max_size=40),
        st.integers(1, 6),
        st.integers(0, 2**32 - 1),
    )
    def test_churn(self, visible, max_lost, seed):
        """Persons at six places come and go; who was away for too long is somebody new."""
        rng = np.random.default_rng(seed)
        tracker, twin = (Tracker(LSP, max_lost=max_lost, interval=1) for _ in range(2))
        last, wanted, given_out = {}, {}, 0
        for now, present in enumerate(visible):
            order = rng.permutation(sorted(present)).astype(int).tolist()
            for place in order:
                if place not in last or now - last[place] > max_lost:
                    wanted[place], given_out = given_out, given_out + 1
                last[place] = now
            frame = [[walker(300 * place, 0) + rng.normal(0, 2, (K, 2)) for place in order]]
            (found,) = track(tracker, frame)
            assert found == [wanted[place] for place in order]
            assert track(twin, frame) == [found]

    def test_time_must_go_on(self):
        tracker = Tracker(LSP)
        track(tracker, [[]], time=2.0)
        for time in (2.0, 1.0, float("nan")):
            with pytest.raises(DataError, match=r"does not come after the one at 2\.0 s"):
                track(tracker, [[]], time=time)

    @pytest.mark.parametrize(
        ("boxes", "xy", "score"),
        [((2, 4), (1, K, 2), (1, K)), ((1, 4), (1, 3, 2), (1, 3)), ((1, 5), (1, K, 2), (1, K)), ((0,), (0,), (0,))],
    )
    def test_shapes_that_do_not_fit(self, boxes, xy, score):
        with pytest.raises(DataError, match="do not fit together"):
            Tracker(LSP).update(np.ones(boxes), np.ones(xy), np.ones(score))

    def test_a_box_that_is_not_finite(self):
        with pytest.raises(DataError, match="not finite"):
            Tracker(LSP).update([[0, 0, np.nan, 1]], np.ones((1, K, 2)), np.ones((1, K)))

    @pytest.mark.parametrize("options", [{"max_lost": -1}, {"min_similarity": 0}, {"interval": 0}])
    def test_options_that_make_no_sense(self, options):
        with pytest.raises(ConfigError, match=f"{next(iter(options))}="):
            Tracker(LSP, **options)


class TestSimilarity:
    def test_is_oks_where_all_scores_are_one(self):
        rng = np.random.default_rng(1)
        a, b = rng.uniform(0, 100, (3, K, 2)), rng.uniform(0, 100, (2, K, 2))
        b[0] = a[1] + rng.normal(0, 5, (K, 2))
        boxes = np.array([[0, 0, 100, 80], [0, 0, 40, 90], [5, 5, 30, 20]], float)
        found = pose_similarity(a, np.ones((3, K)), boxes, b, np.ones((2, K)), boxes[:2], sigmas_of(LSP))
        areas = np.array([8000, 3600, 375])
        for one in range(3):
            for two in range(2):
                area = [0.53 * (areas[one] + areas[two]) / 2]
                known = np.ones((1, K), bool)
                expected = oks(a[one][None], b[two][None], known, area, sigmas_of(LSP))[0]
                assert found[one, two] == pytest.approx(expected, abs=1e-12)

    def test_scores_weigh(self):
        xy = walker(100, 0)[None]
        other = xy.copy()
        other[0, 0] += 1000
        score = np.ones((1, K))
        low = score.copy()
        low[0, 0] = 0.04  # weighs sqrt(0.04)
        box = box_of(xy[0])[None]
        found = pose_similarity(xy, low, box, other, score, box, sigmas_of(LSP))
        assert found[0, 0] == pytest.approx((K - 1) / (K - 1 + 0.2))
        nothing = pose_similarity(xy, score * 0, box, other, score, box, sigmas_of(LSP))
        assert np.isnan(nothing[0, 0])


class TestSigmas:
    def test_of_coco_are_cocos(self):
        assert sigmas_of(COCO)[:6] == (0.026, 0.025, 0.025, 0.035, 0.035, 0.079)

    def test_of_others_by_name(self):
        lsp, mpii = (dict(zip(s.keypoints, sigmas_of(s), strict=True)) for s in (LSP, MPII))
        assert lsp["right_wrist"] == mpii["left_wrist"] == 0.062
        assert lsp["neck"] == lsp["head_top"] == mpii["thorax"] == mpii["upper_neck"] == 0.079
        assert mpii["pelvis"] == 0.107


class TestFollow:
    SIZE = (1000, 700)

    def follow(self, persons, score=None, boxes=None, **more):
        xy = np.array(persons).reshape(-1, K, 2)
        score = np.full(xy.shape[:2], 0.8) if score is None else np.array(score)
        boxes = np.array([box_of(p) for p in xy]).reshape(-1, 4) if boxes is None else boxes
        return follow_boxes(xy, score, boxes, skeleton=LSP, image_size=self.SIZE, **more)

    def test_hand_numbers(self):
        xy = np.full((K, 2), (300.0, 200.0))
        xy[0], xy[1], xy[2:] = (250, 150), (350, 350), np.where(np.arange(K - 2)[:, None] % 2, 260.0, 270.0)
        score = np.full((1, K), 0.5)
        boxes, keep = self.follow([xy], score, [[0, 0, 900, 600]], margin=1.2)
        assert keep.tolist() == [True]
        np.testing.assert_allclose(boxes, [[240, 130, 360, 370]])
        score[0, 2:9] = 0.1  # half of the keypoints are missing: what is left is 100 x 200 px
        boxes, _ = self.follow([xy], score, [[240, 100, 540, 700]])
        np.testing.assert_allclose(boxes, [[240, 100, 540, 700]])  # large enough and around them: stays
        boxes, _ = self.follow([xy], score, [[270, 0, 570, 330]])
        np.testing.assert_allclose(boxes, [[250, 20, 550, 350]])  # moves 20 px to the left and down
        boxes, _ = self.follow([xy], score, [[270, 0, 310, 330]])
        np.testing.assert_allclose(boxes, [[250, 20, 350, 350]])  # and is as wide as needed
        score[0, 3:9] = 0.5  # 1 / 14 of them is missing: known to 5 / 7
        boxes, _ = self.follow([xy], score, [[240, 100, 540, 800]], margin=1.0)
        np.testing.assert_allclose(boxes, [[(5 * 250 + 2 * 240) / 7, 950 / 7, (5 * 350 + 2 * 540) / 7, 3350 / 7]])

    def test_a_still_person_keeps_the_box(self):
        here = walker(300, 0)
        boxes, _ = self.follow([here])
        again, _ = self.follow([here], boxes=boxes)
        np.testing.assert_allclose(again, boxes, atol=1e-9)
        np.testing.assert_allclose(boxes[0], [304 - 28.6, 300 - 110, 304 + 28.6, 300 + 110])  # 52 x 200 px, times 1.1

    def test_it_follows_who_moves(self):
        boxes = box_of(walker(100, 0))[None]
        for n in range(50):
            boxes, keep = self.follow([walker(100 + 15 * n, 0.3 * n)], boxes=boxes)
            assert keep.all()
        assert overlap(boxes, box_of(walker(100 + 15 * 49, 0.3 * 49))[None])[0, 0] > 0.6

    def test_who_is_gone_is_left_out(self):
        persons = [walker(x, 0) for x in (100, 400, 700)]
        scores = np.full((3, K), 0.8)
        scores[1] = 0.05
        boxes, keep = self.follow(persons, scores)
        assert keep.tolist() == [True, False, True]
        assert boxes.shape == (2, 4)

    def test_who_left_the_picture_is_left_out(self):
        _, keep = self.follow([walker(-80, 0), walker(500, 0), walker(500, 0, y=900.0), walker(1100, 0)])
        assert keep.tolist() == [False, True, False, False]
        _, keep = self.follow([np.full((K, 2), np.nan), walker(500, 0)], [[0] * K, [0.5] * K], [[0, 0, 9, 9]] * 2)
        assert keep.tolist() == [False, True]

    def test_of_two_that_became_one_the_surer_stays(self):
        rng = np.random.default_rng(2)
        one = walker(300, 0)
        persons = [one, one + rng.normal(0, 1.5, one.shape), walker(340, 2, facing=-1)]
        scores = np.repeat([[0.5], [0.6], [0.55]], K, 1)
        _, keep = self.follow(persons, scores)
        assert keep.tolist() == [False, True, True]
        _, keep = self.follow([one, one], scores[[0, 0]])
        assert keep.tolist() == [True, False]  # of equals the first

    def test_nobody(self):
        boxes, keep = self.follow([])
        assert (boxes.shape, keep.shape) == ((0, 4), (0,))
