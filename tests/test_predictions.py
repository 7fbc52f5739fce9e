"""Reading predictions from every kind of file, in every order of axes."""

import json
import pickle
import sys
from itertools import permutations

import numpy as np
import pytest
import scipy.io

from sadinet.errors import ConfigError, DataError, SadinetError
from sadinet.predictions import read_predictions

N, K = 5, 4
SIZES = {"persons": N, "keypoints": K}


@pytest.fixture
def xy():
    return np.arange(N * K * 2, dtype=float).reshape(N, K, 2) + 0.5


def write(path, **arrays):
    """Writes arrays to a file of the kind that the name of ``path`` tells."""
    first = next(iter(arrays.values()))
    if path.suffix == ".npy":
        np.save(path, first)
    elif path.suffix == ".npz":
        np.savez(path, **arrays)
    elif path.suffix == ".mat":
        scipy.io.savemat(path, arrays)
    elif path.suffix == ".json":
        path.write_text(json.dumps(first.tolist()))
    else:
        h5py = pytest.importorskip("h5py")
        with h5py.File(path, "w") as file:
            for name, array in arrays.items():
                file[f"some/{name}"] = array
    return path


ENDINGS = [".npy", ".npz", ".mat", ".h5", ".hdf5", ".json", ".NPY"]


@pytest.mark.parametrize("ending", ENDINGS[:-1])
def test_every_kind_of_file_gives_the_same(tmp_path, xy, ending):
    file = write(tmp_path / f"ours{ending}", preds=xy)
    found = read_predictions(file, **SIZES)
    np.testing.assert_array_equal(found, xy)
    assert found.dtype == np.float64


@pytest.mark.parametrize("order", ["".join(o) for o in permutations("nkc")])
@pytest.mark.parametrize("score", [False, True])
def test_every_order_of_axes_is_recognised(tmp_path, xy, order, score):
    whole = np.concatenate([xy, np.full((N, K, 1), 0.9)], axis=2) if score else xy
    file = write(tmp_path / "ours.npz", preds=whole.transpose(["nkc".index(axis) for axis in order]))
    np.testing.assert_array_equal(read_predictions(file, **SIZES), xy)
    np.testing.assert_array_equal(read_predictions(file, **SIZES, layout=order.upper()), xy)


def test_one_based_files_are_moved_by_one_pixel(tmp_path, xy):
    file = write(tmp_path / "ours.mat", preds=xy)
    np.testing.assert_array_equal(read_predictions(file, **SIZES, one_based=True), xy - 1)


def test_small_whole_numbers_do_not_wrap(tmp_path):
    file = write(tmp_path / "ours.npy", preds=np.zeros((N, K, 2), np.uint8))
    np.testing.assert_array_equal(read_predictions(file, **SIZES, one_based=True), np.full((N, K, 2), -1.0))


@pytest.mark.parametrize(
    ("persons", "keypoints", "orders"), [(4, 4, "nkc or knc"), (2, 4, "nkc or ckn"), (5, 3, "nkc or nck")]
)
def test_ambiguous_axes_need_a_layout(tmp_path, persons, keypoints, orders):
    numbers = 3 if keypoints == 3 else 2
    array = np.arange(persons * keypoints * numbers, dtype=float).reshape(persons, keypoints, numbers)
    file = write(tmp_path / "ours.npy", preds=array)
    with pytest.raises(DataError, match=f"can be read as {orders}: say which with --layout"):
        read_predictions(file, persons=persons, keypoints=keypoints)
    found = read_predictions(file, persons=persons, keypoints=keypoints, layout="nkc")
    np.testing.assert_array_equal(found, array[..., :2])


@pytest.mark.parametrize("layout", ["nk", "nkk", "xyz", ""])
def test_a_layout_is_three_letters(tmp_path, xy, layout):
    with pytest.raises(ConfigError, match="n \\(persons\\), k \\(keypoints\\), c \\(x, y\\)"):
        read_predictions(write(tmp_path / "ours.npy", preds=xy), **SIZES, layout=layout)


def test_a_layout_that_does_not_fit_is_refused(tmp_path, xy):
    with pytest.raises(DataError, match=r"numbers expected in the order knc; found: array 5 x 4 x 2 float64"):
        read_predictions(write(tmp_path / "ours.npy", preds=xy), **SIZES, layout="knc")


def test_the_only_array_that_fits_is_taken(tmp_path, xy):
    file = write(tmp_path / "ours.npz", scores=np.ones((N, K)), names=np.array(["a"] * N), preds=xy)
    np.testing.assert_array_equal(read_predictions(file, **SIZES), xy)


@pytest.mark.parametrize("ending", [".npz", ".mat", ".h5"])
def test_several_arrays_that_fit_need_a_key(tmp_path, xy, ending):
    file = write(tmp_path / f"ours{ending}", a=xy, b=xy + 1)
    prefix = "some/" if ending == ".h5" else ""
    with pytest.raises(DataError, match=f"several arrays that fit, {prefix}a, {prefix}b: say which with --key"):
        read_predictions(file, **SIZES)
    np.testing.assert_array_equal(read_predictions(file, **SIZES, key=f"{prefix}b"), xy + 1)
    with pytest.raises(DataError, match="has no array 'c'; it holds: "):
        read_predictions(file, **SIZES, key="c")


