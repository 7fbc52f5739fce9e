"""Studies: planned, run, interrupted, taken over, reported; the document of experiments is up to date."""

import json
import math
import runpy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sadinet.studies.running
from sadinet.cli import main
from sadinet.errors import CheckpointError, ConfigError, DataError
from sadinet.presets import DATASETS, VARIANTS, preset
from sadinet.studies.report import document, markdown, table
from sadinet.studies.running import RESULT, RESULTS, Run, collect, plan, run_study
from sadinet.studies.summary import half_interval, read_results, study_of, summarize
from sadinet.studies.tables import STUDIES, Row, Study, experiment_of, study
from sadinet.training.folder import STATE, read_log
from sadinet.values import override

from ..micro import MICRO, QUIET, toy_folder

ROOT = Path(__file__).resolve().parents[2]
SMALL = (*MICRO, "training.epochs=2", "training.ema=0")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_folder(tmp_path_factory.mktemp("toy"))


def planned(name: str, out: Path, *rows: str, seeds: tuple[int, ...] = (0,), more: tuple[str, ...] = ()) -> list[Run]:
    return plan(study(name), out, dataset="toy", size="t", seeds=seeds, rows=rows, changes=(*SMALL, *more))


class TestNamed:
    @pytest.mark.parametrize("name", STUDIES)
    def test_every_row_is_an_experiment_of_its_own(self, name):
        rows = STUDIES[name].rows
        experiments = [replace(experiment_of(row, "mpii", "b", 0), name="") for row in rows]
        assert len(set(experiments)) == len({row.name for row in rows}) == len(rows)
        assert all(row.variant in VARIANTS for row in rows)

    @pytest.mark.parametrize("dataset", DATASETS)
    def test_all_are_there_for_every_data_set_and_seed(self, dataset):
        for each in STUDIES.values():
            for row in each.rows:
                experiment = experiment_of(row, dataset, "t", 7, ("training.epochs=3",))
                assert (experiment.training.seed, experiment.training.epochs) == (7, 3)

    def test_the_paper_s_means_are_those_of_its_tables(self):
        printed = {(s.name, r.name): dict(r.printed)["Mean"] for s in STUDIES.values() for r in s.rows if r.printed}
        assert printed == {
            ("ablation-iii", "hourglass"): 88.9,
            ("ablation-iii", "rfm"): 89.6,
            ("ablation-iv", "hourglass"): 88.9,
            ("ablation-iv", "hourglass-dlm"): 89.7,
            ("ablation-v", "mse"): 89.3,
            ("ablation-v", "sadinet"): 90.1,
        }

    def test_what_does_not_exist_is_refused_with_what_does(self, tmp_path):
        with pytest.raises(ConfigError, match=r"no study is called 'ablation-vi'.*ablation-v"):
            study("ablation-vi")
        with pytest.raises(ConfigError, match="no row 'rfn'; it has: hourglass, rfm"):
            planned("ablation-iii", tmp_path, "rfn")
        with pytest.raises(ConfigError, match="'coco-t"):
            plan(study("losses"), tmp_path, dataset="coco", size="t", seeds=(0,))
        with pytest.raises(ConfigError, match=r"seeds .*each once"):
            planned("losses", tmp_path, seeds=(1, 1))


def test_runs_are_planned_seed_by_seed(tmp_path):
    runs = planned("ablation-iii", tmp_path, "rfm", "hourglass", seeds=(3, 1))
    assert [(run.row.name, run.seed) for run in runs] == [("rfm", 3), ("hourglass", 3), ("rfm", 1), ("hourglass", 1)]
    assert runs[0].folder == tmp_path / "ablation-iii" / "rfm" / "seed-3"
    assert runs[0].experiment == override(preset("toy-t-rfm"), (*SMALL, "training.seed=3"))


