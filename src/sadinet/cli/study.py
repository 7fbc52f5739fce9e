"""``sadinet study``."""

import argparse
import sys
from pathlib import Path
from typing import Any

from ..errors import ConfigError, Stopped
from .common import add_data, add_machine, command, make_machine, print_json


def add(commands: Any) -> None:
    """Adds ``study``."""
    parser = command(commands, "study", _study, "Run one of the paper's tables, or a comparison: all rows, all seeds.")
    parser.add_argument("name", nargs="?", help="which, see --list")
    parser.add_argument("--list", action="store_true", help="name the studies and their rows and end")
    add_data(parser, required=False)
    parser.add_argument(
        "--out", type=Path, default=Path("runs/studies"), help="folder of studies (default: runs/studies)"
    )
    parser.add_argument(
        "--dataset", default="lsp", help="first part of the presets: lsp, mpii or your own (default: lsp)"
    )
    parser.add_argument("--size", default="t", help="second part of the presets: b, s or t (default: t)")
    parser.add_argument("--seeds", type=_numbers, default=(0, 1, 2), metavar="N,N", help="default: 0,1,2")
    parser.add_argument("--rows", type=_names, default=(), metavar="A,B", help="only these rows")
    parser.add_argument(
        "--set", action="append", default=[], metavar="FIELD=VALUE", help="change all rows: training.epochs=30"
    )
    parser.add_argument("--resume", action="store_true", help="as without: what is there is always gone on with")
    parser.add_argument("--report", action="store_true", help="only write report.md, .csv and .png of what is there")
    add_machine(parser)
    parser.add_argument("--json", action="store_true", help="print the results as JSON")


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}': give whole numbers, such as 0,1,2") from None


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _study(arguments: argparse.Namespace) -> int:
    from ..studies.tables import STUDIES, study

    if arguments.list:
        for each in STUDIES.values():
            print(f"{each.name}: {each.title}\n  {', '.join(row.name for row in each.rows)}")
        return 0
    if not arguments.name:
        raise ConfigError("name a study, such as ablation-iii; see sadinet study --list")
    chosen = study(arguments.name)
    from ..studies.report import markdown, write_report
    from ..studies.running import collect, plan, run_study

    folder = arguments.out / chosen.name
    if not arguments.report:
        if arguments.data is None:
            raise ConfigError("say where the data sets are: --data DIR")
        runs = plan(
            chosen,
            arguments.out,
            dataset=arguments.dataset,
            size=arguments.size,
            seeds=arguments.seeds,
            rows=arguments.rows,
            changes=tuple(arguments.set),
            data=arguments.data,
        )

        def tell(run: Any, line: dict[str, Any]) -> None:
            if not (arguments.quiet or arguments.json):
                print(
                    f"{run.row.name} seed {run.seed}, epoch {line['epoch']}/{run.experiment.training.epochs}: "
                    f"loss {line['loss_total']:.3e}  val {line['val']:.2f}  best {line['best']:.2f}",
                    file=sys.stderr,
                    flush=True,
                )

        machine = make_machine(arguments, pictures=False)
        try:
            for number, (run, result) in enumerate(run_study(runs, arguments.data, machine=machine, on_epoch=tell), 1):
                write_report(folder, collect(folder), plot=False)
                if arguments.json:
                    print_json(result)
                    continue
                score = "-" if result["scores"] is None else f"{result['scores']['Mean']:.2f}"
                print(f"{number}/{len(runs)} {run.row.name} seed {run.seed}: {result['status']}, {score}", flush=True)
        except Stopped as stopped:
            print(f"sadinet: {str(stopped).split(';')[0]}; go on by calling again as before", file=sys.stderr)
            return 128 + stopped.signal
    results = collect(folder)
    written = write_report(folder, results)
    if not arguments.json:
        print(markdown(results))
    print(" ".join(str(path) for path in written), file=sys.stderr)
    return 0
