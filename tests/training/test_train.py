"""Training: exact, whatever interrupts it."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from sadinet import checkpoint
from sadinet.checkpoint import load_checkpoint, load_tensors
from sadinet.errors import CheckpointError, ConfigError, Stopped, TrainingError
from sadinet.training.folder import BEST, LOG, STATE, read_log
from sadinet.training.learner import Learner, learning_rate
from sadinet.training.train import train

from ..micro import QUIET, micro, toy_folder

HERE = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_folder(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="module")
def uninterrupted(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training that nothing disturbed."""
    out = tmp_path_factory.mktemp("whole") / "run"
    train(micro(), data, out, machine=QUIET)
    return out


def without_times(log: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: v for k, v in line.items() if k not in ("seconds", "images_per_second", "data_wait")} for line in log]


def assert_same_training(a: Path, b: Path) -> None:
    """Weights, optimizer, average, progress and log agree to the bit."""
    first, facts_a = load_tensors(a / STATE)
    second, facts_b = load_tensors(b / STATE)
    assert first.keys() == second.keys()
    assert [k for k in first if not torch.equal(first[k], second[k])] == []
    assert facts_a == facts_b
    assert without_times(read_log(a)) == without_times(read_log(b))
    best_a, best_b = load_tensors(a / BEST)[0], load_tensors(b / BEST)[0]
    assert all(torch.equal(best_a[k], best_b[k]) for k in best_a)


def test_the_loss_falls_and_the_best_network_is_kept(uninterrupted: Path) -> None:
    log = read_log(uninterrupted)
    assert [line["epoch"] for line in log] == [1, 2, 3]
    assert log[-1]["loss_total"] < log[0]["loss_total"]
    kept = load_checkpoint(uninterrupted / BEST)
    best = max(log, key=lambda line: line["val"])
    assert kept.facts["epoch"] == best["epoch"] == log[-1]["best_epoch"]
    assert kept.experiment == micro()


def test_same_seed_same_training_and_another_seed_another(data: Path, uninterrupted: Path, tmp_path: Path) -> None:
    train(micro(), data, tmp_path / "again", machine=replace(QUIET, workers=3))
    assert_same_training(uninterrupted, tmp_path / "again")
    train(micro("training.seed=1"), data, tmp_path / "other", machine=QUIET)
    assert read_log(tmp_path / "other")[0]["loss_total"] != read_log(uninterrupted)[0]["loss_total"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopped_inside_an_epoch_and_resumed_is_as_if_nothing_had_happened(
    data: Path, uninterrupted: Path, tmp_path: Path, number: int
) -> None:
    out = tmp_path / "run"

    def stop(line: dict[str, Any]) -> None:
        if line["epoch"] == 1:
            os.kill(os.getpid(), number)

    with pytest.raises(Stopped, match="--resume") as caught:
        train(micro(), data, out, machine=QUIET, on_epoch=stop)
    assert caught.value.signal == number
    progress = json.loads(load_tensors(out / STATE)[1]["progress"])
    assert (progress["epoch"], progress["step"]) == (1, 1)  # the step under way was finished, and stored
    train(micro(), data, out, machine=QUIET, resume=True)
    assert_same_training(uninterrupted, out)


def test_thirty_kills_leave_no_trace(data: Path, tmp_path: Path) -> None:
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    lives = [f"{data} {killed} 0.15"] * 30 + [f"{data} {killed} -1", f"{data} {whole} -1"]
    answer = subprocess.run(
        [sys.executable, HERE / "kill_server.py"], input="\n".join(lives), capture_output=True, text=True, timeout=500
    )
    statuses = [int(text) for text in answer.stdout.split()]
    assert statuses == [signal.SIGKILL] * 30 + [0, 0], answer.stderr[-2000:]
    assert_same_training(whole, killed)
    assert not list(killed.glob("*.tmp*")) or all(p.name.startswith(".") for p in killed.glob("*.tmp*"))


def test_two_processes_learn_what_one_does(data: Path, tmp_path: Path) -> None:
    # Batch norm takes its statistics from a process's own share; frozen, both see the same function.
    # Adam turns rounding into steps of the learning rate's size: a small one keeps them together.
    changes = ("training.norm=frozen", "training.epochs=2", "training.ema=0", "training.learning_rate=1e-4")
    train(micro(*changes), data, tmp_path / "one", machine=QUIET)
    (tmp_path / "experiment.json").write_text((tmp_path / "one" / "experiment.json").read_text())
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command += [
        "-m",
        "sadinet",
        "train",
        str(tmp_path / "experiment.json"),
        "--data",
        str(data),
        "--out",
        str(tmp_path / "two"),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, "--device", "cpu", "--quiet"], capture_output=True, text=True, timeout=300, env=environment
    )
    assert done.returncode == 0, done.stderr[-3000:]
    one, two = read_log(tmp_path / "one"), read_log(tmp_path / "two")
    assert len(one) == len(two) == 2
    for a, b in zip(one, two, strict=True):
        assert b["loss_total"] == pytest.approx(a["loss_total"], rel=1e-5)
        assert b["val"] == pytest.approx(a["val"], abs=1e-9)


