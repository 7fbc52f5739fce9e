"""Training: the loop, written out."""

import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from .checkpoint import FORMAT, load_tensors, load_weights, replacing, save_checkpoint, save_tensors, warm_start
from .data.dataset import Batch, PersonDataset
from .data.splits import Split, read_split
from .errors import CheckpointError, SadinetError
from .estimator import Estimator, Inference
from .evaluate import evaluate_split
from .experiment import Experiment, TrainingConfig, from_json, to_json
from .geometry import resample
from .model.loss import joint_loss, to_units
from .model.network import STRIDE, Output, SadiNet

BEST, STATE, LOG, EXPERIMENT = "best.safetensors", "state.safetensors", "log.jsonl", "experiment.json"
"""What a training writes into its folder."""


class TrainingError(SadinetError):
    """A training that cannot go on; its last good state is kept."""


@dataclass
class Progress:
    """Where a training is.

    Attributes:
        epoch: Epochs done.
        step: Steps done in the epoch under way.
        best: Best validation score so far [%].
        best_epoch: And its epoch, counted from 1.
        sums: Sums of the loss terms over the epoch's steps.
    """

    epoch: int = 0
    step: int = 0
    best: float = -1.0
    best_epoch: int = 0
    sums: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Machine:
    """What is not the experiment.

    Attributes:
        device: ``"cpu"``, ``"cuda"``...; None: a GPU where there is one.
        workers: Threads that prepare examples.
        cache: Bytes of decoded pictures to keep in memory.
        save_every: Seconds between states written inside an epoch.
        quiet: No progress bars.
    """

    device: str | None = None
    workers: int = 2
    cache: int = 4 * 2**30
    save_every: float = 300.0
    quiet: bool = False


def learning_rate(config: TrainingConfig, epoch: float) -> float:
    """The learning rate ``epoch`` (a fraction) epochs into the training."""
    if epoch < config.warmup_epochs:
        return config.learning_rate * max(epoch / config.warmup_epochs, 1e-3)
    if config.schedule == "steps":
        return config.learning_rate * 0.1 ** sum(epoch >= milestone for milestone in config.milestones)
    share = (epoch - config.warmup_epochs) / max(config.epochs - config.warmup_epochs, 1e-9)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * min(share, 1.0)))


