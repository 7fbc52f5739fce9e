"""How the two terms of the joint loss pull at what they share: sizes and directions of their gradients.

    python benchmarks/gradients.py DATA [--steps 0,30,100,300,900] [--batches 32] [--set loss.alpha=0.1]

Trains `lsp-t` and stops now and then to compare the gradients of the heatmap loss (Eq. 6) and of the learnable
heatmaps' loss (Eq. 7, alpha 1) in those parameters of the backbone that both reach, over augmented batches of training
persons, in training mode, float32. Prints a line of JSON for each:

    ratio        size of the second gradient over that of the first, batch by batch, median
    cosine       of the angle between the two, batch by batch, median
    signal_*     what all batches agree upon: squared size of the mean gradient over the mean squared size, without bias
    cosine_mean  of the angle between the two mean gradients, without noise's share; null where there is no signal
"""

import argparse
import copy
import json
import math
from collections.abc import Iterator, Sequence
from itertools import chain, count, islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sadinet.data.augment import upper_body
from sadinet.data.dataset import Batch, PersonDataset
from sadinet.data.splits import read_split
from sadinet.experiment import Experiment
from sadinet.model.config import STRIDE
from sadinet.model.loss import joint_loss
from sadinet.model.network import SadiNet
from sadinet.presets import preset
from sadinet.training.distributed import World
from sadinet.training.learner import Learner
from sadinet.values import override

SETTINGS = (
    "training.batch_size=32",
    "training.precision=bfloat16",
    "training.schedule=cosine",
    "training.epochs=12",
    "training.warmup_epochs=0.25",
    "training.learning_rate=0.0015",
    "network.input_size=96",
    "network.distribution.table_size=65",
    "loss.sigma=1.5",
    "loss.target=unbiased",
)
"""Those of the studies in docs/experiments.md, `lsp-t`, 12 epochs."""


def gradients(network: SadiNet, experiment: Experiment, batches: Sequence[Batch]) -> Tensor:
    """``(2, N, P)``: of the heatmap term and of the distribution's, batch by batch, in the P parameters they share."""
    parameters = list(network.backbone.parameters())
    network.train()
    rows: list[list[Tensor]] = [[], []]
    for batch in batches:
        output = network(batch.inputs(torch.device("cpu")))
        terms = joint_loss(output, (batch.xy + 0.5) / STRIDE - 0.5, batch.labelled, experiment.loss)
        found = [
            torch.autograd.grad(terms[name], parameters, retain_graph=name == "heatmaps", allow_unused=True)
            for name in ("heatmaps", "distribution")
        ]
        shared = [pair for pair in zip(*found, strict=True) if all(g is not None for g in pair)]
        for row, parts in zip(rows, zip(*shared, strict=True), strict=True):
            row.append(torch.cat([part.flatten() for part in parts]))
    return torch.stack([torch.stack(row) for row in rows]).double()


def compared(g: Tensor) -> dict[str, float | None]:
    """The numbers of this module's head, of gradients ``(2, N, P)``.

    The size of a mean of N noisy gradients is too large by the noise's share; the mean product of *different* batches
    is not, and stands in for squared sizes and products of the true means.
    """
    n = g.shape[1]
    inner = torch.einsum("anp,bmp->abnm", g, g)
    same = torch.diagonal(inner, dim1=2, dim2=3).mean(2)
    apart = (inner.sum((2, 3)) - same * n) / (n * (n - 1))
    sizes = g.norm(dim=2)
    both = float(apart[0, 0]), float(apart[1, 1])
    return {
        "ratio": float((sizes[1] / sizes[0]).median()),
        "cosine": float(((g[0] * g[1]).sum(1) / sizes.prod(0)).median()),
        "signal_heatmaps": both[0] / float(same[0, 0]),
        "signal_distribution": both[1] / float(same[1, 1]),
        "cosine_mean": float(apart[0, 1]) / math.sqrt(both[0] * both[1]) if min(both) > 0 else None,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--steps", default="0,30,100,300,900")
    parser.add_argument("--batches", type=int, default=32)
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE")
    arguments = parser.parse_args()
    experiment = override(preset("lsp-t"), [*SETTINGS, *arguments.set])
    dataset = PersonDataset(
        read_split("lsp+lspet", "train", arguments.data).persons,
        size=experiment.network.input_size,
        flip_index=experiment.skeleton.flip_index,
        upper_body=upper_body(experiment.skeleton),
        augment=experiment.data.augment,
        seed=experiment.training.seed,
    )
    learner = Learner(experiment, torch.device("cpu"), World())
    size, stops = experiment.training.batch_size, sorted(map(int, arguments.steps.split(",")))

    def batches(epoch: int) -> Iterator[Batch]:
        order = dataset.order(epoch)
        return dataset.batches(epoch, np.array_split(order[: len(order) // size * size], len(order) // size))

    probe = list(islice(batches(experiment.training.epochs), arguments.batches))
    steps = chain.from_iterable(batches(epoch) for epoch in count())
    for done, batch in enumerate(islice(steps, stops[-1] + 1)):
        if done in stops:
            numbers = compared(gradients(copy.deepcopy(learner.network), experiment, probe))
            about = {"step": done, "alpha": experiment.loss.alpha, "seed": experiment.training.seed}
            rounded = {k: None if v is None else round(v, 4) for k, v in numbers.items()}
            print(json.dumps(about | rounded | {"set": arguments.set}), flush=True)
        learner.step(batch, epoch=done * size / len(dataset), done=done)


if __name__ == "__main__":
    main()
