"""A score by difficulty: occluded keypoints, turned persons, small ones, photographs that training has seen."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .data.person import Person
from .data.splits import group_of
from .geometry import Floats, bounding_box
from .metrics import Protocol
from .report import Group, Report, person_errors
from .skeleton import Skeleton

TURNS = ((0.0, 45.0, "upright"), (45.0, 135.0, "lying"), (135.0, 180.1, "upside down"))
"""Angles [degrees] between the line from hips to neck and straight up, and what persons of them are called."""


def break_down(
    predicted: ArrayLike, persons: Sequence[Person], skeleton: Skeleton, protocol: Protocol
) -> tuple[Group, ...]:
    """Scores of parts of ``persons``, whose keypoints are predicted as ``(N, K, 2)`` [image px].

    The parts, as far as the annotation tells and somebody is in them:

    * visible and occluded keypoints, of the data sets that tell them apart at all;
    * persons upright, lying and upside down, see `TURNS`;
    * persons by size, three equal parts: the longer side of the box of their labelled keypoints [image px];
    * persons whose photograph is, nearly, also among those of another split, and the others.
    """
    errors, _ = person_errors(predicted, persons, skeleton, protocol)
    groups: list[Group] = []

    def add(title: str, chosen: NDArray[np.bool_]) -> None:
        """``chosen`` ``(N, K)`` or ``(N,)``: what counts."""
        mask = chosen if chosen.ndim == 2 else np.repeat(chosen[:, None], errors.shape[1], 1)
        kept = np.where(mask, errors, np.nan)
        some = mask.any(1)
        if some.any() and not np.isnan(kept).all():
            report = Report.from_distances(kept[some], skeleton, protocol)
            groups.append(Group(title, report.parts, report.mean, report.persons, report.count))

    labelled, visible = (np.stack([getattr(p, name) for p in persons]) for name in ("labelled", "visible"))
    told = _tells_occlusion(persons)[:, None]
    add("visible keypoints", told & visible)
    add("occluded keypoints", told & labelled & ~visible)
    turns = np.array([turn(person, skeleton) for person in persons])
    for low, high, title in TURNS:
        add(title, (turns >= low) & (turns < high))
    sizes = np.array([size(person) for person in persons])
    known = sizes[np.isfinite(sizes)]
    if len(known) >= 3:
        low, high = np.quantile(known, (1 / 3, 2 / 3))
        add(f"small (up to {low:.0f} px)", sizes <= low)
        add(f"middle (to {high:.0f} px)", (sizes > low) & (sizes <= high))
        add(f"large (from {high:.0f} px)", sizes > high)
    ids = {person.id for person in persons}
    doubled = np.array([bool(group_of(person.id) - ids) for person in persons])
    if doubled.any():
        add("photograph also elsewhere", doubled)
        add("photograph only here", ~doubled)
    return tuple(groups)


def turn(person: Person, skeleton: Skeleton) -> float:
    """The angle [degrees] in [0, 180] between the line from the hips to the neck and straight up; NaN if not labelled.

    Without a neck its place is taken by the middle of the shoulders.
    """
    top = next((person.xy[skeleton.index(n)] for n in ("neck", "upper_neck") if n in skeleton.keypoints), None)
    if top is None:
        top = _middle(person, skeleton, "shoulder")
    x, y = top - _middle(person, skeleton, "hip")
    return float(np.degrees(np.arctan2(abs(x), -y)))


def size(person: Person) -> float:
    """The longer side of the box of a person's labelled keypoints [image px]; NaN if there are none."""
    box: Floats = bounding_box(person.xy)
    return float(max(box[2] - box[0], box[3] - box[1]))


def _middle(person: Person, skeleton: Skeleton, part: str) -> Floats:
    if f"left_{part}" not in skeleton.keypoints:
        return np.array([np.nan, np.nan])
    middle: Floats = (person.xy[skeleton.index(f"left_{part}")] + person.xy[skeleton.index(f"right_{part}")]) / 2
    return middle


def _tells_occlusion(persons: Sequence[Person]) -> NDArray[np.bool_]:
    """``(N,)``: whose data set has an occluded keypoint; where none is, it does not say."""
    sources = [person.id.split("/")[0] for person in persons]
    telling = {s for s, p in zip(sources, persons, strict=True) if (p.labelled & ~p.visible).any()}
    return np.array([source in telling for source in sources])
