"""One model in a process of its own, asked by `race.py` line by line: so threads, start-up and memory are its own.

    python benchmarks/peers/worker.py '{"engine": "torch", "file": "lsp-t", "threads": 1, "pictures": "pictures.npz"}'

Says ``{"ready": true}`` after the first person; then for each line ``{"batch": 16, "seconds": 0.3}`` asks the model for
batches of persons, at least one, until the time is up, and says how long a person took. Leaves when its input ends.
"""

import json
import os
import resource
import sys
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

# Nothing heavy up here: threads are set before the libraries that read them are imported.


def pin(threads: int) -> None:
    """Keep this process, whatever its libraries start, on as many cores as it may have threads."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(threads)


def load(job: dict[str, Any]) -> tuple[Any, float]:
    """The model, and the margin around a person's box that it was made for."""
    if job["engine"] == "LiteRT":
        from litert import LiteRT

        model = LiteRT(job["file"], Path(job["models"]), threads=job["threads"])
        return model, model.margin
    import sadinet
    from sadinet.estimator import BOX_MARGIN

    backend = job["engine"].split()[0]
    estimator = sadinet.load(job["file"], device="cpu", backend=backend, flip=False, batch_size=max(job["batches"]))
    estimator.inference = replace(estimator.inference, threads=job["threads"])
    return estimator, BOX_MARGIN


def answer(line: object) -> None:
    """One line of JSON to whom this process belongs."""
    print(json.dumps(line), flush=True)


def serve(model: Any, persons: list[tuple[Any, Any]], orders: Iterable[str]) -> None:
    """Do what each line of ``orders`` says."""
    at = 0
    for line in orders:
        order = json.loads(line)
        batch, seconds = order["batch"], 0.0
        calls: list[float] = []
        while not calls or seconds < order["seconds"]:
            asked = [persons[(at + i) % len(persons)] for i in range(batch)]
            at += batch
            started = time.perf_counter()
            for _ in model.keypoints(asked):
                pass
            calls.append(time.perf_counter() - started)
            seconds += calls[-1]
        peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # KiB on Linux
        answer({"ms": 1000 * seconds / (len(calls) * batch), "calls": len(calls), "peak_mb": peak_kib * 1024 / 1e6})


def main() -> int:
    job = json.loads(sys.argv[1])
    pin(job["threads"])
    try:
        import numpy as np

        from sadinet.geometry import Crop

        model, margin = load(job)
        with np.load(job["pictures"]) as file:
            boxes = file["boxes"]
            persons = [(file[f"picture{i}"], Crop.around(boxes[i], margin)) for i in range(len(boxes))]
        next(iter(model.keypoints(persons[:1])))
    except Exception as error:  # noqa: BLE001 - whatever stops one model must not stop the race
        answer({"error": f"{type(error).__name__}: {error}".split("\n")[0]})
        return 1
    answer({"ready": True})
    serve(model, persons, sys.stdin)
    return 0


if __name__ == "__main__":
    sys.exit(main())
