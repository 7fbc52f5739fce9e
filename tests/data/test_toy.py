"""The toy data set: reproducible, inside of its pictures, and with sides that can be told apart."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sadinet.data.toy import read_toy, write_toy
from sadinet.errors import DataError
from sadinet.skeleton import LSP


def test_the_same_seed_draws_the_same_and_more_figures_only_add(tmp_path: Path) -> None:
    for name, count, seed in (("a", 3, 5), ("b", 4, 5), ("c", 3, 6)):
        write_toy(tmp_path / name, count, seed)
    a, b, c = (read_toy(tmp_path / name) for name in "abc")
    assert [p.id for p in b] == [f"toy/im000{i}" for i in (1, 2, 3, 4)]
    for one, two, other in zip(a, b[:3], c, strict=True):
        np.testing.assert_array_equal(one.xy, two.xy)
        assert one.image.read_bytes() == two.image.read_bytes()
        assert not np.array_equal(one.xy, other.xy)
        assert one.image.read_bytes() != other.image.read_bytes()


def test_keypoints_lie_inside_and_on_a_limb_of_their_sides_colour(tmp_path: Path) -> None:
    write_toy(tmp_path, 40, seed=1)
    agree = []
    for person in read_toy(tmp_path):
        with Image.open(person.image) as picture:
            pixels = np.asarray(picture.convert("RGB")).astype(int)
        height, width, _ = pixels.shape
        assert min(width, height) >= 96
        assert max(width, height) <= 200
        assert (person.xy >= 0).all()
        assert (person.xy <= [width - 1, height - 1]).all()
        assert person.labelled.all()
        for name in ("wrist", "ankle", "knee"):
            for side, sign in (("right", 1), ("left", -1)):
                x, y = np.rint(person.xy[LSP.index(f"{side}_{name}")]).astype(int)
                red, _, blue = pixels[y, x]
                agree.append(sign * (red - blue) > 0)
    assert np.mean(agree) > 0.95  # a limb in front hides another one now and then


def test_figures_face_both_ways(tmp_path: Path) -> None:
    write_toy(tmp_path, 40, seed=2)
    towards = [p.xy[LSP.index("right_shoulder"), 0] < p.xy[LSP.index("left_shoulder"), 0] for p in read_toy(tmp_path)]
    assert 0.5 < np.mean(towards) < 1.0


@pytest.mark.parametrize("count", [0, -3, 10000])
def test_impossible_counts_are_refused(tmp_path: Path, count: int) -> None:
    with pytest.raises(DataError, match=str(count)):
        write_toy(tmp_path, count, seed=0)
    assert not (tmp_path / "toy").exists()


def test_nothing_is_overwritten_and_absence_says_how_to_draw(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="write_toy"):
        read_toy(tmp_path)
    write_toy(tmp_path, 2, seed=0)
    with pytest.raises(DataError, match="exists already"):
        write_toy(tmp_path, 3, seed=0)
    assert len(read_toy(tmp_path)) == 2
