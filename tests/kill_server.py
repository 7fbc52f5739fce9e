"""Trains in forked children and kills them; run by test_train.py, so that 30 kills need torch imported only once.

Each line of standard input is ``DATA OUT SECONDS``: train or resume in OUT, killed by SIGKILL that long after the
state in OUT was first written in this life (negative: never). Answers with the child's exit status.
"""

import os
import random
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch
import torch._dynamo  # by the optimizer, else again in every life

sys.path.insert(0, str(Path(__file__).parent))
from micro import QUIET, micro  # type: ignore[import-not-found]
from sadinet.training.folder import STATE
from sadinet.training.train import train


def life(data: Path, out: Path, seconds: float) -> int:
    state = out / STATE
    before = state.stat().st_mtime_ns if state.exists() else 0
    child = os.fork()
    if child == 0:
        torch.set_num_threads(1)
        train(micro("training.epochs=14"), data, out, machine=replace(QUIET, save_every=0.0), resume=True)
        os._exit(0)
    while seconds >= 0:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return status
        if state.exists() and state.stat().st_mtime_ns != before:
            time.sleep(seconds * random.random())
            os.kill(child, signal.SIGKILL)
            break
        time.sleep(0.001)
    return os.waitpid(child, 0)[1]


for line in sys.stdin:
    data, out, seconds = line.split()
    print(life(Path(data), Path(out), float(seconds)), flush=True)
