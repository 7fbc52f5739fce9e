"""Anybody's predicted keypoints, read from the files they are passed around in.

A file holds one array whose axes are persons, keypoints and (x, y) or (x, y, score), in any order:
``.npy``, ``.npz``, MATLAB's ``.mat``, HDF5, or JSON. Persons are in the data set's order. Nothing is ever unpickled.
"""

import json
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from itertools import permutations
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import scipy.io
from numpy.typing import NDArray
from scipy.io.matlab import MatReadError

from .errors import ConfigError, DataError
from .geometry import Floats

_Arrays: TypeAlias = dict[str, NDArray[Any]]

# What the readers raise on damaged files.
_BROKEN = (
    *(OSError, ValueError, TypeError, LookupError, EOFError, OverflowError, MemoryError, RuntimeError),
    *(zlib.error, zipfile.BadZipFile, MatReadError),
)


def read_predictions(
    path: Path | str,
    *,
    persons: int,
    keypoints: int,
    layout: str | None = None,
    one_based: bool = False,
    key: str | None = None,
    ids: Sequence[str] | None = None,
) -> Floats:
    """Predicted keypoints ``(N, K, 2)`` [image px, 0-based], NaN where the file has none.

    The axes are told apart by their lengths, and of several arrays the one that fits is taken. JSON may hold the
    nested list itself, or a list of objects with ``"keypoints"`` (nested, or flat as in COCO) or ``"xy"``, also under
    ``"poses"`` or ``"predictions"``. Objects whose ``"id"`` is a text are put in the order of ``ids``; otherwise
    the order of the file counts.

    Args:
        path: A file ending in .npy, .npz, .mat, .h5, .hdf5 or .json.
        persons: N, how many persons the data set has.
        keypoints: K, how many keypoints the data set has, in its order.
        layout: What the axes are, if their lengths cannot tell: the letters n (persons), k (keypoints) and c (x, y)
            in the order of the array, such as ``"nkc"``.
        one_based: The file counts pixels from 1, as MATLAB does: 1 is taken off.
        key: Which array of a file with several.
        ids: The N persons' ids in the data set's order.

    Raises:
        DataError: The file is missing or damaged, or holds something else than N x K points.
        ConfigError: ``layout`` is not a permutation of "nkc".
    """
    path = Path(path)
    layout = layout.lower() if layout is not None else None
    if layout is not None and sorted(layout) != ["c", "k", "n"]:
        raise ConfigError(f"layout '{layout}' is not an order of the letters n (persons), k (keypoints), c (x, y)")
    arrays = _read(path, ids)
    name, orders = _choose(path, arrays, key, layout, persons, keypoints)
    if len(orders) > 1:
        raise DataError(
            f"'{path}': an array {_shape(arrays[name])} for {persons} persons and {keypoints} keypoints can be read as "
            f"{' or '.join(orders)}: say which with --layout (n persons, k keypoints, c x and y), as in --layout nkc"
        )
    xy = arrays[name].astype(np.float64).transpose([orders[0].index(axis) for axis in "nkc"])[..., :2]
    return xy - 1.0 if one_based else xy.copy()


def _choose(
    path: Path, arrays: _Arrays, key: str | None, layout: str | None, persons: int, keypoints: int
) -> tuple[str, list[str]]:
    """The array that is meant and the orders in which its axes can be read: at least one."""
    found = ", ".join(f"{name} {_shape(array)} {array.dtype}" for name, array in arrays.items()) or "no array"
    if key is not None and key not in arrays:
        raise DataError(f"'{path}' has no array '{key}'; it holds: {found}")
    fitting = {
        name: orders
        for name, array in arrays.items()
        if key in (None, name) and (orders := _orders(array, layout, persons, keypoints))
    }
    if not fitting:
        where = f"array '{key}' of '{path}'" if key is not None else f"'{path}'"
        order = f" in the order {layout}" if layout else ""
        raise DataError(
            f"{where} does not hold the {persons} persons x {keypoints} keypoints x 2 (x, y) or 3 (x, y, score) "
            f"numbers expected{order}; found: {found}"
        )
    if len(fitting) > 1:
        raise DataError(f"'{path}' holds several arrays that fit, {', '.join(fitting)}: say which with --key")
    return next(iter(fitting.items()))


def _orders(array: NDArray[Any], layout: str | None, persons: int, keypoints: int) -> list[str]:
    """The layouts in which ``array`` can be read."""
    if array.ndim != 3 or array.dtype.kind not in "iuf":
        return []
    sizes = {"n": (persons,), "k": (keypoints,), "c": (2, 3)}
    orders = [layout] if layout else ["".join(order) for order in permutations("nkc")]
    return [o for o in orders if all(length in sizes[axis] for axis, length in zip(o, array.shape, strict=True))]