class Trainer:
    """A training under way: what has to be stored to go on is here, and nothing else.

    Args:
        experiment: What is trained.
        train: Persons to learn from.
        machine: Where.
    """

    def __init__(self, experiment: Experiment, train: Split, machine: Machine) -> None:
        config = experiment.training
        self.experiment = experiment
        self.device = torch.device(machine.device or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.manual_seed(config.seed)
        network = SadiNet(experiment.network, sigma=experiment.loss.sigma)
        self.network = network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
        self.average = AveragedModel(self.network, multi_avg_fn=self._average, use_buffers=True) if config.ema else None
        self.dataset = PersonDataset(
            train.persons,
            size=experiment.network.input_size,
            flip_index=experiment.skeleton.flip_index,
            augment=experiment.data.augment,
            seed=config.seed,
            cache=machine.cache,
        )
        self.steps = max(len(self.dataset) // config.batch_size, 1)  # the last, smaller batch would upset batch norm
        self.progress = Progress()

    def _average(self, kept: Any, new: Any, count: Any) -> None:
        """EMA with a decay that starts low, so that the first weights are forgotten."""
        seen = self.progress.epoch * self.steps + self.progress.step
        decay = min(self.experiment.training.ema, (1 + seen) / (10 + seen))
        get_ema_multi_avg_fn(decay)(kept, new, count)  # type: ignore[no-untyped-call]

    @property
    def evaluated(self) -> SadiNet:
        """The network whose weights are scored and kept: the average, if there is one."""
        return self.network if self.average is None else self.average.module  # type: ignore[return-value]

    def remaining(self) -> list[NDArray[np.int64]]:
        """Indices of the batches left in the epoch under way."""
        order = self.dataset.order(self.progress.epoch)
        size = self.experiment.training.batch_size
        return [order[i * size : (i + 1) * size] for i in range(self.progress.step, self.steps)]

    def step(self, batch: Batch) -> dict[str, Tensor]:
        """One update; the detached terms of the loss."""
        config = self.experiment.training
        rate = learning_rate(config, self.progress.epoch + self.progress.step / self.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.network.train()
        size, xy, labelled = self._targets(batch)
        likelihood = self.experiment.loss.kind in ("mse+rle", "mse+nll")
        with torch.autocast(self.device.type, torch.bfloat16, enabled=config.precision == "bfloat16"):
            output: Output = self.network(batch.inputs(self.device), to_units(xy, size) if likelihood else None)
        terms = joint_loss(output, xy, labelled, self.experiment.loss)
        self.optimizer.zero_grad(set_to_none=True)
        terms["total"].backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.progress.step += 1
        if self.average is not None:
            self.average.update_parameters(self.network)
        return {name: value.detach() for name, value in terms.items()}

    def _targets(self, batch: Batch) -> tuple[tuple[int, int], Tensor, Tensor]:
        input_to_heatmap = torch.from_numpy(resample(1 / STRIDE)).float().to(self.device)
        xy = batch.xy.to(self.device) @ input_to_heatmap[:, :2].T + input_to_heatmap[:, 2]
        side = self.experiment.network.input_size // STRIDE
        return (side, side), xy, batch.labelled.to(self.device)

    def state(self) -> dict[str, Tensor]:
        """Every tensor that the next step depends on."""
        tensors = {f"network.{k}": v for k, v in self.network.state_dict().items()}
        for number, values in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{number}.{k}": v for k, v in values.items()}
        if self.average is not None:
            tensors |= {f"average.{k}": v for k, v in self.average.state_dict().items()}
        return tensors

    def restore(self, tensors: dict[str, Tensor], progress: Progress) -> None:
        """The inverse of `state`."""

        def part(prefix: str) -> dict[str, Tensor]:
            return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}

        load_weights(self.network, part("network."), "the state of the training")
        moments: dict[int, dict[str, Tensor]] = {}
        for key, value in part("optimizer.").items():
            number, name = key.split(".", 1)
            moments.setdefault(int(number), {})[name] = value
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": moments, "param_groups": groups})
        if self.average is not None:
            self.average.load_state_dict(part("average."))
        self.progress = progress


def train(
    experiment: Experiment,
    data: Path,
    out: Path,
    *,
    machine: Machine = Machine(),
    resume: bool = False,
    init: Path | None = None,
    on_epoch: Callable[[dict[str, Any]], None] | None = None,
) -> dict[str, Any]:
    """Trains ``experiment`` and keeps the network that validates best.

    Args:
        experiment: What.
        data: The folder that holds the data sets' folders.
        out: The folder for the network, the log and the state; must be new or empty unless ``resume``.
        machine: Where.
        resume: Go on with what is in ``out``; without a state there, start.
        init: Start from the weights of this checkpoint, as far as they fit.
        on_epoch: Called with every line of the log.

    Returns:
        The last line of the log.

    Raises:
        TrainingError: If the loss is no longer finite; the last good state is kept.
        CheckpointError: If ``out`` holds another experiment, or a training that was not to be resumed.
    """
    training = read_split(experiment.data.dataset, "train", data, keep_duplicates=experiment.data.keep_duplicates)
    validation = read_split(experiment.data.dataset, "val", data)
    trainer = Trainer(experiment, training, machine)
    identity = {"experiment": to_json(experiment), "train": training.hash, "val": validation.hash}
    resumed = _open_folder(out, trainer, identity, resume=resume)
    if init is not None and not resumed:
        warm_start(trainer.network, init)
        if trainer.average is not None:
            trainer.average.module.load_state_dict(trainer.network.state_dict())
    line: dict[str, Any] = {}
    while trainer.progress.epoch < experiment.training.epochs:
        line = _epoch(trainer, validation, machine, out, identity)
        with (out / LOG).open("a") as log:
            log.write(json.dumps(line) + "\n")
        _save_state(out, trainer, identity)
        if on_epoch is not None:
            on_epoch(line)
    return line or read_log(out)[-1]


def read_log(out: Path) -> list[dict[str, Any]]:
    """The lines of a training's log."""
    path = out / LOG
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def _epoch(
    trainer: Trainer, validation: Split, machine: Machine, out: Path, identity: dict[str, str]
) -> dict[str, Any]:
    """One epoch: steps, validation, the best network; the line for the log."""
    progress, started, saved, waited = trainer.progress, time.monotonic(), time.monotonic(), 0.0
    first = progress.step
    batches = trainer.remaining()
    source = trainer.dataset.batches(progress.epoch, batches, machine.workers)
    title = f"epoch {progress.epoch + 1}/{trainer.experiment.training.epochs}"
    with tqdm(total=trainer.steps, initial=first, desc=title, disable=machine.quiet, leave=False) as bar:
        for batch, seconds in _timed(source):
            waited += seconds
            terms = trainer.step(batch)
            _add(progress.sums, terms, batch, out)
            bar.set_postfix(loss=f"{progress.sums['total'] / progress.step:.2e}", refresh=False)
            bar.update()
            if time.monotonic() - saved > machine.save_every:
                _save_state(out, trainer, identity)
                saved = time.monotonic()
    trained = time.monotonic() - started
    report = evaluate_split(
        Estimator(trainer.evaluated, trainer.experiment, device=trainer.device, inference=Inference(flip=False)),
        validation,
        quiet=machine.quiet,
    )
    progress.epoch += 1
    score = report.mean
    line = {
        "epoch": progress.epoch,
        **{f"loss_{name}": value / trainer.steps for name, value in progress.sums.items()},
        "learning_rate": trainer.optimizer.param_groups[0]["lr"],
        "val": score,
        **{f"val_{part.title.rstrip('.').lower()}": part.percent for part in report.parts},
        "images_per_second": (trainer.steps - first) * trainer.experiment.training.batch_size / trained,
        "data_wait": waited / trained,
        "seconds": time.monotonic() - started,
    }
    if score > progress.best:
        progress.best, progress.best_epoch = score, progress.epoch
        facts = {"val": report.to_json(), "epoch": progress.epoch, "train": identity["train"]}
        save_checkpoint(out / BEST, trainer.evaluated, trainer.experiment, facts)
    progress.step, progress.sums = 0, {}
    return line | {"best": progress.best, "best_epoch": progress.best_epoch}


def _timed(batches: Iterator[Batch]) -> Iterator[tuple[Batch, float]]:
    """Each batch with the seconds it was waited for."""
    while True:
        started = time.monotonic()
        batch = next(batches, None)
        if batch is None:
            return
        yield batch, time.monotonic() - started


def _add(sums: dict[str, float], terms: dict[str, Tensor], batch: Batch, out: Path) -> None:
    total = float(terms["total"])
    if not math.isfinite(total):
        culprits = out / "not_finite.json"
        culprits.write_text(
            json.dumps({"terms": {k: float(v) for k, v in terms.items()}, "index": batch.index.tolist()})
        )
        raise TrainingError(
            f"the loss is {total}; the persons of that batch are in {culprits}, and the last good state is kept. "
            "Try a lower training.learning_rate, training.precision=float32, or another loss.kind"
        )
    for name, value in terms.items():
        sums[name] = sums.get(name, 0.0) + float(value)


def _open_folder(out: Path, trainer: Trainer, identity: dict[str, str], *, resume: bool) -> bool:
    """Prepares ``out``; True where a state was found there and restored."""
    state = out / STATE
    if not resume and out.exists() and any(out.iterdir()):
        raise CheckpointError(f"{out}: is not empty; add --resume to go on with what is there, or name another folder")
    out.mkdir(parents=True, exist_ok=True)
    if resume and state.is_file():
        tensors, facts = load_tensors(state)
        _require_same(identity, facts, state)
        trainer.restore(tensors, Progress(**json.loads(facts["progress"])))
        kept = read_log(out)[: trainer.progress.epoch]
        with replacing(out / LOG) as log:
            log.write_text("".join(json.dumps(line) + "\n" for line in kept))
        return True
    (out / LOG).unlink(missing_ok=True)
    with replacing(out / EXPERIMENT) as file:
        file.write_text(identity["experiment"] + "\n")
    return False


def _require_same(identity: dict[str, str], facts: dict[str, str], state: Path) -> None:
    """Refuses a state of another experiment or of other persons; more epochs are allowed."""
    stored = from_json(facts["experiment"], str(state))
    wanted = from_json(identity["experiment"])
    longer = replace(stored, training=replace(stored.training, epochs=wanted.training.epochs))
    if longer != wanted:
        raise CheckpointError(
            f"{state}: belongs to another experiment; see {EXPERIMENT} beside it, or name another folder"
        )
    for side in ("train", "val"):
        if facts[side] != identity[side]:
            raise CheckpointError(
                f"{state}: the {side} persons have changed since (split {facts[side]}, now {identity[side]}); "
                "bring back the data it began with, or name another folder"
            )


def _save_state(out: Path, trainer: Trainer, identity: dict[str, str]) -> None:
    progress = json.dumps(asdict(trainer.progress))
    save_tensors(out / STATE, trainer.state(), {"format": FORMAT, "progress": progress, **identity})
