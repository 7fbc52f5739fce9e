"""Results of studies as tables, as a picture and as a document, the paper's numbers beside ours."""

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path

from ..files import replacing
from .summary import Result, Summary, read_results, scores_by_seed, study_of, summarize
from .tables import STUDIES, Study

HOW_TO_READ = (
    "Mean ± standard deviation over the seeds. Differences to the first row are paired by seed, with Student's 95 % "
    "interval of their mean: it assumes that they scatter normally, is wide for few seeds (times 4.30 for three, 12.7 "
    "for two, none for one), and does not count that several rows are compared at once. M: parameters that predict, in "
    "millions. The paper's numbers are of other data and another ruler, so compare the differences."
)
"""What the numbers of all tables are."""


def markdown(results: Sequence[Result]) -> str:
    """``report.md``: the table in the paper's layout with its numbers beside ours, and how to read it."""
    return f"{_section(results, '#')}\n{HOW_TO_READ}\n"


def _section(results: Sequence[Result], mark: str) -> str:
    """The table, what it says and where it comes from, under a heading that begins with ``mark``."""
    study = study_of(results)
    summaries = summarize(study, results)
    columns = _columns(summaries)
    base = "-".join(results[0]["preset"].split("-")[:2])
    lines = [f"{mark} {study.title} (`{base}`, {_epochs(results)})", "", study.question, ""]
    head = ["", *columns, "seeds", "difference", "M"]
    if study.printed:
        head += ["paper", "paper's difference"]
    lines += [_row(head), _row(["---", *["---:"] * (len(head) - 1)])]
    lines += [_row(_cells(study, summary, columns)) for summary in summaries]
    lines += ["", *(f"- **{s.row.title}**: {_sentence(study, s)}" for s in summaries)]
    printed = f" The paper's: {study.printed}." if study.printed else ""
    return "\n".join([*lines, "", f"Ours: {_protocol(results)}.{printed} {_origin(results)}", ""])


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
        values = [v["Mean"] for v in scores_by_seed(results, s.row.name).values()]
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
    lines = [_INTRODUCTION, HOW_TO_READ, ""]
    missing = [s for s in STUDIES.values() if s.name not in {r[0]["study"] for r in read}]
    for results in read:
        lines += [_section(results, "##")]
    if missing:
        lines += ["## Not run yet", "", *(f"- `{s.name}`: {s.title}. {s.question}" for s in missing), ""]
    return "\n".join(lines).rstrip() + "\n"
