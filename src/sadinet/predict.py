"""Pictures and folders to poses on disk. One bad picture never stops the others."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from numpy.typing import ArrayLike
from tqdm import tqdm

from .draw import draw_poses
from .errors import DataError, SadinetError
from .estimator import Estimator
from .files import replacing
from .images import read_image, write_image
from .poses import Poses

PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif")
"""Suffixes of the files taken from folders."""


@dataclass(frozen=True)
class Result:
    """What became of one source.

    Attributes:
        source: The picture.
        poses: The answer; None if it failed.
        error: Why it failed; empty if it did not.
        written: The files made.
    """

    source: Path
    poses: Poses | None = None
    error: str = ""
    written: tuple[Path, ...] = ()


def find_pictures(sources: Iterable[Path]) -> Iterator[tuple[Path, Path]]:
    """Each picture with its place below the output folder: files themselves, folders with all below, in order.

    Raises:
        DataError: If a source does not exist, or a folder has no pictures.
    """
    for source in sources:
        if source.is_dir():
            found = sorted(p for p in source.rglob("*") if p.suffix.lower() in PICTURES and p.is_file())
            if not found:
                raise DataError(f"{source}: no pictures in this folder ({', '.join(PICTURES)})")
            yield from ((path, path.relative_to(source)) for path in found)
        elif source.exists():
            yield source, Path(source.name)
        else:
            raise DataError(f"{source}: no such file or folder")


def predict_pictures(
    estimator: Estimator,
    sources: Sequence[Path],
    out: Path | None,
    *,
    boxes: ArrayLike | None = None,
    draw: bool = True,
    min_score: float = 0.2,
    quiet: bool = True,
) -> Iterator[Result]:
    """The poses in pictures, one result each, written as they come.

    Args:
        estimator: Finds them.
        sources: Pictures and folders.
        out: Gets ``NAME.json`` and ``NAME.jpg`` (drawn) for each, folders kept; None: nothing is written.
        boxes: ``(P, 4)`` xyxy [image px], the same for all pictures; None: a person fills each.
        draw: Also write the drawn pictures.
        min_score: Keypoints below it are not drawn.
        quiet: No progress bar.

    Raises:
        DataError: If a source does not exist or would be written over; nothing is predicted then.
    """
    pictures = list(find_pictures(sources))
    targets = _targets([place for _, place in pictures], out)
    if draw:
        _spare_sources([path for path, _ in pictures], targets)
    for (path, _), target in zip(tqdm(pictures, desc="pictures", disable=quiet), targets, strict=True):
        try:
            image = read_image(path)
            poses = replace(estimator.predict(image, boxes), source=str(path))
            written: list[Path] = []
            if target is not None:
                if draw:
                    written.append(_drawn(target))
                    written[-1].parent.mkdir(parents=True, exist_ok=True)
                    write_image(draw_poses(image, poses, min_score=min_score), written[-1])
                written.append(target.with_name(target.name + ".json"))
                with replacing(written[-1]) as file:
                    file.write_text(json.dumps(poses.to_json(), indent=1) + "\n")
            yield Result(path, poses, written=tuple(written))
        except (SadinetError, OSError) as error:
            yield Result(path, error=str(error))


def _targets(places: Sequence[Path], out: Path | None) -> list[Path | None]:
    """For each picture the path of its output without a suffix; pictures that share a stem keep their full names."""
    if out is None:
        return [None] * len(places)
    stems = Counter(place.with_suffix("") for place in places)
    targets: dict[Path, None] = {}  # a set in order
    for place in places:
        stem = place.with_suffix("")
        target = out / (stem if stems[stem] == 1 else place)
        number = 2
        while target in targets:
            target = out / place.with_name(f"{place.name}-{number}")
            number += 1
        targets[target] = None
    return list(targets)


def _drawn(target: Path) -> Path:
    return target.with_name(target.name + ".jpg")


def _spare_sources(sources: Sequence[Path], targets: Iterable[Path | None]) -> None:
    """Refuses to draw over a picture that is to be read."""
    read = {source.resolve() for source in sources}
    for target in targets:
        if target is not None and _drawn(target).resolve() in read:
            raise DataError(f"{_drawn(target)}: would be written over by its own drawing; name another output folder")
