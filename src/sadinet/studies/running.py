"""Running a study: rows times seeds, each an ordinary training folder; what is finished is never repeated."""

import hashlib
import json
import os
import platform
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from .. import __version__
from ..data.splits import Split, read_split
from ..errors import CheckpointError, ConfigError, Diverged
from ..evaluate import evaluate_split
from ..experiment import Experiment, from_json, to_json
from ..files import replacing
from ..model.network import SadiNet
from ..models import load
from ..report import Report
from ..skeleton import MPII
from ..torch_backend import find_device
from ..training.folder import BEST, EXPERIMENT, STATE, read_log
from ..training.train import Machine, train
from .tables import Row, Study, experiment_of

RESULT, RESULTS = "result.json", "results.jsonl"
"""What a finished run, and a study, write into their folders."""

Result = dict[str, Any]
"""One line of ``results.jsonl``: what was run, where, by what, and its scores."""


@dataclass(frozen=True)
class Run:
    """One training of a study.

    Attributes:
        row: Which experiment.
        seed: Of it.
        experiment: All of it.
        changes: Its changes to the preset, without the seed.
        folder: Its training folder, ``STUDY/ROW/seed-N``.
    """

    row: Row
    seed: int
    experiment: Experiment
    changes: tuple[str, ...]
    folder: Path

    @property
    def result(self) -> Result | None:
        """What came of it; None before it is finished."""
        path = self.folder / RESULT
        return json.loads(path.read_text("utf-8")) if path.is_file() else None


def plan(
    study: Study,
    out: Path,
    *,
    dataset: str,
    size: str,
    seeds: Sequence[int],
    rows: Sequence[str] = (),
    changes: tuple[str, ...] = (),
    data: Path | None = None,
) -> list[Run]:
    """The runs of a study, all rows of a seed before the next seed, so that what is done is balanced at any time.

    Args:
        study: Which.
        out: The folder of studies; this one's is in there.
        dataset: First part of the presets' names.
        size: Second part.
        seeds: One training each.
        rows: Names of the rows wanted; empty: all.
        changes: For all rows.
        data: Where a data set of one's own is.

    Raises:
        ConfigError: For a row, data set, size or change that does not exist.
        CheckpointError: If a run's folder holds another experiment.
    """
    wanted = [study.row(name) for name in rows] or study.rows
    if not seeds or len(set(seeds)) < len(seeds):
        raise ConfigError(f"seeds {list(seeds)}: give one or more, each once")
    runs = [
        Run(
            row,
            seed,
            experiment_of(row, dataset, size, seed, changes, data),
            (*row.changes, *changes),
            out / study.name / row.name / f"seed-{seed}",
        )
        for seed in seeds
        for row in wanted
    ]
    for run in runs:
        file = run.folder / EXPERIMENT
        if file.is_file() and from_json(file.read_text("utf-8"), str(file)) != run.experiment:
            raise CheckpointError(f"{file}: another experiment than asked for; name another --out, or ask as before")
    return runs


