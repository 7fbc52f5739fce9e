"""Results of studies as tables, as a picture and as a document: means over seeds, paired differences, the paper's."""

import csv
import io
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from ..errors import ConfigError, DataError
from ..files import replacing
from .tables import STUDIES, Row, Study

Result = dict[str, Any]

INTERVALS = (
    "Mean ± standard deviation over the seeds. Differences to the first row are paired by seed, with Student's 95 % "
    "interval of their mean: it assumes that they scatter normally, is wide for few seeds (times 4.30 for three, 12.7 "
    "for two, none for one), and does not count that several rows are compared at once."
)
"""What the numbers of a table are; printed under it."""


@dataclass(frozen=True)
class Summary:
    """A row of a table.

    Attributes:
        row: Which.
        seeds: With a score.
        diverged: How many trainings ended with a loss that is not finite.
        means: Per column, over the seeds [%]; NaN where there is none.
        spread: Standard deviation per column; NaN for one seed.
        difference: Of the mean column to the first row's, over the seeds that both have; NaN without.
        interval: Half the width of its 95 % confidence interval; NaN for fewer than two such seeds.
        pairs: How many seeds both have.
        parameters: Of the network that predicts.
        hours: Of all its trainings together.
    """

    row: Row
    seeds: tuple[int, ...]
    diverged: int
    means: dict[str, float]
    spread: dict[str, float]
    difference: float
    interval: float
    pairs: int
    parameters: int
    hours: float

    @property
    def verdict(self) -> str:
        """What the difference says."""
        if math.isnan(self.interval):
            return "one seed says nothing" if self.pairs else "no scores to compare"
        if self.difference == 0 and self.interval == 0:
            return "the same in every seed"
        if abs(self.difference) <= self.interval:
            return "not told apart"
        return "better" if self.difference > 0 else "worse"


def read_results(path: Path) -> list[Result]:
    """The lines of a ``results.jsonl``.

    Raises:
        DataError: If it cannot be read, or mixes studies, data sets or sizes.
    """
    try:
        results = [json.loads(line) for line in path.read_text("utf-8").splitlines() if line.strip()]
        kinds = {(r["study"], r["data"], "-".join(r["preset"].split("-")[:2])) for r in results}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"'{path}' does not hold results of a study: {error}") from error
    if len(kinds) != 1:
        raise DataError(f"'{path}' holds {len(kinds)} kinds of results, {sorted(kinds)}: one study, data and size each")
    return results


def summarize(study: Study, results: Sequence[Result]) -> list[Summary]:
    """A summary per row that has results, in the order of the study."""
    scores = {row.name: _by_seed(results, row.name) for row in study.rows}
    first = scores[study.rows[0].name]
    summaries = []
    for row in study.rows:
        own = [r for r in results if r["row"] == row.name]
        if not own:
            continue
        here = scores[row.name]
        columns = list(next(iter(here.values()), {"Mean": math.nan}))
        table = {c: np.array([_known(s[c]) for s in here.values()]) for c in columns}
        pairs = np.array([here[seed]["Mean"] - first[seed]["Mean"] for seed in here if seed in first])
        compared = row.name != study.rows[0].name and len(pairs) > 0
        difference = float(pairs.mean()) if compared else math.nan
        interval = half_interval(pairs) if compared else math.nan
        summaries.append(
            Summary(
                row,
                tuple(sorted(here)),
                sum(r["status"] == "diverged" for r in own),
                {c: float(v.mean()) if len(v) else math.nan for c, v in table.items()},
                {c: float(v.std(ddof=1)) if len(v) > 1 else math.nan for c, v in table.items()},
                difference,
                interval,
                len(pairs) if compared else 0,
                own[0]["parameters"],
                sum(r["hours"] for r in own if "from" not in r),
            )
        )
    return summaries


def half_interval(differences: Any) -> float:
    """Half the width of Student's 95 % confidence interval of the mean of ``differences``; NaN for fewer than two."""
    count = len(differences)
    if count < 2:
        return math.nan
    return float(stats.t.ppf(0.975, count - 1) * np.std(differences, ddof=1) / math.sqrt(count))


def _by_seed(results: Sequence[Result], row: str) -> dict[int, dict[str, float]]:
    return {r["seed"]: r["scores"] for r in results if r["row"] == row and r["scores"] is not None}


def _known(value: float | None) -> float:
    return math.nan if value is None else float(value)


