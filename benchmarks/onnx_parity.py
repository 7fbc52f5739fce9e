"""How an exported network agrees with PyTorch on real crops, in batches of several sizes.

    python benchmarks/onnx_parity.py DATA [--weights lsp-t] [--dataset lsp] [--split test] [--crops 200] [--int8]

Exports the weights, shows both engines the same crops in batches of 1, 2, 7, 16 and the rest, and prints one line of
JSON: the largest difference of a heatmap's pixel, and of a keypoint whose peak is at least 0.05 [px of the crop].
"""

import argparse
import json
from pathlib import Path

import numpy as np

from sadinet.backend import OnnxBackend
from sadinet.checkpoint import load_checkpoint
from sadinet.exporting.export import FOUND, real_crops
from sadinet.exporting.graph import build
from sadinet.exporting.quantize import CALIBRATION_CROPS, quantized
from sadinet.heatmaps import decode, to_numpy
from sadinet.models import weights_file
from sadinet.reading import Reading
from sadinet.torch_backend import TorchBackend

BATCHES = (1, 2, 7, 16)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--weights", default="lsp-t")
    parser.add_argument("--dataset", default="lsp")
    parser.add_argument("--split", default="test")
    parser.add_argument("--crops", type=int, default=200)
    parser.add_argument("--int8", action="store_true")
    arguments = parser.parse_args()
    checkpoint = load_checkpoint(weights_file(arguments.weights))
    reading = Reading.of(checkpoint.experiment)
    crops = real_crops(arguments.dataset, arguments.split, arguments.data, reading.input_size, arguments.crops)
    model = build(checkpoint.network, reading)
    if arguments.int8:
        dataset = checkpoint.experiment.data.dataset
        model = quantized(model, real_crops(dataset, "train", arguments.data, reading.input_size, CALIBRATION_CROPS))
    theirs, ours = OnnxBackend(model.SerializeToString()), TorchBackend(checkpoint.network, "cpu")
    heatmaps, distances, start, number = 0.0, [], 0, 0
    while start < len(crops):
        part = crops[start : start + BATCHES[number % len(BATCHES)]]
        found, expected = (to_numpy(backend.heatmaps(part)) for backend in (theirs, ours))
        heatmaps = max(heatmaps, float(np.abs(found - expected).max()))
        xy, _ = decode(found, reading.decoding, sigma=reading.sigma)
        expected_xy, peak = decode(expected, reading.decoding, sigma=reading.sigma)
        distances.append(np.linalg.norm(xy - expected_xy, axis=-1)[peak >= FOUND] * reading.stride)
        start, number = start + len(part), number + 1
    all_distances = np.concatenate(distances)
    answer = {
        "weights": arguments.weights,
        "precision": "int8" if arguments.int8 else "float32",
        "crops": len(crops),
        "batches": list(BATCHES),
        "heatmaps_max": heatmaps,
        "keypoints": len(all_distances),
        "keypoints_max_px": float(all_distances.max()),
        "keypoints_median_px": float(np.median(all_distances)),
    }
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
