"""``sadinet export`` and ``sadinet models``."""

import argparse
import hashlib
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from .common import command, print_json


def add_export(commands: Any) -> None:
    """Adds ``export``."""
    parser = command(commands, "export", _export, "Write weights for prediction alone, as safetensors or ONNX.")
    parser.add_argument("weights", help="embedded name, checkpoint or training folder")
    parser.add_argument("out", type=Path, help="the file to write; its suffix tells the format")
    parser.add_argument("--format", choices=("safetensors", "onnx"), help="where the suffix does not tell")
    parser.add_argument("--half", "--fp16", action="store_true", help="float16: half the size (ONNX: for GPUs)")
    onnx = parser.add_argument_group("ONNX")
    onnx.add_argument("--int8", action="store_true", help="quantise: a quarter of the size, faster; needs --data")
    onnx.add_argument("--data", "--calibrate", type=Path, metavar="DATA", help=_DATA)
    onnx.add_argument("--dataset", help="which of them (default: what the weights were trained on)")
    onnx.add_argument("--calibration", choices=("minmax", "entropy", "percentile"), help="how int8 learns ranges")
    onnx.add_argument("--batch", metavar="N", help="crops per pass, a number or dynamic (default: dynamic)")
    onnx.add_argument("--opset", type=int, help="ONNX operator set (default: 18)")
    onnx.add_argument("--decode", action="store_true", help="also answer xy and score, read inside the graph")


_DATA = "folder with data sets: real crops to check the file with and to calibrate int8"


def _export(arguments: argparse.Namespace) -> int:
    from ..checkpoint import load_checkpoint, save_checkpoint
    from ..models import weights_file

    file = weights_file(arguments.weights)
    kind = arguments.format or arguments.out.suffix.lower().lstrip(".")
    if kind == "onnx":
        return _export_onnx(arguments, file)
    for option in ("int8", "data", "dataset", "calibration", "batch", "opset", "decode"):
        if getattr(arguments, option):
            raise ConfigError(f"--{option} is for ONNX files: end the name in .onnx, or say --format onnx")
    source = load_checkpoint(file)
    save_checkpoint(
        arguments.out, source.network, source.experiment, source.facts, training_parts=False, half=arguments.half
    )
    print(f"{arguments.out} ({arguments.out.stat().st_size / 1e6:.1f} MB)")
    return 0


def _export_onnx(arguments: argparse.Namespace, file: Path) -> int:
    from ..checkpoint import load_checkpoint
    from ..exporting.export import export_onnx, real_crops
    from ..exporting.graph import OPSET
    from ..exporting.quantize import CALIBRATION_CROPS, RANGE_METHOD
    from ..reading import Reading

    if arguments.half and arguments.int8:
        raise ConfigError("--half and --int8 exclude each other: choose one")
    if arguments.int8 and arguments.data is None:
        raise ConfigError("--int8 learns the range of every activation from real crops: say --data DIR")
    source = load_checkpoint(file)
    check = calibration = None
    if arguments.data is not None:
        dataset = arguments.dataset or source.experiment.data.dataset
        size = source.experiment.network.input_size
        check = real_crops(dataset, "val", arguments.data, size, 32)
        calibration = real_crops(dataset, "train", arguments.data, size, CALIBRATION_CROPS) if arguments.int8 else None
    agreement = export_onnx(
        source.network,
        Reading.of(source.experiment),
        arguments.out,
        precision="int8" if arguments.int8 else "float16" if arguments.half else "float32",
        batch=_batch(arguments.batch),
        opset=arguments.opset or OPSET,
        decoded=arguments.decode,
        crops=check,
        calibration=calibration,
        method=arguments.calibration or RANGE_METHOD,
        weights_sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
    )
    size = arguments.out.stat().st_size / 1e6
    print(f"{arguments.out} ({size:.1f} MB) and {arguments.out.with_suffix('.json')}")
    print(
        f"beside PyTorch, {agreement.crops} {'real crops' if check is not None else 'generated pictures'}: heatmaps "
        f"differ by {agreement.heatmaps:.1e} at most, {agreement.compared} keypoints by {agreement.median:.3f} px in "
        f"the median and {agreement.keypoints:.3f} px at most"
    )
    return 0


def _batch(text: str | None) -> int | None:
    if text in (None, "dynamic"):
        return None
    if not str(text).isdecimal() or int(str(text)) < 1:
        raise ConfigError(f"--batch {text}: give a number of crops, or dynamic")
    return int(str(text))


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
