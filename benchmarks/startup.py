"""What it takes to begin: importing the package, the first prediction of a new process, its peak memory.

    python benchmarks/startup.py [--rounds 5] [--backends torch onnxruntime] [PICTURE]

Each number is the median over new processes. Prints one line of JSON; seconds, and MB of resident memory at most.
"""

import argparse
import json
import statistics
import subprocess
import sys

IMPORT = """
import sys
import time
started = time.perf_counter()
import sadinet
print(time.perf_counter() - started, "torch" in sys.modules)
"""
PREDICT = """
import time
started = time.perf_counter()
import sys
import numpy as np
import sadinet
source = sys.argv[2] if len(sys.argv) > 2 else np.full((480, 320, 3), 128, np.uint8)
estimator = sadinet.load(device="cpu", backend=sys.argv[1])
loaded = time.perf_counter()
estimator.predict(source)
first = time.perf_counter()
estimator.predict(source)
second = time.perf_counter()
import resource
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(loaded - started, first - started, second - first, peak)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("picture", nargs="?")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--backends", nargs="+", default=["torch", "onnxruntime"])
    arguments = parser.parse_args()
    imports = [run(IMPORT) for _ in range(arguments.rounds)]
    answer: dict[str, object] = {
        "import_s": round(statistics.median(float(seconds) for seconds, _ in imports), 3),
        "import_loads_torch": any(loads == "True" for _, loads in imports),
    }
    for backend in arguments.backends:
        more = [arguments.picture] if arguments.picture else []
        runs = [[float(word) for word in run(PREDICT, backend, *more)] for _ in range(arguments.rounds)]
        names = ("loaded_s", "first_prediction_s", "second_prediction_s", "peak_mb")
        answer[backend] = {n: round(statistics.median(r[i] for r in runs), 3) for i, n in enumerate(names)}
    print(json.dumps(answer))


def run(code: str, *words: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    return done.stdout.split()


if __name__ == "__main__":
    main()
