"""How long a person takes: ours beside our own builds of the classics and the phone models, in turns, in one run.

    python benchmarks/peers/race.py DATA MODELS [--threads 1 2] [--batches 1 16] [--minutes 6]

Timed is all from a decoded picture and a box to keypoints in the picture: cutting out, network, decoding; one pass, no
mirror. Each model lives in a process of its own, pinned to as many cores as it may have threads, all at once (10 GB of
memory); they are asked one after the other, in rounds of a new order each, so that what the machine does else hits all
alike. Slow models get fewer turns, at least three. Writes benchmarks/results/race.json.
"""

import argparse
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from page import race_table, resources_table, skipped_list

# Only the standard library in here: a child's peak memory would count what its parent had.

HERE = Path(__file__).resolve().parent
RESULTS = HERE.parent / "results" / "race.json"
BUILD = HERE.parents[1] / "build" / "peers"
LIMIT = 300.0  # seconds after which a model that says nothing is given up
PAUSE = 0.02  # seconds in which threads of the one before fall asleep


class Failed(Exception):
    """A model that cannot run; the message says why."""


class Worker:
    """A process with one model.

    Args:
        contender: The model, as `contenders.py` describes it.
        job: What the process is told.
        verbose: Show what its libraries say.

    Raises:
        Failed: If it does not come to its first answer.
    """

    def __init__(self, contender: Mapping[str, Any], job: Mapping[str, Any], *, verbose: bool) -> None:
        self.contender = contender
        started = time.perf_counter()
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "worker.py"), json.dumps(job)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if verbose else subprocess.DEVNULL,
            text=True,
        )
        self._read()
        self.startup = time.perf_counter() - started

    @property
    def name(self) -> str:
        """Of the model and its engine."""
        return f"{self.contender['model']}, {self.contender['engine']}"

    def ask(self, batch: int, seconds: float) -> dict[str, float]:
        """A turn: milliseconds per person, calls and peak memory so far.

        Raises:
            Failed: If the process dies or takes forever.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"batch": batch, "seconds": seconds}) + "\n")
            self._process.stdin.flush()
        except OSError as error:
            raise Failed(f"its process ended ({error})") from None
        return self._read()

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()

    def _read(self) -> Any:
        assert self._process.stdout is not None
        watch = threading.Timer(LIMIT, self._process.kill)
        watch.start()
        try:
            line = self._process.stdout.readline()
        finally:
            watch.cancel()
        said = json.loads(line) if line else {"error": f"its process ended without an answer within {LIMIT:.0f} s"}
        if "error" in said:
            self.close()
            raise Failed(said["error"])
        return said


@dataclass
class Lane:
    """One worker's turns in a phase: milliseconds per person by round."""

    worker: Worker
    turns: dict[int, float] = field(default_factory=dict)
    spent: float = 0.0
    peak_mb: float = 0.0
    failed: str = ""

    def wants(self, allowance: float, least: int) -> bool:
        """Whether another turn is due: at least ``least``, more while time is left."""
        return not self.failed and (len(self.turns) < least or self.spent < allowance)


def run_phase(
    lanes: Sequence[Lane], batch: int, seconds: float, *, least: int, most: int, reference: str, order: random.Random
) -> None:
    """Rounds of turns until each lane has used its share of ``seconds``; the reference runs in every round."""
    allowance = seconds / max(1, len(lanes))
    for number in range(most):
        due = [lane for lane in lanes if lane.wants(allowance, least)]
        if not due:
            return
        due += [lane for lane in lanes if lane.worker.name == reference and lane not in due and not lane.failed]
        order.shuffle(due)
        for lane in due:
            time.sleep(PAUSE)
            started = time.perf_counter()
            try:
                said = lane.worker.ask(batch, seconds=min(0.3, allowance / least))
            except Failed as error:
                lane.failed = str(error)
                continue
            lane.spent += time.perf_counter() - started
            lane.turns[number], lane.peak_mb = said["ms"], said["peak_mb"]


def summarize(turns: Mapping[int, float], reference: Mapping[int, float] | None) -> dict[str, Any]:
    """Median, lowest and highest of a model's turns, and the median ratio to the reference's of the same rounds."""
    both = [ms / reference[number] for number, ms in turns.items() if number in reference] if reference else []
    return {
        "ms": round(statistics.median(turns.values()), 3),
        "low": round(min(turns.values()), 3),
        "high": round(max(turns.values()), 3),
        "ratio": round(statistics.median(both), 3) if both else None,
        "turns": len(turns),
    }


def prepare(arguments: argparse.Namespace) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    """Exports what is missing in the build folder, in a process of its own; what races and what cannot."""
    command = [sys.executable, str(HERE / "contenders.py"), arguments.data, arguments.models, arguments.build]
    command += ["--weights", *arguments.weights] + (["--quick"] if arguments.quick else [])
    command += ["--keep-exports"] if arguments.keep_exports else []
    if subprocess.run([str(part) for part in command], check=False).returncode:
        raise SystemExit("race: the models could not be prepared")
    prepared = json.loads((arguments.build / "contenders.json").read_text("utf-8"))
    return prepared["contenders"], prepared["skipped"]


