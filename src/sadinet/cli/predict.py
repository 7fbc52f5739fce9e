"""``sadinet predict``."""

import argparse
import logging
import sys
from pathlib import Path
from typing import Any

from .common import add_inference, command, make_estimator, print_json

_EPILOG = """\
sources: pictures, folders with all pictures below, videos, patterns ("holiday/*.jpg"), lists (.txt, a file per line),
cameras by number (0; Ctrl-C ends it and keeps the files).

examples:
  sadinet predict photo.jpg                                    one person who fills the picture
  sadinet predict holiday/ --detector yolox_nano.onnx --save img,csv
  sadinet predict clip.mp4 --detector yolox_nano.onnx          drawn copy with sound, JSON lines
  sadinet predict big/ --resume                                goes on where it stopped
"""

_log = logging.getLogger(__name__)


def add(commands: Any) -> None:
    """Adds ``predict``."""
    parser = command(
        *(commands, "predict", _predict, "Find the keypoints of persons in pictures, videos and cameras."),
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("sources", nargs="+", metavar="SOURCE", help="pictures, folders, videos, patterns, lists, 0")
    parser.add_argument(
        "--weights", default="lsp-t", help="embedded name, checkpoint, training folder or .onnx file (default: lsp-t)"
    )
    where = parser.add_argument_group(
        "where persons are (default: what the detector finds that is fetched or named by "
        "SADINET_DETECTOR, else one person fills the picture)"
    ).add_mutually_exclusive_group()
    where.add_argument("--detector", metavar="FILE|NAME|none", help="a YOLOX .onnx file, or a name that was fetched")
    where.add_argument("--boxes", type=Path, metavar="FILE", help="boxes of each picture: COCO, poses, or CSV")
    where.add_argument(
        "--box", type=_box, action="append", metavar="X0,Y0,X1,Y1", help="a person's box in pixels, may be repeated"
    )
    parser.add_argument("--max-persons", type=int, metavar="N", help="at most so many per picture, the surest")
    results = parser.add_argument_group("what is written")
    results.add_argument("--out", type=Path, default=Path("poses"), help="the folder (default: poses)")
    results.add_argument(
        "--save",
        type=lambda text: frozenset(text.split(",")),
        metavar="img,json,jsonl,csv,coco,video",
        help="which files (default: img,json; for videos video,jsonl)",
    )
    results.add_argument(
        "--min-score", type=float, default=0.5, help="draw keypoints from this score on (default: 0.5)"
    )
    results.add_argument("--heatmaps", action="store_true", help="draw where the network thinks the keypoints are")
    results.add_argument("--no-draw", action="store_true", help="no pictures and videos, only numbers")
    results.add_argument("--json", action="store_true", help="a line of JSON per picture on standard output, no files")
    results.add_argument("--resume", action="store_true", help="leave alone what has its files already")
    video = parser.add_argument_group("videos")
    video.add_argument("--detect-every", type=int, metavar="N", help="detect on every Nth frame (default: 5)")
    video.add_argument("--track", action=argparse.BooleanOptionalAction, help="give persons ids (default: in videos)")
    video.add_argument(
        "--smooth",
        choices=("none", "one-euro", "offline"),
        help="against tremor: as it comes, or looking ahead, in two passes (default: one-euro)",
    )
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
    from ..media.sources import find_entries
    from ..predicting.job import Summary
    from ..predicting.predict import predict_sources

    job = _job(arguments)
    entries = list(find_entries(arguments.sources))
    estimator = make_estimator(arguments)
    detector = job.stream["detector"]
    where = "boxes that are given" if job.stream["boxes"] is not None else getattr(detector, "file", "whole pictures")
    how = f"{estimator.backend.name} on {estimator.device}"
    _log.info("%s by %s, %s; persons: %s", arguments.weights, how, estimator.inference.describe(), where)
    summary = Summary()
    out = None if arguments.json else arguments.out
    for result in predict_sources(estimator, entries, out, job, quiet=arguments.quiet or arguments.json):
        summary.add(result)
        _print(result, arguments.json)
    _log.info("%s", summary.describe())
    if summary.failed:
        print(f"sadinet: {summary.failed} of the pictures could not be done", file=sys.stderr)
    return 1 if summary.failed or summary.damaged else 0


def _job(arguments: argparse.Namespace) -> Any:
    """What the options ask for; detector and boxes are read."""
    from ..persons.boxes import read_boxes
    from ..persons.finding import NO_DETECTOR, choose_detector
    from ..predicting.job import SAVE, Job

    save = arguments.save
    if arguments.no_draw:
        save = (save or frozenset(SAVE[:2])) - {"img", "video"}
    boxes = read_boxes(arguments.boxes) if arguments.boxes else arguments.box
    detector = choose_detector(arguments.detector, level=logging.INFO) if boxes is None else None
    return Job(
        save=save,
        min_score=arguments.min_score,
        heatmaps=arguments.heatmaps,
        smooth=arguments.smooth,
        resume=arguments.resume,
        stream={
            "boxes": boxes,
            "detector": detector or NO_DETECTOR,
            "detect_every": arguments.detect_every,
            "track": arguments.track,
            "max_persons": arguments.max_persons,
        },
    )


def _print(result: Any, as_json: bool) -> None:
    if result.error:
        print(f"sadinet: skipped: {result.error}", file=sys.stderr)
        if as_json:
            print_json({"source": str(result.source), "error": result.error})
    elif as_json and result.poses is not None:
        print_json(result.poses.to_json())
    elif result.written:
        print(" ".join(str(path) for path in result.written), flush=True)
    if result.damaged:
        print(f"sadinet: {result.source}: {result.damaged} damaged packets were left out", file=sys.stderr)
