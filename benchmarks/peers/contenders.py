"""Who races, made ready: checkpoints and ONNX files in a build folder, and the pictures that all are shown.

    python benchmarks/peers/contenders.py DATA MODELS FOLDER [--weights lsp-b.safetensors]

Ours in three widths, each by PyTorch, by onnxruntime, in int8, and by OpenVINO if that is installed; where there are no
weights for a width, an untrained network of it: that tells its time but no accuracy. The classics are built from this
package's own presets, untrained too.
"""

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from litert import PEERS
from torch import nn

import sadinet
from sadinet.checkpoint import load_checkpoint, save_checkpoint
from sadinet.data.splits import read_split
from sadinet.estimator import BOX_MARGIN
from sadinet.experiment import Experiment
from sadinet.geometry import Crop, bounding_box, image_to_crop
from sadinet.images import warp
from sadinet.model.network import SadiNet

PERSONS = 16
STATISTICS = 8  # of them, for the batch norms of untrained networks
PICTURES, EXPORTED = "pictures.npz", "exported"  # in the build folder; the second is a folder and emptied
SIZES = ("t", "s", "b")
CLASSICS = {
    "Hourglass-1": ("lsp-b-newell2", "network.backbone.stacks=1"),
    "Hourglass-2": ("lsp-b-newell2",),
    "Hourglass-8": ("lsp-b-newell8",),
    "SimpleBaseline-R50": ("lsp-b-simple",),
    "HRNet-W32": ("lsp-b-hrnet",),
}
"""The preset, and changes to it, of each of the peers that this package builds itself."""


@dataclass(frozen=True)
class Contender:
    """One line of the race.

    Attributes:
        model: What tables call it.
        engine: ``"torch"``, ``"onnxruntime"``, ``"onnxruntime int8"``, ``"openvino"`` or ``"LiteRT"``.
        kind: ``"ours"``, ``"rebuilt"`` (our build of a published network) or ``"peer"``.
        file: What to load: embedded weights, a checkpoint, an ONNX file, or a key of `litert.PEERS`.
        input: Side of its input [px].
        file_mb: Size of the file on disk.
        scored_as: The key of its row in the table of accuracies; None: untrained.
    """

    model: str
    engine: str
    kind: str
    file: str
    input: int
    file_mb: float
    scored_as: str | None


@dataclass(frozen=True)
class Skipped:
    """What cannot race, and why."""

    model: str
    engine: str
    reason: str


def untrained(experiment: Experiment, file: Path, pictures: Path) -> Path:
    """A checkpoint of the network that ``experiment`` names, with its first weights.

    Its batch norms know the statistics of some of the ``pictures``: without them values grow from layer to layer, to
    where arithmetic takes another time and engines cannot agree.
    """
    if file.is_file() and load_checkpoint(file).experiment == experiment:
        return file
    torch.manual_seed(0)
    network = SadiNet(experiment.network, sigma=experiment.loss.sigma)
    network.drop_training_parts()
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None  # the plain mean of what is seen
        norm.reset_running_stats()
    size = experiment.network.input_size
    with np.load(pictures) as shown, torch.no_grad():
        crops = [Crop.around(box, BOX_MARGIN) for box in shown["boxes"][:STATISTICS]]
        cut = [warp(shown[f"picture{i}"], image_to_crop(crop, size), size) for i, crop in enumerate(crops)]
        network.train().backbone_heatmaps(torch.from_numpy(np.stack(cut)).permute(0, 3, 1, 2).float() / 255)
    save_checkpoint(file, network.eval(), experiment, training_parts=False)
    return file


def weights_of(size: str, given: Sequence[str], folder: Path, quick: bool) -> tuple[str, str, str | None]:
    """Name, file and accuracy key of our network of ``size``: trained ones if there are any."""
    name = f"lsp-{size}"
    for weights in given:
        if Path(weights).stem == name:
            return name, weights, name
    if name in sadinet.embedded_models():
        return name, name, name
    experiment = sadinet.preset(f"{name}-rfm")
    if quick:
        experiment = sadinet.override(experiment, ["network.input_size=64"])
    file = untrained(experiment, folder / EXPORTED / f"{name}-untrained.safetensors", folder / PICTURES)
    return f"{name} (untrained)", str(file), None


