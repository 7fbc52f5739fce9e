"""All the scores that a model card publishes, in one run: LSP test in three ways, test-clean, validation in two.

    python benchmarks/scores.py DATA [--weights lsp-t] [--out benchmarks/results/scores-lsp-t.json]

Nothing is chosen by these numbers. Then `python docs/tables.py` writes them into the pages.
"""

import argparse
import json
import platform
from pathlib import Path

import torch

import sadinet
from sadinet.data.splits import read_split
from sadinet.evaluate import evaluate_split
from sadinet.models import weights_file

ROWS = (
    ("LSP test, single scale", "lsp", "test", False, False),
    ("LSP test, flip", "lsp", "test", True, False),
    ("LSP test, six scales + flip", "lsp", "test", True, True),
    ("LSP test-clean, flip", "lsp", "test-clean", True, False),
    ("validation, single scale", "lsp+lspet", "val", False, False),
    ("validation, flip", "lsp+lspet", "val", True, False),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--weights", default="lsp-t")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--no-test", action="store_true", help="validation only, while choosing")
    arguments = parser.parse_args()
    rows = []
    for title, dataset, name, flip, six_scales in ROWS:
        if arguments.no_test and name != "val":
            continue
        split = read_split(dataset, name, arguments.data)
        estimator = sadinet.load(arguments.weights, flip=flip, six_scales=six_scales)
        report = evaluate_split(estimator, split, quiet=False)
        row = {
            "title": f"{title} ({len(split)})",
            "columns": {part.title: round(part.percent, 4) for part in report.parts},
            "mean": round(report.mean, 4),
            "split": split.hash,
        }
        if report.reliability is not None:
            row["calibration_error"] = round(100 * report.reliability.error, 4)
            row["brier"] = round(report.reliability.brier, 4)
        rows.append(row)
        print(report.table(), flush=True)
    file = weights_file(arguments.weights)
    answer = {
        "weights": arguments.weights if file.stem == arguments.weights else file.name,
        "sha256": sadinet.models.Model(file.stem, file).sha256,
        "protocol": report.protocol.describe(),
        "rows": rows,
        "torch": torch.__version__,
        "processor": platform.processor() or platform.machine(),
        "command": f"python benchmarks/scores.py DATA --weights {arguments.weights}",
    }
    text = json.dumps(answer, indent=1)
    if arguments.out:
        arguments.out.write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
