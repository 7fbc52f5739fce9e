"""Training: the loop, written out. One process or many (``torchrun``), stopped and resumed without a trace."""

import json
import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from ..checkpoint import fitting_weights
from ..crops import Inference
from ..data.augment import upper_body
from ..data.dataset import Batch, PersonDataset
from ..data.resident import ResidentDataset, resident_bytes
from ..data.splits import Split, read_split
from ..errors import ConfigError, Diverged, Stopped, TrainingError
from ..estimator import Estimator
from ..evaluate import check_keypoints, evaluate_split
from ..experiment import Experiment
from ..torch_backend import find_device
from .curves import draw_curves, draw_panel
from .distributed import World, world
from .folder import Folder, Progress, read_log
from .learner import Learner


@dataclass(frozen=True)
class Machine:
    """What is not the experiment.

    Attributes:
        device: ``"cpu"``, ``"cuda"``...; None: a GPU where there is one.
        workers: Threads that prepare examples.
        cache: Bytes of decoded pictures to keep in memory.
        resident: Keep all examples on the device and augment them there; None: on a GPU, where they fit.
        compiled: Compile the network; None: on a GPU.
        recompute: Save memory: compute the hourglass's activations again in the backward pass.
        deterministic: Ask torch for deterministic algorithms, where it has them.
        save_every: Seconds between states written inside an epoch.
        tensorboard: Also write TensorBoard's files.
        pictures: Draw curves and a panel of validation persons.
        quiet: No progress bars.
    """

    device: str | None = None
    workers: int = 2
    cache: int = 4 * 2**30
    resident: bool | None = None
    compiled: bool | None = None
    recompute: bool = False
    deterministic: bool = False
    save_every: float = 300.0
    tensorboard: bool = False
    pictures: bool = True
    quiet: bool = False


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

    Under ``torchrun`` every process calls this alike; the first one writes.

    Args:
        experiment: What.
        data: The folder that holds the data sets' folders, or a pack of them.
        out: The folder for the network, the log and the state; must be new or empty unless ``resume``.
        machine: Where.
        resume: Go on with what is in ``out``; without a state there, start.
        init: Start from the weights of this checkpoint, as far as they fit; keypoints of the same name keep theirs.
        on_epoch: Called with every line of the log.

    Returns:
        The last line of the log.

    Raises:
        Diverged: If the loss is no longer finite; the last good state is kept.
        TrainingError: If memory runs out; the last good state is kept.
        Stopped: On SIGTERM or SIGINT, after the step under way and its state are done.
        CheckpointError: If ``out`` holds another experiment, or a training that was not to be resumed.
    """
    if machine.deterministic:
        torch.use_deterministic_algorithms(True, warn_only=True)
    training = read_split(experiment.data.dataset, "train", data, keep_duplicates=experiment.data.keep_duplicates)
    validation = read_split(experiment.data.dataset, "val", data)
    for split in (training, validation):
        check_keypoints(experiment.skeleton, split, f"the experiment '{experiment.name}'")
    with world(find_device(machine.device)) as (here, device), _stop_requests() as requests:
        run = _Run(experiment, training, validation, out, machine, here, device, requests)
        stored = run.folder.open(run.learner, here, resume=resume)
        if stored is not None:
            run.progress = stored
        elif init is not None:
            run.learner.begin_with(fitting_weights(run.learner.network, init, experiment.skeleton))
        line: dict[str, Any] = {}
        while run.progress.epoch < experiment.training.epochs:
            line = run.epoch()
            if on_epoch is not None and here.first:
                on_epoch(line)
    return line or read_log(out)[-1]


class _Run:
    """One training under way."""

    def __init__(
        self,
        experiment: Experiment,
        training: Split,
        validation: Split,
        out: Path,
        machine: Machine,
        here: World,
        device: torch.device,
        requests: list[int],
    ) -> None:
        config = experiment.training
        self.experiment, self.validation, self.machine = experiment, validation, machine
        self.world, self.device, self.requests = here, device, requests
        self.folder = Folder(out, experiment, {"train": training.hash, "val": validation.hash})
        on_gpu = device.type == "cuda"
        compiled = on_gpu if machine.compiled is None else machine.compiled
        self.learner = Learner(experiment, device, here, compiled=compiled, recompute=machine.recompute)
        self.dataset = _dataset(experiment, training, machine, device)
        if len(training) < config.batch_size:
            raise ConfigError(
                f"training.batch_size={config.batch_size} is more than the {len(training)} persons of "
                f"{training.name}: give a smaller one"
            )
        self.steps = len(training) // config.batch_size  # a smaller last batch would upset batch norm
        self.check_every = 20 if on_gpu or here.size > 1 else 1  # looking at the loss makes the host wait for a GPU
        self.progress = Progress()

    # --- one epoch ---

    def epoch(self) -> dict[str, Any]:
        """Steps, validation, the best network, the log's line, the state."""
        progress, started = self.progress, time.monotonic()
        first, waited = progress.step, self._steps()
        trained = time.monotonic() - started
        self.world.broadcast(self.learner.evaluated)  # running statistics are each process's own
        report = evaluate_split(
            Estimator(self.learner.evaluated, self.experiment, device=self.device, inference=Inference(flip=False)),
            self.validation,
            quiet=self.machine.quiet or not self.world.first,
            world=self.world,
        )
        progress.epoch += 1
        better = report.mean > progress.best
        if better:
            progress.best, progress.best_epoch = report.mean, progress.epoch
        line = {
            "epoch": progress.epoch,
            **{f"loss_{name}": value / self.steps for name, value in progress.sums.items()},
            "learning_rate": self.learner.optimizer.param_groups[0]["lr"],
            "val": report.mean,
            **{f"val_{part.title.rstrip('.').lower()}": part.percent for part in report.parts},
            "best": progress.best,
            "best_epoch": progress.best_epoch,
            "images_per_second": (self.steps - first) * self.experiment.training.batch_size / max(trained, 1e-9),
            "data_wait": waited / max(trained, 1e-9),
            "seconds": time.monotonic() - started,
        }
        progress.step, progress.sums = 0, {}
        if self.world.first:
            if better:
                self.folder.save_best(self.learner, {"val": report.to_json(), "epoch": progress.epoch})
            self.folder.append(line, tensorboard=self.machine.tensorboard)
            self.folder.save(self.learner, progress)
            if self.machine.pictures:
                self._pictures()
        return line

    def _steps(self) -> float:
        """The steps left in the epoch; returns the seconds waited for data."""
        progress, config, waited = self.progress, self.experiment.training, 0.0
        first, started, sums, recent = progress.step, time.monotonic(), dict[str, Tensor](), list[Tensor]()
        saved = started
        batches = self.dataset.batches(progress.epoch, self._shares(), self.machine.workers)
        with tqdm(
            total=self.steps,
            initial=first,
            desc=f"epoch {progress.epoch + 1}/{config.epochs}",
            disable=self.machine.quiet or not self.world.first,
            leave=False,
        ) as bar:
            for batch, seconds in _timed(batches):
                waited += seconds
                epoch, done = progress.epoch + progress.step / self.steps, progress.epoch * self.steps + progress.step
                for name, value in self._guarded_step(batch, epoch, done).items():
                    sums[name] = sums.get(name, 0) + value.double()
                progress.step += 1
                recent.append(batch.index)
                bar.update()
                if progress.step % self.check_every == 0 or progress.step == self.steps:
                    self._collect(sums, recent)
                    speed = (progress.step - first) * config.batch_size / (time.monotonic() - started)
                    best = f"{progress.best:.1f}" if progress.best_epoch else "-"
                    mean = progress.sums["total"] / progress.step
                    bar.set_postfix_str(f"loss {mean:.2e}, {speed:.0f} images/s, best {best}", refresh=False)
                    if self.world.any(bool(self.requests)):
                        self._stop()
                    late = self.world.first and time.monotonic() - saved > self.machine.save_every
                    if late and progress.step < self.steps:
                        self.folder.save(self.learner, progress)
                        saved = time.monotonic()
        return waited

    def _shares(self) -> list[NDArray[np.int64]]:
        """This process's part of each batch left in the epoch: every ``size``-th person."""
        order, size = self.dataset.order(self.progress.epoch), self.experiment.training.batch_size
        return [
            order[i * size : (i + 1) * size][self.world.rank :: self.world.size]
            for i in range(self.progress.step, self.steps)
        ]

    def _guarded_step(self, batch: Batch, epoch: float, done: int) -> dict[str, Tensor]:
        try:
            return self.learner.step(batch, epoch=epoch, done=done)
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and "memory" not in str(error).lower():
                raise
            size, parts = self.experiment.training.batch_size, self.experiment.training.accumulate
            raise TrainingError(
                f"out of memory with training.batch_size={size}: try training.accumulate={2 * parts} (the same "
                f"gradient from pieces half as large) or training.batch_size={size // 2}, or --recompute; "
                "the last state is kept"
            ) from error

    def _collect(self, sums: dict[str, Tensor], recent: list[Tensor]) -> None:
        """Moves the loss terms to the progress, the mean over all processes, and refuses what is not finite."""
        total = self.world.sum(torch.stack(list(sums.values()))) / self.world.size
        values = dict(zip(sums, total.tolist(), strict=True))
        if not math.isfinite(values["total"]):
            culprits = self.folder.path / f"not_finite_{self.world.rank}.json"
            index = torch.cat(recent).tolist()
            culprits.write_text(json.dumps({"terms": values, "ids": [self.dataset.persons[i].id for i in index]}))
            raise Diverged(
                f"the loss is {values['total']}; the persons of the last {len(recent)} batches are in {culprits}, and "
                "the last good state is kept. Try a lower training.learning_rate, training.clip_norm, "
                "training.precision=float32, or another loss.kind"
            )
        for name, value in values.items():
            self.progress.sums[name] = self.progress.sums.get(name, 0.0) + value
        sums.clear()
        recent.clear()

    def _stop(self) -> None:
        if self.world.first:
            self.folder.save(self.learner, self.progress)
        number = self.requests[0] if self.requests else signal.SIGTERM
        raise Stopped(f"stopped by {signal.Signals(number).name}; go on with --resume --out {self.folder.path}", number)

    def _pictures(self) -> None:
        """Curves, and at the best epoch a panel of validation pictures."""
        draw_curves(read_log(self.folder.path), self.folder.path / "curves.png")
        if self.progress.best_epoch == self.progress.epoch:
            estimator = Estimator(
                self.learner.evaluated, self.experiment, device=self.device, inference=Inference(flip=False)
            )
            draw_panel(estimator, self.validation.persons, self.folder.path / "panel.jpg")


