"""Writes the measured numbers into the pages, so that none is typed by hand.

    python docs/tables.py            fill every page
    python docs/tables.py --check    say which pages are not up to date, exit code 1 if any

A page marks a table with `<!-- table NAME FILE -->` and `<!-- end -->`; what stands between is replaced by what the
function NAME below, or in `benchmarks/peers/page.py`, makes of FILE in `benchmarks/results`.
"""

import json
import re
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
_MARK = re.compile(r"(<!-- table (\S+) (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)


def scores(result: dict[str, Any]) -> str:
    """PCK by column, a row per way of testing."""
    titles = list(result["rows"][0]["columns"])
    rows = [
        [row["title"], *(f"{row['columns'][title]:.1f}" for title in titles), f"**{row['mean']:.1f}**"]
        for row in result["rows"]
    ]
    return markdown(["", *titles, "Mean"], rows)


def calibration(result: dict[str, Any]) -> str:
    """How far the scores can be believed, by split."""
    rows = [
        [row["title"], f"{row['calibration_error']:.1f} %", f"{row['brier']:.3f}"]
        for row in result["rows"]
        if "calibration_error" in row
    ]
    return markdown(["", "calibration error", "Brier score"], rows)


def log(lines: list[dict[str, Any]]) -> str:
    """A training, a row per epoch."""
    rows = [
        [
            str(line["epoch"]),
            f"{line['loss_total']:.3e}",
            f"{line['val']:.1f}",
            *(f"{line[f'val_{part}']:.1f}" for part in ("head", "wri", "ank")),
            f"{line['seconds'] / 60:.1f}",
        ]
        for line in lines
    ]
    return markdown(["epoch", "loss", "val", "head", "wrists", "ankles", "minutes"], rows)


TABLES: dict[str, Callable[[Any], str]] = {
    **{"scores": scores, "calibration": calibration, "log": log},
    **runpy.run_path(str(ROOT / "benchmarks" / "peers" / "page.py"))["TABLES"],
}


def markdown(head: list[str], rows: list[list[str]]) -> str:
    """A table whose first column is text and whose others are numbers."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def filled(text: str) -> str:
    """``text`` with every marked table made anew."""

    def table(match: re.Match[str]) -> str:
        opening, name, argument, closing = match.groups()
        if not (RESULTS / argument).is_file():
            return f"{opening}Not measured yet.\n{closing}"
        text = (RESULTS / argument).read_text("utf-8")
        result = [json.loads(line) for line in text.splitlines()] if argument.endswith(".jsonl") else json.loads(text)
        return f"{opening}{TABLES[name](result)}\n{closing}"

    return _MARK.sub(table, text)


def pages() -> list[Path]:
    """Every page that may hold tables."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "benchmarks").rglob("*.md"))]


def main() -> int:
    stale = [page for page in pages() if filled(page.read_text("utf-8")) != page.read_text("utf-8")]
    for page in stale:
        print(page.relative_to(ROOT))
        if "--check" not in sys.argv:
            page.write_text(filled(page.read_text("utf-8")), "utf-8")
    return 1 if stale and "--check" in sys.argv else 0


if __name__ == "__main__":
    sys.exit(main())
