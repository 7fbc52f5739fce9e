"""Writes docs/experiments.md from result files, so that no number in it is typed by hand.

    python docs/make_experiments.py

Studies:    cp runs/studies/NAME/results.jsonl benchmarks/results/studies/NAME-lsp-t.jsonl
Test time:  python benchmarks/test_time.py DATA --out benchmarks/results/test_time.json
Breakdown:  sadinet evaluate lsp-t --dataset lsp --data DATA --breakdown --json > benchmarks/results/breakdown.json
"""

import json
import runpy
from pathlib import Path
from typing import Any

from sadinet.studies.report import document

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"


FIGURE_7 = """\
## Figure 7: heatmaps of hard persons

The validation person with most occluded keypoints and the one turned furthest, as the Hourglass, HRNet and SADI-Net
of the study `baselines` see them (seed 0; three epochs at 128 px, so all of them are unsure). Drawn without the
photographs, which are not ours to show, over the labelled figure; rings mark the labelled place of each keypoint, the
number is the peak.

```console
$ sadinet gallery runs/studies/baselines/{hourglass,hrnet,sadinet}/seed-0 --dataset lsp+lspet --data DATA \\
    --heatmaps --no-photographs
```

![the heatmaps of three networks of a bent person](images/figure-7-occluded.jpg)

![the heatmaps of three networks of a person upside down](images/figure-7-upside-down.jpg)
"""
"""Written as it is: the pictures are made by `sadinet gallery`."""


def make(results: Path = RESULTS) -> str:
    """The document."""
    head, mark, tables = document(sorted((results / "studies").glob("*.jsonl"))).partition("\n## ")
    text = f"{head}\n{answer()}{mark}{tables}"
    for name, section in (("test_time.json", test_time), ("breakdown.json", breakdown)):
        if (results / name).is_file():
            text += "\n" + section(json.loads((results / name).read_text("utf-8")))
    return text + "\n" + FIGURE_7


def answer() -> str:
    """The one paragraph: does distribution learning help the backbone?"""
    gap = runpy.run_path(str(ROOT / "docs" / "tables.py"))["gap"]

    def differ(study: str, row: str, other: str) -> str:
        return str(gap(f"{study}:{row}", f"{study}:{other}"))

    small_alpha = gap("choices-lsp-t-12:alpha-0.1", "ablation-v-lsp-t-12:mse")
    return f"""\
## Does distribution learning help the backbone?

With alpha 1 it hurts a small network that is trained briefly: Hourglass + SFM + DLM is
{differ("ablation-iv-lsp-t-12", "hourglass-dlm", "hourglass")} points from the Hourglass after twelve epochs and
{differ("ablation-iv-lsp-t", "hourglass-dlm", "hourglass")} after three; the full SADI-Net is
{differ("ablation-v-lsp-t-12", "sadinet", "mse")} from the RFM alone. With the taps detached it is
{differ("ablation-iv-lsp-t", "hourglass-detached", "hourglass")}: all of it comes through that gradient. With alpha 0.1
it is {small_alpha} from the RFM alone: neither help nor harm. Of what the learnable heatmaps may be compared with,
only predictions held fixed stand out, {differ("losses-lsp-t", "predicted-detached", "sadinet")} beside the target,
which three seeds do not tell for sure; the likelihoods in their place cost the most,
{differ("ablation-v-lsp-t", "rle", "mse")} and
{differ("ablation-v-lsp-t", "nll", "mse")} from the heatmap loss alone. The paper prints + 0.8, at another size, length
and data. Differences are points of PCK@0.2 on validation persons, ± half the 95 % interval, paired by seed; why, as far
as we know: [lab](lab.md).
"""


def test_time(result: dict[str, Any]) -> str:
    """What flip and six scales add: the answer of benchmarks/test_time.py."""
    columns = list(next(iter(result["ways"].values()))["parts"])
    rows = [["", *columns, "Mean", "passes", "time"], ["---", *["---:"] * (len(columns) + 3)]]
    for name, way in result["ways"].items():
        cells = [f"{way['parts'][column]:.1f}" for column in columns]
        rows.append([name, *cells, f"{way['mean']:.2f}", str(way["passes"]), f"{way['time_ratio']:.2f}"])
    return (
        f"## Six scales and flip (`{result['weights']}`)\n\n"
        f"What each adds at test time on {result['data']} ({result['persons']} persons, {result['protocol']}, "
        f"{result['input']} px), and what it costs: time over that of one scale, asked in turns in one run "
        f"({result['device']}, {result['threads']} thread{'s' * (result['threads'] != 1)}, torch {result['torch']}), "
        f"`benchmarks/test_time.py`.\n\n{table(rows)}"
    )


def breakdown(report: dict[str, Any]) -> str:
    """Scores by difficulty: the answer of sadinet evaluate --breakdown --json."""
    about = report["metadata"]
    columns = [part["title"] for part in report["parts"]]
    rows = [["", *columns, "Mean", "persons", "keypoints"], ["---", *["---:"] * (len(columns) + 3)]]
    everybody = {"title": "all", **{key: report[key] for key in ("parts", "mean", "persons", "count")}}
    for group in (everybody, *report["groups"]):
        cells = ["-" if v is None else f"{v:.1f}" for v in (*(p["percent"] for p in group["parts"]), group["mean"])]
        rows.append([group["title"], *cells, str(group["persons"]), str(group["count"])])
    return (
        f"## By difficulty (`{about['weights']}`)\n\n"
        f"{about['data']}, {report['protocol']['label']}, {about['test']}, {about['input']}; "
        f"`sadinet evaluate {about['weights']} --dataset {about['data'].split('/')[0]} --data DATA --breakdown`. Sizes "
        "are the longer sides of the boxes of the labelled keypoints; turns are those of the line from hips to neck; "
        "*photograph also elsewhere*: nearly the same one is in another split or data set "
        f"([decision 012](decisions/012-splits.md)).\n\n{table(rows)}"
    )


def table(rows: list[list[str]]) -> str:
    """Rows of cells as Markdown."""
    return "".join("| " + " | ".join(row) + " |\n" for row in rows)


if __name__ == "__main__":
    path = ROOT / "docs" / "experiments.md"
    path.write_text(make(), "utf-8")
    print(path)
