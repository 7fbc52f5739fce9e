"""Packs: what goes in comes out, small enough, and damage is noticed."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from sadinet.data.augment import IDENTITY, Augmentation
from sadinet.data.dataset import PersonDataset, make_sample
from sadinet.data.pack import REACH, SCALE, SHIFT, read_pack, write_pack
from sadinet.data.person import PackedPicture, Person
from sadinet.data.splits import PACKED, pack_dataset, read_split
from sadinet.data.toy import write_toy
from sadinet.errors import ConfigError, DataError, ImageError
from sadinet.geometry import Crop
from sadinet.skeleton import LSP, MPII


def smooth_picture(path: Path, width: int, height: int) -> None:
    """A picture of soft waves, which loses little by scaling and encoding."""
    y, x = np.indices((height, width))
    image = [127 + 120 * np.sin(x / 31 + phase) * np.cos(y / 23 - phase) for phase in (0.0, 1.0, 2.5)]
    Image.fromarray(np.stack(image, -1).astype(np.uint8)).save(path, quality=99)


def make_person(name: str, image: Path, crop: Crop, seed: int) -> Person:
    rng = np.random.default_rng(seed)
    labelled = rng.random(14) < 0.8
    xy = np.where(labelled[:, None], rng.normal(crop.center, crop.side / 5, (14, 2)), np.nan)
    return Person(name, image, xy, labelled, labelled & (rng.random(14) < 0.5), crop, head_size=20.0 + seed)


@pytest.fixture(scope="module")
def persons(tmp_path_factory: pytest.TempPathFactory) -> list[Person]:
    """Three persons in a large picture, one to be scaled down, one outside of it; and one in a small picture."""
    folder = tmp_path_factory.mktemp("pictures")
    smooth_picture(folder / "large.jpg", 1300, 900)
    smooth_picture(folder / "small.jpg", 150, 110)
    return [
        make_person("mpii/a#1", folder / "large.jpg", Crop((610.3, 430.7), 420.0), 1),
        make_person("mpii/a#2", folder / "large.jpg", Crop((1190.0, 800.0), 130.5, 20.0), 2),
        make_person("mpii/b#1", folder / "small.jpg", Crop((140.0, 20.0), 90.0), 3),
        make_person("mpii/a#3", folder / "large.jpg", Crop((2900.0, 1900.0), 500.0), 4),
    ]


@pytest.fixture(scope="module")
def pack(persons: list[Person], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pack") / "some" / "mpii.pack"
    splits = {"mpii/train": persons[:3], "mpii/val": [persons[3], persons[0]]}
    summary = write_pack(splits, path, skeleton=MPII, size=160, quality=95)
    assert (summary.persons, summary.bytes, summary.path) == (4, path.stat().st_size, path)
    assert summary.splits == {"mpii/train": 3, "mpii/val": 2}
    assert [file.name for file in path.parent.iterdir()] == ["mpii.pack"]
    return path


def test_splits_come_back_in_order(pack: Path, persons: list[Person]) -> None:
    assert [p.id for p in read_pack(pack, "mpii/train")] == ["mpii/a#1", "mpii/a#2", "mpii/b#1"]
    assert [p.id for p in read_pack(pack, "mpii/val")] == ["mpii/a#3", "mpii/a#1"]
    for before, after in zip(persons, read_pack(pack, "mpii/train"), strict=False):
        assert (after.labelled == before.labelled).all()
        assert (after.visible == before.visible).all()
        assert (np.isfinite(after.xy).all(1) == before.labelled).all()
        assert after.crop.angle == before.crop.angle


def test_persons_are_scaled_down_but_never_up(pack: Path, persons: list[Person]) -> None:
    first, second, third = read_pack(pack, "mpii/train")
    assert first.crop.side == pytest.approx(160.0)
    assert first.head_size == pytest.approx(persons[0].head_size * 160 / 420)
    assert first.read().shape[1] == pytest.approx(160 * REACH, abs=3)
    assert second.crop.side == 130.5
    assert second.read().shape[:2] == pytest.approx((100 + 65 * REACH, 110 + 65 * REACH), abs=3)  # the picture ends
    assert third.crop == persons[2].crop
    assert (third.read() == persons[2].read()).all()  # a small file is kept as it is


@pytest.mark.parametrize(
    "change",
    [
        IDENTITY,
        Augmentation(angle=45.0, scale=SCALE, shift=(SHIFT, -SHIFT)),
        Augmentation(True, -100.0, SCALE, (-SHIFT, -SHIFT)),
        Augmentation(scale=0.7),
    ],
)
def test_examples_are_those_of_the_files(pack: Path, persons: list[Person], change: Augmentation) -> None:
    packed = [*read_pack(pack, "mpii/train"), read_pack(pack, "mpii/val")[0]]
    for before, after in zip(persons, packed, strict=True):
        a, b = (make_sample(p.read(), p, change, 96, LSP.flip_index) for p in (before, after))
        np.testing.assert_allclose(a.xy, b.xy, atol=1e-3)
        difference = np.abs(a.image.astype(float) - b.image)
        assert difference.mean() < 1.5, before.id
        assert a.image.any() == b.image.any()


def test_real_photographs_become_small(shared: Path, tmp_path: Path) -> None:
    files = sorted((shared / "data" / "mpii" / "images").glob("*.jpg"))
    people = [make_person(file.stem, file, Crop((600.0, 350.0), 800.0), i) for i, file in enumerate(files)]
    summary = write_pack({"mpii/val": people}, tmp_path / "p", skeleton=MPII)
    assert summary.bytes < 0.4 * sum(file.stat().st_size for file in files)
    for before, after in zip(people, read_pack(tmp_path / "p", "mpii/val"), strict=True):
        a, b = (make_sample(p.read(), p, IDENTITY, 256, LSP.flip_index) for p in (before, after))
        assert np.abs(a.image.astype(float) - b.image).mean() < 3
        np.testing.assert_allclose(a.xy, b.xy, atol=1e-3)


def test_a_data_set_is_read_from_its_pack(tmp_path: Path) -> None:
    write_toy(tmp_path, 20, seed=6)
    summary = pack_dataset("toy", tmp_path, tmp_path / "toy.pack")
    assert summary.splits == {"toy/train": 16, "toy/val": 2, "toy/test": 2}
    for split in ("train", "val", "test"):
        folder, packed = read_split("toy", split, tmp_path), read_split("toy", split, tmp_path / "toy.pack")
        assert (packed.name, packed.ids, packed.hash) == (folder.name, folder.ids, folder.hash)
    dataset = PersonDataset(packed.persons, size=30, flip_index=LSP.flip_index)
    from_files = PersonDataset(folder.persons, size=30, flip_index=LSP.flip_index, cache=10**6)
    for index in range(2):
        assert (dataset.sample(0, index).image == from_files.sample(0, index).image).all()
    with pytest.raises(DataError, match="holds toy/train, toy/val, toy/test, not lsp/train"):
        read_split("lsp", "train", tmp_path / "toy.pack")
    with pytest.raises(DataError, match="near-duplicates"):
        read_split("toy", "train", tmp_path / "toy.pack", keep_duplicates=True)
    with pytest.raises(ConfigError, match="no data set 'coco'"):
        pack_dataset("coco", tmp_path, tmp_path / "coco.pack")
    assert "lsp/test" in PACKED["lsp+lspet"]


def test_a_pack_of_a_pack_is_the_same(pack: Path, tmp_path: Path) -> None:
    write_pack({"mpii/train": read_pack(pack, "mpii/train")}, tmp_path / "again", skeleton=MPII, size=160, quality=95)
    for a, b in zip(read_pack(pack, "mpii/train"), read_pack(tmp_path / "again", "mpii/train"), strict=True):
        assert (a.read() == b.read()).all()
        assert a.crop == b.crop


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.99])
def test_a_pack_cut_short_is_noticed(pack: Path, tmp_path: Path, share: float) -> None:
    content = pack.read_bytes()
    (tmp_path / "short").write_bytes(content[: int(len(content) * share)])
    with pytest.raises(DataError, match=r"'.*short' is no pack of a data set, or damaged"):
        read_pack(tmp_path / "short", "mpii/train")


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no pack "):
        read_pack(tmp_path, "mpii/train")
    save_file({"x": np.zeros(3)}, tmp_path / "weights", metadata={"format": "sadinet-1"})
    with pytest.raises(DataError, match=r"no pack of a data set \(format 'sadinet-1'\)"):
        read_pack(tmp_path / "weights", "mpii/train")
    save_file({"x": np.zeros(3)}, tmp_path / "empty", metadata={"format": "sadinet-pack-1"})
    with pytest.raises(DataError, match="or damaged"):
        read_pack(tmp_path / "empty", "mpii/train")


def test_a_change_of_who_is_in_a_split_is_noticed(pack: Path, tmp_path: Path) -> None:
    content = pack.read_bytes()
    (tmp_path / "changed").write_bytes(content.replace(b"mpii/a#2", b"mpii/a#3", 1))
    with pytest.raises(DataError, match="mpii/train is not what was written"):
        read_pack(tmp_path / "changed", "mpii/train")


def test_damage_behind_the_reader_s_back_names_the_person(pack: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.write_bytes(pack.read_bytes())
    person = read_pack(copy, "mpii/train")[1]
    assert isinstance(person.image, PackedPicture)
    blank = bytearray(copy.read_bytes())
    blank[person.image.offset : person.image.offset + person.image.length] = bytes(person.image.length)
    copy.write_bytes(blank)
    with pytest.raises(ImageError, match=r"mpii/a#2 in '.*copy': .*not a picture"):
        person.read()
    copy.write_bytes(blank[: person.image.offset + 10])
    with pytest.raises(DataError, match=r"mpii/a#2: '.*copy' ends before byte"):
        person.read()
    copy.unlink()
    with pytest.raises(DataError, match=r"mpii/a#2: .* cannot be read any more"):
        person.read()


def test_a_failure_leaves_what_was_there(persons: list[Person], tmp_path: Path) -> None:
    target = tmp_path / "p"
    target.write_bytes(b"precious")
    lost = replace(persons[0], id="mpii/lost", image=tmp_path / "gone.jpg")
    with pytest.raises(ImageError, match="mpii/lost: "):
        write_pack({"mpii/val": [lost]}, target, skeleton=MPII)
    with pytest.raises(DataError, match="no persons"):
        write_pack({"mpii/val": []}, target, skeleton=MPII)
    assert target.read_bytes() == b"precious"
    (tmp_path / "folder").mkdir()
    with pytest.raises(DataError, match="cannot be written"):
        write_pack({"mpii/val": persons[2:3]}, tmp_path / "folder", skeleton=MPII)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["folder", "p"]
