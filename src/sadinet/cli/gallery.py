"""``sadinet gallery``."""

import argparse
from pathlib import Path
from typing import Any

from .common import DATASET, add_data, add_inference, command, make_estimator


def add(commands: Any) -> None:
    """Adds ``gallery``."""
    parser = command(commands, "gallery", _gallery, "Draw the hardest persons of a data set as weights see them.")
    parser.add_argument("weights", nargs="+", help="embedded names, checkpoints or training folders, side by side")
    parser.add_argument("--dataset", required=True, help=DATASET)
    parser.add_argument("--split", default="val", help="part of it (default: val)")
    add_data(parser)
    parser.add_argument("--out", type=Path, default=Path("gallery"), help="folder for pictures (default: gallery)")
    parser.add_argument("--count", type=int, default=8, help="persons per rule (default: 8)")
    parser.add_argument("--heatmaps", action="store_true", help="also each keypoint's heatmap (the paper's Figure 7)")
    parser.add_argument("--no-photographs", action="store_true", help="draw on grey, where they may not be shown")
    add_inference(parser)


def _gallery(arguments: argparse.Namespace) -> int:
    from ..data.splits import read_split
    from ..studies.gallery import ask, check, write_gallery

    split = read_split(arguments.dataset, arguments.split, arguments.data)
    estimators = {
        name: make_estimator(argparse.Namespace(**(vars(arguments) | {"weights": name}))) for name in arguments.weights
    }
    for name, estimator in estimators.items():  # all of them, before the first works for minutes
        check(name, estimator, split, heatmaps=arguments.heatmaps)
    answers = [ask(name, estimator, split, quiet=arguments.quiet) for name, estimator in estimators.items()]
    written = write_gallery(
        split,
        answers,
        arguments.out,
        count=arguments.count,
        heatmaps=arguments.heatmaps,
        photographs=not arguments.no_photographs,
    )
    for path in written:
        print(path)
    return 0
