"""Where the time of one person goes, and how far that is from the arithmetic this machine can do.

    python benchmarks/inference_profile.py [--models lsp-t lsp-s lsp-b] [--batch 1 16] [--rounds 20] [--out FILE.json]

For each preset (an untrained network of its shape at 256 px, folded, without training-only parts) and each of torch and
onnxruntime: milliseconds per person, multiply-adds per second as a share of the rate of a large matrix product measured
in the same run (the best of numpy's, torch's and onnxruntime's), and the share of the time by stage. A stage is a
resolution of the hourglass, ``1/4`` being the finest; ``head`` is the convolution in front of the heatmaps and the
heatmaps; ``gates`` is what works on single pixels; ``rest`` is what lies between the layers. Prints a table; --out also
writes JSON.
"""

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch

import sadinet
from sadinet.backend import OnnxBackend, TorchBackend, thread_count
from sadinet.export import generated
from sadinet.graph import build
from sadinet.model.fold import folded
from sadinet.model.network import SadiNet
from sadinet.reading import Reading

STAGES = ("1/2", "1/4", "1/8", "1/16", "1/32", "head", "gates", "rest")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["lsp-t", "lsp-s", "lsp-b"])
    parser.add_argument("--batch", nargs="+", type=int, default=[1, 16])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    rows = [row for name in arguments.models for row in profile(name, arguments.batch, arguments.rounds)]
    versions = {"torch": torch.__version__, "onnxruntime": onnxruntime.__version__}
    answer = {"threads": thread_count(), "processor": platform.processor(), **versions, "rows": rows}
    if arguments.out:
        arguments.out.write_text(json.dumps(answer, indent=1) + "\n")
    titles = ("", "engine", "batch", "ms", "GMAC", "GMAC/s", "of matmul", *STAGES)
    print("| " + " | ".join(titles) + " |\n" + "|---" * len(titles) + "|")
    for row in rows:
        shares = [f"{100 * row['stages'].get(stage, 0):.0f} %" for stage in STAGES]
        cells = (row["model"], row["engine"], row["batch"], row["ms"], row["gmac"], row["rate"])
        print("| " + " | ".join([*map(str, cells), f"{100 * row['roofline']:.0f} %", *shares]) + " |")


def profile(name: str, batches: list[int], rounds: int) -> list[dict[str, object]]:
    experiment = sadinet.preset(f"{name}-rfm")
    torch.manual_seed(0)
    network, reading = folded(SadiNet(experiment.network)), Reading.of(experiment)
    backbone = experiment.network.backbone
    head = (backbone.features, len(reading.skeleton))

    def stage(shape: list[int]) -> str:
        """Of a layer with output ``shape`` (B, C, h, w)."""
        if len(shape) != 4:
            return "rest"
        if shape[2] == 1:
            return "gates"
        if shape[2] == reading.input_size // reading.stride and shape[1] in head and shape[1] != backbone.channels[0]:
            return "head"
        found = f"1/{reading.input_size // shape[2]}"
        return found if found in STAGES else "rest"

    macs = count(network, reading.input_size, stage)
    model = build(network, reading).SerializeToString()
    engines = {"torch": TorchBackend(network, "cpu"), "onnxruntime": OnnxBackend(model)}
    rows: list[dict[str, object]] = []
    for batch in batches:
        crops = generated(reading, batch)
        times: dict[str, list[float]] = defaultdict(list)
        rates = []
        for _ in range(rounds):  # in turns, so that whatever else the machine does is shared
            rates.append(matmul_rate())
            for engine, backend in engines.items():
                times[engine].append(settled(partial(backend.heatmaps, crops)))
        shares = {"torch": torch_stages(engines["torch"], crops, stage, rounds)}
        shares["onnxruntime"] = onnx_stages(model, crops, stage, rounds)
        for engine in engines:
            each = statistics.median(times[engine]) / batch
            rate = sum(macs.values()) / each / 1e9
            rows.append(
                {
                    "model": name,
                    "engine": engine,
                    "batch": batch,
                    "ms": round(1000 * each, 2),
                    "gmac": round(sum(macs.values()) / 1e9, 3),
                    "rate": round(rate, 1),
                    "matmul_rate": round(statistics.median(rates), 1),
                    "roofline": round(rate / statistics.median(rates), 3),
                    "stages": {s: round(share, 4) for s, share in shares[engine].items()},
                    "macs": {s: round(value / sum(macs.values()), 4) for s, value in macs.items()},
                }
            )
    return rows