def test_a_batch_in_pieces_has_the_gradient_of_the_whole(data: Path, tmp_path: Path) -> None:
    changes = ("training.norm=frozen", "training.epochs=1", "training.ema=0")
    for pieces in (1, 4):
        out = tmp_path / str(pieces)
        train(micro(*changes, f"training.accumulate={pieces}"), data, out, machine=QUIET)
    whole, pieces_ = (read_log(tmp_path / name)[0]["loss_total"] for name in ("1", "4"))
    assert pieces_ == pytest.approx(whole, rel=1e-5)
    with pytest.raises(ConfigError, match="accumulate=3"):
        train(micro("training.accumulate=3"), data, tmp_path / "3", machine=QUIET)


def test_recomputing_activations_changes_nothing(data: Path, uninterrupted: Path, tmp_path: Path) -> None:
    train(micro(), data, tmp_path / "run", machine=replace(QUIET, recompute=True))
    assert_same_training(uninterrupted, tmp_path / "run")


@pytest.mark.parametrize("control", ["loss.kind=mse", "network.fusion.detach=true"])
def test_training_parts_without_influence_change_nothing(data: Path, tmp_path: Path, control: str) -> None:
    """Table V's first row and Table IV's control: the same backbone as without SFM and DLM, to the bit."""
    train(micro(control, "training.epochs=1"), data, tmp_path / "with", machine=QUIET)
    alone = micro("loss.kind=mse", "network.learn_distribution=false", "training.epochs=1")
    train(alone, data, tmp_path / "without", machine=QUIET)
    both, one = (load_tensors(tmp_path / name / BEST)[0] for name in ("with", "without"))
    assert all(torch.equal(both[name], values) for name, values in one.items())
    assert len(both) > len(one) > 0


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_state(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    train(micro("training.epochs=1"), data, out, machine=QUIET)
    before = (out / STATE).read_bytes()

    def poisoned(*_: Any, **__: Any) -> dict[str, torch.Tensor]:
        return {"heatmaps": torch.tensor(torch.nan), "total": torch.tensor(torch.nan)}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Learner, "step", poisoned)
        with pytest.raises(TrainingError, match="last good state is kept"):
            train(micro("training.epochs=2"), data, out, machine=QUIET, resume=True)
    assert (out / STATE).read_bytes() == before
    ids = json.loads((out / "not_finite_0.json").read_text())["ids"]
    assert len(ids) == 8
    assert all(name.startswith("toy/") for name in ids)


def test_out_of_memory_names_a_way_out(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def hungry(*_: Any, **__: Any) -> dict[str, torch.Tensor]:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Learner, "step", hungry)
    with pytest.raises(TrainingError, match=r"training.accumulate=2 .* training.batch_size=4"):
        train(micro(), data, tmp_path / "run", machine=QUIET)