def _dataset(experiment: Experiment, training: Split, machine: Machine, device: torch.device) -> PersonDataset:
    """The training examples: on the device where wanted and possible, else cut out by threads."""
    size, augment, persons = experiment.network.input_size, experiment.data.augment, training.persons
    resident = machine.resident
    if resident is None:
        needed = resident_bytes(len(persons), size, augment)
        resident = device.type == "cuda" and needed < 0.4 * torch.cuda.mem_get_info(device)[0]
    common: dict[str, Any] = {
        "size": size,
        "flip_index": experiment.skeleton.flip_index,
        "upper_body": upper_body(experiment.skeleton),
        "augment": augment,
        "seed": experiment.training.seed,
    }
    if resident:
        return ResidentDataset(persons, device=device, workers=machine.workers, quiet=machine.quiet, **common)
    return PersonDataset(persons, cache=machine.cache, **common)


def _timed(batches: Iterator[Batch]) -> Iterator[tuple[Batch, float]]:
    """Each batch with the seconds it was waited for."""
    while True:
        started = time.monotonic()
        batch = next(batches, None)
        if batch is None:
            return
        yield batch, time.monotonic() - started


@contextmanager
def _stop_requests() -> Iterator[list[int]]:
    """Collects SIGTERM and SIGINT instead of dying of them; a second one works as usual."""
    requests: list[int] = []
    before: dict[int, Any] = {}

    def note(number: int, _: Any) -> None:
        requests.append(number)
        signal.signal(number, before[number])

    try:
        for wanted in (signal.SIGTERM, signal.SIGINT):
            before[wanted] = signal.signal(wanted, note)
    except ValueError:
        pass  # not the main thread: whoever called decides what signals do
    try:
        yield requests
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
