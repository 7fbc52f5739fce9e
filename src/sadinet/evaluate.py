"""An estimator against the annotation of a split."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from .breakdown import break_down
from .calibration import Reliability, reliability, right_keypoints
from .data.person import Person, head_sizes
from .data.splits import Split
from .errors import DataError
from .estimator import Estimator
from .geometry import Crop, Floats
from .report import Report, score_persons
from .skeleton import Skeleton
from .training.distributed import ALONE, World


def predict_persons(
    estimator: Estimator, persons: Iterable[Person], *, quiet: bool = True
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Keypoints ``(N, K, 2)`` [image px] and scores ``(N, K)`` of annotated persons in their data set's crops."""
    persons = list(persons)
    if not persons:
        k = len(estimator.skeleton)
        return np.zeros((0, k, 2)), np.zeros((0, k))
    found = estimator.keypoints(_pictures(persons))
    xy, scores = zip(*tqdm(found, total=len(persons), desc="persons", disable=quiet, leave=False), strict=True)
    return np.stack(xy), np.stack(scores)


def _pictures(persons: Iterable[Person]) -> Iterator[tuple[NDArray[np.uint8], Crop]]:
    for person in persons:
        yield person.read(), person.crop


def evaluate_split(
    estimator: Estimator,
    split: Split,
    *,
    weights: str = "",
    quiet: bool = True,
    save: Path | None = None,
    breakdown: bool = False,
    world: World = ALONE,
) -> Report:
    """The report on ``split``; the box is the data set's protocol's, made from its annotation.

    Args:
        estimator: With keypoints of the data set.
        split: Whom.
        weights: What to call them in the report.
        quiet: No progress bar.
        save: Also write the predictions here, ``.npz`` with ``xy`` and ``score``.
        breakdown: Also score the persons by difficulty, see `sadinet.breakdown`.
        world: The processes that share the persons; all get the same report.

    Raises:
        DataError: If the estimator has other keypoints than the data set.
    """
    check_keypoints(estimator.skeleton, split, "these weights")
    keypoints = len(split.skeleton)
    xy, score = np.zeros((len(split), keypoints, 2)), np.zeros((len(split), keypoints))
    share = predict_persons(estimator, split.persons[world.rank :: world.size], quiet=quiet)
    for rank, (part_xy, part_score) in enumerate(world.gather(share)):
        xy[rank :: world.size], score[rank :: world.size] = part_xy, part_score
    if save is not None:
        save.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(save, xy=xy, score=score, ids=np.array(split.ids))
    metadata = {
        "data": split.name,
        "persons hash": split.hash,
        "weights": weights or estimator.reading.name,
        "test": estimator.inference.describe(),
        "input": f"{estimator.input_size} px",
        "decoding": "mean" if estimator.reading.answer == "mean" else estimator.reading.decoding,
        "boxes": "from the annotation",
    }
    skeleton, protocol = split.skeleton, split.protocol
    report = score_persons(xy, split.persons, skeleton, protocol, metadata)
    report = replace(report, reliability=reliability_of(xy, score, split.persons, skeleton))
    return replace(report, groups=break_down(xy, split.persons, skeleton, protocol)) if breakdown else report


def check_keypoints(skeleton: Skeleton, split: Split, whose: str) -> None:
    """Refuses a keypoint set that is not the split's.

    Raises:
        DataError: That says what ``whose`` are instead.
    """
    if skeleton.keypoints != split.skeleton.keypoints:
        other = [name for name in skeleton.keypoints if name not in split.skeleton.keypoints]
        how = f"with {', '.join(other[:4])}" if other else "fewer, or in another order"
        raise DataError(
            f"{split.name} has the {len(split.skeleton)} keypoints of '{split.skeleton.name}', {whose} the "
            f"{len(skeleton)} of '{skeleton.name}', {how}: they must be trained for this data set"
        )


def judge(xy: Floats, persons: Sequence[Person], skeleton: Skeleton) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which predicted keypoints ``(N, K, 2)`` are right, and which can be judged, see `right_keypoints`."""
    truth, labelled = np.stack([p.xy for p in persons]), np.stack([p.labelled for p in persons])
    return right_keypoints(xy, truth, labelled, head_sizes(persons, skeleton))


def reliability_of(xy: Floats, score: Floats, persons: Sequence[Person], skeleton: Skeleton) -> Reliability | None:
    """How far the scores ``(N, K)`` of predictions ``(N, K, 2)`` can be believed; None where no head size is known."""
    right, judged = judge(xy, persons, skeleton)
    return reliability(score[judged], right[judged]) if judged.any() else None
