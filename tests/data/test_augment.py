"""Augmentation: values within their ranges, old draws untouched by new kinds of change."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sadinet.data.augment import (
    HALF_BODY_KEYPOINTS,
    IDENTITY,
    Augmentation,
    AugmentConfig,
    Cutout,
    draw_augmentation,
    example_rng,
    half_body_crop,
    upper_body,
)
from sadinet.data.person import Person
from sadinet.errors import ConfigError
from sadinet.geometry import Crop, apply, bounding_box, image_to_crop
from sadinet.skeleton import COCO, LSP, MPII

UPPER = upper_body(LSP)


def make_person(labelled: Any = None, angle: float = 0.0, seed: int = 0) -> Person:
    """A standing person of LSP's keypoints, about 50 px wide and 130 px tall."""
    rng = np.random.default_rng(seed)
    order = ["head_top", "neck", "shoulder", "elbow", "wrist", "hip", "knee", "ankle"]
    level = np.array([next(i for i, part in enumerate(order) if name.endswith(part)) for name in LSP.keypoints])
    xy = np.column_stack([rng.uniform(40, 90, len(LSP)), 20 + 18.0 * level])
    labelled = np.ones(len(LSP), bool) if labelled is None else np.array(labelled)
    crop = Crop((65.0, 83.0), 160.0, angle)
    return Person("toy/x", Path("x.jpg"), np.where(labelled[:, None], xy, np.nan), labelled, labelled, crop)


def draws(config: AugmentConfig, count: int = 60) -> list[Augmentation]:
    return [draw_augmentation(example_rng(5, 2, i), config, make_person(), UPPER) for i in range(count)]


@pytest.mark.parametrize("distribution", ["uniform", "clipped-normal"])
def test_every_draw_is_within_its_range(distribution: Any) -> None:
    config = AugmentConfig(20, (0.8, 1.3), 0.1, 0.5, 0.2, distribution, 0.5, 0.5)
    most = 20 if distribution == "uniform" else 40
    some = draws(config)
    assert all(abs(a.angle) <= most and 0.8 <= a.scale <= 1.3 for a in some)
    assert all(abs(v) <= 0.1 for a in some for v in a.shift)
    assert all(0.8 <= v <= 1.2 for a in some for v in a.gains)
    for values in ([a.mirrored for a in some], [a.crop is None for a in some], [not a.cutouts for a in some]):
        assert 15 < sum(values) < 45
    assert {len(a.cutouts) for a in some} == {0, 1, 2, 3}


def test_the_draws_are_those_of_the_first_release() -> None:
    change = draw_augmentation(example_rng(1, 2, 3), AugmentConfig(30, (0.75, 1.25), 0.1, 0.5, 0.2), make_person())
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence((1, 2, 3))))
    assert change.mirrored == (rng.random() < 0.5)
    assert change.angle == rng.uniform(-30, 30)
    assert change.scale == rng.uniform(0.75, 1.25)
    assert change.shift == tuple(rng.uniform(-0.1, 0.1, 2))
    assert change.gains == tuple(rng.uniform(0.8, 1.2, 3))


@pytest.mark.parametrize("distribution", ["uniform", "clipped-normal"])
def test_new_kinds_of_change_leave_the_others_as_they_were(distribution: Any) -> None:
    plain = AugmentConfig(25, (0.7, 1.2), 0.05, 0.4, 0.1, distribution)
    for old, new in zip(draws(plain), draws(replace(plain, half_body=1.0, cutout=1.0)), strict=True):
        assert new.crop is not None
        assert new.cutouts
        assert replace(new, crop=None, cutouts=()) == old


def test_upper_bodies_are_told_by_names() -> None:
    assert upper_body(LSP) == (6, 7, 8, 9, 10, 11, 12, 13)
    assert upper_body(MPII) == tuple(range(7, 16))
    assert upper_body(COCO) == tuple(range(11))


@settings(max_examples=60, deadline=None)
@given(
    labelled=st.lists(st.booleans(), min_size=14, max_size=14),
    upper=st.booleans(),
    angle=st.floats(-180, 180),
    seed=st.integers(0, 9),
)
def test_a_half_body_is_a_part_of_the_window(labelled: list[bool], upper: bool, angle: float, seed: int) -> None:
    person = make_person(labelled, angle, seed)
    crop = half_body_crop(person, UPPER, prefer_upper=upper)
    above = np.isin(np.arange(14), UPPER)
    wanted, other = (above, ~above) if upper else (~above, above)
    if sum(labelled) < HALF_BODY_KEYPOINTS:
        assert crop is None
        return
    half = wanted if (person.labelled & wanted).sum() >= 3 else other
    assert crop is not None
    assert crop.angle == angle
    size = 100
    corners = np.array([[-0.5, -0.5], [99.5, -0.5], [-0.5, 99.5], [99.5, 99.5]])
    from_half = image_to_crop(crop, size)
    back = (corners - from_half[:, 2]) @ np.linalg.inv(from_half[:, :2]).T
    on_window = apply(image_to_crop(person.crop, size), back)
    assert (np.abs(on_window - 49.5) <= 50 + 1e-6).all()
    if angle == 0:  # all the keypoints of the half are in it; a turned window may not contain the person at all
        inside = apply(from_half, person.xy[person.labelled & half])
        assert ((inside >= -0.5) & (inside <= 99.5)).all()


def test_a_half_body_is_as_close_as_its_keypoints_allow() -> None:
    person = make_person()
    crop = half_body_crop(person, UPPER, prefer_upper=True)
    assert crop is not None
    left, top, right, bottom = bounding_box(person.xy[list(UPPER)])
    assert crop.side == pytest.approx(1.5 * max(right - left, bottom - top))
    assert crop.center[0] == pytest.approx((left + right) / 2)
    same = replace(person, xy=np.full((14, 2), 70.0))
    closest = half_body_crop(same, UPPER, prefer_upper=False)
    assert closest is not None
    assert (*closest.center, closest.side) == pytest.approx((70.0, 70.0, 40.0))


def test_a_change_starts_from_its_own_crop() -> None:
    half = Crop((30.0, 40.0), 50.0)
    change = Augmentation(angle=10.0, scale=1.2, shift=(0.1, -0.2), crop=half)
    expected = image_to_crop(Crop((35.0, 30.0), 60.0, 10.0), 64)
    assert change.image_to_input(Crop((1.0, 2.0), 3.0), 64) == pytest.approx(expected)
    assert IDENTITY.image_to_input(half, 64) == pytest.approx(image_to_crop(half, 64))


def test_cutouts_lie_on_the_input() -> None:
    cutouts = [c for a in draws(AugmentConfig(cutout=1.0)) for c in a.cutouts]
    for cutout in cutouts:
        left, top, right, bottom = cutout.pixels(256)
        assert 0 <= left < right <= 256
        assert 0 <= top < bottom <= 256
        assert max(right - left, bottom - top) <= 78
        assert all(0 <= v <= 255 for v in cutout.color)
    assert len({c.color for c in cutouts}) > 50
    assert Cutout((0.0, 0.25, 0.5, 1.0), (1, 2, 3)).pixels(64) == (0, 16, 32, 64)


@pytest.mark.parametrize(
    "wrong",
    [{"scale": (0.0, 1.0)}, {"flip": 1.5}, {"half_body": -0.1}, {"cutout": 2.0}, {"gain": 1.0}, {"shift": -1.0}],
)
def test_ranges_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="augment: "):
        AugmentConfig(**wrong)
