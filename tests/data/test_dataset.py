"""Examples: the same whoever prepares them, and errors that arrive."""

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sadinet.data.augment import IDENTITY, Augmentation, AugmentConfig, Cutout, upper_body
from sadinet.data.dataset import Batch, PersonDataset, PictureCache, make_sample, prepare_ahead
from sadinet.data.person import Person
from sadinet.data.toy import read_toy, write_toy
from sadinet.errors import ConfigError, ImageError
from sadinet.geometry import Crop
from sadinet.skeleton import LSP

EVERYTHING = AugmentConfig(shift=0.1, gain=0.2, half_body=0.5, cutout=0.5)


@pytest.fixture(scope="module")
def persons(tmp_path_factory: pytest.TempPathFactory) -> list[Person]:
    folder = tmp_path_factory.mktemp("toy")
    write_toy(folder, 11, seed=2)
    return read_toy(folder)


def make_dataset(persons: list[Person], augment: AugmentConfig | None = EVERYTHING, cache: int = 0) -> PersonDataset:
    return PersonDataset(
        persons, size=40, flip_index=LSP.flip_index, upper_body=upper_body(LSP), augment=augment, seed=9, cache=cache
    )


def batches_of(dataset: PersonDataset, epoch: int, workers: int) -> list[Batch]:
    order = dataset.order(epoch)
    return list(dataset.batches(epoch, [order[:4], order[4:8], order[8:]], workers))


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_an_example_is_the_same_whoever_prepares_it(persons: list[Person], workers: int) -> None:
    alone = batches_of(make_dataset(persons), 3, 0)
    threaded = batches_of(make_dataset(persons, cache=10**8), 3, workers)
    assert [len(b.xy) for b in threaded] == [4, 4, 3]
    for a, b in zip(alone, threaded, strict=True):
        assert torch.equal(a.images, b.images)
        assert torch.equal(a.index, b.index)
        assert torch.equal(a.gains, b.gains)
        assert torch.equal(a.labelled, b.labelled)
        torch.testing.assert_close(a.xy, b.xy, rtol=0, atol=0, equal_nan=True)


def test_an_example_depends_on_epoch_and_index_only(persons: list[Person]) -> None:
    dataset = make_dataset(persons)
    assert (dataset.sample(1, 5).image == dataset.sample(1, 5).image).all()
    assert (dataset.sample(1, 5).image != dataset.sample(2, 5).image).any()
    assert sorted(dataset.order(1)) == list(range(11))
    assert list(dataset.order(1)) != list(dataset.order(2))
    assert list(make_dataset(persons, None).order(1)) == list(range(11))


def test_picture_and_keypoints_move_together(persons: list[Person]) -> None:
    spot = np.array([31.0, 47.0])
    image = np.zeros((90, 70, 3), np.uint8)
    image[47, 31] = 255
    xy = np.full((14, 2), np.nan)
    xy[0] = spot
    labelled = np.arange(14) == 0
    person = replace(persons[0], xy=xy, labelled=labelled, visible=labelled, crop=Crop((35.0, 40.0), 60.0))
    for change in (IDENTITY, Augmentation(True, 25.0, 0.8, (0.1, 0.0)), Augmentation(crop=Crop((33.0, 44.0), 30.0))):
        sample = make_sample(image, person, change, 180, LSP.flip_index)
        k = LSP.flip_index[0] if change.mirrored else 0
        weights = sample.image[..., 0].astype(float)
        rows, columns = np.indices(weights.shape)
        middle = np.array([(columns * weights).sum(), (rows * weights).sum()]) / weights.sum()
        assert sample.xy[k] == pytest.approx(middle, abs=0.1)
        assert np.isfinite(sample.xy).all(1).sum() == 1


def test_inputs_are_scaled_by_their_gains(persons: list[Person]) -> None:
    (batch,) = make_dataset(persons).batches(0, [np.arange(5)], 0)
    inputs = batch.inputs(torch.device("cpu"))
    expected = (batch.images.double() / 255 * batch.gains.double()[:, :, None, None]).clamp(0, 1)
    torch.testing.assert_close(inputs, expected.float(), rtol=1e-6, atol=0)
    assert inputs.is_contiguous(memory_format=torch.channels_last)
    assert batch.images.dtype == torch.uint8


def test_cutouts_are_painted_in_order(persons: list[Person]) -> None:
    lower, upper = Cutout((0.0, 0.0, 0.5, 0.5), (9, 8, 7)), Cutout((0.25, 0.0, 0.75, 0.25), (1, 2, 3))
    plain = make_sample(persons[0].read(), persons[0], IDENTITY, 40, LSP.flip_index)
    painted = make_sample(persons[0].read(), persons[0], Augmentation(cutouts=(lower, upper)), 40, LSP.flip_index)
    expected = plain.image.copy()
    expected[:20, :20] = (9, 8, 7)
    expected[:10, 10:30] = (1, 2, 3)
    assert (painted.image == expected).all()
    np.testing.assert_array_equal(painted.xy, plain.xy)


@pytest.mark.parametrize("workers", [0, 1, 4])
def test_a_damaged_picture_is_named_and_nothing_hangs(persons: list[Person], workers: int, tmp_path: Path) -> None:
    assert isinstance(persons[6].image, Path)
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(persons[6].image.read_bytes()[:300])
    some = [*persons[:6], replace(persons[6], image=broken), *persons[7:]]
    batches = make_dataset(some, None).batches(0, [np.arange(3), np.arange(3, 8), np.arange(8, 11)], workers)
    assert list(next(batches).index) == [0, 1, 2]
    with pytest.raises(ImageError, match=r"toy/im0007: .*broken\.jpg: cannot be decoded"):
        list(batches)
    assert not [t for t in threading.enumerate() if t.name.startswith("sadinet-data")]


def test_leaving_early_ends_the_threads(persons: list[Person]) -> None:
    batches = make_dataset(persons).batches(0, [np.arange(5), np.arange(5, 11)], 2)
    next(batches)
    del batches
    assert not [t for t in threading.enumerate() if t.name.startswith("sadinet-data")]


def test_no_more_is_prepared_than_asked_for() -> None:
    started: list[int] = []
    results = prepare_ahead(lambda i: started.append(i) or i * i, iter(range(100)), 2, ahead=5)  # type: ignore[func-returns-value]
    assert [next(results) for _ in range(3)] == [0, 1, 4]
    results.close()
    assert len(started) <= 3 + 5


def test_the_cache_keeps_what_fits(persons: list[Person]) -> None:
    sizes = [person.read().nbytes for person in persons[:3]]
    cache = PictureCache(sizes[0] + sizes[1])
    first = [cache.read(person) for person in persons[:3]]
    again = [cache.read(person) for person in persons[:3]]
    assert [a is b for a, b in zip(first, again, strict=True)] == [True, True, False]
    assert (again[2] == first[2]).all()


def test_half_bodies_need_to_know_the_upper_body(persons: list[Person]) -> None:
    with pytest.raises(ConfigError, match="upper_body"):
        PersonDataset(persons, size=40, flip_index=LSP.flip_index, augment=AugmentConfig(half_body=0.1))
