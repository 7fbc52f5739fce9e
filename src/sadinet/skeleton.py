"""Keypoint sets: names, mirror pairs, limbs and the columns of score tables.

Left and right are the person's own. The index of a keypoint is its channel in the heatmaps.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from .errors import ConfigError


@dataclass(frozen=True)
class Skeleton:
    """A named set of keypoints.

    Attributes:
        name: What the set is called.
        keypoints: The K keypoint names; the order is the order of channels and of ``xy``.
        edges: Limbs to draw, as pairs of names.
        parts: Columns of score tables: title and the keypoints averaged in it.
        unscored: Keypoints that the set's protocol leaves out of the mean.
        torso: The two keypoints whose distance is the torso size of PCK, if the set has one.
        pairs: Left and right keypoints that are each other's mirror image, beside those whose names tell
            (``left_eye`` and ``right_eye``, ``LeftEye``, ``L_eye``, ``eye_l``...).
    """

    name: str
    keypoints: tuple[str, ...]
    edges: tuple[tuple[str, str], ...] = ()
    parts: tuple[tuple[str, tuple[str, ...]], ...] = ()
    unscored: tuple[str, ...] = ()
    torso: tuple[str, str] | None = None
    pairs: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        if not self.keypoints:
            raise ConfigError(f"keypoint set '{self.name}' is empty: name at least one keypoint")
        twice = [name for name, count in Counter(self.keypoints).items() if count > 1]
        if twice:
            raise ConfigError(f"keypoint set '{self.name}' names {', '.join(twice)} more than once")
        mentioned = [name for edge in self.edges for name in edge]
        mentioned += [name for _, names in self.parts for name in names]
        paired = [name for pair in self.pairs for name in pair]
        mentioned += [*self.unscored, *(self.torso or ()), *paired]
        mentioned += [_mirrored(name) for name in self.keypoints if name not in paired]
        unknown = sorted(set(mentioned) - set(self.keypoints))
        if unknown:
            raise ConfigError(
                f"keypoint set '{self.name}' refers to {', '.join(unknown)}, which it does not contain "
                f"(every left_x needs a right_x); it has: {', '.join(self.keypoints)}"
            )
        if len(set(paired)) < len(paired):
            raise ConfigError(f"keypoint set '{self.name}' has a keypoint in two pairs: each has one mirror image")

    def __len__(self) -> int:
        return len(self.keypoints)

    def index(self, name: str) -> int:
        """The channel of the keypoint ``name``."""
        try:
            return self.keypoints.index(name)
        except ValueError:
            known = ", ".join(self.keypoints)
            raise ConfigError(f"keypoint set '{self.name}' has no '{name}'; it has: {known}") from None

    @cached_property
    def flip_index(self) -> tuple[int, ...]:
        """For every keypoint the channel of its mirror image: ``xy_mirrored[k] = mirror(xy)[flip_index[k]]``."""
        twins = {a: b for pair in self.mirror_pairs for a, b in (pair, pair[::-1])}
        return tuple(self.keypoints.index(twins.get(name, name)) for name in self.keypoints)

    @cached_property
    def mirror_pairs(self) -> tuple[tuple[str, str], ...]:
        """The left and right keypoints that are each other's mirror image: `pairs`, and those whose names tell."""
        told = {name for pair in self.pairs for name in pair}
        found = dict.fromkeys(self.pairs)
        for name in self.keypoints:
            twin = next((other for other in _left_to_right(name) if other in self.keypoints), None)
            if twin is not None and not told & {name, twin}:
                found[(name, twin)] = None
                told |= {name, twin}
        return tuple(found)

    @cached_property
    def sides(self) -> tuple[str, ...]:
        """For every keypoint ``"left"``, ``"right"``, or empty for one of the middle."""
        left, right = ({pair[side] for pair in self.mirror_pairs} for side in (0, 1))
        return tuple("left" if name in left else "right" if name in right else "" for name in self.keypoints)

    def side(self, *channels: int) -> str:
        """The side that these keypoints, one or the two of a limb, are on; empty for the middle and across it."""
        told = {self.sides[k] for k in channels} - {""}
        return told.pop() if len(told) == 1 else ""

    @cached_property
    def edge_index(self) -> tuple[tuple[int, int], ...]:
        """The limbs as pairs of channels."""
        return tuple((self.index(a), self.index(b)) for a, b in self.edges)

    @cached_property
    def scored(self) -> tuple[int, ...]:
        """Channels that count in the mean of the set's protocol."""
        return tuple(k for k, name in enumerate(self.keypoints) if name not in self.unscored)


def _mirrored(name: str) -> str:
    """The name of the keypoint on the other side; a keypoint of the middle is its own mirror image."""
    if name.startswith("left_"):
        return "right_" + name.removeprefix("left_")
    if name.startswith("right_"):
        return "left_" + name.removeprefix("right_")
    return name