@pytest.fixture(scope="module")
def finished(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of studies, with the fourth table's first and last row run for two seeds."""
    out = tmp_path_factory.mktemp("studies")
    runs = planned("ablation-iv", out, "hourglass", "hourglass-detached", seeds=(0, 1))
    for run, result in run_study(runs, data, machine=QUIET):
        assert run.result == result
    return out


def test_detached_taps_change_nothing_in_the_network_that_stays(finished):
    """The control of Table IV: not about the same, but the same."""
    results = collect(finished / "ablation-iv")
    scores = {(r["row"], r["seed"]): r["scores"] for r in results}
    for seed in (0, 1):
        assert scores["hourglass-detached", seed] == scores["hourglass", seed]
    (_, control) = summarize(study("ablation-iv"), results)
    assert (control.verdict, control.difference, control.pairs) == ("the same in every seed", 0.0, 2)


def test_a_result_says_all_about_itself(finished):
    result = read_results(finished / "ablation-iv" / RESULTS)[0]
    assert (result["study"], result["row"], result["seed"], result["status"]) == ("ablation-iv", "hourglass", 0, "done")
    assert result["preset"] == "toy-t-hourglass"
    assert result["changes"] == list(SMALL)
    assert list(result["scores"]) == ["Head", "Sho.", "Elb.", "Wri.", "Hip", "Knee", "Ank.", "Mean"]
    assert result["report"]["metadata"]["test"] == "1 scale + flip"
    assert (result["epochs"], result["data"]) == (2, "toy/val")
    assert result["hours"] > 0
    assert all(result[key] for key in ("experiment", "train", "val", "parameters", "hardware", "torch", "sadinet"))


def test_what_is_finished_is_not_repeated_and_keeps_no_state(finished, data, monkeypatch):
    monkeypatch.setattr(sadinet.studies.running, "train", None)
    runs = planned("ablation-iv", finished, "hourglass", "hourglass-detached", seeds=(0, 1))
    assert [result["status"] for _, result in run_study(runs, data, machine=QUIET)] == ["done"] * 4
    assert not list(finished.rglob(STATE))
    assert len(list(finished.rglob("best.safetensors"))) == 4


def test_another_study_s_result_of_the_same_experiment_is_taken_over(finished, data, monkeypatch):
    monkeypatch.setattr(sadinet.studies.running, "train", None)
    ((run, result),) = run_study(planned("ablation-iii", finished, "hourglass"), data, machine=QUIET)
    assert result["from"] == "ablation-iv/hourglass/seed-0"
    assert (result["study"], result["row"]) == ("ablation-iii", "hourglass")
    assert run.result == result
    assert markdown([result]).count("0.00 hours in all") == 1  # not counted twice


def test_another_experiment_in_the_same_place_is_refused_before_anything_runs(finished):
    with pytest.raises(CheckpointError, match=r"another experiment than asked for; name another --out"):
        planned("ablation-iv", finished, more=("training.epochs=3",))


def test_interrupted_at_any_point_it_goes_on(finished, data, tmp_path, monkeypatch):
    """In the middle of a training, and between the training and its result."""
    runs = planned("ablation-iv", tmp_path, "hourglass")

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(run_study(runs, data, machine=QUIET, on_epoch=interrupt))
    assert len(read_log(runs[0].folder)) == 1
    keep = sadinet.studies.running._keep
    monkeypatch.setattr(sadinet.studies.running, "_keep", interrupt)
    with pytest.raises(KeyboardInterrupt):
        list(run_study(runs, data, machine=QUIET))
    log = read_log(runs[0].folder)
    assert len(log) == 2
    monkeypatch.setattr(sadinet.studies.running, "_keep", keep)
    ((_, result),) = run_study(runs, data, machine=QUIET)
    assert read_log(runs[0].folder) == log
    whole = json.loads((finished / "ablation-iv" / "hourglass" / "seed-0" / RESULT).read_text())
    assert result["scores"] == whole["scores"]


def test_a_loss_that_is_not_finite_is_a_result(data, tmp_path):
    wild = ("training.learning_rate=1e30",)
    ((run, result),) = run_study(planned("ablation-v", tmp_path, "rle", more=wild), data, machine=QUIET)
    assert (result["status"], result["scores"], result["epochs"]) == ("diverged", None, 0)
    assert result["error"].startswith("the loss is ")
    text = markdown(collect(tmp_path / "ablation-v"))
    assert "0 (1 diverged)" in text
    assert "the loss of 1 training became not finite" in text
    assert run.result == result


def test_nothing_to_collect_is_said(tmp_path):
    with pytest.raises(ConfigError, match="has no finished run"):
        collect(tmp_path / "losses")


BUG = Study("ablation-v", "Bug", "?", (Row("a", "A", printed=(("Mean", 50.0),)), Row("b", "B"), Row("c", "C")), "bugs")


def lines(**rows: list[float | None]) -> list[dict[str, Any]]:
    """Results with these means, a seed each; None: diverged."""
    return [
        {
            **{"study": "ablation-v", "row": row, "seed": seed, "preset": "toy-t-x", "changes": [], "data": "toy/val"},
            **{"status": "done" if mean is not None else "diverged", "parameters": 1_500_000, "hours": 0.5},
            **{"scores": None if mean is None else {"Head": mean + 10, "Mean": mean}, "report": None, "epochs": 3},
            **{"hardware": "abacus", "torch": "2", "commit": None, "val": "v", "train": "t"},
        }
        for row, means in rows.items()
        for seed, mean in enumerate(means)
    ]


def test_means_spreads_and_paired_differences_by_hand():
    """Differences 1, 2, 3: mean 2, deviation 1, and Student's factor for three is 4.3027, over the root of three."""
    first, second, third = summarize(BUG, lines(a=[60.0, 62, 64], b=[61.0, 64, 67], c=[None, 70.0, None]))
    assert first.means == {"Head": 72.0, "Mean": 62.0}
    assert first.spread == {"Head": 2.0, "Mean": 2.0}
    assert math.isnan(first.difference)
    assert (second.difference, second.pairs) == (2.0, 3)
    assert second.interval == pytest.approx(4.30265 / 3**0.5, abs=1e-4)
    assert second.verdict == "not told apart"
    assert (third.seeds, third.diverged, third.difference, third.pairs) == ((1,), 2, 8.0, 1)
    assert (third.verdict, math.isnan(third.interval)) == ("one seed says nothing", True)


def test_a_clear_difference_is_called_by_its_name():
    rows = summarize(BUG, lines(a=[60.0, 62, 64], b=[64.0, 66.1, 68], c=[50.0, 52.1, 54]))
    assert [row.verdict for row in rows[1:]] == ["better", "worse"]


def test_the_interval_covers_as_often_as_it_says():
    draws = np.random.default_rng(5).normal(0.3, 2.0, (4000, 3))
    covered = [abs(d.mean() - 0.3) <= half_interval(d) for d in draws]
    assert np.mean(covered) == pytest.approx(0.95, abs=0.012)
    assert math.isnan(half_interval([1.0]))


def test_the_table_and_its_csv():
    results = lines(mse=[60.0, 62.0], sadinet=[61.0, 64.0])
    text = markdown(results).splitlines()
    assert text[0] == "# Table V: losses (`toy-t`, 3 epochs)"
    assert text[4] == "|  | Head | Mean | seeds | difference | M | paper | paper's difference |"
    assert text[6] == "| MSE | 71.0 | 61.0 ± 1.4 | 2 | - | 1.5 | 89.3 | - |"
    assert text[7] == ("| smooth-running loss (SADI-Net) | 72.5 | 62.5 ± 2.1 | 2 | +1.50 ± 6.35 | 1.5 | 90.1 | +0.8 |")
    assert "- **smooth-running loss (SADI-Net)**: +1.50 ± 6.35 over 2 seeds: not told apart." in text
    assert any("2.00 hours in all; hardware: abacus; torch: 2; commit: None" in line for line in text)
    rows = [line.split(",") for line in table(results).splitlines()]
    assert rows[0][:5] == ["row", "Head", "Mean", "Head sd", "Mean sd"]
    assert rows[2] == [
        *("sadinet", "72.5000", "62.5000", "2.1213", "2.1213", "2", "0"),
        *("1.5000", "6.3531", "1500000", "1.000", "90.1"),
    ]


def test_results_of_other_kinds_are_refused(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text('{"row": "a"}\n')
    with pytest.raises(DataError, match="does not hold results of a study"):
        read_results(path)
    mixed = [*lines(a=[1.0]), *({**line, "preset": "toy-s"} for line in lines(a=[1.0]))]
    path.write_text("".join(json.dumps(line) + "\n" for line in mixed))
    with pytest.raises(DataError, match="holds 2 kinds of results"):
        read_results(path)
    with pytest.raises(ConfigError, match="'gone', which does not exist"):
        study_of([{"study": "gone", "row": "a"}])
    assert study_of(lines(old=[1.0])).rows[-1] == Row("old", "old")


def test_the_command_runs_reports_and_lists(finished, data, capsys):
    common = ["--dataset", "toy", "--out", str(finished), "--seeds", "0,1", "--rows", "hourglass,hourglass-detached"]
    sets = [text for change in SMALL for text in ("--set", change)]
    assert main(["study", "ablation-iv", "--data", str(data), *common, *sets, "--quiet"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("1/4 hourglass seed 0: done, ")
    assert "| the same, taps detached |" in out
    assert [Path(name).name for name in err.split()][:2] == ["report.md", "report.csv"]
    assert main(["study", "ablation-iv", "--out", str(finished), "--report", "--json"]) == 0
    assert capsys.readouterr().out == ""
    assert main(["study", "--list"]) == 0
    assert "ablation-iv" in capsys.readouterr().out
    assert main(["study", "ablation-iv"]) == 2
    assert "--data DIR" in capsys.readouterr().err


def test_the_document_is_up_to_date(tmp_path):
    """Otherwise: python docs/make_experiments.py."""
    maker = runpy.run_path(str(ROOT / "docs" / "make_experiments.py"))
    assert (ROOT / "docs" / "experiments.md").read_text("utf-8") == maker["make"]()
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines(mse=[60.0])))
    text = document([tmp_path / "a.jsonl"])
    assert "## Table V: losses (`toy-t`, 3 epochs)" in text
    assert "- `ablation-v`" not in text
    assert "- `ablation-iv`" in text
    ways = {"1 scale": {"parts": {"Hip": 50.0}, "mean": 51.234, "passes": 1, "time_ratio": 1.0}}
    about = {"weights": "w", "data": "toy/val", "persons": 3, "protocol": "PCK@0.2", "input": 64, "torch": "2"}
    section = maker["test_time"]({**about, "ways": ways, "device": "cpu", "threads": 1})
    assert section.splitlines()[-3:] == [
        "|  | Hip | Mean | passes | time |",
        "| --- | ---: | ---: | ---: | ---: |",
        "| 1 scale | 50.0 | 51.23 | 1 | 1.00 |",
    ]
