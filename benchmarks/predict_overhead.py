"""What `Estimator.predict` costs beside the bare network: the same persons, one run, paired ratios.

    python benchmarks/predict_overhead.py [--weights lsp-t] [--preset lsp-b] [--persons 64] [--rounds 5]

A picture with many boxes goes through `predict`; then the same crops, already tensors, through the network alone,
in the same batches and with the same number of passes. Prints one line of JSON with the median ratio.
"""

import argparse
import json
import platform
import statistics
import time

import numpy as np
import torch

import sadinet
from sadinet.crops import Inference
from sadinet.estimator import Estimator
from sadinet.geometry import Crop, image_to_crop
from sadinet.images import warp
from sadinet.model.network import SadiNet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", default="lsp-t")
    parser.add_argument("--preset", help="an untrained network of this preset instead")
    parser.add_argument("--persons", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--flip", action="store_true")
    arguments = parser.parse_args()
    inference = Inference(flip=arguments.flip)
    if arguments.preset:
        experiment = sadinet.preset(arguments.preset)
        network = SadiNet(experiment.network, sigma=experiment.loss.sigma)
        network.drop_training_parts()
        estimator = Estimator(network, experiment, inference=inference)
    else:
        estimator = sadinet.load(arguments.weights, flip=arguments.flip)
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (720, 1280, 3), dtype=np.uint8)
    corners = rng.uniform((0, 0), (1000, 400), (arguments.persons, 2))
    boxes = np.concatenate([corners, corners + rng.uniform((80, 200), (250, 300), (arguments.persons, 2))], axis=1)
    size = estimator.input_size
    cut = np.stack([warp(image, image_to_crop(Crop.around(box, 1.25), size), size) for box in boxes])
    batches = np.array_split(cut, range(estimator.inference.batch_size, len(cut), estimator.inference.batch_size))

    def bare() -> None:
        for batch in batches:
            estimator.backend.heatmaps(np.concatenate([batch, batch[:, :, ::-1]]) if arguments.flip else batch)

    estimator.predict(image, boxes)
    bare()
    ratios, alone = [], []
    for _ in range(arguments.rounds):
        started = time.perf_counter()
        estimator.predict(image, boxes)
        between = time.perf_counter()
        bare()
        alone.append(time.perf_counter() - between)
        ratios.append((between - started) / alone[-1])
    answer = {
        "what": arguments.preset or arguments.weights,
        "input": size,
        "persons": arguments.persons,
        "flip": arguments.flip,
        "ratio_median": round(statistics.median(ratios), 3),
        "ratios": [round(r, 3) for r in ratios],
        "bare_ms_per_person": round(1000 * statistics.median(alone) / arguments.persons, 2),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "processor": platform.processor() or platform.machine(),
    }
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
