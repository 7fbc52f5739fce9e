"""Look a user's copy of the data sets over: what is there, what is missing, what is wrong."""

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from ..errors import DataError
from ..geometry import Floats
from ..skeleton import LSP, MPII, Skeleton
from .coco import coco_splits, own_datasets, read_coco
from .lsp import LSP_LAYOUT, LSPET_LAYOUT, Layout, find_folder, read_joints, usable_keypoints
from .mpii import find_mpii, read_mpii
from .toy import TOY_LAYOUT

FAR_OUTSIDE = 0.25
"""A labelled keypoint farther outside of its picture than this times the longer side is reported."""

MPII_PERSONS = 25204
"""Training and validation persons of Tompson's split."""

_MISSING = "the picture is missing"
_UPRIGHT = 1
_ORIENTATION = 0x0112  # the EXIF tag


@dataclass(frozen=True)
class Problem:
    """Something wrong with one annotation or picture.

    Attributes:
        file: The picture, or the annotation file.
        index: The number of the annotation in its file, from 1; 0 for the whole file.
        why: What is wrong.
    """

    file: str
    index: int
    why: str


@dataclass(frozen=True)
class DatasetReport:
    """What one data set holds.

    Attributes:
        name: ``"lsp"``, ``"lspet"``, ``"mpii"``, ``"toy"``, or that of a folder of one's own.
        folder: Where it was found.
        persons: Annotated persons.
        images: Pictures that are there, of those the annotation refers to.
        labelled: For every keypoint the share of the persons in which it is labelled, in [0, 1].
        problems: What is wrong, in the order of the files.
        notes: What is unusual without being wrong.
    """

    name: str
    folder: str
    persons: int
    images: int
    labelled: dict[str, float]
    problems: tuple[Problem, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class DataReport:
    """The data sets found in a folder; `dataclasses.asdict` makes it plain for JSON."""

    folder: str
    datasets: tuple[DatasetReport, ...]


@dataclass(frozen=True, eq=False)
class _Annotation:
    """One annotated person, before anything is left out: ``xy`` ``(K, 2)``, NaN where not labelled."""

    image: Path
    xy: Floats
    faults: tuple[str, ...] = ()


def check_data(data: Path, *, quick: bool = False) -> DataReport:
    """Look over every data set in ``data``.

    Args:
        data: The folder that holds the data sets' folders, or one of these.
        quick: Only open the pictures instead of decoding them: misses the truncated ones.

    Raises:
        DataError: If there is no data set at all.
    """
    reports = []
    for layout in (LSP_LAYOUT, LSPET_LAYOUT, TOY_LAYOUT):
        if (folder := find_folder(layout, data)) is not None:
            reports.append(_check_layout(layout, folder, quick))
    if (folder := find_mpii(data)) is not None:
        reports.append(_check_mpii(data, folder, quick))
    reports += [_check_own(data / name, quick) for name in other_datasets(data)]
    if not reports:
        raise DataError(
            f"no data set in '{data}': expected lsp/, lspet/ or toy/ with joints.mat and images/, mpii/ with "
            f"annotations/ and images/ (the pictures are not ours to distribute: bring your own copy), or a folder of "
            f"your own with annotations in COCO's keypoint format"
        )
    return DataReport(str(data), tuple(reports))


def format_report(report: DataReport, most: int = 10) -> str:
    """The report as text to read, with at most ``most`` problems of every data set spelt out."""
    lines = [f"data in {report.folder}"]
    for dataset in report.datasets:
        lines += ["", f"{dataset.name}: {dataset.persons} persons, {dataset.images} pictures ({dataset.folder})"]
        lines += [f"  note: {note}" for note in dataset.notes]
        if dataset.labelled:
            shares = ", ".join(f"{name} {100 * share:.1f}" for name, share in dataset.labelled.items())
            lines.append(f"  labelled [%]: {shares}")
        lines.append(f"  problems: {len(dataset.problems) or 'none'}")
        telling = sorted(dataset.problems, key=lambda problem: problem.why == _MISSING)  # those may be thousands
        lines += [f"    {problem.file} #{problem.index}: {problem.why}" for problem in telling[:most]]
        if len(dataset.problems) > most:
            lines.append(f"    ... and {len(dataset.problems) - most} more")
    return "\n".join(lines)


def other_datasets(data: Path) -> list[str]:
    """Data sets of one's own: those with annotations in COCO's format that no other reader knows."""
    layouts = [find_folder(layout, data) for layout in (LSP_LAYOUT, LSPET_LAYOUT, TOY_LAYOUT)]
    mpii = find_mpii(data)
    known = {folder.name for folder in layouts if folder} | ({mpii.name, mpii.parent.name} if mpii else set())
    return [name for name in own_datasets(data) if name not in known]


# ---- checking


def _check_layout(layout: Layout, folder: Path, quick: bool) -> DatasetReport:
    try:
        raw = read_joints(layout, folder)
    except DataError as error:
        return DatasetReport(layout.name, str(folder), 0, 0, {}, (Problem(str(folder / "joints.mat"), 0, str(error)),))
    images = [folder / "images" / f"{layout.stem(i + 1)}.jpg" for i in range(len(raw))]
    notes = []
    if layout.official is not None and len(raw) != layout.official:
        notes.append(f"{len(raw)} images are annotated; {layout.official} were published")
    annotations = [_raw_annotation(layout, image, joints) for image, joints in zip(images, raw, strict=True)]
    return _report(layout.name, folder, LSP, annotations, notes, quick)


def _check_mpii(data: Path, folder: Path, quick: bool) -> DatasetReport:
    try:
        persons = read_mpii(data, need_images=False)
    except DataError as error:
        return DatasetReport("mpii", str(folder), 0, 0, {}, (Problem(str(folder), 0, str(error)),))
    notes = []
    if len(persons) != MPII_PERSONS:
        notes.append(f"{len(persons)} persons are annotated; Tompson's split has {MPII_PERSONS}")
    if all(np.isnan(person.head_size) for person in persons):
        notes.append("no head sizes, which PCKh needs: put valid.h5 beside the annotation and install sadinet[h5]")
    return _report("mpii", folder, MPII, [_Annotation(Path(str(p.image)), p.xy) for p in persons], notes, quick)


def _check_own(folder: Path, quick: bool) -> DatasetReport:
    try:
        splits = {split: read_coco(folder, split, need_images=False) for split in coco_splits(folder)}
        skeletons = {split: skeleton for split, (_, skeleton) in splits.items()}
        if len(set(skeletons.values())) > 1:
            told = "; ".join(f"{split}: {', '.join(skeleton.keypoints)}" for split, skeleton in skeletons.items())
            raise DataError(f"the splits have different keypoints or limbs ({told})")
    except DataError as error:
        return DatasetReport(folder.name, str(folder), 0, 0, {}, (Problem(str(folder), 0, str(error)),))
    annotations: list[_Annotation] = []
    notes, split_of = [], dict[str, str]()
    shared: Counter[str] = Counter()
    for split, (persons, _) in splits.items():
        here = [_Annotation(Path(str(p.image)), p.xy) for p in persons]
        annotations += here
        notes.append(f"{split}: {len(persons)} persons")
        for content in {_content(image, quick) for image in {annotation.image for annotation in here}}:
            shared[split] += split_of.setdefault(content, split) != split
    skeleton = next(iter(skeletons.values()))
    notes.append("mirror pairs: " + (", ".join(" - ".join(pair) for pair in skeleton.mirror_pairs) or _NO_PAIRS))
    report = _report(folder.name, folder, skeleton, annotations, notes, quick, least=1)
    twice = tuple(
        Problem(str(folder), 0, f"{count} pictures of {split} are also in another split: scores on them mean little")
        for split, count in shared.items()
        if count
    )
    return replace(report, problems=(*twice, *report.problems))


_NO_PAIRS = "none; if there are a left and a right, name the pairs in keypoints.json: mirrored examples need them"


def _content(image: Path, quick: bool) -> str:
    """What tells a picture from others: its bytes, or its path where there is no time or no file."""
    return str(image) if quick or not image.is_file() else hashlib.sha256(image.read_bytes()).hexdigest()


def _raw_annotation(layout: Layout, image: Path, joints: Floats) -> _Annotation:
    given = joints[:, 2] == 1 if layout.flag == "labelled" else np.ones(len(joints), dtype=np.bool_)
    finite = np.isfinite(joints[:, :2]).all(1)
    stray = given & finite & ~usable_keypoints(layout, joints)
    faults = [f"{LSP.keypoints[k]} is not a number" for k in np.flatnonzero(given & ~finite)]
    faults += [f"{LSP.keypoints[k]} is absurdly far from the others: unlabelled" for k in np.flatnonzero(stray)]
    return _Annotation(image, np.where((given & finite)[:, None], joints[:, :2], np.nan), tuple(faults))


def _report(
    name: str,
    folder: Path,
    skeleton: Skeleton,
    annotations: list[_Annotation],
    notes: list[str],
    quick: bool,
    least: int = 2,
) -> DatasetReport:
    """``least``: how many keypoints a person must have."""
    problems = []
    opened: dict[Path, tuple[int, int] | str] = {}
    for index, annotation in enumerate(annotations, start=1):
        new = annotation.image not in opened
        size = opened[annotation.image] if not new else _size_or_fault(annotation.image, quick)
        opened[annotation.image] = size
        faults = [size] if new and isinstance(size, str) else []
        known = None if isinstance(size, str) else size
        faults += [*annotation.faults, *_faults(skeleton, annotation.xy, known, least)]
        problems += [Problem(str(annotation.image), index, fault) for fault in faults]
    labelled = np.isfinite([a.xy for a in annotations]).all(-1).mean(0) if annotations else np.zeros(len(skeleton))
    kinds = Counter(size for size in opened.values() if isinstance(size, str))
    notes = notes + [f"{count} of {len(opened)} pictures: {kind}" for kind, count in kinds.items() if count > 1]
    return DatasetReport(
        name=name,
        folder=str(folder),
        persons=len(annotations),
        images=sum(size != _MISSING for size in opened.values()),
        labelled={key: float(share) for key, share in zip(skeleton.keypoints, labelled, strict=True)},
        problems=tuple(problems),
        notes=tuple(notes),
    )


def _size_or_fault(image: Path, quick: bool) -> tuple[int, int] | str:
    """The width and height of a picture, or what is wrong with it."""
    if not image.is_file():
        return _MISSING
    try:
        with Image.open(image) as picture:
            if not quick:
                picture.load()
            if picture.getexif().get(_ORIENTATION, _UPRIGHT) != _UPRIGHT:
                return "the picture is stored turned (EXIF orientation): its annotation may be of either way up"
            return picture.size
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        return f"the picture cannot be read: {error}".replace(f" {str(image)!r}", "")


def _faults(skeleton: Skeleton, xy: Floats, size: tuple[int, int] | None, least: int) -> Iterable[str]:
    """What is wrong with the keypoints ``xy`` ``(K, 2)`` on a picture of ``size``."""
    labelled = np.isfinite(xy[:, 0]) & np.isfinite(xy[:, 1])
    if labelled.sum() < least:
        yield f"{labelled.sum()} labelled keypoints: the person is of no use"
    for k, twin in enumerate(skeleton.flip_index):
        if k < twin and labelled[k] and (xy[k] == xy[twin]).all():
            yield f"{skeleton.keypoints[k]} and {skeleton.keypoints[twin]} are the same point"
    if size is not None:
        away = np.maximum(-0.5 - xy, xy - (np.array(size) - 0.5)).max(1)
        for far in np.flatnonzero(labelled & (away > FAR_OUTSIDE * max(size))):
            yield f"{skeleton.keypoints[far]} lies {away[far]:.0f} px outside of the picture"
