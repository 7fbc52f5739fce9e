"""The benchmarks still run: each small one at its smallest, its answer JSON."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sadinet.models import DEFAULT, embedded_models

SCRIPTS = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.skipif(DEFAULT not in embedded_models(), reason="this checkout has no weights in src/sadinet/weights")
@pytest.mark.parametrize(
    ("words", "keys"),
    [
        (("predict_overhead.py", "--rounds", "1"), {"ratio_median", "bare_ms_per_person"}),
        (("startup.py", "--rounds", "1"), {"import_s", "onnxruntime"}),
        (("video.py", "--frames", "4", "--size", "320x240", "--rounds", "1"), {"ratio_median", "share_by_stage"}),
        (("video.py", "--soak", "8", "--size", "320x240"), {"growth_percent"}),
        (("onnx_parity.py", "DATA", "--crops", "3"), {"heatmaps_max", "keypoints_max_px"}),
        (("test_time.py", "DATA", "--persons", "4"), {"ways"}),
        (("half_bodies.py", "DATA", "lsp-t", "--persons", "6"), {"auroc", "outside_shown"}),
        (("gradients.py", "DATA", "--steps", "0,1", "--batches", "2"), {"ratio", "signal_heatmaps"}),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else None,
)
def test_it_runs(request, words, keys):
    if "DATA" in words:
        shared = request.getfixturevalue("shared")
        words = [str(shared / "data") if word == "DATA" else word for word in words]
    name, *options = words
    asked = [sys.executable, str(SCRIPTS / name), *options]
    done = subprocess.run(asked, capture_output=True, text=True, timeout=300, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    assert keys <= json.loads(done.stdout.splitlines()[-1]).keys()
