"""What a training step costs end to end beside its bare arithmetic, and how near that is to the machine's limit.

    python benchmarks/training_speed.py DATA [--preset lsp-b] [--device cuda] [--batch 64] [--set FIELD=VALUE]

In one run, in turns: (A) steps as training does them, examples decoded, cut out, augmented, moved; (B) the same
network, loss and optimizer on one batch that is already on the device. The ratio A/B is what data and bookkeeping
cost. Then the matrix-multiplication rate of the same device and precision, and the share of it that A reaches
(2 x 3 x multiply-adds of a forward pass per image; what gradient and optimizer cost beyond is not counted).
Prints one line of JSON.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from sadinet.data.dataset import Batch, PersonDataset
from sadinet.data.resident import ResidentDataset
from sadinet.data.splits import read_split
from sadinet.presets import preset
from sadinet.training.distributed import ALONE
from sadinet.training.learner import Learner
from sadinet.values import override


def batches(dataset: PersonDataset, size: int, workers: int) -> Iterator[Batch]:
    for epoch in count():
        order = dataset.order(epoch)
        rows: list[np.ndarray] = [order[i : i + size] for i in range(0, len(order) - size + 1, size)]
        yield from dataset.batches(epoch, rows, workers)


def seconds(work: Callable[[], object], device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
    started = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def matmul_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Multiply-adds per second of a large matrix product: the best of ten."""
    n = 8192 if device.type == "cuda" else 2048
    a, b = torch.randn(n, n, device=device, dtype=dtype), torch.randn(n, n, device=device, dtype=dtype)
    torch.mm(a, b)
    return n**3 / min(seconds(lambda: torch.mm(a, b), device) for _ in range(10))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--preset", default="lsp-t")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=5, help="per turn")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--compile", action="store_true")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    experiment = override(preset(arguments.preset), [*arguments.set, f"training.batch_size={arguments.batch}"])
    persons = read_split(experiment.data.dataset, "train", arguments.data).persons
    persons = persons[: 2 * arguments.batch * arguments.steps] if device.type == "cpu" else persons
    make = PersonDataset if device.type == "cpu" else ResidentDataset
    more = {"cache": 2**32} if device.type == "cpu" else {"device": device, "workers": 16}
    dataset = make(
        persons,
        size=experiment.network.input_size,
        flip_index=experiment.skeleton.flip_index,
        augment=experiment.data.augment,
        **more,
    )
    learner = Learner(experiment, device, ALONE, compiled=arguments.compile)
    stream = batches(dataset, arguments.batch, arguments.workers)
    ready = next(stream)
    ready = Batch(*(getattr(ready, name).to(device) for name in ("images", "xy", "labelled", "gains", "index")))

    def whole() -> None:
        for _ in range(arguments.steps):
            learner.step(next(stream), epoch=0.5, done=1)

    def bare() -> None:
        for _ in range(arguments.steps):
            learner.step(ready, epoch=0.5, done=1)

    for _ in range(2):
        whole()  # fills the cache, warms everything up
    bare()
    ratios, times = [], []
    for _ in range(arguments.rounds):
        times.append(seconds(whole, device))
        ratios.append(times[-1] / seconds(bare, device))
    side = experiment.network.input_size
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        learner.network(torch.rand(2, 3, side, side, device=device))
    macs = counter.get_total_flops() / 2 / 2
    dtype = torch.bfloat16 if experiment.training.precision == "bfloat16" else torch.float32
    per_second = arguments.batch * arguments.steps / statistics.median(times)
    rate = matmul_rate(device, dtype)
    answer = {
        "preset": arguments.preset,
        "set": arguments.set,
        "device": torch.cuda.get_device_name() if device.type == "cuda" else f"cpu, {torch.get_num_threads()} threads",
        "input": side,
        "batch": arguments.batch,
        "ratio_median": round(statistics.median(ratios), 3),
        "ratios": [round(r, 3) for r in ratios],
        "images_per_second": round(per_second, 2),
        "gmac_per_image_forward": round(macs / 1e9, 3),
        "matmul_gmac_per_second": round(rate / 1e9, 1),
        "share_of_matmul_rate": round(3 * macs * per_second / rate, 3),
        "torch": torch.__version__,
    }
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