def test_wrong_counts_say_what_was_found_and_expected(tmp_path, xy):
    file = write(tmp_path / "ours.npz", preds=xy, scores=np.ones(N))
    with pytest.raises(DataError, match="the 6 persons x 4 keypoints x 2") as caught:
        read_predictions(file, persons=6, keypoints=K)
    assert "found: preds 5 x 4 x 2 float64, scores 5 float64" in str(caught.value)
    with pytest.raises(DataError, match="array 'scores' of"):
        read_predictions(file, **SIZES, key="scores")


def test_a_json_list_of_objects(tmp_path, xy):
    file = tmp_path / "ours.json"
    flat = [{"image_id": 7, "keypoints": [v for x, y in person for v in (x, y, 0.5)]} for person in xy.tolist()]
    file.write_text(json.dumps(flat))
    np.testing.assert_array_equal(read_predictions(file, **SIZES), xy)
    file.write_text(json.dumps({"poses": [{"id": n, "xy": person} for n, person in enumerate(xy.tolist())]}))
    np.testing.assert_array_equal(read_predictions(file, **SIZES), xy)


def test_named_persons_are_put_in_order(tmp_path, xy):
    ids = [f"lsp/im{n}" for n in range(N)]
    entries = [{"id": name, "keypoints": person} for name, person in zip(ids, xy.tolist(), strict=True)]
    file = tmp_path / "ours.json"
    file.write_text(json.dumps(entries[::-1]))
    np.testing.assert_array_equal(read_predictions(file, **SIZES, ids=ids), xy)
    np.testing.assert_array_equal(read_predictions(file, **SIZES), xy[::-1])
    with pytest.raises(DataError, match="1 are missing, and 1 others are given, the first missing is other"):
        read_predictions(file, **SIZES, ids=[*ids[:-1], "other"])
    file.write_text(json.dumps([*entries[:-1], entries[0]]))
    with pytest.raises(DataError, match="1 persons share their 'id'"):
        read_predictions(file, **SIZES, ids=ids)


def test_missing_numbers_in_json_are_nan(tmp_path, xy):
    rows = xy.tolist()
    rows[1][2] = [None, None]
    file = tmp_path / "ours.json"
    file.write_text(json.dumps(rows))
    xy[1, 2] = np.nan
    np.testing.assert_array_equal(read_predictions(file, **SIZES), xy)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot be read as .json"),
        ("[" * 100_000, "cannot be read as .json"),
        ("3", "expected a list of persons, found int"),
        ("{}", "expected a list, or an object with one of 'poses'"),
        ('{"poses": 3}', "expected a list of persons, found int"),
        ("[]", "found: keypoints 0 float64"),
        ("[[[1, 2], [3, 4]], [[1, 2]]]", "not every person has the same number of points"),
        ('[[["a", 2]]]', "not every person has the same number of points"),
        ('[{"keypoints": [1, 2, 3, 4]}]', "4 numbers in 'keypoints' are not x, y, score"),
        ('[{"points": []}]', "a person without a list 'keypoints'"),
    ],
)
def test_json_of_another_kind_is_refused(tmp_path, text, message):
    file = tmp_path / "ours.json"
    file.write_text(text)
    with pytest.raises(DataError, match=message):
        read_predictions(file, **SIZES)


class Trap:
    """Fails the test when unpickled."""

    def __reduce__(self):
        return pytest.fail, ("unpickled",)


@pytest.mark.parametrize("ending", [".npy", ".npz"])
def test_nothing_is_unpickled(tmp_path, ending):
    file = write(tmp_path / f"ours{ending}", preds=np.array([Trap(), None], dtype=object))
    with pytest.raises(DataError, match=r"cannot be read as \.np"):
        read_predictions(file, **SIZES)
    file.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(DataError, match=r"cannot be read as \.np"):
        read_predictions(file, **SIZES)


@pytest.mark.parametrize("ending", ENDINGS[:-1])
@pytest.mark.filterwarnings("ignore")
def test_damaged_files_never_end_in_a_traceback(tmp_path, xy, ending):
    file = write(tmp_path / f"ours{ending}", preds=xy)
    whole = file.read_bytes()
    rng = np.random.default_rng(3)
    damaged = [whole[:cut] for cut in rng.integers(0, len(whole), 30)]
    for place in rng.integers(0, min(len(whole), 400), 60):
        damaged.append(whole[:place] + bytes([rng.integers(256)]) + whole[place + 1 :])
    messages = []
    for content in damaged:
        file.write_bytes(content)
        try:
            read_predictions(file, **SIZES)
        except SadinetError as error:
            messages.append(str(error))
    assert len(messages) >= 20
    assert all(str(file) in message for message in messages)


def test_missing_and_unknown_files(tmp_path):
    with pytest.raises(DataError, match="there is no file"):
        read_predictions(tmp_path / "nothing.npy", **SIZES)
    (tmp_path / "ours.pkl").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(DataError, match=r"not '\.pkl'"):
        read_predictions(tmp_path / "ours.pkl", **SIZES)


def test_hdf5_without_h5py_says_what_to_install(tmp_path, xy, monkeypatch):
    file = write(tmp_path / "ours.h5", preds=xy)
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(DataError, match=r"pip install sadinet\[h5\]"):
        read_predictions(file, **SIZES)


def test_matlab_files_of_version_73_are_hdf5(tmp_path, xy):
    h5py = pytest.importorskip("h5py")
    file = tmp_path / "ours.mat"
    with h5py.File(file, "w", userblock_size=512) as content:
        content["preds"] = xy.transpose()
    header = b"MATLAB 7.3 MAT-file".ljust(124, b" ") + b"\x00\x02IM"
    with file.open("r+b") as stream:
        stream.write(header)
    np.testing.assert_array_equal(read_predictions(file, **SIZES), xy)
