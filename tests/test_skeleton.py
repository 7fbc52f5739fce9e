"""Keypoint sets: mirror pairs, order, and what is refused."""

import pytest

from sadinet.errors import ConfigError
from sadinet.skeleton import COCO, LSP, MPII, SKELETONS, Skeleton, matching_channels, unsided

every_set = pytest.mark.parametrize("skeleton", SKELETONS.values(), ids=SKELETONS)


@every_set
def test_mirroring_twice_is_nothing(skeleton):
    assert [skeleton.flip_index[k] for k in skeleton.flip_index] == list(range(len(skeleton)))


@every_set
def test_mirroring_swaps_left_and_right_and_nothing_else(skeleton):
    for k, name in enumerate(skeleton.keypoints):
        mirrored = skeleton.keypoints[skeleton.flip_index[k]]
        if name.startswith("left_"):
            assert mirrored == f"right_{name.removeprefix('left_')}"
        elif name.startswith("right_"):
            assert mirrored == f"left_{name.removeprefix('right_')}"
        else:
            assert mirrored == name


@every_set
def test_limbs_are_the_same_in_the_mirror(skeleton):
    limbs = {frozenset(edge) for edge in skeleton.edge_index}
    assert {frozenset(skeleton.flip_index[k] for k in limb) for limb in limbs} == limbs
    assert len(limbs) == len(skeleton.edges)


@every_set
def test_a_part_averages_scored_keypoints_that_no_other_part_has(skeleton):
    in_parts = [skeleton.index(name) for _, names in skeleton.parts for name in names]
    assert len(set(in_parts)) == len(in_parts) >= 13
    assert set(in_parts) <= set(skeleton.scored)


@pytest.mark.parametrize(
    ("skeleton", "count", "flip_index"),
    [
        (LSP, 14, (5, 4, 3, 2, 1, 0, 11, 10, 9, 8, 7, 6, 12, 13)),
        (MPII, 16, (5, 4, 3, 2, 1, 0, 6, 7, 8, 9, 15, 14, 13, 12, 11, 10)),
        (COCO, 17, (0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15)),
    ],
)
def test_the_mirror_pairs_that_the_data_sets_document(skeleton, count, flip_index):
    assert len(skeleton) == count
    assert skeleton.flip_index == flip_index


def test_mpii_does_not_score_pelvis_and_thorax():
    assert set(range(len(MPII))) - set(MPII.scored) == {6, 7}


def test_index_finds_a_channel_and_says_what_there_is():
    assert LSP.index("head_top") == 13
    with pytest.raises(ConfigError, match=r"'lsp' has no 'nose'; it has: right_ankle"):
        LSP.index("nose")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"keypoints": ()}, "'mine' is empty"),
        ({"keypoints": ("nose", "chin", "nose")}, "names nose more than once"),
        ({"keypoints": ("nose", "left_eye")}, "right_eye, which it does not contain .every left_x needs a right_x"),
        ({"keypoints": ("nose", "right_eye")}, "refers to left_eye"),
        ({"keypoints": ("nose", "chin"), "edges": (("nose", "neck"),)}, "refers to neck.*it has: nose, chin"),
        ({"keypoints": ("nose", "chin"), "parts": (("Head", ("nose", "ear")),)}, "refers to ear"),
        ({"keypoints": ("nose", "chin"), "unscored": ("mouth",)}, "refers to mouth"),
        ({"keypoints": ("nose", "chin"), "torso": ("nose", "hip")}, "refers to hip"),
        ({"keypoints": ("nose", "chin"), "pairs": (("nose", "mouth"),)}, "refers to mouth"),
        ({"keypoints": ("a", "b", "c"), "pairs": (("a", "b"), ("b", "c"))}, "a keypoint in two pairs"),
        ({"keypoints": ("a", "b", "c"), "pairs": (("a", "a"),)}, "a keypoint in two pairs"),
    ],
)
def test_a_set_that_contradicts_itself_is_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        Skeleton("mine", **options)


@pytest.mark.parametrize(
    ("names", "pairs"),
    [
        ("L_eye nose R_eye", [("L_eye", "R_eye")]),
        ("RightEye LeftEye", [("LeftEye", "RightEye")]),
        ("eye_l eye_r", [("eye_l", "eye_r")]),
        ("rightknee leftknee", [("leftknee", "rightknee")]),
        ("LShoulder RShoulder", [("LShoulder", "RShoulder")]),
        ("eyeL eyeR", [("eyeL", "eyeR")]),
        ("left-paw right-paw", [("left-paw", "right-paw")]),
        ("LEFT_EYE RIGHT_EYE", [("LEFT_EYE", "RIGHT_EYE")]),
        (
            "front_left_paw front_right_paw hind_left_paw hind_right_paw",
            [("front_left_paw", "front_right_paw"), ("hind_left_paw", "hind_right_paw")],
        ),
        ("lip rip tail_l", []),
        ("left_eye right_eye", [("left_eye", "right_eye")]),
    ],
)
def test_the_sides_are_told_however_they_are_spelt(names, pairs):
    skeleton = Skeleton("mine", tuple(names.split()))
    assert list(skeleton.mirror_pairs) == pairs
    for k, name in enumerate(skeleton.keypoints):
        twin = {**dict(pairs), **{b: a for a, b in pairs}}.get(name, name)
        assert skeleton.keypoints[skeleton.flip_index[k]] == twin
        assert skeleton.sides[k] == ("" if twin == name else "left" if (name, twin) in pairs else "right")


def test_pairs_that_are_named_win_over_names():
    skeleton = Skeleton("mine", ("port", "left_a", "starboard", "right_a", "bow"), pairs=(("port", "starboard"),))
    assert skeleton.flip_index == (2, 3, 0, 1, 4)
    assert skeleton.sides == ("left", "left", "right", "right", "")


@pytest.mark.parametrize(
    ("left", "right", "shared"),
    [
        ("left_eye", "right_eye", "eye"),
        ("hind_left_paw", "hind_right_paw", "hind_paw"),
        ("eyeL", "eyeR", "eye"),
        ("port", "starboard", "port"),
    ],
)
def test_what_both_sides_have_in_common(left, right, shared):
    assert unsided(left, right) == shared


def test_matching_channels_pairs_what_both_have():
    assert matching_channels(["chin", "left_knee", "neck"], LSP) == [(1, 4), (2, 12)]
