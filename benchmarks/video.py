"""A video from file to poses beside the bare network: the same persons, one run, paired ratios. And a long soak.

    python benchmarks/video.py [--weights lsp-t] [--frames 240] [--persons 2] [--rounds 5] [--flip] [--detector FILE]
    python benchmarks/video.py --soak 10000 --size 320x240 [--persons 1] [--detector FILE]

The video shows stick figures who walk. It goes through `Estimator.stream`: decoding, boxes (given, or detected on every
5th frame and between), crops, network, keypoints, ids, smoothing. Then crops of as many persons, ready in memory,
go through `Estimator.heatmaps` alone, in the same batches. `ratio_median` is the throughput of the first over that of
the second. `share_by_stage` is each stage's time over the elapsed time; stages run side by side, so they may sum to
more than 1.

The soak runs the whole command with a drawn copy and JSON lines, and samples resident memory twice a second: growth
is that of the highest sample after the first 500 frames' share of the time over the one there.

Prints one line of JSON.
"""

import argparse
import json
import os
import platform
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import sadinet
from sadinet.data.toy import write_toy
from sadinet.geometry import Crop, image_to_crop
from sadinet.images import warp
from sadinet.media.recording import VideoWriter
from sadinet.model.fold import folded
from sadinet.model.network import SadiNet
from sadinet.persons.detect import find_detector
from sadinet.predicting.job import Job
from sadinet.predicting.predict import predict_sources


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", default="lsp-t")
    parser.add_argument("--preset", help="an untrained network of this preset instead, in PyTorch")
    parser.add_argument("--frames", type=int, default=240)
    parser.add_argument("--persons", type=int, default=2)
    parser.add_argument("--size", default="1280x720", help="width x height of the video")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--flip", action="store_true")
    parser.add_argument("--detector", help="an .onnx file; without, boxes are given")
    parser.add_argument("--detect-every", type=int, help="default: 5")
    parser.add_argument("--device")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--threads", type=int, help="of torch")
    parser.add_argument("--soak", type=int, metavar="FRAMES")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    estimator = make_estimator(arguments)
    with tempfile.TemporaryDirectory() as folder:
        width, height = map(int, arguments.size.split("x"))
        boxes = write_walkers(
            Path(folder) / "walk.mp4", arguments.soak or arguments.frames, arguments.persons, (width, height)
        )
        finding = (
            {"detector": find_detector(arguments.detector), "detect_every": arguments.detect_every}
            if arguments.detector
            else {"boxes": boxes}
        )
        answer = (
            soak(estimator, Path(folder), finding)
            if arguments.soak
            else race(estimator, Path(folder), finding, arguments)
        )
    answer |= {
        "weights": arguments.preset or arguments.weights,
        "input": estimator.input_size,
        "video": arguments.size,
        "flip": arguments.flip,
        "boxes": f"detected ({Path(arguments.detector).name})" if arguments.detector else "given",
        "device": str(estimator.device),
        "threads": torch.get_num_threads(),
        "processors": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "torch": torch.__version__,
        "processor": platform.processor() or platform.machine(),
    }
    print(json.dumps(answer))


def make_estimator(arguments: argparse.Namespace) -> sadinet.Estimator:
    """The one that is raced."""
    options = {"flip": arguments.flip, "batch_size": arguments.batch_size}
    if not arguments.preset:
        return sadinet.load(arguments.weights, device=arguments.device, **options)
    experiment = sadinet.preset(arguments.preset)
    network = SadiNet(experiment.network, sigma=experiment.loss.sigma)
    network.drop_training_parts()
    inference = sadinet.Inference(**options)
    return sadinet.Estimator(folded(network.eval()), experiment, device=arguments.device, inference=inference)


