"""What several commands share: their parser, the options of inference, an estimator, JSON lines."""

import argparse
import json
from pathlib import Path
from typing import Any


def command(commands: Any, name: str, run: Any, text: str, **more: Any) -> argparse.ArgumentParser:
    """A sub-command that calls ``run`` with its arguments, with ``--quiet``."""
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text, **more)
    parser.set_defaults(run=run)
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress bars, only results and errors")
    return parser


def add_inference(parser: argparse.ArgumentParser) -> None:
    """The options of everything that asks a network."""
    parser.add_argument("--device", help="cpu, cuda, cuda:1 ... (default: a GPU where there is one)")
    parser.add_argument(
        "--backend", choices=("torch", "onnxruntime", "openvino"), help="what computes (default: the fastest there is)"
    )
    parser.add_argument("--batch-size", type=int, default=16, metavar="N", help="persons per pass (default: 16)")
    parser.add_argument(
        "--no-flip", action="store_true", help="do not average with the mirrored picture: twice as fast"
    )
    parser.add_argument(
        "--six-scales", action="store_true", help="average over six sizes of the crop: slow, a bit better"
    )


DATASET = "lsp, lspet, lsp+lspet, mpii, toy, or the name of a folder of your own in --data (docs/own-data.md)"


def add_data(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """``--data``."""
    text = "the folder that holds the data sets' folders, lsp/, mpii/ or your own, or a pack of one"
    parser.add_argument("--data", required=required, type=Path, help=text)


def make_estimator(arguments: argparse.Namespace) -> Any:
    """The estimator that ``--weights`` and the options of `add_inference` ask for."""
    from ..models import load

    return load(
        arguments.weights,
        device=arguments.device,
        flip=not arguments.no_flip,
        six_scales=arguments.six_scales,
        batch_size=arguments.batch_size,
        backend=arguments.backend,
    )


def print_json(value: Any) -> None:
    """Prints one line of JSON, at once."""
    print(json.dumps(value), flush=True)


def add_machine(parser: argparse.ArgumentParser) -> None:
    """The options of everything that trains which are not the experiment."""
    parser.add_argument("--device", help="cpu, cuda, cuda:1 ... (default: a GPU where there is one)")
    parser.add_argument(
        "--workers", type=int, default=2, metavar="N", help="threads that prepare examples (default: 2)"
    )
    parser.add_argument("--cache", type=float, default=4, metavar="GB", help="memory for decoded pictures (default: 4)")
    parser.add_argument("--resident", action=argparse.BooleanOptionalAction, help=_RESIDENT)
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, help="torch.compile (default: on a GPU)")
    parser.add_argument("--recompute", action="store_true", help="save memory: compute activations twice")
    parser.add_argument("--deterministic", action="store_true", help="deterministic algorithms, where torch has them")
    parser.add_argument(
        "--save-every", type=float, default=300, metavar="S", help="seconds between states (default: 300)"
    )


_RESIDENT = "keep all examples on the device and augment them there (default: on a GPU, where they fit)"


def make_machine(arguments: argparse.Namespace, **more: Any) -> Any:
    """The machine that the options of `add_machine` describe."""
    from ..training.train import Machine

    return Machine(
        device=arguments.device,
        workers=arguments.workers,
        cache=int(arguments.cache * 2**30),
        resident=arguments.resident,
        compiled=arguments.compile,
        recompute=arguments.recompute,
        deterministic=arguments.deterministic,
        save_every=arguments.save_every,
        quiet=arguments.quiet or arguments.json,
        **more,
    )
