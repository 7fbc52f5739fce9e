"""Stick figures: the right colour in the right place, and nothing else touched."""

import dataclasses

import numpy as np
import pytest

from sadinet.cli import _parser
from sadinet.draw import LEFT, MIDDLE, MIN_SCORE, RIGHT, draw_heatmaps, draw_poses
from sadinet.geometry import Crop, apply, image_to_crop, invert
from sadinet.poses import Poses
from sadinet.skeleton import LSP

NAN = float("nan")
# Seen from the front: the person's right is on the left of the picture. About 180 px tall, at LSP's order.
LEGS = [(40, 180), (42, 140), (45, 95), (65, 95), (70, 140), (72, 180)]
ARMS = [(20, 95), (22, 70), (35, 45), (75, 45), (88, 70), (95, 30)]
PERSON = np.array([*LEGS, *ARMS, (55, 38), (55, 15)], float)


def posed(*xy: np.ndarray, score: float = 0.9, size: tuple[int, int] = (210, 200)) -> Poses:
    boxes = np.array([[*np.nanmin(one, 0), *np.nanmax(one, 0)] for one in xy])
    scores = np.where(np.isnan(xy).any(2), 0.0, score)
    return Poses(np.stack(xy), scores, boxes, LSP, size)


@pytest.fixture
def grey() -> np.ndarray:
    return np.full((200, 210, 3), 128, np.uint8)


def middle(a: str, b: str) -> tuple[int, int]:
    """Row and column half way between two keypoints of PERSON."""
    x, y = (PERSON[LSP.index(a)] + PERSON[LSP.index(b)]) / 2
    return round(y), round(x)


def touched(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    return (before != after).any(2)


@pytest.mark.parametrize(
    ("a", "b", "colour"),
    [
        ("right_knee", "right_ankle", RIGHT),
        ("right_shoulder", "right_hip", RIGHT),
        ("neck", "right_shoulder", RIGHT),
        ("left_knee", "left_ankle", LEFT),
        ("left_elbow", "left_wrist", LEFT),
        ("right_hip", "left_hip", MIDDLE),
        ("head_top", "neck", MIDDLE),
    ],
)
def test_a_limb_has_the_colour_of_its_side(grey, a, b, colour):
    assert draw_poses(grey, posed(PERSON))[middle(a, b)].tolist() == pytest.approx(colour, abs=40)


@pytest.mark.parametrize("background", [0, 255])
def test_limbs_stand_out_from_black_and_from_white(background):
    image = np.full((200, 210, 3), background, np.uint8)
    row, column = middle("left_hip", "left_knee")
    across = draw_poses(image, posed(PERSON))[row, column - 6 : column + 7].astype(int).sum(1)
    assert across.min() <= 255  # the outline, or the black behind it
    assert across.max() >= 400
    assert across[0] == across[-1] == 3 * background


def test_the_input_is_left_as_it_was_and_the_rest_of_the_picture_too():
    image = np.random.default_rng(0).integers(0, 256, (200, 210, 3), dtype=np.uint8)
    before = image.copy()
    drawn = draw_poses(image, posed(PERSON))
    np.testing.assert_array_equal(image, before)
    assert drawn.shape == image.shape
    assert drawn.dtype == np.uint8
    changed = touched(image, drawn)
    assert 0.01 < changed.mean() < 0.15
    assert not changed[:, 105:].any()
    assert not changed[:10].any()


def test_what_is_unsure_or_missing_is_left_out_with_its_limbs(grey):
    unsure = posed(PERSON)
    unsure.score[0, LSP.index("right_ankle")] = 0.39
    missing = PERSON.copy()
    missing[LSP.index("right_ankle")] = NAN
    for poses in (unsure, posed(missing)):
        changed = touched(grey, draw_poses(grey, poses))
        assert not changed[150:, :55].any()
        assert changed[150:, 55:].any()
    assert touched(grey, draw_poses(grey, unsure, min_score=0.38))[150:, :55].any()


def test_nothing_to_draw_changes_nothing(grey):
    for poses in (Poses.empty(LSP, (210, 200)), posed(PERSON, score=0.1), posed(PERSON + 5000), posed(PERSON - 1e9)):
        np.testing.assert_array_equal(draw_poses(grey, poses, scores=True), grey)


def test_a_limb_that_leaves_the_picture_is_drawn_up_to_its_border(grey):
    drawn = draw_poses(grey, posed(np.add(PERSON, (150, 60))), boxes=True, scores=True)
    changed = touched(grey, drawn)
    assert changed[-1].any()
    assert changed[:, -1].any()


def test_a_larger_person_has_thicker_limbs():
    image = np.full((620, 640, 3), 128, np.uint8)

    def thickness(scale: float) -> int:
        changed = touched(image, draw_poses(image, posed(PERSON * scale, size=(640, 620))))
        row, column = (round(v * scale) for v in middle("left_hip", "left_knee"))
        return int(changed[row, column - 12 : column + 13].sum())

    assert 2 <= thickness(0.8) < thickness(1.8) < thickness(3.0) <= 20


def test_every_person_is_drawn(grey):
    small = PERSON * 0.5
    changed = touched(grey, draw_poses(grey, posed(small, np.add(small, (100, 90)))))
    assert changed[:95, :55].any()
    assert changed[95:, 100:].any()


def test_boxes_and_scores_are_added_on_request(grey):
    poses = posed(PERSON + 10)
    bare, boxed, scored = (draw_poses(grey, poses, **wish) for wish in ({}, {"boxes": True}, {"scores": True}))
    left, top, right, bottom = poses.boxes[0].astype(int)
    corner = (slice(bottom - 3, bottom + 3), slice(left - 3, left + 3))
    assert touched(bare, boxed)[corner].any()
    assert not touched(grey, bare)[corner].any()
    assert touched(bare, scored).sum() > 100
    hidden = posed(PERSON + 10, score=0.0)
    np.testing.assert_array_equal(draw_poses(grey, hidden, boxes=True)[corner], boxed[corner])
    assert right > left
    assert bottom > top


@pytest.mark.parametrize("size", [(1, 1), (3, 40), (40, 2)])
def test_tiny_pictures_are_drawn_on_too(size):
    image = np.zeros((size[1], size[0], 3), np.uint8)
    xy = PERSON / 200 * np.array(size) - 0.5
    drawn = draw_poses(image, posed(xy, size=size), boxes=True, scores=True)
    assert drawn.shape == image.shape
    assert drawn.any()


def heat(side=32, at=(8, 20)):
    """A heatmap with one peak at (column, row)."""
    y, x = np.mgrid[:side, :side]
    return np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / 8).astype(np.float32)


