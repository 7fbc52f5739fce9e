"""Scoring a file of predictions, whoever made them."""

from dataclasses import replace
from pathlib import Path

from .data.splits import default_split, read_split
from .predictions import read_predictions
from .report import Report, score_persons


def score_file(
    path: Path | str,
    *,
    dataset: str,
    data: Path,
    split: str | None = None,
    layout: str | None = None,
    one_based: bool = False,
    key: str | None = None,
) -> Report:
    """The report on the predictions in a file, by the data set's own protocol.

    Args:
        path: Predictions as ``read_predictions`` reads them, persons in the order of the split: LSP's test images in
            theirs, MPII's 2958 validation persons in that of the annotation.
        dataset: As in `read_split`.
        data: The folder of the data sets.
        split: The persons scored; by default `default_split`.
        layout: The order of the array's axes, where their lengths cannot tell, such as ``"nkc"``.
        one_based: The file counts pixels from 1.
        key: Which array of a file with several.

    Raises:
        ConfigError: There is no such data set, or the layout is none.
        DataError: The annotation or the file of predictions cannot be used.
    """
    path, split = Path(path), split or default_split(dataset, Path(data))
    chosen = read_split(dataset, split, Path(data), need_images=False)
    predicted = read_predictions(
        path,
        persons=len(chosen.persons),
        keypoints=len(chosen.skeleton),
        layout=layout,
        one_based=one_based,
        key=key,
        ids=[person.id for person in chosen.persons],
    )
    metadata = {
        "dataset": dataset,
        "split": split,
        "split hash": chosen.hash,
        "predictions": f"{path.name}, pixels counted from {1 if one_based else 0}",
    }
    report = score_persons(predicted, chosen.persons, chosen.skeleton, chosen.protocol, metadata)
    if one_based or path.suffix.lower() != ".mat":
        return report
    shifted = score_persons(predicted - 1.0, chosen.persons, chosen.skeleton, chosen.protocol)
    if not shifted.mean > report.mean:
        return report
    note = (
        f"MATLAB files usually count pixels from 1; read so (--one-based), the mean would be {shifted.mean:.2f} "
        f"instead of {report.mean:.2f}. The numbers above take the file as counting from 0."
    )
    return replace(report, notes=(*report.notes, note))
