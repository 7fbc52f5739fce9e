"""Which persons train, validate and test: named, fixed, and free of photographs that stand on two sides.

LSP and LSPET come from the same photo-sharing site and share pictures. ``near_duplicates.csv`` lists the
pairs of near-identical photographs we measured among LSP and images 1 to 9500 of LSPET; pictures connected
by such pairs, directly or through others, make a *group*.
"""

import csv
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import resources
from pathlib import Path
from types import MappingProxyType

from ..errors import ConfigError, DataError
from .lsp import read_lsp, read_lspet
from .mpii import read_mpii
from .pack import PackSummary, read_pack, write_pack
from .person import Person, hash_ids
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
    """

    name: str
    persons: tuple[Person, ...]

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


def read_split(
    dataset: str, split: str, data: Path, *, keep_duplicates: bool = False, need_images: bool = True
) -> Split:
    """The persons of ``split`` of ``dataset``, see `SPLITS`.

    Args:
        dataset: ``"lsp"``, ``"lspet"``, ``"lsp+lspet"``, ``"mpii"`` or ``"toy"``.
        split: One of the data set's splits.
        data: The folder that holds the data sets' folders, or a file that `pack_dataset` wrote.
        keep_duplicates: Whether ``lsp+lspet/train`` keeps LSP's own training images that share a photograph with
            LSP test images, as the official split does. LSPET images that do are never in it.
        need_images: Whether a missing picture of MPII is an error.

    Raises:
        ConfigError: If there is no such data set or split.
        DataError: If the data set is missing or damaged, the split empty, or not in the pack.
    """
    if dataset not in SPLITS:
        raise ConfigError(f"no data set '{dataset}'; there are: {', '.join(SPLITS)}")
    if split not in SPLITS[dataset]:
        raise ConfigError(f"data set '{dataset}' has no split '{split}'; it has: {', '.join(SPLITS[dataset])}")
    if data.is_file():
        if keep_duplicates:
            raise DataError(f"'{data}': a pack leaves near-duplicates out; to keep them, name the data sets' folder")
        return Split(f"{dataset}/{split}", read_pack(data, f"{dataset}/{split}"))
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
    if not persons:
        raise DataError(f"'{dataset}' in '{data}' has no persons in '{split}': {SPLITS[dataset][split]}")
    return Split(f"{dataset}/{split}", tuple(persons))


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
    """Write the splits that `PACKED` names for ``dataset`` into the file ``path``; arguments as for `write_pack`.

    Raises:
        ConfigError: If there is no such data set.
        DataError: If the data set is missing or damaged, or the file cannot be written.
        ImageError: If a picture cannot be read.
    """
    if dataset not in PACKED:
        raise ConfigError(f"no data set '{dataset}'; there are: {', '.join(PACKED)}")
    parts = {name: name.split("/") for name in PACKED[dataset]}
    splits = {name: read_split(part, split, data).persons for name, (part, split) in parts.items()}
    return write_pack(splits, path, size=size, quality=quality, workers=workers, quiet=quiet)


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
    draw = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8]) / 2**64
    return draw < _VALIDATION_SHARE[key.split("/")[0]]


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