_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|.")
_LEFT_TO_RIGHT = {"left": "right", "Left": "Right", "LEFT": "RIGHT", "l": "r", "L": "R"}


def _left_to_right(name: str) -> list[str]:
    """What ``name`` would be called on the right, by each of its words that says left: ``eye_l``, ``LeftEye``..."""
    words = _WORDS.findall(name)
    found = [
        "".join((*words[:i], _LEFT_TO_RIGHT[word], *words[i + 1 :]))
        for i, word in enumerate(words)
        if word in _LEFT_TO_RIGHT
    ]
    begins = [(left, right) for left, right in _LEFT_TO_RIGHT.items() if len(left) > 1 and name.startswith(left)]
    return found + [right + name.removeprefix(left) for left, right in begins]


def unsided(left: str, right: str) -> str:
    """What the names of two mirrored keypoints have in common: ``"eye"`` of ``left_eye`` and ``right_eye``."""
    one, two = _WORDS.findall(left), _WORDS.findall(right)
    shared = "".join(a for a, b in zip(one, two, strict=True) if a == b) if len(one) == len(two) else ""
    return re.sub(r"([_\- .])[_\- .]+", r"\1", shared).strip("_- .") or left


def _both(part: str) -> tuple[str, str]:
    return (f"right_{part}", f"left_{part}")


_LIMB_PARTS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("Sho.", _both("shoulder")),
    ("Elb.", _both("elbow")),
    ("Wri.", _both("wrist")),
    ("Hip", _both("hip")),
    ("Knee", _both("knee")),
    ("Ank.", _both("ankle")),
)


def _chain(*names: str) -> tuple[tuple[str, str], ...]:
    return tuple(pairwise(names))


def _limbs(*sides: str) -> tuple[tuple[str, str], ...]:
    return tuple(
        edge
        for side in sides
        for edge in (
            *_chain(f"{side}_shoulder", f"{side}_elbow", f"{side}_wrist"),
            *_chain(f"{side}_hip", f"{side}_knee", f"{side}_ankle"),
        )
    )


_LEGS_FIRST = ("right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle")
_ARMS = ("right_wrist", "right_elbow", "right_shoulder", "left_shoulder", "left_elbow", "left_wrist")

LSP = Skeleton(
    name="lsp",
    keypoints=(*_LEGS_FIRST, *_ARMS, "neck", "head_top"),
    edges=(
        ("head_top", "neck"),
        ("neck", "right_shoulder"),
        ("neck", "left_shoulder"),
        ("right_shoulder", "right_hip"),
        ("left_shoulder", "left_hip"),
        ("right_hip", "left_hip"),
        *_limbs("right", "left"),
    ),
    parts=(("Head", ("neck", "head_top")), *_LIMB_PARTS),
    torso=("left_shoulder", "right_hip"),
)
"""The 14 keypoints of Leeds Sports Pose, in the order of its ``joints.mat``."""

MPII = Skeleton(
    name="mpii",
    keypoints=(*_LEGS_FIRST, "pelvis", "thorax", "upper_neck", "head_top", *_ARMS),
    edges=(
        ("head_top", "upper_neck"),
        ("upper_neck", "thorax"),
        ("thorax", "right_shoulder"),
        ("thorax", "left_shoulder"),
        ("thorax", "pelvis"),
        ("pelvis", "right_hip"),
        ("pelvis", "left_hip"),
        *_limbs("right", "left"),
    ),
    parts=(("Head", ("head_top",)), *_LIMB_PARTS),  # as in published validation tables
    unscored=("pelvis", "thorax"),
    torso=("left_shoulder", "right_hip"),
)
"""The 16 keypoints of MPII Human Pose, in the order of its annotation."""

COCO = Skeleton(
    name="coco",
    keypoints=(
        "nose",
        *("left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder"),
        *("left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip"),
        *("left_knee", "right_knee", "left_ankle", "right_ankle"),
    ),
    edges=(
        *_chain("left_ear", "left_eye", "nose", "right_eye", "right_ear"),
        ("right_shoulder", "left_shoulder"),
        ("right_shoulder", "right_hip"),
        ("left_shoulder", "left_hip"),
        ("right_hip", "left_hip"),
        *_limbs("right", "left"),
    ),
    parts=(("Head", ("nose", *_both("eye"), *_both("ear"))), *_LIMB_PARTS),
    torso=("left_shoulder", "right_hip"),
)
"""The 17 keypoints of COCO."""

SKELETONS = {skeleton.name: skeleton for skeleton in (LSP, MPII, COCO)}


def matching_channels(names: Sequence[str], skeleton: Skeleton) -> list[tuple[int, int]]:
    """Pairs ``(index in names, channel in skeleton)`` of the keypoints that both have."""
    return [(i, skeleton.keypoints.index(name)) for i, name in enumerate(names) if name in skeleton.keypoints]
