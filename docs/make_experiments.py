"""Writes docs/experiments.md from the results in benchmarks/results/studies.

    python docs/make_experiments.py

A study's results come there by: cp runs/studies/NAME/results.jsonl benchmarks/results/studies/NAME-lsp-t.jsonl
"""

from pathlib import Path

from sadinet.study_report import document

ROOT = Path(__file__).resolve().parents[1]


def make() -> str:
    """The document."""
    return document(sorted((ROOT / "benchmarks" / "results" / "studies").glob("*.jsonl")))


if __name__ == "__main__":
    path = ROOT / "docs" / "experiments.md"
    path.write_text(make(), "utf-8")
    print(path)
