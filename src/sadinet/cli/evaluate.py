"""``sadinet evaluate`` and ``sadinet score``."""

import argparse
from pathlib import Path
from typing import Any

from .common import DATASET, add_data, add_inference, command, make_estimator, print_json


def add_evaluate(commands: Any) -> None:
    """Adds ``evaluate``."""
    parser = command(commands, "evaluate", _evaluate, "Score weights on a data set, as the paper's Table II.")
    parser.add_argument("weights", help="embedded name, checkpoint, training folder or .onnx file")
    _add_split(parser)
    parser.add_argument("--breakdown", action="store_true", help="also by occlusion, turn, size and near-duplicates")
    parser.add_argument("--save", type=Path, metavar="FILE.npz", help="also write the predictions")
    add_inference(parser)


def _add_split(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dataset", required=True, help=f"the annotation to score against: {DATASET}")
    parser.add_argument("--split", help="part of it, such as test-clean or val (default: test, without one val)")
    add_data(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")


def _evaluate(arguments: argparse.Namespace) -> int:
    from ..data.splits import default_split, read_split
    from ..evaluate import evaluate_split

    part = arguments.split or default_split(arguments.dataset, arguments.data)
    split = read_split(arguments.dataset, part, arguments.data)
    estimator = make_estimator(arguments)
    quiet = arguments.quiet or arguments.json
    report = evaluate_split(
        estimator,
        split,
        weights=str(arguments.weights),
        quiet=quiet,
        save=arguments.save,
        breakdown=arguments.breakdown,
    )
    _print_report(report, arguments)
    return 0


def add_score(commands: Any) -> None:
    """Adds ``score``."""
    parser = command(commands, "score", _score, "Score anybody's predictions by a data set's own protocol.")
    parser.add_argument("file", type=Path, help=".npz, .npy, .mat, .h5 or .json with x and y of every keypoint")
    _add_split(parser)
    parser.add_argument(
        "--layout", help="order of the axes where sizes cannot tell: n persons, k keypoints, c x and y: nkc"
    )
    parser.add_argument("--one-based", action="store_true", help="the file counts pixels from 1, as MATLAB does")
    parser.add_argument("--key", help="which array of a file with several")


def _score(arguments: argparse.Namespace) -> int:
    from ..score import score_file

    report = score_file(
        arguments.file,
        dataset=arguments.dataset,
        data=arguments.data,
        split=arguments.split,
        layout=arguments.layout,
        one_based=arguments.one_based,
        key=arguments.key,
    )
    _print_report(report, arguments)
    return 0


def _print_report(report: Any, arguments: argparse.Namespace) -> None:
    if arguments.json:
        print_json(report.to_json())
    else:
        print(report.table(markdown=arguments.markdown))


def add_submission(commands: Any) -> None:
    """Adds ``submission``."""
    parser = command(commands, "submission", _submission, "Predict MPII's test persons into the benchmark's file.")
    parser.add_argument("weights", help="embedded name, checkpoint or training folder, with MPII's keypoints")
    parser.add_argument("--data", required=True, type=Path, help="the folder that holds mpii/ with the official .mat")
    parser.add_argument(
        "--out", type=Path, default=Path("pred_keypoints_mpii.mat"), help="default: pred_keypoints_mpii.mat"
    )
    add_inference(parser)


def _submission(arguments: argparse.Namespace) -> int:
    from ..submission import write_submission

    count = write_submission(make_estimator(arguments), arguments.data, arguments.out, quiet=arguments.quiet)
    print(f"{arguments.out}: {count} persons")
    return 0
