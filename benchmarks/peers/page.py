"""Results as Markdown. Nothing here is measured; ``python docs/tables.py`` writes these tables into README.md."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

COLUMNS = ("Head", "Sho.", "Elb.", "Wri.", "Hip", "Knee", "Ank.")

BOXES = {
    "truth": "true keypoints",
    "matched": "detector, the person's box",
    "central": "detector, most central box",
    "whole": "whole picture",
}
"""What the rules of `boxes.py` are called."""


def limb_mean(columns: Mapping[str, float | None], counts: Mapping[str, int]) -> float:
    """The share [%] of the 12 limb keypoints that are right: the columns but the head, weighted by their counts."""
    limbs = [name for name in COLUMNS[1:] if columns[name] is not None]
    return sum(float(columns[n] or 0) * counts[n] for n in limbs) / sum(counts[n] for n in limbs)


def number(value: float | None, digits: int = 1) -> str:
    """``value`` rounded, or a dash where there is none."""
    return "–" if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]], words: int = 1) -> str:
    """A table whose first ``words`` columns are aligned left and the others right."""
    rule = ["---"] * words + ["---:"] * (len(head) - words)
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, rule, *rows])


def accuracy_table(result: Mapping[str, Any], rules: Sequence[str]) -> str:
    """The rows of ``result`` whose boxes follow one of ``rules``, the best first, ours in bold."""
    rows = [row for row in result["rows"] if row["boxes"] in rules]
    rows.sort(key=lambda row: (rules.index(row["boxes"]), -row["limbs"], row["model"], row["test"]))
    head = ["", *(["boxes"] if len(rules) > 1 else []), "test", *COLUMNS, "Mean of 7", "12 limb keypoints"]
    body = []
    for row in rows:
        name = f"**{row['model']}**" if row["kind"] == "ours" else row["model"]
        where = [BOXES[row["boxes"]]] if len(rules) > 1 else []
        shares = [number(row["columns"][column]) for column in COLUMNS]
        body.append([name, *where, row["test"], *shares, number(row["mean"]), f"**{number(row['limbs'])}**"])
    return markdown(head, body, words=3 if len(rules) > 1 else 2)


def race_table(result: Mapping[str, Any]) -> str:
    """Milliseconds per person, ratios and start-up of every model, the quickest first."""
    threads, batches = result["threads"], result["batches"]
    first = f"{threads[0]}/{batches[0]}"
    head = ["", "engine", "12 limb keypoints"]
    head += [f"ms, {t} thread{'s' * (t > 1)}, batch {b}" for t in threads for b in batches]
    head += [f"time / {result['reference']}"]
    rows = sorted(result["rows"], key=lambda row: _median(row, first))
    body = []
    for row in rows:
        name = f"**{row['model']}**" if row["kind"] == "ours" else row["model"]
        cells = [_time(row["times"].get(f"{t}/{b}")) for t in threads for b in batches]
        times = row["times"].get(first)
        ratio = number(times["ratio"] if times else None, 2)
        body.append([name, row["engine"], number(row["limbs"]), *cells, ratio])
    return markdown(head, body, words=2)


def resources_table(result: Mapping[str, Any]) -> str:
    """File, start-up and memory of every model, the smallest file first."""
    threads, batches = result["threads"], result["batches"]
    last = str(threads[-1])
    head = ["", "engine", "input [px]", "file [MB]", f"start-up [s], {last} thread{'s' * (last != '1')}"]
    head += [f"peak memory [MB], batch {b}" for b in batches]
    body = []
    for row in sorted(result["rows"], key=lambda row: (row["file_mb"] or math.inf, row["model"], row["engine"])):
        name = f"**{row['model']}**" if row["kind"] == "ours" else row["model"]
        peaks = [number((row["times"].get(f"{last}/{b}") or {}).get("peak_mb"), 0) for b in batches]
        size, start = str(row["input"] or "–"), (row["startup"] or {}).get(last)
        body.append([name, row["engine"], size, number(row["file_mb"]), number(start), *peaks])
    return markdown(head, body, words=2)


def skipped_list(result: Mapping[str, Any]) -> str:
    """What was not measured and why, one line each."""
    return "\n".join(f"- {row['model']}, {row['engine']}: {row['reason']}" for row in result["skipped"]) or "Nothing."


def joined(race: Mapping[str, Any], accuracy: Mapping[str, Any] | None) -> dict[str, Any]:
    """``race`` with the accuracy of each model as it was timed, true boxes and one pass; None: not measured."""
    measured = {
        row["key"]: row["limbs"]
        for row in (accuracy["rows"] if accuracy else ())
        if (row["boxes"], row["test"]) == ("truth", "1 scale")
    }
    return {**race, "rows": [row | {"limbs": measured.get(row["scored_as"])} for row in race["rows"]]}


def facts_list(result: Mapping[str, Any]) -> str:
    """What the numbers are numbers of, one line each."""
    return "\n".join(f"- {key}: {value}" for key, value in result["facts"].items())


def _median(row: Mapping[str, Any], which: str) -> float:
    times = row["times"].get(which)
    return float(times["ms"]) if times else math.inf


def _time(times: Mapping[str, Any] | None) -> str:
    if times is None:
        return "–"
    digits = 1 if times["ms"] < 100 else 0
    return f"{number(times['ms'], digits)} ({number(times['low'], digits)} to {number(times['high'], digits)})"


TABLES: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "same-crops": lambda result: accuracy_table(result, ["truth"]),
    "other-boxes": lambda result: accuracy_table(result, ["matched", "central", "whole"]),
    "race": race_table,
    "resources": resources_table,
    "skipped": skipped_list,
    "facts": facts_list,
}
"""What the marks of README.md name."""
