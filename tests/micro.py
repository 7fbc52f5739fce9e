"""What the tests of training share: a network of a moment, trained on stick figures."""

from pathlib import Path

from sadinet.data.toy import write_toy
from sadinet.experiment import Experiment
from sadinet.presets import preset
from sadinet.training.train import Machine
from sadinet.values import override

MICRO = (
    "network.input_size=64",
    "network.backbone.channels=4,8,8,16",
    "network.backbone.blocks=1,1,1,1",
    "network.backbone.features=8",
    "network.backbone.gate_reduction=4",
    "network.fusion.features=8",
    "network.fusion.widths=8,8,16,16",
    "network.fusion.outputs=16",
    "network.distribution.table_size=17",
    "network.distribution.flow_hidden=8",
    "training.epochs=3",
    "training.batch_size=8",
    "training.schedule=cosine",
    "training.ema=0.9",
)
QUIET = Machine(device="cpu", workers=1, save_every=1e9, pictures=False, quiet=True)


def micro(*changes: str) -> Experiment:
    """A tiny experiment on the toy data, with ``changes``."""
    return override(preset("toy-t"), (*MICRO, *changes))


def toy_folder(folder: Path, count: int = 40) -> Path:
    """``folder`` with a toy data set in it."""
    if not (folder / "toy").exists():
        write_toy(folder, count, seed=3)
    return folder
