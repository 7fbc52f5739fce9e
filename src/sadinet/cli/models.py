"""``sadinet export`` and ``sadinet models``."""

import argparse
from pathlib import Path
from typing import Any

from .common import command, print_json


def add_export(commands: Any) -> None:
    """Adds ``export``."""
    parser = command(commands, "export", _export, "Write weights without what only training needs.")
    parser.add_argument("weights", help="embedded name, checkpoint or training folder")
    parser.add_argument("out", type=Path, help="the .safetensors file to write")
    parser.add_argument("--half", action="store_true", help="float16: half the size")


def _export(arguments: argparse.Namespace) -> int:
    from ..checkpoint import load_checkpoint, save_checkpoint
    from ..models import weights_file

    source = load_checkpoint(weights_file(arguments.weights))
    save_checkpoint(
        arguments.out, source.network, source.experiment, source.facts, training_parts=False, half=arguments.half
    )
    print(f"{arguments.out} ({arguments.out.stat().st_size / 1e6:.1f} MB)")
    return 0


def add_models(commands: Any) -> None:
    """Adds ``models``."""
    parser = command(commands, "models", _models, "List and verify the weights that come with the package.")
    parser.add_argument("--json", action="store_true", help="print JSON")


def _models(arguments: argparse.Namespace) -> int:
    from ..models import embedded_models

    damaged = 0
    for model in embedded_models().values():
        whole = model.sha256 == model.expected_sha256
        damaged += not whole
        if arguments.json:
            print_json({"name": model.name, "file": str(model.file), "sha256": model.sha256, "whole": whole})
        else:
            size = model.file.stat().st_size / 1e6
            print(f"{model.name:10} {size:6.1f} MB  sha256 {model.sha256}  {'whole' if whole else 'DAMAGED'}")
    return 1 if damaged else 0