def start(arguments: argparse.Namespace, contenders: Sequence[dict[str, Any]], threads: int) -> Iterator[Worker | str]:
    """A worker per contender, or why there is none, one after the other."""
    for contender in contenders:
        job = {
            "engine": contender["engine"],
            "file": contender["file"],
            "threads": threads,
            "batches": arguments.batches,
            "models": str(arguments.models),
            "pictures": str(arguments.build / "pictures.npz"),
        }
        try:
            yield Worker(contender, job, verbose=arguments.verbose)
        except Failed as error:
            yield str(error)


def race(arguments: argparse.Namespace) -> dict[str, Any]:
    """All that is measured."""
    contenders, skipped = prepare(arguments)
    load_before = os.getloadavg()[0]
    begun = time.monotonic()
    deadline = begun + 60 * arguments.minutes
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    possible = [threads for threads in arguments.threads if threads <= cores]
    skipped += [
        {"model": "all", "engine": f"{threads} threads", "reason": f"this process may use {cores} core"}
        for threads in arguments.threads
        if threads not in possible
    ]
    measured: dict[str, Any] = {"limbs": None, "times": {}, "startup": {}}
    rows = [contender | {"file": Path(contender["file"]).name} | deepcopy(measured) for contender in contenders]
    order = random.Random(0)
    for position, threads in enumerate(possible):
        workers: list[Worker] = []
        try:
            for row, found in zip(rows, start(arguments, contenders, threads), strict=True):
                if isinstance(found, str):
                    engine = f"{row['engine']}, {threads} threads"
                    skipped.append({"model": row["model"], "engine": engine, "reason": found})
                    continue
                workers.append(found)
                row["startup"][str(threads)] = round(found.startup, 2)
                print(f"{found.name}, {threads} threads: first answer after {found.startup:.1f} s", file=sys.stderr)
            for phase, batch in enumerate(arguments.batches):
                left = (len(possible) - position) * len(arguments.batches) - phase
                lanes = [Lane(worker) for worker in workers]
                seconds = max(0.0, deadline - time.monotonic()) / left
                limits = {"least": arguments.least, "most": arguments.most, "reference": arguments.reference}
                run_phase(lanes, batch, seconds, **limits, order=order)
                _record(lanes, rows, skipped, f"{threads}/{batch}", arguments.reference)
                workers = [lane.worker for lane in lanes if not lane.failed]
                print(f"{threads} threads, batch {batch}: after {time.monotonic() - begun:.0f} s", file=sys.stderr)
        finally:
            for worker in workers:
                worker.close()
    return {
        "reference": arguments.reference.split(",")[0],
        "threads": possible,
        "batches": arguments.batches,
        "facts": {
            "machine": f"{_processor()}, {cores} of {os.cpu_count()} cores, {_memory_gb():.0f} GB",
            "load before": f"{load_before:.2f}",
            "took": f"{time.monotonic() - begun:.0f} s for {sum(len(row['times']) for row in rows)} measurements",
            "versions": ", ".join(_versions()),
        },
        "rows": rows,
        "skipped": skipped,
    }


def _record(
    lanes: Sequence[Lane], rows: Sequence[dict[str, Any]], skipped: list[dict[str, str]], which: str, reference: str
) -> None:
    leading = next((lane.turns for lane in lanes if lane.worker.name == reference), None)
    for lane in lanes:
        contender = lane.worker.contender
        if lane.turns:
            row = next(r for r in rows if (r["model"], r["engine"]) == (contender["model"], contender["engine"]))
            row["times"][which] = summarize(lane.turns, leading) | {"peak_mb": round(lane.peak_mb)}
        if lane.failed:
            engine = f"{contender['engine']}, threads/batch {which}"
            skipped.append({"model": contender["model"], "engine": engine, "reason": lane.failed})


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _memory_gb() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9


def _versions() -> Iterator[str]:
    yield f"Python {platform.python_version()}"
    for package in ("sadinet", "torch", "onnxruntime", "openvino", "ai-edge-litert"):
        try:
            yield f"{package} {version(package)}"
        except PackageNotFoundError:
            continue


def parse(given: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="the folder that holds lsp/")
    parser.add_argument("models", type=Path, help="the folder of the peers' .tflite files")
    parser.add_argument("--weights", nargs="*", default=[], help="ours that are no embedded ones: .safetensors files")
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 16], help="persons at once")
    parser.add_argument("--minutes", type=float, default=6.0, help="for all but the exporting; about")
    parser.add_argument("--least", type=int, default=3, help="turns of each model, whatever they take")
    parser.add_argument("--most", type=int, default=30, help="turns at most")
    parser.add_argument("--reference", default="MoveNet Lightning int8, LiteRT", help="ratios are to: model, engine")
    parser.add_argument("--quick", action="store_true", help="the small models alone, one turn: does it work?")
    parser.add_argument("--keep-exports", action="store_true", help="use the models that an earlier run exported")
    parser.add_argument("--verbose", action="store_true", help="show what the engines say")
    parser.add_argument("--build", type=Path, default=BUILD, help="the folder in which exported models are kept")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the JSON file of results")
    arguments = parser.parse_args(given)
    if arguments.quick:
        arguments.minutes, arguments.least, arguments.most = 0.1, 1, 1
    arguments.build = arguments.build.resolve()
    return arguments


def main(given: Sequence[str] | None = None) -> int:
    arguments = parse(given)
    result = race(arguments)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    temporary = arguments.out.with_suffix(".tmp")
    temporary.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    temporary.replace(arguments.out)
    print(race_table(result), resources_table(result), skipped_list(result), sep="\n\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
