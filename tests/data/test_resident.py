"""Examples on the device are those of the files."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sadinet.data.augment import AugmentConfig, upper_body
from sadinet.data.dataset import PersonDataset
from sadinet.data.person import Person
from sadinet.data.resident import ResidentDataset, canvas_side, reach, resident_bytes
from sadinet.data.splits import read_split
from sadinet.data.toy import read_toy, write_toy
from sadinet.errors import ConfigError, ImageError
from sadinet.geometry import Crop, apply, compose, image_to_crop, invert, whole_image
from sadinet.skeleton import LSP

SIZE = 144


@pytest.fixture(scope="module")
def persons(tmp_path_factory: pytest.TempPathFactory) -> list[Person]:
    """Toy persons; every third window lies partly outside of its picture."""
    folder = tmp_path_factory.mktemp("toy")
    write_toy(folder, 19, seed=3)
    found = read_toy(folder)
    for i in range(0, 19, 3):
        crop = found[i].crop
        found[i] = replace(found[i], crop=Crop((crop.center[0] - 0.4 * crop.side, crop.center[1]), crop.side))
    return found


def both(persons: Any, augment: AugmentConfig | None, size: int = SIZE) -> tuple[PersonDataset, ResidentDataset]:
    common: dict[str, Any] = {"size": size, "flip_index": LSP.flip_index, "upper_body": upper_body(LSP)}
    common |= {"augment": augment, "seed": 4}
    return PersonDataset(persons, **common), ResidentDataset(persons, **common)


def differences(files: PersonDataset, resident: ResidentDataset, epoch: int = 2) -> Tensor:
    """Mean absolute difference of the pictures of each example [levels of 255]; everything else must be equal."""
    assert len(resident) == len(files)
    assert (resident.order(epoch) == files.order(epoch)).all()
    rows = np.array_split(files.order(epoch), 3)
    found = []
    for a, b in zip(files.batches(epoch, rows, 1), resident.batches(epoch, rows, 2), strict=True):
        torch.testing.assert_close(a.xy, b.xy, rtol=0, atol=1e-3, equal_nan=True)
        assert torch.equal(a.labelled, b.labelled)
        assert torch.equal(a.gains, b.gains)
        assert torch.equal(a.index, b.index)
        assert b.images.dtype == torch.uint8
        assert b.images.shape == a.images.shape
        found.append((a.images.float() - b.images.float()).abs().mean((1, 2, 3)))
    return torch.cat(found)


@pytest.mark.parametrize("augment", [None, AugmentConfig(0, (1.0, 1.0), flip=0.0), AugmentConfig(0, (1.0, 1.0))])
def test_what_is_only_mirrored_or_not_at_all_is_the_same(persons: list[Person], augment: AugmentConfig | None) -> None:
    assert differences(*both(persons, augment)).max() < 0.02  # 1 level here and there, where two roundings differ


@pytest.mark.parametrize(
    "augment",
    [
        AugmentConfig(30, (1.0, 1.0), flip=0.0),
        AugmentConfig(0, (0.75, 1.25), flip=0.0),
        AugmentConfig(0, (1.0, 1.0), shift=0.1, flip=0.0),
        AugmentConfig(),
        AugmentConfig(180, (0.7, 1.3), 0.1, 0.5, 0.2),
        AugmentConfig(30, (0.75, 1.25), distribution="clipped-normal"),
        AugmentConfig(half_body=1.0),
        AugmentConfig(cutout=1.0),
    ],
    ids=["rotation", "scale", "shift", "default", "large", "normal", "half-body", "cutout"],
)
def test_changes_are_the_same_up_to_a_softer_picture(persons: list[Person], augment: AugmentConfig) -> None:
    difference = differences(*both(persons, augment))
    assert difference.mean() < 2  # hard edges all over
    assert difference.max() < 6


def test_photographs_are_the_same_up_to_one_level(shared: Path) -> None:
    persons = read_split("lsp+lspet", "train", shared / "data").persons[5:9000:700]
    difference = differences(*both(persons, AugmentConfig(half_body=0.3, cutout=0.3), 256))
    assert difference.mean() < 1.0
    assert difference.max() < 4


def test_drawing_ahead_changes_nothing(persons: list[Person]) -> None:
    _, resident = both(persons, AugmentConfig(cutout=0.5))
    rows = np.array_split(resident.order(0), 4)
    for a, b in zip(resident.batches(0, rows, 0), resident.batches(0, rows, 4), strict=True):
        assert torch.equal(a.images, b.images)


@pytest.mark.parametrize(
    "augment",
    [
        AugmentConfig(),
        AugmentConfig(180, (0.9, 1.3), 0.1),
        AugmentConfig(20, (0.5, 0.6)),
        AugmentConfig(20, (0.5, 0.6), half_body=1.0),
        AugmentConfig(25, (0.8, 1.2), 0.05, distribution="clipped-normal", half_body=0.5),
    ],
)
def test_no_change_looks_past_the_canvas(persons: list[Person], augment: AugmentConfig) -> None:
    dataset = PersonDataset(persons, size=SIZE, flip_index=LSP.flip_index, upper_body=upper_body(LSP), augment=augment)
    side = canvas_side(SIZE, augment)
    left, top, right, bottom = whole_image(SIZE, SIZE)
    corners = np.array([[left, top], [right, top], [left, bottom], [right, bottom]])
    farthest = 0.0
    for epoch in range(20):
        for index in range(0, len(persons), 2):
            crop = persons[index].crop
            image_to_canvas = image_to_crop(replace(crop, side=crop.side * side / SIZE), side)
            image_to_input = dataset.change(epoch, index).image_to_input(crop, SIZE)
            seen = apply(compose(invert(image_to_input), image_to_canvas), corners)
            farthest = max(farthest, float(np.abs(seen - (side - 1) / 2).max()))
    assert 0.7 * side / 2 < farthest <= side / 2 + 1e-6


def test_the_memory_is_told_beforehand(persons: list[Person]) -> None:
    augment = AugmentConfig()
    _, resident = both(persons, augment)
    assert resident._canvases.nbytes == resident_bytes(len(persons), SIZE, augment) == 19 * 3 * 246**2
    assert reach(None) == 1.0
    assert canvas_side(256, None) == 256
    assert reach(augment) == pytest.approx(1.25 * (3**0.5 + 1) / 2)
    assert resident_bytes(1, 256, augment) == 3 * 438**2
    assert reach(AugmentConfig(90, (1.0, 1.3))) == pytest.approx(1.3 * 2**0.5)


def test_changes_that_reach_too_far_are_refused(persons: list[Person]) -> None:
    with pytest.raises(ConfigError, match=r"reach 2\.83 times the crop"):
        both(persons, AugmentConfig(90, (1.0, 2.0)))


def test_a_damaged_picture_is_named(persons: list[Person], tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing more")
    some = [*persons[:17], replace(persons[17], image=tmp_path / "broken.jpg")]
    with pytest.raises(ImageError, match="toy/im0018: "):
        both(some, None)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_a_gpu_gives_the_same(persons: list[Person]) -> None:
    augment = AugmentConfig(shift=0.1, half_body=0.5, cutout=0.5)
    common: dict[str, Any] = {"size": SIZE, "flip_index": LSP.flip_index, "upper_body": upper_body(LSP)}
    here, there = (ResidentDataset(persons, **common, augment=augment, device=d) for d in ("cpu", "cuda"))
    rows = [np.arange(19)]
    (a,), (b,) = list(here.batches(1, rows)), list(there.batches(1, rows))
    assert b.images.device.type == b.xy.device.type == "cuda"
    assert (a.images.int() - b.images.cpu().int()).abs().max() <= 1