def test_a_full_disk_leaves_the_last_state_whole(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "run"
    train(micro("training.epochs=1"), data, out, machine=QUIET)
    before = (out / STATE).read_bytes()

    def full(_: Any, path: Path, **__: Any) -> None:
        Path(path).write_bytes(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(CheckpointError, match="disk full"):
        train(micro("training.epochs=2"), data, out, machine=QUIET, resume=True)
    assert (out / STATE).read_bytes() == before
    assert [p.name for p in out.iterdir() if "tmp" in p.name] == []


def test_what_must_not_be_mixed_is_refused(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    train(micro("training.epochs=1"), data, out, machine=QUIET)
    with pytest.raises(CheckpointError, match="--resume"):
        train(micro(), data, out, machine=QUIET)
    with pytest.raises(CheckpointError, match="another experiment"):
        train(micro("loss.alpha=0.5"), data, out, machine=QUIET, resume=True)
    with pytest.raises(CheckpointError, match="persons have changed"):
        train(micro(), toy_folder(tmp_path / "more", 50), out, machine=QUIET, resume=True)
    (out / STATE).write_bytes((out / STATE).read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="damaged"):
        train(micro(), data, out, machine=QUIET, resume=True)


def test_a_log_cut_off_in_a_line_counts_to_the_line_before(tmp_path: Path) -> None:
    (tmp_path / LOG).write_text('{"epoch": 1}\n{"epoch": 2}\n{"epo')
    assert read_log(tmp_path) == [{"epoch": 1}, {"epoch": 2}]


def test_weights_to_start_from(data: Path, uninterrupted: Path, tmp_path: Path) -> None:
    tiny_step = ("training.epochs=1", "training.learning_rate=1e-12", "training.ema=0", "network.input_size=96")
    train(micro(*tiny_step), data, tmp_path / "run", machine=QUIET, init=uninterrupted / BEST)
    began, now = load_tensors(uninterrupted / BEST)[0], load_tensors(tmp_path / "run" / BEST)[0]
    name = "backbone.features.0.0.weight"
    torch.testing.assert_close(now[name], began[name])
    with pytest.raises(CheckpointError, match="its weights do not fit"):
        train(
            micro("network.backbone.channels=6,12,12,24", "network.backbone.features=12"),
            data,
            tmp_path / "wide",
            machine=QUIET,
            init=uninterrupted / BEST,
        )


def test_the_learning_rate_follows_its_schedule() -> None:
    steps = micro(
        "training.schedule=steps", "training.milestones=2,4", "training.epochs=5", "training.learning_rate=0.5"
    ).training
    assert [learning_rate(steps, e) for e in (0, 1.99, 2, 3.5, 4.5)] == pytest.approx([0.5, 0.5, 0.05, 0.05, 0.005])
    cosine = micro("training.epochs=5", "training.warmup_epochs=1", "training.learning_rate=0.5").training
    assert [learning_rate(cosine, e) for e in (0.5, 1, 3, 5)] == pytest.approx([0.25, 0.5, 0.25, 0], abs=1e-12)


def test_pictures_of_the_training(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    train(micro("training.epochs=2"), data, out, machine=replace(QUIET, pictures=True))
    for name, least in (("curves.png", 10_000), ("panel.jpg", 5_000)):
        assert (out / name).stat().st_size > least


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of TensorBoard's own imports
def test_tensorboard_holds_what_the_log_holds(data: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason='needs pip install "sadinet[tensorboard]"')
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train(micro("training.epochs=2"), data, tmp_path / "run", machine=replace(QUIET, tensorboard=True))
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    log = read_log(tmp_path / "run")
    assert set(events.Tags()["scalars"]) == {
        key for key in log[0] if key != "epoch" and isinstance(log[0][key], int | float)
    }
    for key in ("loss_total", "val", "learning_rate"):
        written = [(event.step, event.value) for event in events.Scalars(key)]
        assert written == [(line["epoch"], pytest.approx(line[key], rel=1e-6)) for line in log]
