"""What flip and six scales add at test time, in accuracy and in time: the same persons, one run.

    python benchmarks/test_time.py DATA [--weights lsp-t] [--dataset lsp+lspet] [--split val] [--persons 0]

The persons go through in groups of four batches; each group is asked in all four ways, one after the other, so that a
busy machine slows all of them alike. Scores are those of all persons, the times' ratios are medians over the groups.
Prints one line of JSON; with --out also into a file.
"""

import argparse
import json
import platform
import statistics
import time
from pathlib import Path

import numpy as np
import torch

import sadinet
from sadinet.crops import SIX_SCALES, Inference
from sadinet.data.splits import read_split
from sadinet.estimator import Estimator
from sadinet.evaluate import predict_persons
from sadinet.report import score_persons

WAYS = {
    "1 scale": Inference(flip=False),
    "flip": Inference(flip=True),
    "6 scales": Inference(flip=False, scales=SIX_SCALES),
    "6 scales + flip": Inference(flip=True, scales=SIX_SCALES),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--weights", default="lsp-t")
    parser.add_argument("--dataset", default="lsp+lspet")
    parser.add_argument("--split", default="val")
    parser.add_argument("--persons", type=int, default=0, help="only so many (default: all)")
    parser.add_argument("--device")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    whole = sadinet.load(arguments.weights, device=arguments.device)
    estimators = {name: Estimator(whole.backend, whole.reading, inference=way) for name, way in WAYS.items()}
    split = read_split(arguments.dataset, arguments.split, arguments.data)
    persons = split.persons[: arguments.persons or None]
    size = 4 * whole.inference.batch_size
    groups = [persons[i : i + size] for i in range(0, len(persons), size)]
    for estimator in estimators.values():  # warm up; the pictures are then in the cache of the file system
        predict_persons(estimator, persons[: whole.inference.batch_size])
    seconds: dict[str, list[float]] = {name: [] for name in WAYS}
    found: dict[str, list[np.ndarray]] = {name: [] for name in WAYS}
    for group in groups:
        for name, estimator in estimators.items():
            started = time.perf_counter()
            xy, _ = predict_persons(estimator, group)
            if whole.device.startswith("cuda"):
                torch.cuda.synchronize()
            seconds[name].append(time.perf_counter() - started)
            found[name].append(xy)
    protocol = split.protocol
    reports = {
        name: score_persons(np.concatenate(parts), persons, whole.skeleton, protocol) for name, parts in found.items()
    }
    one = "1 scale"
    answer = {
        "weights": arguments.weights,
        "data": split.name,
        "persons": len(persons),
        "persons_hash": split.hash,
        "input": whole.input_size,
        "decoding": whole.reading.decoding,
        "protocol": protocol.label,
        "ways": {
            name: {
                "mean": round(report.mean, 2),
                "parts": {part.title: round(part.percent, 1) for part in report.parts},
                "passes": len(WAYS[name].scales) * (1 + WAYS[name].flip),
                "time_ratio": round(
                    statistics.median(a / b for a, b in zip(seconds[name], seconds[one], strict=True)), 2
                ),
                "ms_per_person": round(1000 * sum(seconds[name]) / len(persons), 2),
            }
            for name, report in reports.items()
        },
        "groups": len(groups),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "device": str(whole.device),
        "processor": platform.processor() or platform.machine(),
    }
    print(json.dumps(answer))
    if arguments.out:
        arguments.out.write_text(json.dumps(answer, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
