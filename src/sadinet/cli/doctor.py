"""``sadinet doctor``."""

import argparse
from typing import Any

from .common import command, print_json


def add(commands: Any) -> None:
    """Adds ``doctor``."""
    parser = command(commands, "doctor", _doctor, "Tell what is installed, whether it works, and how fast it is.")
    parser.add_argument("--fast", action="store_true", help="without the speed probe, which takes five seconds")
    parser.add_argument("--json", action="store_true", help="print JSON")


def _doctor(arguments: argparse.Namespace) -> int:
    from ..doctor import examine

    found = examine(0.0 if arguments.fast else 5.0)
    if arguments.json:
        print_json(found)
        return 1 if found["problems"] else 0
    print(f"sadinet {found['sadinet']}, Python {found['python']}, {found['system']}")
    print("  " + ", ".join(f"{package} {number}" for package, number in found["versions"].items()))
    print(f"devices   {', '.join(found['devices'])}; {found['threads']} threads")
    for name, whole in found["weights"].items():
        print(f"weights   {name} {'whole' if whole else 'DAMAGED'}")
    print(f"backends  {', '.join(found['backends'])}; on their own the default weights take {found['default']}")
    print(f"detector  {found['detector'] or 'none: sadinet fetch yolox-nano, or --detector FILE.onnx'}")
    for engine, took in found["milliseconds"].items():
        if took is not None:
            print(f"  {engine:12} {took['one']:6.2f} ms per person alone, {took['sixteen']:.2f} ms in batches of 16")
    for extra, packages in found["extras"].items():
        missing = [package for package, number in packages.items() if number is None]
        there = ", ".join(f"{package} {number}" for package, number in packages.items() if number)
        wanted = f'no {", ".join(missing)}: pip install "sadinet[{extra}]"' if missing else ""
        print(f"extra     {extra:12} {'; '.join(part for part in (there, wanted) if part)}")
    for problem in found["problems"]:
        print(f"PROBLEM   {problem}")
    return 1 if found["problems"] else 0
