"""Writes the measured numbers into the pages, so that none is typed by hand.

    python docs/tables.py            fill every page
    python docs/tables.py --check    say which pages are not up to date, exit code 1 if any

A page marks a table with `<!-- table NAME FILE -->` and `<!-- end -->`; what stands between is replaced by what the
function NAME below, or in `benchmarks/peers/page.py`, makes of FILE in `benchmarks/results`. Within a sentence,
`<!-- mean STUDY:ROW -->` and `<!-- gap STUDY:ROW STUDY:ROW -->`, up to the next `<!-- end -->`, are scores of studies.
"""

import json
import re
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sadinet.studies.summary import half_interval, read_results, scores_by_seed

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
_MARK = re.compile(r"(<!-- table (\S+) (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)
_SPAN = re.compile(r"(<!-- (mean|gap) ([^>]*?) -->).*?(<!-- end -->)", re.DOTALL)


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


def profile(result: dict[str, Any]) -> str:
    """Where the time of a person goes, and how near the machine's limit the network is."""
    stages = list(dict.fromkeys(stage for row in result["rows"] for stage in row["stages"]))
    rows = [
        [
            f"`{row['model']}` in {row['engine']}, batch {row['batch']}",
            f"{row['ms']:.1f}",
            f"{row['gmac']:.2f}",
            f"{100 * row['roofline']:.0f} %",
            *(f"{100 * row['stages'].get(stage, 0):.0f} %" for stage in stages),
        ]
        for row in result["rows"]
    ]
    return markdown(["", "ms per person", "GMAC", "of matmul", *stages], rows)


def startup(result: dict[str, Any]) -> str:
    """From nothing to the first pose, in fresh processes."""
    rows = [
        [
            name,
            *(f"{times[key]:.2f} s" for key in ("loaded_s", "first_prediction_s", "second_prediction_s")),
            f"{times['peak_mb']:.0f} MB",
        ]
        for name, times in result.items()
        if isinstance(times, dict)
    ]
    head = ["", "weights loaded", "first pose", "the next", "peak memory"]
    return markdown(head, [["`import sadinet`", f"{result['import_s']:.2f} s", "", "", ""], *rows])


def video(lines: list[dict[str, Any]]) -> str:
    """What a video costs beside the bare network."""
    stages = list(dict.fromkeys(stage for line in lines for stage in line["share_by_stage"]))
    rows = [
        [
            f"`{line['weights']}`, {line['persons'] / line['frames']:.0f} per frame, {line['boxes']} boxes, "
            f"{line['processors']} cores",
            f"{line['ratio_median']:.2f}",
            f"{min(line['ratios']):.2f} to {max(line['ratios']):.2f}",
            *(f"{100 * line['share_by_stage'].get(stage, 0):.0f} %" for stage in stages),
        ]
        for line in lines
    ]
    return markdown(["", "throughput over bare", "from, to", *stages], rows)


def soak(result: dict[str, Any]) -> str:
    """Memory over a long video."""
    row = [f"{result['frames']}", *(f"{result[key]:.0f} MB" for key in ("rss_mb_after_500", "rss_mb_most"))]
    return markdown(["frames", "after 500", "most after that", "growth"], [[*row, f"{result['growth_percent']:.1f} %"]])


def parity(lines: list[dict[str, Any]]) -> str:
    """How far exported networks are from PyTorch."""
    rows = [
        [
            f"`{line['weights']}`, {line['precision']}",
            str(line["crops"]),
            f"{line['heatmaps_max']:.1e}",
            f"{line['keypoints_max_px']:.1e}",
            f"{line['keypoints_median_px']:.1e}",
        ]
        for line in lines
    ]
    return markdown(["", "crops", "heatmaps, most", "keypoints, most [px]", "median [px]"], rows)


def ratios(lines: list[dict[str, Any]]) -> str:
    """Two things timed in turns: the median of their ratio."""
    rows = [
        [_what(line), f"{line['ratio_median']:.2f}", f"{min(line['ratios']):.2f} to {max(line['ratios']):.2f}"]
        for line in lines
    ]
    return markdown(["", "median ratio", "from, to"], rows)


def _what(line: dict[str, Any]) -> str:
    """What a line of `ratios` is of."""
    if "preset" in line:
        share = f"{100 * line['share_of_matmul_rate']:.0f} % of the matmul rate"
        return f"`{line['preset']}` at {line['input']} px, batch {line['batch']}, {' '.join(line['set'])}; {share}"
    return f"`{line['what']}` at {line['input']} px, {line['persons']} persons"


def gradients(lines: list[dict[str, Any]]) -> str:
    """How the two terms of the loss pull at the backbone, by step of a training."""
    rows = [
        [
            str(line["step"]),
            f"{line['ratio']:.1f}",
            f"{line['cosine']:.2f}",
            *(f"{100 * max(line[f'signal_{term}'], 0):.0f} %" for term in ("heatmaps", "distribution")),
        ]
        for line in lines
    ]
    head = ["step", "size, second over first", "cosine", "signal, heatmaps", "signal, learnable heatmaps"]
    return markdown(head, rows)


def half_bodies(lines: list[dict[str, Any]]) -> str:
    """What is said of keypoints inside and outside of a half body's window."""
    rows = [
        [line["title"], *(f"{line[key]:.1f} %" if key != "auroc" else f"{line[key]:.3f}" for key in _HALF_BODIES)]
        for line in lines
    ]
    return markdown(["", "found", "AUC", "found and shown", "outside, yet shown"], rows)


_HALF_BODIES = ("found", "auroc", "found_shown", "outside_shown")


def coco(lines: list[dict[str, Any]]) -> str:
    """Poses of COCO's persons in detected and in true boxes."""
    rows = [
        [
            f"{name}, margin {line['margin']:g}",
            f"{found['found']} of {found['persons']}",
            f"{found['oks']:.3f}",
            f"{found['oks_above_50']:.1f}",
            f"{found['pck']:.1f}",
            f"{found['pck_found']:.1f}",
        ]
        for line in lines
        for name, found in (("detected boxes", line["in_detected_boxes"]), ("true boxes", line["in_true_boxes"]))
    ]
    return markdown(["", "persons found", "OKS", "OKS > 0.5 [%]", "PCK@0.2", "PCK@0.2 of the found"], rows)


TABLES: dict[str, Callable[[Any], str]] = {
    **{"scores": scores, "calibration": calibration, "log": log, "profile": profile, "startup": startup},
    **{"video": video, "soak": soak, "parity": parity, "ratios": ratios, "coco": coco, "gradients": gradients},
    "half_bodies": half_bodies,
    **runpy.run_path(str(ROOT / "benchmarks" / "peers" / "page.py"))["TABLES"],
}


def markdown(head: list[str], rows: list[list[str]]) -> str:
    """A table whose first column is text and whose others are numbers."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def mean(row: str) -> str:
    """The score of a row ``STUDY:ROW``, over its seeds: ``"33.4"``, the file of the study without ending."""
    scores = _scores(row)
    return f"{sum(scores.values()) / len(scores):.1f}"


def gap(row: str, other: str) -> str:
    """How much more ``row`` scores than ``other``, over the seeds of both, with half its 95 % interval."""
    first, second = _scores(row), _scores(other)
    pairs = [first[seed] - second[seed] for seed in first if seed in second]
    if not pairs:
        raise SystemExit(f"{row} and {other} have no seed in common")
    half = half_interval(pairs)
    return f"{sum(pairs) / len(pairs):+.1f}" + (f" ± {half:.1f}" if len(pairs) > 1 else "")


def _scores(row: str) -> dict[int, float]:
    """The mean column by seed."""
    file, _, name = row.partition(":")
    found = scores_by_seed(read_results(RESULTS / "studies" / f"{file}.jsonl"), name)
    if not found:
        raise SystemExit(f"benchmarks/results/studies/{file}.jsonl has no scores of '{name}'")
    return {seed: columns["Mean"] for seed, columns in found.items()}


SPANS: dict[str, Callable[..., str]] = {"mean": mean, "gap": gap}


def filled(text: str) -> str:
    """``text`` with every marked table and number made anew."""

    def table(match: re.Match[str]) -> str:
        opening, name, argument, closing = match.groups()
        if not (RESULTS / argument).is_file():
            return f"{opening}Not measured yet.\n{closing}"
        text = (RESULTS / argument).read_text("utf-8")
        result = [json.loads(line) for line in text.splitlines()] if argument.endswith(".jsonl") else json.loads(text)
        return f"{opening}{TABLES[name](result)}\n{closing}"

    def span(match: re.Match[str]) -> str:
        opening, name, arguments, closing = match.groups()
        return f"{opening}{SPANS[name](*arguments.split())}{closing}"

    return _SPAN.sub(span, _MARK.sub(table, text))


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