def _shape(array: NDArray[Any]) -> str:
    return " x ".join(map(str, array.shape)) or "single value"


def _read(path: Path, ids: Sequence[str] | None) -> _Arrays:
    """All arrays in the file."""
    if not path.is_file():
        raise DataError(f"there is no file '{path}': give a file of predictions")
    suffix = path.suffix.lower()
    if suffix not in (".npy", ".npz", ".mat", ".h5", ".hdf5", ".json"):
        raise DataError(f"'{path}': predictions are read from .npy, .npz, .mat, .h5, .hdf5 and .json, not '{suffix}'")
    try:
        if suffix == ".json":
            return {"keypoints": _from_json(path, ids)}
        if suffix in (".npy", ".npz"):
            return _from_numpy(path)
        if suffix == ".mat":
            return _from_mat(path)
        return _from_hdf5(path)
    except _BROKEN as error:
        raise DataError(f"'{path}' cannot be read as {suffix}: {error}") from error


def _from_numpy(path: Path) -> _Arrays:
    loaded = np.load(path, allow_pickle=False)
    if isinstance(loaded, np.ndarray):
        return {"array": loaded}
    with loaded:
        return {name: loaded[name] for name in loaded.files}


def _from_mat(path: Path) -> _Arrays:
    try:
        content = scipy.io.loadmat(str(path))
    except NotImplementedError:  # version 7.3 is HDF5
        return _from_hdf5(path)
    return {name: value for name, value in content.items() if isinstance(value, np.ndarray)}


def _from_hdf5(path: Path) -> _Arrays:
    try:
        import h5py  # an extra
    except ImportError:
        raise DataError(f"'{path}' is an HDF5 file; reading it needs h5py: pip install sadinet[h5]") from None
    arrays: _Arrays = {}

    def collect(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.dtype.kind in "iuf":
            arrays[name] = item[()]

    with h5py.File(path, "r") as file:
        file.visititems(collect)
    return {name: np.asarray(array) for name, array in arrays.items()}


def _from_json(path: Path, ids: Sequence[str] | None) -> NDArray[Any]:
    content = json.loads(path.read_text(encoding="utf-8"))
    if isinstance(content, Mapping):
        lists = [content[name] for name in ("poses", "predictions", "keypoints") if name in content]
        if len(lists) != 1:
            raise DataError(f"'{path}': expected a list, or an object with one of 'poses', 'predictions', 'keypoints'")
        content = lists[0]
    if not isinstance(content, list):
        raise DataError(f"'{path}': expected a list of persons, found {type(content).__name__}")
    if content and all(isinstance(entry, Mapping) for entry in content):
        content = [_points(path, entry) for entry in _in_order(path, content, ids)]
    try:
        return np.array(content, dtype=np.float64)
    except (ValueError, TypeError):
        raise DataError(f"'{path}': not every person has the same number of points, each of the same numbers") from None


def _points(path: Path, entry: Mapping[str, Any]) -> Any:
    """The keypoints of one JSON object, nested; a flat COCO list is cut into triples."""
    points = next((entry[name] for name in ("keypoints", "xy") if name in entry), None)
    if not isinstance(points, list):
        raise DataError(f"'{path}': a person without a list 'keypoints': {str(dict(entry))[:80]}")
    if points and not any(isinstance(point, list) for point in points):
        if len(points) % 3:
            raise DataError(f"'{path}': {len(points)} numbers in 'keypoints' are not x, y, score of each keypoint")
        return [points[i : i + 3] for i in range(0, len(points), 3)]
    return points


def _in_order(path: Path, entries: list[Mapping[str, Any]], ids: Sequence[str] | None) -> list[Mapping[str, Any]]:
    """The entries in the order of ``ids`` if they are named, else as they are."""
    names = [entry.get("id") for entry in entries]
    if ids is None or not all(isinstance(name, str) for name in names):
        return entries
    by_id = dict(zip(names, entries, strict=True))
    if len(by_id) < len(entries):
        raise DataError(f"'{path}': {len(entries) - len(by_id)} persons share their 'id' with another one")
    missing = [name for name in ids if name not in by_id]
    extra = len(by_id) - (len(ids) - len(missing))
    if missing or extra:
        first = f", the first missing is {missing[0]}" if missing else ""
        raise DataError(
            f"'{path}': of the {len(ids)} persons to score {len(missing)} are missing, "
            f"and {extra} others are given{first}"
        )
    return [by_id[name] for name in ids]
