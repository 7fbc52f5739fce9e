"""``sadinet calibrate``."""

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from .common import DATASET, add_data, command, print_json


def add(commands: Any) -> None:
    """Adds ``calibrate``."""
    parser = command(commands, "calibrate", _calibrate, "Make the scores of weights probabilities of being right.")
    parser.add_argument("weights", help="embedded name, checkpoint or training folder")
    parser.add_argument("out", type=Path, help="the .safetensors file to write")
    add_data(parser)
    parser.add_argument("--dataset", default="lsp+lspet", help=f"{DATASET} (default: lsp+lspet)")
    parser.add_argument("--split", default="val", help="its part that neither trained nor tests (default: val)")
    parser.add_argument("--half", action="store_true", help="write float16: half the size")
    parser.add_argument("--draw", type=Path, metavar="FILE.png", help="draw how reliable the scores are")
    parser.add_argument("--device", help="cpu, cuda, cuda:1 ... (default: a GPU where there is one)")
    parser.add_argument("--json", action="store_true", help="print JSON")


def _calibrate(arguments: argparse.Namespace) -> int:
    from ..calibrate import calibrate, draw_reliability
    from ..checkpoint import load_checkpoint, save_checkpoint
    from ..data.splits import read_split
    from ..estimator import Estimator
    from ..evaluate import check_keypoints
    from ..models import weights_file

    checkpoint = load_checkpoint(weights_file(arguments.weights))
    split = read_split(arguments.dataset, arguments.split, arguments.data)
    check_keypoints(checkpoint.experiment.skeleton, split, "these weights")
    estimator = Estimator(checkpoint.network, checkpoint.experiment, device=arguments.device)
    calibration, reliability = calibrate(estimator, split.persons, quiet=arguments.quiet or arguments.json)
    facts = checkpoint.facts | {
        "calibration": calibration.to_json(),
        "calibrated_on": f"{split.name} {split.hash}, {estimator.inference.describe()}",
    }
    network = checkpoint.network.cpu()
    save_checkpoint(arguments.out, network, checkpoint.experiment, facts, training_parts=False, half=arguments.half)
    if arguments.draw:
        draw_reliability(reliability, arguments.draw, f"{checkpoint.experiment.name} on {split.name}")
    if arguments.json:
        print_json(calibration.to_json() | {"cross_validated": dataclasses.asdict(reliability)})
    else:
        print(f"cross-validated on {len(split)} persons of {split.name}, {reliability}")
        print(arguments.out)
    return 0