def study_of(results: Sequence[Result]) -> Study:
    """The study that the results are of; rows that it no longer has are appended by name.

    Raises:
        ConfigError: If there is no such study.
    """
    name = results[0]["study"]
    if name not in STUDIES:
        raise ConfigError(f"results of a study '{name}', which does not exist; there are: {', '.join(STUDIES)}")
    known = STUDIES[name]
    more = sorted({r["row"] for r in results} - {row.name for row in known.rows})
    rows = (*known.rows, *(Row(row, row) for row in more))
    return Study(known.name, known.title, known.question, rows, known.printed)


def markdown(results: Sequence[Result], *, level: int = 1) -> str:
    """The table in the paper's layout with the paper's numbers beside ours, what it says, and where it comes from."""
    study = study_of(results)
    summaries = summarize(study, results)
    columns = _columns(summaries)
    base = "-".join(results[0]["preset"].split("-")[:2])
    lines = [f"{'#' * level} {study.title} (`{base}`, {_epochs(results)})", "", study.question, ""]
    head = ["", *columns, "seeds", "difference", "M"]
    if study.printed:
        head += ["paper", "paper's difference"]
    lines += [_row(head), _row(["---", *["---:"] * (len(head) - 1)])]
    lines += [_row(_cells(study, summary, columns)) for summary in summaries]
    lines += ["", *(f"- **{s.row.title}**: {_sentence(study, s)}" for s in summaries)]
    lines += ["", f"Ours: {_protocol(results)}. {INTERVALS} M: parameters that predict, in millions."]
    if study.printed:
        lines += [f"The paper's: {study.printed}; other data and another ruler, so compare the differences."]
    return "\n".join([*lines, "", _origin(results), ""])


def _columns(summaries: Sequence[Summary]) -> list[str]:
    """The columns of the row that has most: one without scores has the mean alone."""
    return max((list(s.means) for s in summaries), key=lambda columns: len(columns))


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _cells(study: Study, summary: Summary, columns: Sequence[str]) -> list[str]:
    def cell(column: str) -> str:
        mean, spread = summary.means.get(column, math.nan), summary.spread.get(column, math.nan)
        if math.isnan(mean):
            return "-"
        return f"{mean:.1f}" + ("" if math.isnan(spread) or column != "Mean" else f" ± {spread:.1f}")

    number = str(len(summary.seeds)) + (f" ({summary.diverged} diverged)" if summary.diverged else "")
    cells = [summary.row.title, *map(cell, columns), number, _difference(summary), f"{summary.parameters / 1e6:.1f}"]
    if study.printed:
        ours, first = dict(summary.row.printed).get("Mean"), dict(study.rows[0].printed).get("Mean")
        gap = "-" if ours is None or first is None or summary.row == study.rows[0] else f"{ours - first:+.1f}"
        cells += ["-" if ours is None else f"{ours:.1f}", gap]
    return cells


def _difference(summary: Summary) -> str:
    if math.isnan(summary.difference):
        return "-"
    within = "" if math.isnan(summary.interval) else f" ± {summary.interval:.2f}"
    return f"{summary.difference:+.2f}{within}"


def _sentence(study: Study, summary: Summary) -> str:
    parts = []
    if math.isnan(summary.difference):
        parts.append("what the others are compared with" if summary.row == study.rows[0] else "not compared")
    else:
        seeds = f"{summary.pairs} seed{'s' if summary.pairs > 1 else ''}"
        parts.append(f"{_difference(summary)} over {seeds}: {summary.verdict}")
    if summary.diverged:
        parts.append(f"the loss of {summary.diverged} training{'s' if summary.diverged > 1 else ''} became not finite")
    cells = [f"{column} {value:g}" for column, value in summary.row.printed if column != "Mean"]
    parts += [f"the paper prints {', '.join(cells)}"] if cells else []
    return "; ".join([*parts, *([summary.row.note] if summary.row.note else [])]) + "."


def _protocol(results: Sequence[Result]) -> str:
    report = next((r["report"] for r in results if r["report"]), None)
    if report is None:
        return f"{results[0]['data']}, no scores yet"
    about = report["metadata"]
    mean = "mean of the keypoints" if results[0]["data"].startswith("mpii") else "mean of the columns"
    return (
        f"{results[0]['data']} ({report['persons']} persons), the best epoch by the same persons without flip, {mean}, "
        f"{about['test']}, {about['input']}, {_epochs(results)}"
    )


def _epochs(results: Sequence[Result]) -> str:
    epochs = sorted({r["epochs"] for r in results if r["status"] == "done"})
    return f"{'–'.join(map(str, epochs[:1] + epochs[1:][-1:]))} epochs" if epochs else "not to the end"


