"""Which persons train, validate and test: named, fixed, and free of photographs that stand on two sides.

LSP and LSPET come from the same photo-sharing site and share pictures. ``near_duplicates.csv`` lists the
pairs of near-identical photographs we measured among LSP and images 1 to 9500 of LSPET; pictures connected
by such pairs, directly or through others, make a *group*.
"""

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import resources
from pathlib import Path
from types import MappingProxyType

from ..errors import ConfigError, DataError
from ..metrics import BOX_PCK, LSP_PCK, MPII_PCKH, Protocol
from ..skeleton import LSP, MPII, Skeleton
from .coco import coco_splits, find_coco, own_datasets, read_coco, read_keypoints
from .lsp import read_lsp, read_lspet
from .mpii import read_mpii
from .pack import PackSummary, pack_skeleton, pack_splits, read_pack, write_pack
from .person import Person, draw_of, hash_ids
from .toy import read_toy

LSP_TRAIN = 1000
"""The official split of LSP: images up to this one train, the others test."""

SPLITS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "lsp": {
            "train": "the official training images, 1 to 1000",
            "test": "the official test images, 1001 to 2000",
            "test-clean": "the test images without a near-duplicate among LSP's training images or LSPET",
        },
        "lspet": {"train": "all images"},
        "lsp+lspet": {
            "train": "LSP train and LSPET without `val` and without near-duplicates of LSP test images",
            "val": "a fixed fifth of LSP train and 3 % of LSPET that share no photograph with `train` or LSP test",
        },
        "mpii": {
            "train": "the training persons of Tompson's split",
            "val": "the validation persons of Tompson's split",
        },
        "toy": {"train": "the first 80 %", "val": "the next 10 %", "test": "the rest"},
    }
)
"""The data sets, their splits, and what is in them."""

PACKED: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {name: tuple(f"{name}/{split}" for split in splits) for name, splits in SPLITS.items()}
    | {"lsp+lspet": ("lsp+lspet/train", "lsp+lspet/val", "lsp/test", "lsp/test-clean")}
)
"""What goes into the pack of a data set: all that training, validating and testing on it take."""

_VALIDATION_SHARE = {"lsp": 0.2, "lspet": 0.03}


@dataclass(frozen=True)
class Split:
    """The persons of one side of a data set.

    Attributes:
        name: ``"<data set>/<split>"``.
        persons: In the order of the data set's files.
        skeleton: Their keypoints.
        protocol: How predictions of them are scored.
    """

    name: str
    persons: tuple[Person, ...]
    skeleton: Skeleton
    protocol: Protocol

    def __len__(self) -> int:
        return len(self.persons)

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """The persons' ids, in order."""
        return tuple(person.id for person in self.persons)

    @cached_property
    def hash(self) -> str:
        """Twelve hex digits that tell which persons are in the split, whatever their order."""
        return hash_ids(self.ids)


_SCORED: Mapping[str, tuple[Skeleton, Protocol]] = MappingProxyType(
    {**dict.fromkeys(("lsp", "lspet", "lsp+lspet", "toy"), (LSP, LSP_PCK)), "mpii": (MPII, MPII_PCKH)}
)


def splits_of(dataset: str, data: Path) -> tuple[str, ...]:
    """The names of the splits of ``dataset``, one of `SPLITS` or a folder of one's own in ``data``, or in a pack.

    Raises:
        ConfigError: If there is no such data set.
        DataError: If the pack is damaged.
    """
    if dataset in SPLITS:
        return tuple(SPLITS[dataset])
    if data.is_file():
        packed = [name.rpartition("/") for name in pack_splits(data)]
        found = tuple(split for name, _, split in packed if name == dataset)
    else:
        folder = find_coco(dataset, data)
        found = () if folder is None else coco_splits(folder)
    if not found:
        own = [name for name in own_datasets(data) if name not in SPLITS]
        raise ConfigError(
            f"no data set '{dataset}'; there are: {', '.join((*SPLITS, *own))}, and any folder in --data with "
            "annotations in COCO's keypoint format (docs/own-data.md)"
        )
    return found


def default_split(dataset: str, data: Path) -> str:
    """The split that a data set is scored on unless another is named: its test, else its validation persons.

    Raises:
        ConfigError: If there is no such data set.
        DataError: If the pack is damaged.
    """
    known = splits_of(dataset, data)
    return next((split for split in ("test", "val") if split in known), known[0])


def read_skeleton(dataset: str, data: Path) -> Skeleton:
    """The keypoints of ``dataset``, as `read_split`.

    Raises:
        ConfigError: If there is no such data set.
        DataError: If its annotation is damaged.
    """
    splits_of(dataset, data)
    if dataset in _SCORED:
        return _SCORED[dataset][0]
    return pack_skeleton(data) if data.is_file() else read_keypoints(data / dataset)


