"""``sadinet predict``."""

import argparse
import sys
from pathlib import Path
from typing import Any

from .common import add_inference, command, make_estimator, print_json


def add(commands: Any) -> None:
    """Adds ``predict``."""
    parser = command(commands, "predict", _predict, "Find the keypoints of persons in pictures.")
    parser.add_argument("sources", nargs="+", type=Path, metavar="PICTURE", help="pictures, or folders of them")
    parser.add_argument(
        "--weights", default="lsp-t", help="embedded name, checkpoint, training folder or .onnx file (default: lsp-t)"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("poses"), help="folder for NAME.json and NAME.jpg (default: poses)"
    )
    parser.add_argument(
        "--box",
        type=_box,
        action="append",
        metavar="X0,Y0,X1,Y1",
        help="a person's box in pixels, may be repeated (default: one person fills the picture)",
    )
    parser.add_argument("--min-score", type=float, default=0.2, help="draw keypoints from this score on (default: 0.2)")
    parser.add_argument("--no-draw", action="store_true", help="write no pictures, only JSON")
    parser.add_argument("--json", action="store_true", help="one line of JSON per picture on standard output, no files")
    add_inference(parser)


def _box(text: str) -> tuple[float, ...]:
    try:
        box = tuple(float(v) for v in text.split(","))
    except ValueError:
        box = ()
    if len(box) != 4:
        raise argparse.ArgumentTypeError(f"'{text}': give four numbers, X0,Y0,X1,Y1")
    return box


def _predict(arguments: argparse.Namespace) -> int:
    from ..predict import predict_pictures

    estimator = make_estimator(arguments)
    out = None if arguments.json else arguments.out
    failed = 0
    for result in predict_pictures(
        estimator,
        arguments.sources,
        out,
        boxes=arguments.box,
        draw=not arguments.no_draw,
        min_score=arguments.min_score,
        quiet=arguments.quiet or arguments.json,
    ):
        if result.poses is None:
            failed += 1
            print(f"sadinet: skipped: {result.error}", file=sys.stderr)
            if arguments.json:
                print_json({"source": str(result.source), "error": result.error})
        elif arguments.json:
            print_json(result.poses.to_json())
        else:
            print(" ".join(str(path) for path in result.written))
    if failed:
        print(f"sadinet: {failed} of the pictures could not be done", file=sys.stderr)
    return 1 if failed else 0