def export(checkpoint: Path, out: Path, data: Path, *, int8: bool) -> Path:
    """The ONNX file of a checkpoint, by the command that a user would give.

    Raises:
        RuntimeError: If it fails; the message is its last line.
    """
    beside = out.with_suffix(".json")
    same = hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    if out.is_file() and beside.is_file() and json.loads(beside.read_text("utf-8"))["weights_sha256"] == same:
        return out
    command = [sys.executable, "-m", "sadinet", "export", str(checkpoint), str(out), "--format", "onnx"]
    command += ["--int8", "--data", str(data)] if int8 else []
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode or not out.is_file():
        raise RuntimeError((done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1])
    return out


def ours(given: Sequence[str], folder: Path, data: Path, *, quick: bool) -> Iterator[Contender | Skipped]:
    """Our widths in three engines."""
    for size in SIZES[:1] if quick else SIZES:
        model, weights, key = weights_of(size, given, folder, quick)
        embedded = sadinet.embedded_models().get(weights)
        checkpoint = embedded.file if embedded else Path(weights)
        side = sadinet.load(weights, device="cpu").input_size
        yield Contender(model, "torch", "ours", weights, side, _mb(checkpoint), key)
        for engine, suffix, int8 in (("onnxruntime", "", False), ("onnxruntime int8", "-int8", True)):
            try:
                file = export(checkpoint, folder / EXPORTED / f"{checkpoint.stem}{suffix}.onnx", data, int8=int8)
            except RuntimeError as error:
                yield Skipped(model, engine, str(error))
                continue
            yield Contender(model, engine, "ours", str(file), side, _mb(file), f"{key}{suffix}" if key else None)
            if not int8 and find_spec("openvino"):
                scored_as = f"{key}-openvino" if key else None
                yield Contender(model, "openvino", "ours", str(file), side, _mb(file), scored_as)


def classics(folder: Path, data: Path, *, quick: bool) -> Iterator[Contender | Skipped]:
    """The networks of others, built here, by onnxruntime."""
    for model, (preset, *changes) in list(CLASSICS.items())[: 1 if quick else None]:
        small = ["network.input_size=64"] if quick else []
        try:
            experiment = sadinet.override(sadinet.preset(preset), [*changes, *small])
            checkpoint = untrained(experiment, folder / EXPORTED / f"{model.lower()}.safetensors", folder / PICTURES)
            file = export(checkpoint, checkpoint.with_suffix(".onnx"), data, int8=False)
        except (sadinet.SadinetError, RuntimeError) as error:
            yield Skipped(model, "onnxruntime", str(error))
            continue
        yield Contender(model, "onnxruntime", "rebuilt", str(file), experiment.network.input_size, _mb(file), None)


def peers(models: Path) -> Iterator[Contender | Skipped]:
    """The phone models, by LiteRT."""
    for key, peer in PEERS.items():
        file = models / peer.file
        if file.is_file():
            yield Contender(peer.title, "LiteRT", "peer", key, peer.size, _mb(file), key)
        else:
            yield Skipped(peer.title, "LiteRT", f"{peer.file} is not in MODELS")


def write_pictures(data: Path, file: Path) -> None:
    """The pictures and boxes of some test persons, evenly spread, decoded: what every model is shown."""
    persons = read_split("lsp", "test", data).persons
    chosen = [persons[i * len(persons) // PERSONS] for i in range(PERSONS)]
    pictures = {f"picture{i}": person.read() for i, person in enumerate(chosen)}
    np.savez(file, boxes=np.stack([bounding_box(person.xy) for person in chosen]), **pictures)


def _mb(file: Path) -> float:
    return round(file.stat().st_size / 1e6, 2)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("models", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--weights", nargs="*", default=[])
    parser.add_argument("--quick", action="store_true", help="small ones only")
    parser.add_argument("--keep-exports", action="store_true", help="use files of the same weights made before")
    arguments = parser.parse_args()
    folder, quick = arguments.folder, arguments.quick
    if strangers := {Path(file).stem for file in arguments.weights} - {f"lsp-{size}" for size in SIZES}:
        parser.error(f"--weights: call the files lsp-t, lsp-s or lsp-b, not {', '.join(sorted(strangers))}")
    if not arguments.keep_exports:
        shutil.rmtree(folder / EXPORTED, ignore_errors=True)
    (folder / EXPORTED).mkdir(parents=True, exist_ok=True)
    write_pictures(arguments.data, folder / PICTURES)
    everybody = [
        *ours(arguments.weights, folder, arguments.data, quick=quick),
        *classics(folder, arguments.data, quick=quick),
        *peers(arguments.models),
    ]
    found = {
        "contenders": [asdict(one) for one in everybody if isinstance(one, Contender)],
        "skipped": [asdict(one) for one in everybody if isinstance(one, Skipped)],
    }
    (folder / "contenders.json").write_text(json.dumps(found, indent=1), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