class TestIds:
    def test_each_has_a_plate_of_its_own_colour_above_the_head(self):
        image = np.full((260, 420, 3), 128, np.uint8)
        two = posed(np.add(PERSON, (20, 50)), np.add(PERSON, (220, 50)), size=(420, 260))
        plain = draw_poses(image, two)
        told = draw_poses(image, dataclasses.replace(two, ids=[4, 11]))
        changed = touched(plain, told)
        assert not changed[75:].any()
        assert changed[:, :150].any()
        assert changed[:, 220:].any()
        plates = [
            np.unique(told[:66, part][touched(plain, told)[:66, part]], axis=0)
            for part in (slice(0, 150), slice(220, 420))
        ]
        brightest = [max(map(tuple, plate.tolist()), key=sum) for plate in plates]
        assert brightest[0] != brightest[1]
        np.testing.assert_array_equal(draw_poses(image, dataclasses.replace(two, ids=[4, 11]), ids=False), plain)

    def test_a_plate_stays_on_the_picture(self, grey):
        high = dataclasses.replace(posed(PERSON - (0, 14)), ids=[123456])
        assert touched(draw_poses(grey, high, ids=False), draw_poses(grey, high))[:12].any()

    def test_nobody_to_see_has_none(self, grey):
        hidden = dataclasses.replace(posed(PERSON, score=0.1), ids=[1])
        np.testing.assert_array_equal(draw_poses(grey, hidden, scores=True), grey)


class TestHeatmaps:
    @pytest.mark.parametrize("background", [0, 255])
    def test_the_peak_glows_where_it_is(self, background):
        image = np.full((90, 120, 3), background, np.uint8)
        crop = Crop((60.0, 50.0), 64.0)
        drawn = draw_heatmaps(image, [(crop, heat())])
        x, y = apply(invert(image_to_crop(crop, 32)), (8, 20))
        glow = drawn[..., 0].astype(int) - drawn[..., 2]
        row, column = np.unravel_index(np.abs(drawn.astype(int) - drawn[0, 0]).sum(2).argmax(), (90, 120))
        assert abs(column - x) <= 4
        assert abs(row - y) <= 4
        assert glow.max() > 60
        assert np.ptp(drawn[:10], axis=(0, 1)).max() == 0  # far away it is only paler

    def test_the_highest_counts_where_two_overlap(self):
        image = np.full((70, 70, 3), 100, np.uint8)
        crop = Crop((35.0, 35.0), 64.0)
        one, other = draw_heatmaps(image, [(crop, heat())]), draw_heatmaps(image, [(crop, heat(at=(25, 9)))])
        both = draw_heatmaps(image, [(crop, heat()), (crop, heat(at=(25, 9)))])
        again = draw_heatmaps(image, [(crop, heat())] * 2)
        np.testing.assert_array_equal(again, one)
        flat = draw_heatmaps(image, [])
        expected = np.where(touched(flat, one)[..., None], one, other)
        assert (both != expected).any(2).mean() < 0.25
        assert np.array_equal(both[44, 18], one[44, 18])

    def test_windows_may_be_turned_or_look_past_the_picture(self):
        image = np.full((60, 50, 3), 100, np.uint8)
        for crop in (Crop((0.0, 0.0), 90.0, 30.0), Crop((500.0, 500.0), 40.0), Crop((25.0, 30.0), 1.0)):
            assert draw_heatmaps(image, [(crop, heat())]).shape == image.shape


def test_the_small_are_drawn_behind_the_large(grey):
    near, far = PERSON, (PERSON - PERSON.mean(0)) * 0.4 + PERSON[LSP.index("left_hip")]
    one, other = draw_poses(grey, posed(near, far)), draw_poses(grey, posed(far, near))
    np.testing.assert_array_equal(one, other)


def test_the_command_draws_what_python_draws():
    assert _parser().parse_args(["predict", "photo.jpg"]).min_score == MIN_SCORE
