"""How fast examples come: packages' usual way, threads over files and over a pack, and canvases held on the device.

    python benchmarks/loading.py DATA [--dataset lsp+lspet] [--count 512] [--size 256] [--workers 2] [--rounds 3]

All ways make the same changes to the same persons and end in the network's input, float32 in [0, 1]; ways take turns
and the median round counts, so that what else the machine does meets all of them. Prints one line of JSON: images per
second, and the ratio to the usual way; and, less dependent on what else the machine does, milliseconds of processor
time per image, all threads and processes together.

* ``naive``: a map-style torch Dataset that decodes the official file each time, in a DataLoader with processes;
* ``threads``: PersonDataset, decoding each time; ``cached``: with the decoded pictures in memory;
* ``pack``: PersonDataset over a pack (its file is written before);
* ``resident``: ResidentDataset on ``--device`` (its canvases are cut out before). Made for a GPU; on a processor
  decoded pictures in memory do as well.
"""

import argparse
import gc
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from sadinet.data.augment import AugmentConfig, draw_augmentation, example_rng
from sadinet.data.dataset import PersonDataset
from sadinet.data.mpii import read_mpii
from sadinet.data.pack import read_pack, write_pack
from sadinet.data.person import Person
from sadinet.data.resident import ResidentDataset, resident_bytes
from sadinet.data.splits import read_split
from sadinet.geometry import apply, invert, swap_sides
from sadinet.skeleton import LSP, MPII, Skeleton


class NaiveDataset(Dataset[tuple[Tensor, Tensor]]):
    """As most training code has it: open, convert, warp, scale, one person at a time."""

    def __init__(self, persons: Sequence[Person], size: int, skeleton: Skeleton, augment: AugmentConfig) -> None:
        self.persons, self.size, self.skeleton, self.augment = persons, size, skeleton, augment
        self.epoch = 0

    def __len__(self) -> int:
        return len(self.persons)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        person = self.persons[index]
        change = draw_augmentation(example_rng(0, self.epoch, index), self.augment, person)
        image_to_input = change.image_to_input(person.crop, self.size)
        back = invert(image_to_input)
        back[:, 2] += 0.5 - back[:, :2].sum(1) / 2
        with Image.open(str(person.image)) as file:
            picture = file.convert("RGB").transform(
                (self.size, self.size), Image.Transform.AFFINE, back.ravel().tolist(), Image.Resampling.BILINEAR
            )
        xy = apply(image_to_input, person.xy)
        if change.mirrored:
            xy = swap_sides(xy, self.skeleton.flip_index)
        image = torch.from_numpy(np.array(picture, np.float32) / 255).permute(2, 0, 1)
        return image * torch.tensor(change.gains)[:, None, None], torch.from_numpy(xy)


def naive(dataset: NaiveDataset, batch: int, workers: int) -> Callable[[int], Iterator[Tensor]]:
    def run(epoch: int) -> Iterator[Tensor]:
        dataset.epoch = epoch
        yield from (images for images, _ in DataLoader(dataset, batch, shuffle=True, num_workers=workers))

    return run


def ours(dataset: PersonDataset, batch: int, workers: int, device: torch.device) -> Callable[[int], Iterator[Tensor]]:
    def run(epoch: int) -> Iterator[Tensor]:
        order = dataset.order(epoch)
        rows = [order[i : i + batch] for i in range(0, len(order), batch)]
        yield from (b.inputs(device) for b in dataset.batches(epoch, rows, workers))

    return run


def processor_seconds() -> float:
    """Used so far by this process and those that it has waited for."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def rate(run: Callable[[int], Iterator[Tensor]], epoch: int) -> tuple[float, float]:
    """Images per second of one epoch, and milliseconds of processor time per image."""
    started, before, count = time.perf_counter(), processor_seconds(), 0
    for images in run(epoch):
        count += len(images)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    seconds = time.perf_counter() - started
    gc.collect()  # of a DataLoader, whose processes count once they have ended
    return count / seconds, (processor_seconds() - before) / count * 1000


def some_persons(dataset: str, data: Path, count: int) -> tuple[list[Person], Skeleton]:
    """``count`` persons, evenly spread, repeated where there are fewer pictures."""
    if dataset == "mpii":
        there = [p for p in read_mpii(data, need_images=False) if Path(str(p.image)).is_file()]
        return [there[i % len(there)] for i in range(count)], MPII
    persons = read_split(dataset, "train", data).persons
    return [persons[i * len(persons) // count] for i in range(count)], LSP


def measure(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    persons, skeleton = some_persons(arguments.dataset, arguments.data, arguments.count)
    size, batch, workers, device = arguments.size, arguments.batch_size, arguments.workers, arguments.device
    augment = AugmentConfig(gain=0.2)
    common: dict[str, Any] = {"size": size, "flip_index": skeleton.flip_index, "augment": augment}
    summary = write_pack({"some/train": persons}, folder / "some.pack", skeleton=skeleton, workers=workers)
    packed = {person.id: person for person in read_pack(summary.path, "some/train")}
    from_pack = [packed[person.id] for person in persons]
    started = time.perf_counter()
    resident = ResidentDataset(persons, **common, device=device, workers=workers)
    built = time.perf_counter() - started
    ways = {
        "naive": naive(NaiveDataset(persons, size, skeleton, augment), batch, workers),
        "threads": ours(PersonDataset(persons, **common), batch, workers, device),
        "cached": ours(PersonDataset(persons, **common, cache=2**32), batch, workers, device),
        "pack": ours(PersonDataset(from_pack, **common), batch, workers, device),
        "resident": ours(resident, batch, workers, device),
    }
    rates: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for epoch in range(arguments.rounds + 1):
        for name, run in ways.items():
            rates[name].append(rate(run, epoch))
    # The first round warms up.
    median = {name: statistics.median(r for r, _ in values[1:]) for name, values in rates.items()}
    used = {name: statistics.median(ms for _, ms in values[1:]) for name, values in rates.items()}
    return {
        "images_per_second": {name: round(value, 1) for name, value in median.items()},
        "ratio": {name: round(value / median["naive"], 2) for name, value in median.items()},
        "processor_ms_per_image": {name: round(value, 2) for name, value in used.items()},
        "resident_build_images_per_second": round(len(persons) / built, 1),
        "resident_mb_per_person": round(resident_bytes(1, size, augment) / 1e6, 3),
        "pack_kb_per_person": round(summary.bytes / summary.persons / 1e3, 1),
        "file_kb_per_person": round(statistics.mean(Path(str(p.image)).stat().st_size for p in persons) / 1e3, 1),
        "threads_of_torch": torch.get_num_threads(),
        "device": str(device),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--dataset", default="lsp+lspet", choices=("lsp+lspet", "mpii", "toy"))
    parser.add_argument("--count", type=int, default=512, help="persons")
    parser.add_argument("--size", type=int, default=256, help="side of the input")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(measure(arguments, Path(folder))))


if __name__ == "__main__":
    main()
