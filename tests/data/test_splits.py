"""Splits: fixed, disjoint, and no photograph on two sides."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io

from sadinet.data.splits import SPLITS, Split, group_of, read_split
from sadinet.data.toy import write_toy
from sadinet.errors import ConfigError, DataError


def write_small(data: Path, lsp: int, lspet: int) -> None:
    """LSP and LSPET with so many images, all with the same keypoints and empty pictures."""
    k = np.arange(14.0)
    joints: np.ndarray[Any, Any] = np.stack([10 + 3 * k, 20 + 5 * k, np.ones(14)])  # (3, 14)
    for name, count, digits, first in (("lsp", lsp, 4, joints), ("lspet", lspet, 5, joints.T)):
        (data / name / "images").mkdir(parents=True)
        scipy.io.savemat(str(data / name / "joints.mat"), {"joints": np.repeat(first[:, :, None], count, axis=2)})
        for i in range(1, count + 1):
            (data / name / "images" / f"im{i:0{digits}d}.jpg").touch()


def test_groups_are_symmetric_and_transitive() -> None:
    assert group_of("lsp/im0371") >= {"lsp/im0371", "lsp/im1622"}
    assert "lsp/im1659" in group_of("lspet/im00408")
    for member in group_of("lspet/im00408"):
        assert group_of(member) == group_of("lspet/im00408")
    assert group_of("lsp/im9999") == {"lsp/im9999"}


def test_the_official_split_is_by_number_whatever_the_count(tmp_path: Path) -> None:
    write_small(tmp_path, 1003, 5)
    assert len(read_split("lsp", "train", tmp_path)) == 1000
    assert read_split("lsp", "test", tmp_path).ids == ("lsp/im1001", "lsp/im1002", "lsp/im1003")
    assert len(read_split("lspet", "train", tmp_path)) == 5


def test_a_small_copy_gets_its_part_of_the_same_split(tmp_path: Path) -> None:
    write_small(tmp_path / "small", 60, 90)
    write_small(tmp_path / "large", 80, 400)
    for split in ("train", "val"):
        small, large = (set(read_split("lsp+lspet", split, tmp_path / name).ids) for name in ("small", "large"))
        assert small < large


def test_an_empty_split_says_so(tmp_path: Path) -> None:
    write_small(tmp_path, 7, 6)
    with pytest.raises(DataError, match="no persons in 'test'"):
        read_split("lsp", "test", tmp_path)


def test_unknown_names_are_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no data set 'coco'; there are: lsp, lspet"):
        read_split("coco", "train", tmp_path)
    with pytest.raises(ConfigError, match=r"no split 'val'; it has: train, test, test-clean"):
        read_split("lsp", "val", tmp_path)


def test_toy_is_cut_80_10_10(tmp_path: Path) -> None:
    write_toy(tmp_path, 21, seed=3)
    sides = [read_split("toy", split, tmp_path) for split in SPLITS["toy"]]
    assert [len(side) for side in sides] == [16, 2, 3]
    assert len({i for side in sides for i in side.ids}) == 21
    assert sides[0].name == "toy/train"


def test_the_hash_names_the_persons_not_their_order(tmp_path: Path) -> None:
    write_toy(tmp_path, 20, seed=4)
    split = read_split("toy", "train", tmp_path)
    assert replace(split, name="other", persons=split.persons[::-1]).hash == split.hash
    assert replace(split, persons=split.persons[:-1]).hash != split.hash
    assert len(split.hash) == 12


@pytest.fixture(scope="module")
def real(shared: Path) -> dict[str, Split]:
    data = shared / "data"
    names = [("lsp", s) for s in SPLITS["lsp"]] + [("lsp+lspet", s) for s in SPLITS["lsp+lspet"]]
    splits = {f"{dataset}/{split}": read_split(dataset, split, data) for dataset, split in names}
    return splits | {"kept": read_split("lsp+lspet", "train", data, keep_duplicates=True)}


def test_real_counts_and_hashes_stay(real: dict[str, Split]) -> None:
    assert {name: (len(split), split.hash) for name, split in real.items()} == {
        "lsp/train": (1000, "dd0cc981872c"),
        "lsp/test": (1000, "12eb7bcfe029"),
        "lsp/test-clean": (927, "04f456fe1e0b"),
        "lsp+lspet/train": (9942, "f6219af86730"),
        "lsp+lspet/val": (484, "e05379c6c610"),
        "kept": (10014, "5fd415f88ebe"),
    }


def test_no_photograph_stands_on_two_sides(real: dict[str, Split]) -> None:
    train, val, test = (real[name].ids for name in ("lsp+lspet/train", "lsp+lspet/val", "lsp/test"))
    beside_train = {other for i in train for other in group_of(i)}
    assert beside_train.isdisjoint(val)
    assert beside_train.isdisjoint(test)
    assert {other for i in val for other in group_of(i)}.isdisjoint(test)
    assert "lspet/im00408" not in {*train, *val, *real["kept"].ids}
    assert "lsp/im0371" in real["lsp/train"].ids
    assert "lsp/im0371" not in train


def test_kept_duplicates_are_lsps_own_training_images(real: dict[str, Split]) -> None:
    more = set(real["kept"].ids) - set(real["lsp+lspet/train"].ids)
    assert len(more) == 72
    assert more <= set(real["lsp/train"].ids)
    assert more.isdisjoint(real["lsp+lspet/val"].ids)


def test_the_clean_test_shares_nothing_with_official_training(real: dict[str, Split]) -> None:
    clean = set(real["lsp/test-clean"].ids)
    assert clean < set(real["lsp/test"].ids)
    assert {other for i in real["lsp/train"].ids for other in group_of(i)}.isdisjoint(clean)
    assert "lsp/im1659" not in clean


def test_real_mpii_is_tompsons_split(shared: Path) -> None:
    val = read_split("mpii", "val", shared / "data", need_images=False)
    assert len(val) == len(set(val.ids)) == 2958
    assert val.hash == "83140e3050d0"