def run_study(
    runs: Sequence[Run],
    data: Path,
    *,
    machine: Machine,
    on_epoch: Callable[[Run, dict[str, Any]], None] | None = None,
) -> Iterator[tuple[Run, Result]]:
    """Trains and scores each run that is not finished, and yields all with their results.

    A run that was interrupted goes on; one whose loss stops being finite is a result like any other. A run that
    another study beside this one has already finished is taken from there.

    Args:
        runs: Of `plan`.
        data: The folder that holds the data sets' folders, or a pack of them.
        machine: Where.
        on_epoch: Called with the run and each line of its log.

    Raises:
        ConfigError: In a training of several processes.
        TrainingError: If memory runs out.
        Stopped: On SIGTERM or SIGINT, after the state is stored.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError("a study trains in one process: start it without torchrun")
    splits: dict[str, tuple[Split, Split]] = {}
    for run in runs:
        result = run.result
        if result is None:
            config = run.experiment.data
            key = f"{config.dataset} {config.keep_duplicates}"
            if key not in splits:
                training = read_split(config.dataset, "train", data, keep_duplicates=config.keep_duplicates)
                splits[key] = training, read_split(config.dataset, "val", data)
            result = _taken_over(run, *splits[key]) or _trained(run, data, *splits[key], machine, on_epoch)
            _keep(run, result)
        collect(run.folder.parents[1])
        yield run, result


def collect(folder: Path) -> list[Result]:
    """The results in a study's folder, also written to its ``results.jsonl``; by row and seed.

    Raises:
        ConfigError: If there are none.
    """
    found = [json.loads(path.read_text("utf-8")) for path in folder.glob(f"*/seed-*/{RESULT}")]
    if not found:
        raise ConfigError(f"'{folder}' has no finished run of a study")
    found.sort(key=lambda result: (result["row"], result["seed"]))
    with replacing(folder / RESULTS) as file:
        file.write_text("".join(json.dumps(result) + "\n" for result in found), "utf-8")
    return found


def _keep(run: Run, result: Result) -> None:
    """Writes the result; from then on the run is finished, and its state, by far the largest file, of no use."""
    with replacing(run.folder / EXPERIMENT) as file:
        file.write_text(to_json(run.experiment) + "\n", "utf-8")
    with replacing(run.folder / RESULT) as file:
        file.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    (run.folder / STATE).unlink(missing_ok=True)


def _taken_over(run: Run, training: Split, validation: Split) -> Result | None:
    """The result of the same experiment on the same persons in a study beside this one."""
    facts = _facts(run, training, validation)
    same = ("experiment", "train", "val")
    for path in sorted(run.folder.parents[2].glob(f"*/*/seed-{run.seed}/{RESULT}")):
        other: Result = json.loads(path.read_text("utf-8"))
        if "from" not in other and all(other[key] == facts[key] for key in same):
            return other | facts | {"from": "/".join(path.parts[-4:-1])}
    return None


def _trained(
    run: Run,
    data: Path,
    training: Split,
    validation: Split,
    machine: Machine,
    on_epoch: Callable[[Run, dict[str, Any]], None] | None,
) -> Result:
    error = ""
    try:
        train(
            run.experiment,
            data,
            run.folder,
            machine=machine,
            resume=True,
            on_epoch=(lambda line: on_epoch(run, line)) if on_epoch else None,
        )
    except Diverged as diverged:
        error = str(diverged).split(";")[0]
    log = read_log(run.folder)
    report = None
    if (run.folder / BEST).is_file():
        estimator = load(run.folder, device=machine.device)
        report = evaluate_split(estimator, validation, quiet=machine.quiet)
    return {
        **_facts(run, training, validation),
        "status": "diverged" if error else "done",
        **({"error": error} if error else {}),
        "scores": None if report is None else _scores(report, run.experiment),
        "report": None if report is None else {key: report.to_json()[key] for key in _KEPT},
        "best_epoch": log[-1]["best_epoch"] if log else 0,
        "epochs": len(log),
        "hours": round(sum(line["seconds"] for line in log) / 3600, 6),
        "hardware": describe_hardware(find_device(machine.device)),
        "torch": torch.__version__,
        "sadinet": __version__,
        "commit": _commit(),
    }


_KEPT = ("mean_pooled", "mean_parts", "mean_keypoints", "auc", "persons", "count", "metadata")


def _facts(run: Run, training: Split, validation: Split) -> Result:
    """What the run is, as its result says it."""
    network = SadiNet(run.experiment.network)
    network.drop_training_parts()
    anonymous = replace(run.experiment, name="")
    return {
        "study": run.folder.parents[1].name,
        "row": run.row.name,
        "seed": run.seed,
        "preset": run.experiment.name,
        "changes": list(run.changes),
        "experiment": hashlib.sha256(to_json(anonymous).encode()).hexdigest()[:12],
        "data": validation.name,
        "train": training.hash,
        "val": validation.hash,
        "parameters": sum(p.numel() for p in network.parameters()),
    }


def _scores(report: Report, experiment: Experiment) -> dict[str, float | None]:
    """The columns, and the mean that the paper's tables print for this data set (decision 013)."""
    mean = report.mean_keypoints if experiment.skeleton == MPII else report.mean
    return {part["title"]: part["percent"] for part in report.to_json()["parts"]} | {"Mean": mean}


def describe_hardware(device: torch.device) -> str:
    """What computes, in words: a GPU's name, or the processor's and the number of threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        names = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line]
        name = names[0] if names else name
    return f"{name}, {torch.get_num_threads()} threads"


def _commit() -> str | None:
    """The commit of the source this runs from, with + if it was changed since; None outside of a checkout."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(Path(__file__).parents[1]), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")) / "src" / "sadinet" != Path(__file__).parents[1]:
            return None
        return git("rev-parse", "--short=12", "HEAD") + ("+" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.SubprocessError):
        return None