def _origin(results: Sequence[Result]) -> str:
    """Hardware, hours, versions, commits and shared changes."""
    hours = sum(r["hours"] for r in results if "from" not in r)
    parts = {
        "hardware": sorted({r["hardware"] for r in results}),
        "torch": sorted({r["torch"] for r in results}),
        "commit": sorted({str(r["commit"]) for r in results}),
        "validation persons": sorted({r["val"] for r in results}),
        "training persons": sorted({r["train"] for r in results}),
    }
    shared = [c for c in results[0]["changes"] if all(c in r["changes"] for r in results)]
    changes = f" Changed in all rows: {', '.join(f'`{c}`' for c in shared)}." if shared else ""
    return f"{hours:.2f} hours in all; " + "; ".join(f"{k}: {', '.join(v)}" for k, v in parts.items()) + "." + changes


def table(results: Sequence[Result]) -> str:
    """The summaries as CSV."""
    study = study_of(results)
    summaries = summarize(study, results)
    columns = _columns(summaries)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    spreads = [f"{column} sd" for column in columns]
    writer.writerow(
        ["row", *columns, *spreads, "seeds", "diverged", "difference", "half interval", "parameters", "hours", "paper"]
    )
    for s in summaries:
        values = [*(s.means.get(c, math.nan) for c in columns), *(s.spread.get(c, math.nan) for c in columns)]
        paper = dict(s.row.printed).get("Mean", "")
        counts = [len(s.seeds), s.diverged]
        rest = [_plain(s.difference), _plain(s.interval), s.parameters, f"{s.hours:.3f}", paper]
        writer.writerow([s.row.name, *map(_plain, values), *counts, *rest])
    return out.getvalue()


def _plain(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.4f}"


def draw(results: Sequence[Result], path: Path) -> bool:
    """Seeds and means of every row, and differences with intervals beside the paper's; False without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return False
    study = study_of(results)
    summaries = summarize(study, results)
    figure = Figure(figsize=(9, 1.4 + 0.36 * len(summaries)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    first = dict(study.rows[0].printed).get("Mean")
    for place, s in enumerate(summaries):
        values = [v["Mean"] for v in _by_seed(results, s.row.name).values()]
        left.plot(values, [place] * len(values), "o", color="tab:blue", alpha=0.5)
        left.plot([s.means["Mean"]], [place], "|", color="black", markersize=14)
        if not math.isnan(s.difference):
            error = None if math.isnan(s.interval) else [s.interval]
            right.errorbar([s.difference], [place], xerr=error, fmt="o", color="tab:blue", capsize=3)
        printed = dict(s.row.printed).get("Mean")
        if printed is not None and first is not None and place:
            right.plot([printed - first], [place], "D", color="tab:red", fillstyle="none", label="paper")
    right.axvline(0, color="gray", linewidth=0.8)
    left.set(xlabel="mean [%], a dot per seed", yticks=range(len(summaries)))
    left.set_yticklabels([s.row.title for s in summaries])
    left.invert_yaxis()
    right.set(xlabel=f"difference to {study.rows[0].title} [points], 95 %")
    handles, labels = right.get_legend_handles_labels()
    if labels:
        right.legend(handles[:1], labels[:1])
    figure.suptitle(study.title)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120, format="png")
    return True


def write_report(folder: Path, results: Sequence[Result], *, plot: bool = True) -> list[Path]:
    """``report.md``, ``report.csv`` and, where matplotlib is, ``report.png`` in a study's folder."""
    written = []
    for name, text in (("report.md", markdown(results)), ("report.csv", table(results))):
        with replacing(folder / name) as file:
            file.write_text(text, "utf-8")
        written.append(folder / name)
    if plot and draw(results, folder / "report.png"):
        written.append(folder / "report.png")
    return written


_INTRODUCTION = """\
# Experiments

*Written by `python docs/make_experiments.py` from `benchmarks/results/studies/`: no number is typed by hand.*

Each table is a study: `sadinet study NAME --size t --data DATA` trains and scores all its rows and seeds, can be
stopped at any time, and goes on when called again. `sadinet study --list` names them all. How they are run and read:
[decision 023](decisions/023-studies.md); the baselines: [decision 022](decisions/022-baselines.md); what the paper's
numbers are: [the paper](paper.md).
"""


def document(files: Sequence[Path]) -> str:
    """``docs/experiments.md``: every study with results, in the order of `STUDIES`."""
    read = [read_results(path) for path in sorted(files)]
    read.sort(key=lambda results: list(STUDIES).index(study_of(results).name))
    lines = [_INTRODUCTION]
    missing = [s for s in STUDIES.values() if s.name not in {r[0]["study"] for r in read}]
    for results in read:
        lines += [markdown(results, level=2)]
    if missing:
        lines += ["## Not run yet", "", *(f"- `{s.name}`: {s.title}. {s.question}" for s in missing), ""]
    return "\n".join(lines).rstrip() + "\n"
