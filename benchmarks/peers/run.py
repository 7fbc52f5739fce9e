"""Everything on the page again, with one command: accuracies, the race, its plot, and the tables of README.md.

    python benchmarks/peers/run.py DATA MODELS [--weights lsp-b.safetensors] [--predictions FILE.mat]
    python benchmarks/peers/run.py DATA MODELS --quick         does it work? all of it small, into build/peers/quick
    python benchmarks/peers/run.py --render                    tables and plot alone, from the results that are there

The race comes first: it needs a quiet machine, and its exported files are scored afterwards.
"""

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from page import fill

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PAGE, PLOT = HERE / "README.md", ROOT / "docs" / "images" / "race.svg"
RESULTS, BUILD = HERE.parent / "results", ROOT / "build" / "peers"


def read(file: Path) -> dict[str, Any] | None:
    """The results in ``file``; None if there are none yet."""
    return json.loads(file.read_text("utf-8")) if file.is_file() else None


def render(results: Path, page: Path, plot: Path) -> None:
    """Tables of ``page`` and the plot from the files in ``results``."""
    from plot import draw

    accuracy, race = read(results / "peers_accuracy.json"), read(results / "race.json")
    page.write_text(fill(page.read_text("utf-8"), accuracy, race), "utf-8")
    if race:
        draw(race, accuracy, plot)


def step(script: str, *arguments: object) -> None:
    """Run a script of this folder in a process of its own; stop if it fails."""
    done = subprocess.run([sys.executable, str(HERE / script), *map(str, arguments)], check=False)
    if done.returncode:
        raise SystemExit(f"run: {script} failed; nothing was rendered")


def scored_files(build: Path) -> list[str]:
    """The int8 files among those that raced: the accuracy of the others is their checkpoints'."""
    contenders = json.loads((build / "contenders.json").read_text("utf-8"))["contenders"]
    return [c["file"] for c in contenders if c["scored_as"] and c["engine"] == "onnxruntime int8"]


def trained(build: Path) -> list[str]:
    """Our trained weights that raced in torch."""
    contenders = json.loads((build / "contenders.json").read_text("utf-8"))["contenders"]
    return [c["file"] for c in contenders if c["scored_as"] and c["engine"] == "torch"]


def main(given: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", type=Path, help="the folder that holds lsp/")
    parser.add_argument("models", nargs="?", type=Path, help="the folder of the peers' files")
    parser.add_argument("--weights", nargs="*", default=[], help="ours that are no embedded ones: .safetensors files")
    parser.add_argument("--predictions", nargs="*", default=[], type=Path, help="published, of LSP test")
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--minutes", type=float, default=6.0, help="of the race")
    parser.add_argument("--quick", action="store_true", help="all of it small, to try it out")
    parser.add_argument("--render", action="store_true", help="only tables and plot")
    arguments = parser.parse_args(given)
    if arguments.render:
        render(RESULTS, PAGE, PLOT)
        return 0
    if arguments.data is None or arguments.models is None:
        parser.error("give DATA and MODELS")
    results, page, plot, build = RESULTS, PAGE, PLOT, BUILD
    if arguments.quick:
        build = BUILD / "quick"
        results, page, plot = build, build / "README.md", build / "race.svg"
        build.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(PAGE, page)
    common, quick = [arguments.data, arguments.models], ["--quick"] if arguments.quick else []
    weights, threads = ["--weights", *arguments.weights], ["--threads", *arguments.threads]
    race = ["--minutes", arguments.minutes, "--build", build, "--out", results / "race.json"]
    step("race.py", *common, *weights, *threads, *race, *quick)
    out, few = ["--out", results / "peers_accuracy.json"], ["--count", 20] if arguments.quick else []
    predictions = ["--predictions", *arguments.predictions]
    step("accuracy.py", *common, "--weights", *trained(build), *predictions, *few, *out)
    if files := scored_files(build):
        asked = ["--no-peers", "--tests", "single", "--boxes", "truth"]
        step("accuracy.py", *common, "--weights", *files, *asked, *few, *out, "--keep")
    render(results, page, plot)
    print(f"written: {results / 'peers_accuracy.json'}, {results / 'race.json'}, {page}, {plot}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
