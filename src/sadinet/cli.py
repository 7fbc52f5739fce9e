"""The command line: parse, call, print, exit code.

Exit codes: 0 done; 1 done in part, or a check found problems; 2 the user can mend it; 130 interrupted; 141 pipe closed.
Sub-commands import what they need when they run, so that ``--help`` does not wait for torch.
"""

import argparse
import dataclasses
import json
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import __version__
from .errors import ConfigError, SadinetError, Stopped

_EPILOG = """\
examples:
  sadinet predict photo.jpg                                a pose with the weights that come along
  sadinet train lsp-t --data DATA                          train on Leeds Sports Pose
  sadinet evaluate runs/lsp-t --dataset lsp --data DATA    the paper's Table II with your weights
  sadinet score predictions.mat --dataset lsp --data DATA  the same ruler for anybody's predictions
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit code."""
    arguments = _parser().parse_args(argv)
    logging.basicConfig(format="sadinet: %(message)s", level=logging.WARNING if arguments.quiet else logging.INFO)
    try:
        code = int(arguments.run(arguments))
        sys.stdout.flush()  # here, where a closed pipe is still noticed
        return code
    except SadinetError as error:
        print(f"sadinet: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("sadinet: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # whoever read our output has gone: say nothing more, also not at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:  # a folder that may not be written, a full disk: the message names it
        print(f"sadinet: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sadinet",
        description="Human pose estimation with SADI-Net.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"sadinet {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_predict(commands)
    _add_train(commands)
    _add_evaluate(commands)
    _add_score(commands)
    _add_export(commands)
    _add_models(commands)
    _add_data(commands)
    return parser


def _command(commands: Any, name: str, run: Any, text: str, **more: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text, **more)
    parser.set_defaults(run=run)
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress bars, only results and errors")
    return parser


def _add_inference(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", help="cpu, cuda, cuda:1 ... (default: a GPU where there is one)")
    parser.add_argument("--batch-size", type=int, default=16, metavar="N", help="persons per pass (default: 16)")
    parser.add_argument(
        "--no-flip", action="store_true", help="do not average with the mirrored picture: twice as fast"
    )
    parser.add_argument(
        "--six-scales", action="store_true", help="average over six sizes of the crop: slow, a bit better"
    )


def _estimator(arguments: argparse.Namespace) -> Any:
    from .models import load

    return load(
        arguments.weights,
        device=arguments.device,
        flip=not arguments.no_flip,
        six_scales=arguments.six_scales,
        batch_size=arguments.batch_size,
    )


def _print_json(value: Any) -> None:
    print(json.dumps(value), flush=True)


# --- predict ---------------------------------------------------------------------------------------------------------


def _add_predict(commands: Any) -> None:
    parser = _command(commands, "predict", _predict, "Find the keypoints of persons in pictures.")
    parser.add_argument("sources", nargs="+", type=Path, metavar="PICTURE", help="pictures, or folders of them")
    parser.add_argument(
        "--weights", default="lsp-t", help="embedded name, checkpoint or training folder (default: lsp-t)"
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
    _add_inference(parser)


def _box(text: str) -> tuple[float, ...]:
    try:
        box = tuple(float(v) for v in text.split(","))
    except ValueError:
        box = ()
    if len(box) != 4:
        raise argparse.ArgumentTypeError(f"'{text}': give four numbers, X0,Y0,X1,Y1")
    return box


def _predict(arguments: argparse.Namespace) -> int:
    from .predict import predict_pictures

    estimator = _estimator(arguments)
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
                _print_json({"source": str(result.source), "error": result.error})
        elif arguments.json:
            _print_json(result.poses.to_json())
        else:
            print(" ".join(str(path) for path in result.written))
    if failed:
        print(f"sadinet: {failed} of the pictures could not be done", file=sys.stderr)
    return 1 if failed else 0


# --- train -----------------------------------------------------------------------------------------------------------


def _add_train(commands: Any) -> None:
    parser = _command(commands, "train", _train, "Train a network.")
    parser.add_argument("experiment", nargs="?", help="a preset such as lsp-t (see --list), or an experiment.json")
    parser.add_argument("--list", action="store_true", help="name the presets and end")
    parser.add_argument("--data", type=Path, help="the folder that holds lsp/, lspet/, mpii/ or toy/")
    parser.add_argument("--out", type=Path, help="folder for weights, log and state (default: runs/EXPERIMENT)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="FIELD=VALUE", help="change the experiment: training.epochs=5"
    )
    parser.add_argument("--show", action="store_true", help="print the experiment as JSON and end")
    parser.add_argument("--resume", action="store_true", help="go on where an interrupted training stopped")
    parser.add_argument("--init", type=Path, metavar="CHECKPOINT", help="start from these weights as far as they fit")
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
    parser.add_argument("--tensorboard", action="store_true", help="also write TensorBoard's files")
    parser.add_argument("--json", action="store_true", help="print the log's lines as JSON")


_RESIDENT = "keep all examples on the device and augment them there (default: on a GPU, where they fit)"


def _train(arguments: argparse.Namespace) -> int:
    from .experiment import DATASETS, SIZES, VARIANTS, from_json, override, preset, to_json

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
        experiment = preset(arguments.experiment)
    experiment = override(experiment, arguments.set)
    if arguments.show:
        print(to_json(experiment))
        return 0
    if arguments.data is None:
        raise ConfigError("say where the data sets are: --data DIR")
    from .train import Machine, train

    out = arguments.out or Path("runs") / experiment.name
    machine = Machine(
        device=arguments.device,
        workers=arguments.workers,
        cache=int(arguments.cache * 2**30),
        resident=arguments.resident,
        compiled=arguments.compile,
        recompute=arguments.recompute,
        deterministic=arguments.deterministic,
        save_every=arguments.save_every,
        tensorboard=arguments.tensorboard,
        quiet=arguments.quiet or arguments.json,
    )

    def tell(line: dict[str, Any]) -> None:
        if arguments.json:
            _print_json(line)
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
            init=arguments.init,
            on_epoch=tell,
        )
    except Stopped as stopped:
        print(f"sadinet: {stopped}", file=sys.stderr)
        return 128 + stopped.signal
    if not arguments.json and int(os.environ.get("RANK", "0")) == 0:
        print(f"best validation score {last['best']:.2f} at epoch {last['best_epoch']}; in {out}: best.safetensors,")
        print("log.jsonl, panel.jpg and, where matplotlib is installed, curves.png")
    return 0


# --- evaluate, score -------------------------------------------------------------------------------------------------


def _add_evaluate(commands: Any) -> None:
    parser = _command(commands, "evaluate", _evaluate, "Score weights on a data set, as the paper's Table II.")
    parser.add_argument("weights", help="embedded name, checkpoint or training folder")
    _add_split(parser, ("lsp", "lspet", "lsp+lspet", "mpii", "toy"))
    parser.add_argument("--save", type=Path, metavar="FILE.npz", help="also write the predictions")
    _add_inference(parser)


def _add_split(parser: argparse.ArgumentParser, datasets: tuple[str, ...]) -> None:
    parser.add_argument("--dataset", required=True, choices=datasets, help="the annotation to score against")
    parser.add_argument("--split", help="part of it, such as test, test-clean or val (default: test, MPII: val)")
    parser.add_argument("--data", required=True, type=Path, help="the folder that holds lsp/, lspet/, mpii/ or toy/")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")


_DEFAULT_SPLIT = {"lsp": "test", "toy": "test", "mpii": "val", "lsp+lspet": "val", "lspet": "train"}


def _evaluate(arguments: argparse.Namespace) -> int:
    from .data.splits import read_split
    from .evaluate import evaluate_split

    split = read_split(arguments.dataset, arguments.split or _DEFAULT_SPLIT[arguments.dataset], arguments.data)
    estimator = _estimator(arguments)
    quiet = arguments.quiet or arguments.json
    report = evaluate_split(estimator, split, weights=str(arguments.weights), quiet=quiet, save=arguments.save)
    _print_report(report, arguments)
    return 0


def _add_score(commands: Any) -> None:
    parser = _command(commands, "score", _score, "Score anybody's predictions by a data set's own protocol.")
    parser.add_argument("file", type=Path, help=".npz, .npy, .mat, .h5 or .json with x and y of every keypoint")
    _add_split(parser, ("lsp", "mpii"))
    parser.add_argument(
        "--layout", help="order of the axes where sizes cannot tell: n persons, k keypoints, c x and y: nkc"
    )
    parser.add_argument("--one-based", action="store_true", help="the file counts pixels from 1, as MATLAB does")
    parser.add_argument("--key", help="which array of a file with several")


def _score(arguments: argparse.Namespace) -> int:
    from .score import score_file

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
        _print_json(report.to_json())
    else:
        print(report.table(markdown=arguments.markdown))


# --- export, models --------------------------------------------------------------------------------------------------


def _add_export(commands: Any) -> None:
    parser = _command(commands, "export", _export, "Write weights without what only training needs.")
    parser.add_argument("weights", help="embedded name, checkpoint or training folder")
    parser.add_argument("out", type=Path, help="the .safetensors file to write")
    parser.add_argument("--half", action="store_true", help="float16: half the size")


def _export(arguments: argparse.Namespace) -> int:
    from .checkpoint import load_checkpoint, save_checkpoint
    from .models import weights_file

    source = load_checkpoint(weights_file(arguments.weights))
    save_checkpoint(
        arguments.out, source.network, source.experiment, source.facts, training_parts=False, half=arguments.half
    )
    print(f"{arguments.out} ({arguments.out.stat().st_size / 1e6:.1f} MB)")
    return 0


def _add_models(commands: Any) -> None:
    parser = _command(commands, "models", _models, "List and verify the weights that come with the package.")
    parser.add_argument("--json", action="store_true", help="print JSON")


def _models(arguments: argparse.Namespace) -> int:
    from .models import embedded_models

    damaged = 0
    for model in embedded_models().values():
        whole = model.sha256 == model.expected_sha256
        damaged += not whole
        if arguments.json:
            _print_json({"name": model.name, "file": str(model.file), "sha256": model.sha256, "whole": whole})
        else:
            size = model.file.stat().st_size / 1e6
            print(f"{model.name:10} {size:6.1f} MB  sha256 {model.sha256}  {'whole' if whole else 'DAMAGED'}")
    return 1 if damaged else 0


# --- data ------------------------------------------------------------------------------------------------------------


def _add_data(commands: Any) -> None:
    parser = commands.add_parser("data", help="Look data sets over, or make a small one.")
    inner = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    check = _command(inner, "check", _data_check, "Say what was found in a folder, and what is missing or wrong.")
    check.add_argument("data", type=Path, help="the folder that holds lsp/, lspet/, mpii/ or toy/")
    check.add_argument("--fast", action="store_true", help="do not decode the pictures")
    check.add_argument("--sheet", type=Path, metavar="FILE.jpg", help="draw some persons with their keypoints")
    check.add_argument("--json", action="store_true", help="print JSON")
    pack = _command(
        inner, "pack", _data_pack, "Write a data set into one file that training reads instead of the folder."
    )
    pack.add_argument("data", type=Path, help="the folder that holds lsp/, lspet/, mpii/ or toy/")
    pack.add_argument("out", type=Path, help="the file to write; then: sadinet train ... --data FILE")
    pack.add_argument("--dataset", required=True, choices=("lsp", "lspet", "lsp+lspet", "mpii", "toy"), help="which")
    pack.add_argument("--size", type=int, default=320, help="larger crops are scaled down to this [px] (default: 320)")
    pack.add_argument("--quality", type=int, default=80, help="of the JPEG encoding (default: 80)")
    pack.add_argument("--json", action="store_true", help="print JSON")
    toy = _command(inner, "toy", _data_toy, "Draw stick figures in LSP's layout, to try training without data.")
    toy.add_argument("data", type=Path, help="gets a folder toy/")
    toy.add_argument("--count", type=int, default=400, help="pictures (default: 400)")
    toy.add_argument("--seed", type=int, default=0, help="of the drawing (default: 0)")


def _data_check(arguments: argparse.Namespace) -> int:
    from .data.check import check_data, contact_sheet, format_report, some_persons

    report = check_data(arguments.data, quick=arguments.fast)
    if arguments.json:
        _print_json(dataclasses.asdict(report))
    else:
        print(format_report(report))
    if arguments.sheet:
        contact_sheet(some_persons(arguments.data), arguments.sheet)
        print(arguments.sheet, file=sys.stderr)
    return 1 if any(dataset.problems for dataset in report.datasets) else 0


def _data_pack(arguments: argparse.Namespace) -> int:
    from .data.splits import pack_dataset

    summary = pack_dataset(
        arguments.dataset,
        arguments.data,
        arguments.out,
        size=arguments.size,
        quality=arguments.quality,
        quiet=arguments.quiet or arguments.json,
    )
    if arguments.json:
        _print_json({**dataclasses.asdict(summary), "path": str(summary.path)})
    else:
        splits = ", ".join(f"{name} {count}" for name, count in summary.splits.items())
        print(f"{summary.path}: {summary.persons} persons, {summary.bytes / 1e6:.1f} MB ({splits})")
    return 0


def _data_toy(arguments: argparse.Namespace) -> int:
    from .data.toy import write_toy

    write_toy(arguments.data, arguments.count, arguments.seed)
    print(f"{arguments.count} pictures in {arguments.data / 'toy'}")
    return 0
