"""Everything on the page again, with one command: the race, accuracies, the plot, and the tables of README.md.

    python benchmarks/peers/run.py DATA MODELS [--weights lsp-b.safetensors] [--predictions FILE.mat]
    python benchmarks/peers/run.py DATA MODELS --quick     does it work? all of it small, into build/peers/quick

The race comes first: it needs a quiet machine, and its exported files are scored afterwards.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from page import joined

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
RESULTS, BUILD = HERE.parent / "results", ROOT / "build" / "peers"
PLOT = ROOT / "docs" / "images" / "race.svg"


def step(*command: object) -> None:
    """Run a script in a process of its own; stop if it fails."""
    done = subprocess.run([sys.executable, *map(str, command)], check=False)
    if done.returncode:
        raise SystemExit(f"run: {Path(str(command[0])).name} failed, so the page stays as it was")


def raced(build: Path, engine: str) -> list[str]:
    """The files of our trained weights that raced in ``engine``."""
    contenders: list[dict[str, Any]] = json.loads((build / "contenders.json").read_text("utf-8"))["contenders"]
    return [c["file"] for c in contenders if c["kind"] == "ours" and c["scored_as"] and c["engine"] == engine]


def finish(results: Path, plot: Path) -> None:
    """Give the race its accuracies, and draw it."""
    from plot import draw

    accuracy, race = (json.loads((results / f"{name}.json").read_text("utf-8")) for name in ("peers_accuracy", "race"))
    race = joined(race, accuracy)
    (results / "race.json").write_text(json.dumps(race, indent=1) + "\n", "utf-8")
    draw(race, plot)


def main(given: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="the folder that holds lsp/")
    parser.add_argument("models", type=Path, help="the folder of the peers' files")
    parser.add_argument("--weights", nargs="*", default=[], help="ours that are no embedded ones: .safetensors files")
    parser.add_argument("--predictions", nargs="*", default=[], type=Path, help="published, of LSP test")
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--minutes", type=float, default=6.0, help="of the race")
    parser.add_argument("--quick", action="store_true", help="all of it small, to try it out")
    parser.add_argument("--keep-exports", action="store_true", help="use the models that an earlier run exported")
    parser.add_argument("--skip-race", action="store_true", help="keep the race's results: accuracies, plot, tables")
    arguments = parser.parse_args(given)
    build = BUILD / "quick" if arguments.quick else BUILD
    results, plot = (build, build / "race.svg") if arguments.quick else (RESULTS, PLOT)
    common, quick = (arguments.data, arguments.models), ["--quick"] if arguments.quick else []
    if not arguments.skip_race:
        kept = ["--keep-exports"] if arguments.keep_exports else []
        race = ["--minutes", arguments.minutes, "--threads", *arguments.threads, "--weights", *arguments.weights]
        step(HERE / "race.py", *common, *race, "--build", build, "--out", results / "race.json", *quick, *kept)
    out, few = ("--out", results / "peers_accuracy.json"), ["--count", 20] if arguments.quick else []
    ours = ["--weights", *raced(build, "torch"), "--predictions", *arguments.predictions]
    step(HERE / "accuracy.py", *common, *ours, *few, *out)
    for engine, backend in (("onnxruntime int8", []), ("openvino", ["--backend", "openvino"])):
        if files := raced(build, engine):
            asked = ["--no-peers", "--tests", "single", "--boxes", "truth", "--keep", *backend]
            step(HERE / "accuracy.py", *common, "--weights", *files, *asked, *few, *out)
    finish(results, plot)
    if not arguments.quick:
        step(ROOT / "docs" / "tables.py")
    print(f"written: {results / 'peers_accuracy.json'}, {results / 'race.json'}, {plot}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
