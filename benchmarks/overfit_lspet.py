"""Can it learn at all? 16 real LSPET persons, a micro network: PCK@0.2 of heatmaps, means and learnable heatmaps.

    python benchmarks/overfit_lspet.py DATA [--steps 500] [--set loss.coordinate_weight=0.01] [--bfloat16]

Prints one line of JSON: scores [%], the largest gradient norm, steps whose gradient was not finite.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from sadinet.data.dataset import PersonDataset, collate
from sadinet.data.splits import read_split
from sadinet.experiment import Experiment
from sadinet.heatmaps import decode
from sadinet.metrics import distances, pooled, torso_sizes
from sadinet.model.config import STRIDE
from sadinet.model.loss import from_units, joint_loss, to_units
from sadinet.model.network import SadiNet
from sadinet.presets import preset
from sadinet.values import override

MICRO = (
    "network.input_size=128",
    "network.backbone.channels=8,16,32,64",
    "network.backbone.blocks=1,1,1,1",
    "network.backbone.features=32",
    "network.backbone.gate_reduction=4",
    "network.fusion.features=32",
    "network.fusion.widths=16,32,64,128",
    "network.fusion.outputs=256",
    "decoding=dark",
)


def complete_persons(data: Path, size: int, count: int) -> PersonDataset:
    """The first ``count`` persons of LSPET with every keypoint labelled."""
    split = read_split("lsp+lspet", "train", data)
    persons = [p for p in split.persons if p.id.startswith("lspet/") and p.labelled.all()][:count]
    return PersonDataset(persons, size=size, flip_index=range(14))


def overfit(
    experiment: Experiment, dataset: PersonDataset, *, steps: int, bfloat16: bool, seed: int
) -> dict[str, float]:
    torch.manual_seed(seed)
    side = experiment.network.input_size // STRIDE
    network = SadiNet(experiment.network, sigma=experiment.loss.sigma).to(memory_format=torch.channels_last)
    index = np.arange(len(dataset))
    batch = collate([dataset.sample(0, int(i)) for i in index], index)
    images = batch.inputs(torch.device("cpu"))
    xy = (batch.xy + 0.5) / STRIDE - 0.5
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    likelihood = to_units(xy, (side, side)) if experiment.loss.kind in ("mse+rle", "mse+nll") else None
    largest, not_finite = 0.0, 0
    for _ in range(steps):
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            output = network(images, likelihood)
        loss = joint_loss(output, xy, batch.labelled, experiment.loss)["total"]
        optimizer.zero_grad()
        loss.backward()
        norm = float(torch.nn.utils.get_total_norm([p.grad for p in network.parameters() if p.grad is not None]))
        largest, not_finite = max(largest, norm), not_finite + (not np.isfinite(norm))
        optimizer.step()
    network.train()  # scored as trained, on the batch's own statistics
    with torch.no_grad():
        output = network(images)
    answers = {"heatmaps": decode(output.heatmaps, "dark", sigma=experiment.loss.sigma)[0]}
    if output.distribution is not None:
        answers["mean"] = from_units(output.distribution.mean, (side, side))
        answers["learnable_heatmaps"] = decode(output.distribution.heatmaps, "argmax")[0]
    truth, labelled = xy.double().numpy(), batch.labelled.numpy()
    torso = torso_sizes(truth, experiment.skeleton)
    scores = {name: pooled(distances(a.double().numpy(), truth, labelled, torso), 0.2) for name, a in answers.items()}
    return scores | {"largest_gradient_norm": largest, "steps_not_finite": not_finite, "loss": float(loss.detach())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--persons", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--bfloat16", action="store_true")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE")
    arguments = parser.parse_args()
    experiment = override(preset("lsp-t"), [*MICRO, *arguments.set])
    dataset = complete_persons(arguments.data, experiment.network.input_size, arguments.persons)
    scores = overfit(experiment, dataset, steps=arguments.steps, bfloat16=arguments.bfloat16, seed=arguments.seed)
    about = {"set": arguments.set, "steps": arguments.steps, "seed": arguments.seed, "bfloat16": arguments.bfloat16}
    print(json.dumps(about | {k: round(v, 4) for k, v in scores.items()}))


if __name__ == "__main__":
    main()
