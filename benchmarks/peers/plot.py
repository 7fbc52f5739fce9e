"""Accuracy against time, drawn from the result of the race; only matplotlib is needed."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

COLORS = {"ours": "#1f5fa8", "peer": "#c2571a", "rebuilt": "#777777"}
LABELS = {
    "ours": "sadinet",
    "peer": "phone models (LiteRT)",
    "rebuilt": "our builds of published networks",
}
MARKS = {"torch": "o", "onnxruntime": "s", "onnxruntime int8": "D", "openvino": "P", "LiteRT": "^"}


def points(race: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What is drawn: name, kind, engine, ms with its spread at the first threads and batch, accuracy or None."""
    which = f"{race['threads'][0]}/{race['batches'][0]}"
    return [
        {
            "name": row["model"],
            "kind": row["kind"],
            "engine": row["engine"],
            "limbs": row["limbs"],
            **{name: row["times"][which][name] for name in ("ms", "low", "high")},
        }
        for row in race["rows"]
        if which in row["times"]
    ]


def draw(race: Mapping[str, Any], path: Path) -> None:
    """Write the picture: up is better, left is quicker; what is not trained has a time only, below."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.lines import Line2D

    found = points(race)
    scored = _by_model(p for p in found if p["limbs"] is not None)
    timed = _by_model(p for p in found if p["limbs"] is None)
    style = {"svg.fonttype": "none", "svg.hashsalt": "race", "font.size": 9, "font.family": "sans-serif"}
    with plt.rc_context(style):
        figure, (above, below) = plt.subplots(
            2, 1, sharex=True, figsize=(8, 5.2), height_ratios=(3, 0.5 + 0.25 * len(timed)), layout="constrained"
        )
        for name, members in scored.items():
            _mark(above, members, [p["limbs"] for p in members])
            above.annotate(name, (members[0]["ms"], members[0]["limbs"]), (-4, 7), textcoords="offset points")
        for place, members in enumerate(timed.values()):
            _mark(below, members, [place] * len(members))
        above.set_title("LSP test, boxes of the true keypoints, one pass", loc="left", fontsize=9)
        above.set_ylabel("12 limb keypoints, PCK@0.2 [%]")
        above.grid(alpha=0.3)
        above.margins(0.12, 0.18)
        below.set_title("Untrained: time only", loc="left", fontsize=9)
        below.set_yticks(range(len(timed)), list(timed))
        below.set_ylim(-0.7, max(len(timed), 1) - 0.3)
        below.grid(alpha=0.3)
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


def _by_model(found: Iterable[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The points of every model, the quickest first: models and their points."""
    models: dict[str, list[dict[str, Any]]] = {}
    for point in sorted(found, key=lambda p: p["ms"]):
        models.setdefault(point["name"], []).append(point)
    return models


def _mark(axes: Any, members: list[dict[str, Any]], heights: list[float]) -> None:
    color = COLORS[members[0]["kind"]]
    axes.plot([p["ms"] for p in members], heights, color=color, lw=0.8, alpha=0.6)
    for point, y in zip(members, heights, strict=True):
        spread = [[point["ms"] - point["low"]], [point["high"] - point["ms"]]]
        axes.errorbar([point["ms"]], [y], xerr=spread, fmt=MARKS[point["engine"]], color=color, ms=6, elinewidth=1)


def _in_reach(tick: float, found: list[dict[str, Any]]) -> bool:
    times = [p["ms"] for p in found]
    return bool(times) and min(times) / 2 <= tick <= max(times) * 2.5
