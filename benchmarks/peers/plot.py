"""Accuracy against time, drawn from the two results; only matplotlib is needed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from page import limbs_of

COLORS = {"ours": "#1f5fa8", "peer": "#c2571a", "rebuilt": "#777777"}
LABELS = {
    "ours": "sadinet",
    "peer": "phone models (LiteRT)",
    "rebuilt": "our builds of published networks, untrained: time only",
}
MARKS = {"torch": "o", "onnxruntime": "s", "onnxruntime int8": "D", "LiteRT": "^"}


def points(race: Mapping[str, Any], accuracy: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """What is drawn: name, kind, engine, ms with its spread at the first threads and batch, accuracy or None."""
    which = f"{race['threads'][0]}/{race['batches'][0]}"
    return [
        {
            "name": row["model"],
            "kind": row["kind"],
            "engine": row["engine"],
            "limbs": limbs_of(row, accuracy),
            **{name: row["times"][which][name] for name in ("ms", "low", "high")},
        }
        for row in race["rows"]
        if which in row["times"]
    ]


def draw(race: Mapping[str, Any], accuracy: Mapping[str, Any] | None, path: Path) -> None:
    """Write the picture: up is better, left is quicker; what has no accuracy stands on the strip below."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.lines import Line2D

    found = points(race, accuracy)
    scored = [p for p in found if p["limbs"] is not None]
    timed = sorted((p for p in found if p["limbs"] is None), key=lambda p: p["ms"])
    style = {"svg.fonttype": "none", "svg.hashsalt": "race", "font.size": 9, "font.family": "sans-serif"}
    with plt.rc_context(style):
        figure, (above, below) = plt.subplots(
            2, 1, sharex=True, figsize=(8, 5.2), height_ratios=(3, 1 + 0.2 * len(timed)), layout="constrained"
        )
        for point in scored:
            _mark(above, point, point["limbs"])
            above.annotate(
                f"{point['name']}, {point['engine']}", (point["ms"], point["limbs"]), (5, 4), textcoords="offset points"
            )
        for place, point in enumerate(timed):
            _mark(below, point, place)
            below.annotate(
                f"{point['name']}, {point['engine']}", (point["ms"], place), (7, -3), textcoords="offset points"
            )
        above.set_ylabel("12 limb keypoints of LSP test,\nPCK@0.2 [%], true boxes, one pass")
        above.grid(alpha=0.3)
        above.margins(0.18, 0.15)
        below.set_yticks([])
        below.set_ylim(-0.7, max(len(timed), 1) - 0.3)
        below.set_ylabel("not trained")
        below.grid(alpha=0.3, axis="x")
        below.set_xscale("log")
        ticks = [t for t in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000) if _in_reach(t, found)]
        below.set_xticks(ticks, [str(t) for t in ticks])
        below.minorticks_off()
        threads = race["threads"][0]
        below.set_xlabel(f"ms per person, {threads} thread{'s' * (threads > 1)}, batch {race['batches'][0]}")
        there = {p["kind"] for p in found}
        kinds = [Line2D([], [], color=COLORS[k], lw=4, label=LABELS[k]) for k in COLORS if k in there]
        engines = [
            Line2D([], [], color="black", ls="", marker=m, label=e)
            for e, m in MARKS.items()
            if e in {p["engine"] for p in found}
        ]
        figure.legend(handles=[*kinds, *engines], loc="outside upper center", ncols=3, frameon=False)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
        plt.close(figure)


def _mark(axes: Any, point: Mapping[str, Any], y: float) -> None:
    spread = [[point["ms"] - point["low"]], [point["high"] - point["ms"]]]
    axes.errorbar(
        [point["ms"]], [y], xerr=spread, fmt=MARKS[point["engine"]], color=COLORS[point["kind"]], ms=6, elinewidth=1
    )


def _in_reach(tick: float, found: list[dict[str, Any]]) -> bool:
    times = [p["ms"] for p in found]
    return bool(times) and min(times) / 2 <= tick <= max(times) * 2.5