def write_walkers(path: Path, frames: int, persons: int, size: tuple[int, int]) -> np.ndarray:
    """A video of stick figures who walk to and fro around their places, and boxes ``(P, 4)`` around those."""
    width, height = size
    with tempfile.TemporaryDirectory() as folder:
        write_toy(Path(folder), persons, seed=1)
        figures = [Image.open(file).convert("RGB") for file in sorted((Path(folder) / "toy" / "images").glob("*.jpg"))]
    tall = round(height * 0.7)
    figures = [figure.resize((round(tall * figure.width / figure.height), tall)) for figure in figures]
    step = width / persons
    boxes = np.array(
        [
            [step * (p + 0.5) - tall / 4, height * 0.15, step * (p + 0.5) + tall / 4, height * 0.85]
            for p in range(persons)
        ]
    )
    with VideoWriter(path, size, rate=Fraction(25)) as writer:
        for i in range(frames):
            picture = Image.new("RGB", size, (96, 110, 120))
            for p, figure in enumerate(figures):
                x = step * (p + 0.5) - figure.width / 2 + 0.06 * width * np.sin(i / 20 + p)
                picture.paste(figure, (round(x), round(height * 0.15)))
            writer.write(np.asarray(picture), i / 25)
    return boxes


def race(estimator: sadinet.Estimator, folder: Path, finding: dict, arguments: argparse.Namespace) -> dict:
    """Stream and bare network in turn."""

    def stream() -> Iterator[sadinet.Poses]:
        return estimator.stream(folder / "walk.mp4", **finding)

    persons = [len(poses) for poses in stream()]
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (720, 1280, 3), dtype=np.uint8)
    side = estimator.input_size
    crop = warp(picture, image_to_crop(Crop((640.0, 360.0), 600.0), side), side)
    crops = np.stack([crop] * estimator.inference.batch_size)

    def bare() -> None:
        left = sum(persons)
        while left > 0:
            maps = estimator.heatmaps(crops[:left])
            left -= len(crops)
        maps.sum().item()  # waits for the device

    bare()
    ratios, walls, alone = [], [], []
    stages: dict[str, float] = {}
    for _ in range(arguments.rounds):
        started = time.perf_counter()
        for poses in stream():
            for stage, ms in (poses.timing or {}).items():
                stages[stage] = stages.get(stage, 0.0) + ms / 1000
        between = time.perf_counter()
        bare()
        walls.append(between - started)
        alone.append(time.perf_counter() - between)
        ratios.append(alone[-1] / walls[-1])
    return {
        "frames": len(persons),
        "persons": sum(persons),
        "ratio_median": round(statistics.median(ratios), 3),
        "ratios": [round(r, 3) for r in ratios],
        "frames_per_second": round(len(persons) / statistics.median(walls), 2),
        "bare_ms_per_person": round(1000 * statistics.median(alone) / max(sum(persons), 1), 2),
        "share_by_stage": {stage: round(seconds / sum(walls), 4) for stage, seconds in stages.items()},
        "outside_network": round(1 - stages.get("network", 0.0) / sum(walls), 4),
    }


def soak(estimator: sadinet.Estimator, folder: Path, finding: dict) -> dict:
    """Memory while a long video is predicted, drawn and written."""
    samples: list[tuple[float, int]] = []
    finished = threading.Event()

    def sample() -> None:
        while not finished.wait(0.5):
            samples.append((time.perf_counter(), resident_bytes()))

    thread = threading.Thread(target=sample)
    started = time.perf_counter()
    thread.start()
    try:
        (result,) = predict_sources(estimator, folder / "walk.mp4", folder / "out", Job(stream=finding))
    finally:
        finished.set()
        thread.join()
    samples.append((time.perf_counter(), resident_bytes()))
    elapsed = time.perf_counter() - started
    after = [rss for at, rss in samples if at - started >= elapsed * min(500 / max(result.frames, 1), 0.5)]
    return {
        "frames": result.frames,
        "persons": result.persons,
        "error": result.error,
        "frames_per_second": round(result.frames / elapsed, 2),
        "rss_mb_after_500": round(after[0] / 1e6, 1),
        "rss_mb_most": round(max(after) / 1e6, 1),
        "rss_mb_last": round(after[-1] / 1e6, 1),
        "growth_percent": round(100 * (max(after) / after[0] - 1), 2),
        "samples": len(after),
    }


def resident_bytes() -> int:
    """Of this process; Linux."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    main()
