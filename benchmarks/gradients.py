"""How the two terms of the joint loss pull at what they share: sizes and directions of their gradients.

    python benchmarks/gradients.py DATA WEIGHTS [WEIGHTS ...] [--untrained] [--batches 20]

Gradients of the heatmap loss (Eq. 6) and of the learnable heatmaps' loss (Eq. 7, alpha 1) in those parameters of the
backbone that both reach, over augmented batches of training persons, in training mode, float32. WEIGHTS must have the
training-only parts (a training's best.safetensors); with --untrained the same network from its seed is measured first.
Prints a line of JSON for each:

    ratio       size of the second gradient over that of the first, batch by batch, median
    cosine      of the angle between the two, batch by batch, median
    steady_*    what all batches agree upon: squared size of the mean gradient over the mean squared size, without bias
    cosine_mean of the angle between the two mean gradients, without noise's share
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sadinet import load_checkpoint
from sadinet.data.augment import upper_body
from sadinet.data.dataset import Batch, PersonDataset
from sadinet.data.splits import read_split
from sadinet.experiment import Experiment
from sadinet.model.config import STRIDE
from sadinet.model.loss import joint_loss
from sadinet.model.network import SadiNet


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


def compared(g: Tensor) -> dict[str, float]:
    """The numbers of this module's head, of gradients ``(2, N, P)``.

    The size of a mean of N noisy gradients is too large by the noise's share; the mean product of *different* batches
    is not, and stands in for squared sizes and products of the true means.
    """
    count = g.shape[1]
    inner = torch.einsum("anp,bmp->abnm", g, g)
    own = torch.diagonal(inner, dim1=2, dim2=3).mean(2)
    apart = (inner.sum((2, 3)) - own * count) / (count * (count - 1))
    sizes = g.norm(dim=2)
    cosine = (g[0] * g[1]).sum(1) / sizes.prod(0)
    return {
        "ratio": float((sizes[1] / sizes[0]).median()),
        "cosine": float(cosine.median()),
        "steady_heatmaps": float(apart[0, 0] / own[0, 0]),
        "steady_distribution": float(apart[1, 1] / own[1, 1]),
        "ratio_mean": float((apart[1, 1] / apart[0, 0]).clamp(min=0).sqrt()),
        "cosine_mean": float(apart[0, 1] / (apart[0, 0] * apart[1, 1]).clamp(min=1e-300).sqrt()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("weights", type=Path, nargs="+")
    parser.add_argument("--untrained", action="store_true")
    parser.add_argument("--batches", type=int, default=20)
    arguments = parser.parse_args()
    persons = read_split("lsp+lspet", "train", arguments.data).persons
    untrained = arguments.untrained
    for path in arguments.weights:
        checkpoint = load_checkpoint(path)
        experiment = checkpoint.experiment
        dataset = PersonDataset(
            persons,
            size=experiment.network.input_size,
            flip_index=experiment.skeleton.flip_index,
            upper_body=upper_body(experiment.skeleton),
            augment=experiment.data.augment,
            seed=experiment.training.seed,
        )
        order = dataset.order(0)[: arguments.batches * experiment.training.batch_size]
        batches = list(dataset.batches(0, np.array_split(order, arguments.batches)))
        networks = {"trained": checkpoint.network}
        if untrained:
            torch.manual_seed(experiment.training.seed)
            networks = {"untrained": SadiNet(experiment.network, sigma=experiment.loss.sigma)} | networks
            untrained = False
        for state, network in networks.items():
            numbers = compared(gradients(network, experiment, batches))
            about = {"weights": str(path), "state": state, "batches": arguments.batches, "alpha": experiment.loss.alpha}
            print(json.dumps(about | {k: round(v, 4) for k, v in numbers.items()}), flush=True)


if __name__ == "__main__":
    main()
