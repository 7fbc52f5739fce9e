"""``sadinet data check``, ``pack`` and ``toy``."""

import argparse
import dataclasses
import sys
from pathlib import Path
from typing import Any

from .common import DATASET, command, print_json


def add(commands: Any) -> None:
    """Adds ``data`` and its commands."""
    parser = commands.add_parser("data", help="Look data sets over, or make a small one.")
    inner = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    check = command(inner, "check", _data_check, "Say what was found in a folder, and what is missing or wrong.")
    check.add_argument("data", type=Path, help="the folder that holds the data sets' folders")
    check.add_argument("--fast", action="store_true", help="do not decode the pictures")
    check.add_argument("--sheet", type=Path, metavar="FILE.jpg", help="draw some persons with their keypoints")
    check.add_argument("--json", action="store_true", help="print JSON")
    pack = command(
        inner, "pack", _data_pack, "Write a data set into one file that training reads instead of the folder."
    )
    pack.add_argument("data", type=Path, help="the folder that holds the data sets' folders")
    pack.add_argument("out", type=Path, help="the file to write; then: sadinet train ... --data FILE")
    pack.add_argument("--dataset", required=True, help=DATASET)
    pack.add_argument("--size", type=int, default=320, help="larger crops are scaled down to this [px] (default: 320)")
    pack.add_argument("--quality", type=int, default=80, help="of the JPEG encoding (default: 80)")
    pack.add_argument("--json", action="store_true", help="print JSON")
    toy = command(inner, "toy", _data_toy, "Draw stick figures in LSP's layout, to try training without data.")
    toy.add_argument("data", type=Path, help="gets a folder toy/")
    toy.add_argument("--count", type=int, default=400, help="pictures (default: 400)")
    toy.add_argument("--seed", type=int, default=0, help="of the drawing (default: 0)")


def _data_check(arguments: argparse.Namespace) -> int:
    from ..data.check import check_data, format_report
    from ..data.sheet import contact_sheet, some_persons

    report = check_data(arguments.data, quick=arguments.fast)
    if arguments.json:
        print_json(dataclasses.asdict(report))
    else:
        print(format_report(report))
    if arguments.sheet:
        contact_sheet(some_persons(arguments.data), arguments.sheet)
        print(arguments.sheet, file=sys.stderr)
    return 1 if any(dataset.problems for dataset in report.datasets) else 0


def _data_pack(arguments: argparse.Namespace) -> int:
    from ..data.splits import pack_dataset

    summary = pack_dataset(
        arguments.dataset,
        arguments.data,
        arguments.out,
        size=arguments.size,
        quality=arguments.quality,
        quiet=arguments.quiet or arguments.json,
    )
    if arguments.json:
        print_json({**dataclasses.asdict(summary), "path": str(summary.path)})
    else:
        splits = ", ".join(f"{name} {count}" for name, count in summary.splits.items())
        print(f"{summary.path}: {summary.persons} persons, {summary.bytes / 1e6:.1f} MB ({splits})")
    return 0


def _data_toy(arguments: argparse.Namespace) -> int:
    from ..data.toy import write_toy

    write_toy(arguments.data, arguments.count, arguments.seed)
    print(f"{arguments.count} pictures in {arguments.data / 'toy'}")
    return 0
