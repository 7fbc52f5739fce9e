"""``sadinet train``."""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from ..errors import ConfigError, Stopped
from .common import add_data, add_machine, command, make_machine, print_json


def add(commands: Any) -> None:
    """Adds ``train``."""
    parser = command(commands, "train", _train, "Train a network.")
    parser.add_argument("experiment", nargs="?", help="a preset such as lsp-t (see --list), or an experiment.json")
    parser.add_argument("--list", action="store_true", help="name the presets and end")
    add_data(parser, required=False)
    parser.add_argument("--out", type=Path, help="folder for weights, log and state (default: runs/EXPERIMENT)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="FIELD=VALUE", help="change the experiment: training.epochs=5"
    )
    parser.add_argument("--show", action="store_true", help="print the experiment as JSON and end")
    parser.add_argument("--resume", action="store_true", help="go on where an interrupted training stopped")
    parser.add_argument("--init", metavar="WEIGHTS", help="start from a checkpoint or lsp-t, as far as it fits")
    add_machine(parser)
    parser.add_argument("--tensorboard", action="store_true", help="also write TensorBoard's files")
    parser.add_argument("--json", action="store_true", help="print the log's lines as JSON")


def _train(arguments: argparse.Namespace) -> int:
    from ..experiment import from_json, to_json
    from ..presets import DATASETS, SIZES, VARIANTS, preset
    from ..values import override

    if arguments.list:
        print(f"presets: {{{'|'.join(DATASETS)}}}-{{{'|'.join(SIZES)}}}[VARIANT], for instance lsp-b-hourglass\n")
        for suffix, (text, changes) in VARIANTS.items():
            print(f"  {suffix or '(none)':18} {text}\n{'':21}{' '.join(changes)}")
        return 0
    if not arguments.experiment:
        raise ConfigError("name an experiment, such as lsp-t; see sadinet train --list")
    file = Path(arguments.experiment)
    if file.suffix == ".json":
        if not file.is_file():
            raise ConfigError(f"{file}: no such experiment file")
        experiment = from_json(file.read_text(), str(file))
    else:
        experiment = preset(arguments.experiment, arguments.data)
    experiment = override(experiment, arguments.set)
    if arguments.show:
        print(to_json(experiment))
        return 0
    if arguments.data is None:
        raise ConfigError("say where the data sets are: --data DIR")
    from ..models import weights_file
    from ..training.train import train

    out = arguments.out or Path("runs") / experiment.name
    machine = make_machine(arguments, tensorboard=arguments.tensorboard)

    def tell(line: dict[str, Any]) -> None:
        if arguments.json:
            print_json(line)
        else:
            left = line["seconds"] * (experiment.training.epochs - line["epoch"])
            print(
                f"epoch {line['epoch']}: loss {line['loss_total']:.3e}  val {line['val']:.2f}  "
                f"best {line['best']:.2f} (epoch {line['best_epoch']})  {line['images_per_second']:.1f} images/s  "
                f"{left / 60:.0f} min left",
                flush=True,
            )

    try:
        last = train(
            experiment,
            arguments.data,
            out,
            machine=machine,
            resume=arguments.resume,
            init=None if arguments.init is None else weights_file(arguments.init),
            on_epoch=tell,
        )
    except Stopped as stopped:
        print(f"sadinet: {stopped}", file=sys.stderr)
        return 128 + stopped.signal
    if not arguments.json and int(os.environ.get("RANK", "0")) == 0:
        print(f"best validation score {last['best']:.2f} at epoch {last['best_epoch']}; in {out}: best.safetensors,")
        print("log.jsonl, panel.jpg and, where matplotlib is installed, curves.png")
    return 0
