"""Results as Markdown: nothing here is measured, and no number on the page is written anywhere else."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
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


def race_table(result: Mapping[str, Any], accuracy: Mapping[str, Any] | None) -> str:
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
        body.append([name, row["engine"], number(limbs_of(row, accuracy)), *cells, ratio])
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


def limbs_of(row: Mapping[str, Any], accuracy: Mapping[str, Any] | None) -> float | None:
    """The accuracy of a model of the race: true crops, one pass, as it was timed; None where it was not measured."""
    if accuracy is None or not row["scored_as"]:
        return None
    for found in accuracy["rows"]:
        if (found["key"], found["boxes"], found["test"]) == (row["scored_as"], "truth", "1 scale"):
            return float(found["limbs"])
    return None


def insert(page: str, name: str, body: str) -> str:
    """``page`` with what stands between the markers ``<!-- name -->`` and ``<!-- /name -->`` replaced by ``body``."""
    pattern = re.compile(rf"(<!-- {re.escape(name)} -->\n).*?(<!-- /{re.escape(name)} -->)", re.DOTALL)
    if len(pattern.findall(page)) != 1:
        raise ValueError(f"the page has not one pair of markers '{name}'")
    return pattern.sub(lambda found: f"{found[1]}\n{body}\n\n{found[2]}", page)


def fill(page: str, accuracy: Mapping[str, Any] | None, race: Mapping[str, Any] | None) -> str:
    """``page`` with all tables from the results; where there is none yet, it says so."""
    nothing = "Not measured yet."
    page = insert(page, "same crops", accuracy_table(accuracy, ["truth"]) if accuracy else nothing)
    others = ["matched", "central", "whole"]
    page = insert(page, "other boxes", accuracy_table(accuracy, others) if accuracy else nothing)
    page = insert(page, "accuracy facts", _facts(accuracy) if accuracy else nothing)
    page = insert(page, "race", race_table(race, accuracy) if race else nothing)
    page = insert(page, "resources", resources_table(race) if race else nothing)
    page = insert(page, "skipped", skipped_list(race) if race else nothing)
    return insert(page, "race facts", _facts(race) if race else nothing)


def _facts(result: Mapping[str, Any]) -> str:
    return "\n".join(f"- {key}: {value}" for key, value in result["facts"].items())


def _median(row: Mapping[str, Any], which: str) -> float:
    times = row["times"].get(which)
    return float(times["ms"]) if times else math.inf


def _time(times: Mapping[str, Any] | None) -> str:
    if times is None:
        return "–"
    digits = 1 if times["ms"] < 100 else 0
    return f"{number(times['ms'], digits)} ({number(times['low'], digits)} to {number(times['high'], digits)})"
