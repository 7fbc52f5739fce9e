"""Pictures, folders, videos and cameras to files. One that is bad never stops the others."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path

from numpy.typing import ArrayLike
from tqdm import tqdm

from ..draw import MIN_SCORE
from ..errors import DataError, SadinetError
from ..estimator import Estimator
from ..images import write_image
from ..media.sources import Entry, Failure, Sources, find_entries
from ..persons.following import Answer
from ..persons.streaming import stream_frames
from ..timing import Clock
from .film import predict_video
from .job import Job, Result, is_done
from .results import Add, poses_file, read_poses, write_json


def predict_sources(
    estimator: Estimator, sources: Sources, out: Path | None, job: Job, *, quiet: bool = True
) -> Iterator[Result]:
    """The poses in all sources, written as they come: first all pictures in order, then videos and cameras.

    A picture gets ``NAME.json`` and ``NAME.jpg``, a video ``NAME.jsonl`` and ``NAME.mp4``; see docs/results.md for the
    rest. Folders are kept.

    Args:
        estimator: Finds them.
        sources: See `sources.Sources`, those that have a name.
        out: The folder for the files; None: nothing is written, and of videos there is a result for every frame.
        job: What is wanted.
        quiet: No progress bar.

    Raises:
        DataError: If a source does not exist or would be written over; nothing is predicted then.
        ConfigError: If options make no sense together.
    """
    entries = list(find_entries(sources))
    nameless = [entry for entry in entries if entry.place is None]
    if nameless:
        raise DataError("what is written needs a name: give paths, and use Estimator.stream for arrays")
    targets = _targets([entry.place for entry in entries if entry.place is not None], out)
    _spare_sources(entries, targets, out, job)
    pairs = list(zip(entries, targets, strict=True))
    pictures = [pair for pair in pairs if pair[0].kind == "picture"]
    if pictures:
        yield from _predict_pictures(estimator, pictures, out, job, quiet)
    for entry, target in pairs:
        if entry.kind != "picture":
            yield from predict_video(estimator, entry, target, job, quiet=quiet)


def predict_pictures(
    estimator: Estimator,
    sources: Sequence[Path],
    out: Path | None,
    *,
    boxes: ArrayLike | None = None,
    draw: bool = True,
    min_score: float = MIN_SCORE,
    quiet: bool = True,
) -> Iterator[Result]:
    """`predict_sources` for pictures and folders of them, where persons are in given boxes or fill the pictures.

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
    save = frozenset({"img", "json"} if draw else {"json"})
    job = Job(save, min_score, stream={"boxes": boxes, "detector": "none"})
    return predict_sources(estimator, sources, out, job, quiet=quiet)


def _predict_pictures(
    estimator: Estimator, pairs: list[tuple[Entry, Path | None]], out: Path | None, job: Job, quiet: bool
) -> Iterator[Result]:
    suffixes = job.suffixes("picture")
    done = [job.resume and target is not None and is_done(target, suffixes) for _, target in pairs]
    todo = [entry for (entry, _), skip in zip(pairs, done, strict=True) if not skip]
    smooth = None if job.smooth == "offline" else job.smooth
    answers = stream_frames(estimator, todo, heatmaps=job.heatmaps, smooth=smooth, **job.stream)
    with ExitStack() as stack:
        stack.enter_context(closing(answers))
        shared = [] if out is None else _shared(stack, pairs, out, estimator, job)
        bar = stack.enter_context(tqdm(total=len(pairs), desc="pictures", unit="picture", disable=quiet))
        for (entry, target), skip in zip(pairs, done, strict=True):
            path = Path(entry.source)
            if skip:
                for poses in read_poses(_named(target, ".json")) if shared else ():
                    for add in shared:
                        add(poses)
                yield Result(path, skipped=True, frames=0)
            else:
                answer = next(answers)
                if isinstance(answer, Failure):
                    yield Result(path, error=answer.error, frames=0)
                else:
                    yield _write_picture(path, answer, target, shared, job)
                del answer
            bar.update()


def _write_picture(path: Path, answer: Answer, target: Path | None, shared: list[Add], job: Job) -> Result:
    poses, clock = answer.poses, Clock(answer.poses.timing)
    written: list[Path] = []
    try:
        if target is not None:
            for suffix in job.suffixes("picture"):
                file = _named(target, suffix)
                file.parent.mkdir(parents=True, exist_ok=True)
                if suffix == ".jpg":
                    drawn = job.draw(answer)
                    clock.stop("draw")
                    write_image(drawn, file)
                else:
                    write_json(poses, file)
                clock.stop("write")
                written.append(file)
        for add in shared:
            add(poses)
        clock.stop("write")
    except (SadinetError, OSError) as error:
        return Result(path, error=str(error), frames=0)
    return Result(path, poses, written=tuple(written), persons=len(poses), ms=clock.ms)


def _shared(
    stack: ExitStack, pairs: list[tuple[Entry, Path | None]], out: Path, estimator: Estimator, job: Job
) -> list[Add]:
    """What adds to the files that all pictures share."""
    if not job.together():
        return []
    stems = [Path(entry.source).stem for entry, _ in pairs]
    by_name = all(stem.isdecimal() for stem in stems) and len(set(map(int, stems))) == len(stems)
    numbers = {
        str(entry.source): int(Path(entry.source).stem) if by_name else i for i, (entry, _) in enumerate(pairs, 1)
    }
    return [
        poses_file(stack, out / f"poses{suffix}", estimator.skeleton, lambda poses: numbers[str(poses.source)])
        for suffix in job.together()
    ]


def _named(target: Path | None, suffix: str) -> Path:
    assert target is not None  # there is an output folder
    return target.with_name(target.name + suffix)


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


def _spare_sources(entries: Sequence[Entry], targets: Sequence[Path | None], out: Path | None, job: Job) -> None:
    """Refuses to write over what is to be read."""
    if out is None:
        return
    read = {Path(entry.source).resolve() for entry in entries if entry.kind != "camera"}
    files = [out / f"poses{suffix}" for suffix in job.together()]
    for entry, target in zip(entries, targets, strict=True):
        files += [_named(target, suffix) for suffix in job.suffixes(entry.kind)]
    for file in files:
        if file.resolve() in read:
            raise DataError(f"{file}: would be written over by its own drawing; name another output folder")