def read_split(
    dataset: str, split: str, data: Path, *, keep_duplicates: bool = False, need_images: bool = True
) -> Split:
    """The persons of ``split`` of ``dataset``, see `SPLITS`.

    Args:
        dataset: ``"lsp"``, ``"lspet"``, ``"lsp+lspet"``, ``"mpii"``, ``"toy"``, or the name of a folder in ``data``
            with annotations in COCO's keypoint format, see `sadinet.data.coco`.
        split: One of the data set's splits.
        data: The folder that holds the data sets' folders, or a file that `pack_dataset` wrote.
        keep_duplicates: Whether ``lsp+lspet/train`` keeps LSP's own training images that share a photograph with
            LSP test images, as the official split does. LSPET images that do are never in it.
        need_images: Whether a missing picture of MPII or of one's own data is an error.

    Raises:
        ConfigError: If there is no such data set or split.
        DataError: If the data set is missing or damaged, the split empty, or not in the pack.
    """
    known = splits_of(dataset, data)
    if split not in known:
        raise ConfigError(f"data set '{dataset}' has no split '{split}'; it has: {', '.join(known)}")
    name = f"{dataset}/{split}"
    if data.is_file():
        if keep_duplicates:
            raise DataError(f"'{data}': a pack leaves near-duplicates out; to keep them, name the data sets' folder")
        skeleton, protocol = _SCORED.get(dataset) or (pack_skeleton(data), BOX_PCK)
        return Split(name, read_pack(data, name), skeleton, protocol)
    if dataset not in SPLITS:
        persons, skeleton = read_coco(data / dataset, split, need_images=need_images)
        return _not_empty(Split(name, tuple(persons), skeleton, BOX_PCK), data)
    if dataset == "lsp":
        persons = _lsp(split, read_lsp(data))
    elif dataset == "lspet":
        persons = read_lspet(data)
    elif dataset == "lsp+lspet":
        persons = _lsp_lspet(split, [*read_lsp(data), *read_lspet(data)], keep_duplicates)
    elif dataset == "mpii":
        persons = read_mpii(data, "train" if split == "train" else "val", need_images=need_images)
    else:
        persons = _toy(split, read_toy(data))
    return _not_empty(Split(name, tuple(persons), *_SCORED[dataset]), data)


def _not_empty(split: Split, data: Path) -> Split:
    if not split.persons:
        dataset, _, part = split.name.rpartition("/")
        means = SPLITS.get(dataset, {}).get(part, "pictures with labelled keypoints")
        raise DataError(f"'{dataset}' in '{data}' has no persons in '{part}': {means}")
    return split


def pack_dataset(
    dataset: str,
    data: Path,
    path: Path,
    *,
    size: int = 320,
    quality: int = 80,
    workers: int = 2,
    quiet: bool = True,
) -> PackSummary:
    """Write the splits that `PACKED` names for ``dataset``, or all of one's own, into the file ``path``.

    The other arguments are those of `write_pack`.

    Raises:
        ConfigError: If there is no such data set.
        DataError: If the data set is missing or damaged, or the file cannot be written.
        ImageError: If a picture cannot be read.
    """
    names = PACKED.get(dataset) or tuple(f"{dataset}/{split}" for split in splits_of(dataset, data))
    parts = {name: name.rpartition("/") for name in names}
    splits = {name: read_split(part, split, data) for name, (part, _, split) in parts.items()}
    persons = {name: split.persons for name, split in splits.items()}
    skeleton = next(iter(splits.values())).skeleton
    return write_pack(persons, path, skeleton=skeleton, size=size, quality=quality, workers=workers, quiet=quiet)


def group_of(person_id: str) -> frozenset[str]:
    """The ids of LSP and LSPET images of the same photograph as ``person_id``, itself included."""
    return _groups().get(person_id, frozenset({person_id}))


def _lsp(split: str, persons: Iterable[Person]) -> list[Person]:
    if split == "train":
        return [p for p in persons if not _is_lsp_test(p.id)]
    test = [p for p in persons if _is_lsp_test(p.id)]
    return test if split == "test" else [p for p in test if all(map(_is_lsp_test, group_of(p.id)))]


def _lsp_lspet(split: str, persons: Iterable[Person], keep_duplicates: bool) -> list[Person]:
    def belongs(person: Person) -> bool:
        if _is_lsp_test(person.id):
            return False
        if any(map(_is_lsp_test, group_of(person.id))):
            return split == "train" and keep_duplicates and person.id.startswith("lsp/")
        return _is_validation(group_of(person.id)) == (split == "val")

    return [person for person in persons if belongs(person)]


def _toy(split: str, persons: list[Person]) -> list[Person]:
    first, second = len(persons) * 8 // 10, len(persons) * 9 // 10
    return {"train": persons[:first], "val": persons[first:second], "test": persons[second:]}[split]


def _is_lsp_test(person_id: str) -> bool:
    return person_id.startswith("lsp/") and int(person_id.removeprefix("lsp/im")) > LSP_TRAIN


def _is_validation(group: frozenset[str]) -> bool:
    """Whether a group of images validates: decided by its first id alone, so it never depends on what a user has."""
    key = min(group)
    return draw_of(key) < _VALIDATION_SHARE[key.split("/")[0]]


@cache
def _groups() -> Mapping[str, frozenset[str]]:
    """For every id in ``near_duplicates.csv`` its group."""
    groups: dict[str, set[str]] = {}
    text = resources.files(__package__).joinpath("near_duplicates.csv").read_text(encoding="ascii")
    for a, b in csv.reader(text.splitlines()):
        joined = groups.get(a, {a}) | groups.get(b, {b})
        for member in joined:
            groups[member] = joined
    return {member: frozenset(group) for member, group in groups.items()}
