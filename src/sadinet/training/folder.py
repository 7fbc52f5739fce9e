"""The folder of a training: its state, its log and its best network, each whole at any moment."""

import json
import shutil
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from ..checkpoint import load_tensors, save_checkpoint, save_tensors
from ..errors import CheckpointError, ConfigError, TrainingError
from ..experiment import Experiment, from_json, to_json
from ..files import replacing
from ..stored import FORMAT
from .distributed import World
from .learner import Learner

BEST, STATE, LOG, EXPERIMENT = "best.safetensors", "state.safetensors", "log.jsonl", "experiment.json"
"""What a training writes into its folder."""


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
class Folder:
    """A training's folder.

    Attributes:
        path: Where.
        experiment: What is trained.
        splits: Hashes of the persons, ``"train"`` and ``"val"``.
    """

    path: Path
    experiment: Experiment
    splits: dict[str, str]

    def open(self, learner: Learner, world: World, *, resume: bool) -> Progress | None:
        """Prepares the folder; where a state is found there, restores ``learner`` and returns the progress.

        Raises:
            CheckpointError: If the folder is not empty and not to be resumed, its state is damaged, or of another
                experiment or of other persons.
        """
        state = self.path / STATE
        if not resume and self.path.exists() and any(self.path.iterdir()):
            raise CheckpointError(f"{self.path}: is not empty; add --resume to go on with it, or name another folder")
        world.gather(None)  # all have looked before the first one writes
        if resume and state.is_file():
            tensors, facts = load_tensors(state)
            self._require_same(facts)
            learner.restore(tensors)
            progress = Progress(**json.loads(facts["progress"]))
            if world.first:
                kept = read_log(self.path)[: progress.epoch]
                with replacing(self.path / LOG) as log:
                    log.write_text("".join(json.dumps(line) + "\n" for line in kept))
            return progress
        if world.first:
            self.path.mkdir(parents=True, exist_ok=True)
            (self.path / LOG).unlink(missing_ok=True)
            with replacing(self.path / EXPERIMENT) as file:
                file.write_text(to_json(self.experiment) + "\n")
        return None

    def save(self, learner: Learner, progress: Progress) -> None:
        """Writes the state that `open` resumes from."""
        facts = {"format": FORMAT, "progress": json.dumps(asdict(progress)), "experiment": to_json(self.experiment)}
        save_tensors(self.path / STATE, learner.state(), facts | self.splits)

    def save_best(self, learner: Learner, facts: dict[str, Any]) -> None:
        """Writes the network as the best so far."""
        save_checkpoint(self.path / BEST, learner.evaluated, self.experiment, facts | {"train": self.splits["train"]})

    def append(self, line: dict[str, Any], *, tensorboard: bool = False) -> None:
        """Adds a line to the log, and to TensorBoard's files where wanted."""
        try:
            with (self.path / LOG).open("a") as log:
                log.write(json.dumps(line) + "\n")
        except OSError as error:
            free = shutil.disk_usage(self.path).free / 2**20
            raise TrainingError(f"{self.path / LOG}: cannot be written ({error}); {free:.0f} MiB are free") from error
        if tensorboard:
            _write_tensorboard(self.path / "tensorboard", line)

    def _require_same(self, facts: dict[str, str]) -> None:
        """Refuses a state of another experiment or of other persons; another number of epochs is allowed."""
        state = self.path / STATE
        if "progress" not in facts:
            raise CheckpointError(f"{state}: not the state of a training; name another folder")
        stored, epochs = from_json(facts["experiment"], str(state)), self.experiment.training.epochs
        if replace(stored, training=replace(stored.training, epochs=epochs)) != self.experiment:
            raise CheckpointError(f"{state}: of another experiment, see {EXPERIMENT} beside it; name another folder")
        for side, now in self.splits.items():
            if facts[side] != now:
                raise CheckpointError(
                    f"{state}: the {side} persons have changed since (split {facts[side]}, now {now}); "
                    "bring back the data it began with, or name another folder"
                )


def read_log(folder: Path) -> list[dict[str, Any]]:
    """The whole lines of a training's log."""
    path = folder / LOG
    lines = []
    for text in path.read_text().splitlines() if path.is_file() else []:
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            break  # cut off by a kill; the epoch will be written again
    return lines


def _write_tensorboard(folder: Path, line: dict[str, Any]) -> None:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise ConfigError(
            'TensorBoard is not installed: pip install "sadinet[tensorboard]", or leave --tensorboard out'
        ) from None
    with SummaryWriter(str(folder)) as writer:
        for name, value in line.items():
            if name != "epoch" and isinstance(value, int | float):
                writer.add_scalar(name, value, line["epoch"])
