"""Stick figures: the right colour in the right place, and nothing else touched."""

import numpy as np
import pytest

from sadinet.draw import LEFT, MIDDLE, RIGHT, draw_poses
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
    unsure.score[0, LSP.index("right_ankle")] = 0.19
    missing = PERSON.copy()
    missing[LSP.index("right_ankle")] = NAN
    for poses in (unsure, posed(missing)):
        changed = touched(grey, draw_poses(grey, poses))
        assert not changed[150:, :55].any()
        assert changed[150:, 55:].any()
    assert touched(grey, draw_poses(grey, unsure, min_score=0.1))[150:, :55].any()


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