def count(network: SadiNet, size: int, stage: Callable[[list[int]], str]) -> dict[str, float]:
    """Multiply-adds of the convolutions by stage, for one person."""
    total: dict[str, float] = defaultdict(float)

    def note(module: torch.nn.Conv2d, _: object, output: torch.Tensor) -> None:
        total[stage(list(output.shape))] += output.numel() * module.weight[0].numel()

    hooks = [m.register_forward_hook(note) for m in network.modules() if isinstance(m, torch.nn.Conv2d)]
    with torch.inference_mode():
        network.backbone_heatmaps(torch.zeros(1, 3, size, size))
    for hook in hooks:
        hook.remove()
    return dict(total)


def matmul_rate(side: int = 1536) -> float:
    """Multiply-adds per second [10^9] of the best of three large matrix products in float32."""
    a = np.random.default_rng(0).random((side, side), dtype=np.float32)
    b, session = torch.from_numpy(a), matmul_session()
    products = (lambda: a @ a, lambda: b @ b, lambda: session.run(None, {"a": a, "b": a}))
    return side**3 / min(settled(product) for product in products) / 1e9


@cache
def matmul_session() -> onnxruntime.InferenceSession:
    kind = onnx.TensorProto.FLOAT
    a, b, c = (onnx.helper.make_tensor_value_info(name, kind, [None, None]) for name in "abc")
    graph = onnx.helper.make_graph([onnx.helper.make_node("MatMul", ["a", "b"], ["c"])], "product", [a, b], [c])
    opsets = [onnx.helper.make_opsetid("", 18)]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = thread_count()
    model = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=9)
    return onnxruntime.InferenceSession(model.SerializeToString(), options)


def settled(work: Callable[[], object]) -> float:
    """Seconds of the second call: the first wakes this engine's threads, after those of the one before fell asleep."""
    time.sleep(0.1)
    work()
    return seconds(work)


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def torch_stages(
    backend: TorchBackend, crops: np.ndarray, stage: Callable[[list[int]], str], rounds: int
) -> dict[str, float]:
    """Share of the time by stage, from hooks around every layer."""
    spent: dict[str, float] = defaultdict(float)
    started = [0.0]

    def before(*_: object) -> None:
        started[0] = time.perf_counter()

    def after(_module: object, _inputs: object, output: torch.Tensor) -> None:
        spent[stage(list(output.shape))] += time.perf_counter() - started[0]

    leaves = [m for m in backend.network.modules() if not list(m.children())]
    hooks = [h for m in leaves for h in (m.register_forward_pre_hook(before), m.register_forward_hook(after))]
    total = sum(seconds(lambda: backend.heatmaps(crops)) for _ in range(rounds))
    for hook in hooks:
        hook.remove()
    spent["rest"] += total - sum(spent.values())
    return {name: value / total for name, value in spent.items()}


def onnx_stages(model: bytes, crops: np.ndarray, stage: Callable[[list[int]], str], rounds: int) -> dict[str, float]:
    """Share of the time by stage, from onnxruntime's own profile."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = thread_count()
    options.log_severity_level = 3
    options.enable_profiling = True
    with tempfile.TemporaryDirectory() as folder:
        options.profile_file_prefix = os.path.join(folder, "profile")  # noqa: PTH118 (a prefix, no path)
        session = onnxruntime.InferenceSession(model, options)
        total = sum(seconds(lambda: session.run(None, {"images": crops})) for _ in range(rounds))
        events = json.loads(Path(session.end_profiling()).read_text())
    spent: dict[str, float] = defaultdict(float)
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            shapes = [shape for kind in event["args"]["output_type_shape"] for shape in kind.values()]
            spent[stage(shapes[0]) if shapes else "rest"] += event["dur"] / 1e6
    spent["rest"] += total - sum(spent.values())
    return {name: value / total for name, value in spent.items()}


if __name__ == "__main__":
    main()
