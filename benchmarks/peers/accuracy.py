"""Who finds the keypoints of LSP: our weights beside published predictions, MoveNet Lightning and BlazePose lite.

    python benchmarks/peers/accuracy.py DATA MODELS [--weights lsp-t lsp-b.safetensors lsp-t.onnx]

The same pictures for everybody and four ways to say where the person is (`boxes.py`); each model gets the square around
the box with the margin that suits it. DATA holds ``lsp/`` (and ``lspet/`` for ``--split val``), MODELS the peers'
``.tflite`` files and ``yolox_nano.onnx``, the detector. Nothing is tuned here. Writes
benchmarks/results/peers_accuracy.json.
"""

import argparse
import hashlib
import json
import platform
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from boxes import RULES, Boxes, Margins, Rule, choose, crop_around, upright
from litert import PEERS, LiteRT
from numpy.typing import NDArray
from page import COLUMNS, accuracy_table, limb_mean

import sadinet
from sadinet import LSP
from sadinet.data.person import Person
from sadinet.data.splits import Split, read_split
from sadinet.errors import SadinetError
from sadinet.estimator import BOX_MARGIN
from sadinet.files import replacing
from sadinet.geometry import Crop, bounding_box
from sadinet.metrics import LSP_PCK
from sadinet.report import Report, score_persons
from sadinet.score import score_file

RESULTS = Path(__file__).resolve().parents[1] / "results" / "peers_accuracy.json"
DETECTOR = "yolox_nano.onnx"
UNUSED = "not used"
OURS = Margins(BOX_MARGIN, 1.05)
TESTS = {"single": (False, False), "flip": (True, False), "six": (True, True)}
"""How our weights are asked: (flip, six scales)."""

Asked = Iterable[tuple[NDArray[np.uint8], Crop]]


class Model(Protocol):
    """What an `sadinet.Estimator` and a peer have in common."""

    def keypoints(self, persons: Asked) -> Iterator[tuple[NDArray[np.float64], Any]]:
        """For each picture and crop, in order, ``xy`` ``(K, 2)`` [image px] and scores."""
        ...


def find_boxes(persons: Sequence[Person], rules: Sequence[Rule], detector: Path) -> dict[Rule, Boxes]:
    """For each rule a box per person ``(N, 4)``; the detector runs once per picture, and only if a rule needs it."""
    detect: Callable[[NDArray[np.uint8]], Any] | None = None
    if {"matched", "central"} & set(rules):
        from sadinet.persons.detect import YoloxDetector

        detect = YoloxDetector(detector).detect
    found: dict[Rule, list[Boxes]] = {rule: [] for rule in rules}
    for person in persons:
        image = person.read()
        detected = detect(image).boxes if detect else np.zeros((0, 4))
        for rule in rules:
            found[rule].append(
                choose(
                    rule, truth=bounding_box(person.xy), detected=detected, width=image.shape[1], height=image.shape[0]
                )
            )
    return {rule: np.stack(boxes) for rule, boxes in found.items()}


def find_keypoints(
    model: Model, persons: Sequence[Person], crop_of: Callable[[int], Crop | None]
) -> NDArray[np.float64]:
    """Keypoints ``(N, 14, 2)`` [image px], NaN for whom ``crop_of(number)`` gives no crop."""
    crops = [crop_of(number) for number in range(len(persons))]
    xy = np.full((len(persons), len(LSP), 2), np.nan)
    there = [number for number, crop in enumerate(crops) if crop is not None]
    asked = ((persons[number].read(), crop) for number in there if (crop := crops[number]) is not None)
    for number, (points, _) in zip(there, model.keypoints(asked), strict=True):
        xy[number] = points
    return xy


def make_row(model: str, key: str, kind: str, boxes: str, test: str, report: Report, **more: Any) -> dict[str, Any]:
    """One line of the table; columns of keypoints that the model does not have are null."""
    has_head = kind != "peer"
    shares = {title: part.percent for title, part in zip(COLUMNS, report.parts, strict=True)}
    counts = {title: part.count for title, part in zip(COLUMNS, report.parts, strict=True)}
    return {
        "model": model,
        "key": key,
        "kind": kind,
        "boxes": boxes,
        "test": test,
        "columns": {c: round(s, 2) if has_head or c != "Head" else None for c, s in shares.items()},
        "mean": round(report.mean, 2) if has_head else None,
        "limbs": round(limb_mean(shares, counts), 2),
        **more,
    }


class Measurement:
    """The persons, where each rule looks for them, and the rows so far."""

    def __init__(self, split: Split, boxes: dict[Rule, Boxes]) -> None:
        self.split, self.boxes = split, boxes
        self.rows: list[dict[str, Any]] = []

    def add(self, name: str, key: str, kind: str, test: str, margins: Margins, model: Model, file: Path | None) -> None:
        """A row per rule."""
        for rule, boxes in self.boxes.items():

            def crop_of(number: int, rule: Rule = rule, boxes: Boxes = boxes) -> Crop | None:
                box = boxes[number]
                return crop_around(box, rule, margins) if np.isfinite(box).all() else None

            self._add(name, key, kind, rule, test, find_keypoints(model, self.split.persons, crop_of), file)

    def add_upright(self, name: str, key: str, margin: float, model: Model, file: Path) -> None:
        """A row with crops turned so that the true torso is upright."""
        limbs = [[LSP.index(f"{side}_{part}") for side in ("left", "right")] for part in ("shoulder", "hip")]

        def crop_of(number: int) -> Crop | None:
            xy = self.split.persons[number].xy
            return upright(xy, limbs, margin) if np.isfinite(xy[[*limbs[0], *limbs[1]]]).all() else None

        xy = find_keypoints(model, self.split.persons, crop_of)
        self._add(name, f"{key}-upright", "peer", "truth", "crop turned upright by the truth", xy, file)

    def add_file(self, path: Path, data: Path) -> None:
        """A row of somebody's predictions; MATLAB's count pixels from 1."""
        report = score_file(
            path, dataset="lsp", data=data, split="test", one_based=path.suffix.lower() == ".mat", key=None
        )
        self.rows.append(make_row(path.stem, path.stem, "file", "truth", "as published", report, sha256=_sha(path)))
        self._say()

    def _add(
        self, name: str, key: str, kind: str, rule: str, test: str, xy: NDArray[np.float64], file: Path | None
    ) -> None:
        report = score_persons(xy, self.split.persons, LSP, LSP_PCK)
        found = int(np.isfinite(xy).all(-1).any(-1).sum())
        more = {"persons_found": found, "sha256": _sha(file) if file else None}
        self.rows.append(make_row(name, key, kind, rule, test, report, **more))
        self._say()

    def _say(self) -> None:
        row = self.rows[-1]
        print(f"{row['model']}, {row['boxes']}, {row['test']}: {row['limbs']:.1f}", file=sys.stderr, flush=True)


def _sha(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def add_ours(measurement: Measurement, weights: str, tests: Sequence[str], backend: str | None) -> None:
    """Rows of weights of ours: a name, a checkpoint or an exported file."""
    model = sadinet.embedded_models().get(weights)
    file = model.file if model else Path(weights)
    for test in tests:
        flip, six_scales = TESTS[test]
        estimator = sadinet.load(weights, backend=backend, flip=flip, six_scales=six_scales)
        if estimator.skeleton != LSP:
            raise SadinetError(f"{weights}: finds '{estimator.skeleton.name}' keypoints; this table is of LSP's")
        key = (Path(weights).stem if not model else weights) + (f"-{backend}" if backend else "")
        measurement.add(key, key, "ours", estimator.inference.describe(), OURS, estimator, file)


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """All rows, and what they are rows of."""
    dataset, name = ("lsp", "test") if arguments.split == "test" else ("lsp+lspet", "val")
    split = read_split(dataset, name, arguments.data)
    if arguments.count:
        split = replace(split, persons=split.persons[: arguments.count])
    persons = f"{len(split)}, {split.name}, hash {split.hash}"
    kept = earlier(arguments, persons)
    rules: list[Rule] = list(arguments.boxes)
    skipped = []
    if {"matched", "central"} & set(rules) and not (arguments.models / DETECTOR).is_file():
        rules = [rule for rule in rules if rule not in ("matched", "central")]
        skipped.append({"model": "all", "reason": f"no detector: {DETECTOR} is not in MODELS"})
    measurement = Measurement(split, find_boxes(split.persons, rules, arguments.models / DETECTOR))
    for path in arguments.predictions:
        if arguments.split == "test" and not arguments.count:
            measurement.add_file(path, arguments.data)
        else:
            skipped.append({"model": path.stem, "reason": "predictions are of LSP's 1000 test pictures"})
    for key, peer in PEERS.items() if arguments.peers else ():
        file = arguments.models / peer.file
        if not file.is_file():
            skipped.append({"model": peer.title, "reason": f"{peer.file} is not in MODELS"})
            continue
        model = LiteRT(key, arguments.models)
        measurement.add(peer.title, key, "peer", "1 scale", peer.margins, model, file)
        if key == "blazepose" and "truth" in rules:  # its own pipeline turns the crop, by a detector not used here
            measurement.add_upright(peer.title, key, peer.margins.tight, model, file)
    for weights in arguments.weights:
        add_ours(measurement, weights, arguments.tests, arguments.backend)
    result = {
        "facts": {
            "persons": persons,
            "protocol": LSP_PCK.describe(),
            "detector": _detections(measurement),
            "versions": ", ".join(_versions()),
        },
        "rows": measurement.rows,
        "skipped": skipped,
    }
    return merge(kept, result) if kept else result


def _detections(measurement: Measurement) -> str:
    names: tuple[tuple[Rule, str], ...] = (("matched", "the person's box"), ("central", "any box"))
    found = [
        f"{name} found in {int(np.isfinite(measurement.boxes[rule]).all(1).sum())} pictures"
        for rule, name in names
        if rule in measurement.boxes
    ]
    return "; ".join([DETECTOR, *found]) if found else UNUSED


def _versions() -> Iterator[str]:
    yield f"Python {platform.python_version()}"
    for package in ("sadinet", "torch", "onnxruntime", "ai-edge-litert", "numpy", "pillow"):
        try:
            yield f"{package} {version(package)}"
        except PackageNotFoundError:
            continue


def merge(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """``new`` with the rows of ``old``, of the same persons, that it does not measure again."""

    def what(row: dict[str, Any]) -> tuple[str, str, str]:
        return row["key"], row["boxes"], row["test"]

    again = {what(row) for row in new["rows"]}
    rows = [*(row for row in old["rows"] if what(row) not in again), *new["rows"]]
    facts = new["facts"] | ({"detector": old["facts"]["detector"]} if new["facts"]["detector"] == UNUSED else {})
    return {"facts": facts, "rows": rows, "skipped": [*old["skipped"], *new["skipped"]]}


def earlier(arguments: argparse.Namespace, persons: str) -> dict[str, Any] | None:
    """The results to keep, if that is wanted and there are any.

    Raises:
        SadinetError: If they are of other persons.
    """
    if not arguments.keep or not arguments.out.is_file():
        return None
    old: dict[str, Any] = json.loads(arguments.out.read_text("utf-8"))
    if old["facts"]["persons"] != persons:
        raise SadinetError(f"earlier rows are of {old['facts']['persons']}, not of {persons}: leave out --keep")
    return old


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="the folder that holds lsp/")
    parser.add_argument("models", type=Path, help=f"the folder of the peers' files and {DETECTOR}")
    parser.add_argument("--predictions", nargs="*", default=[], type=Path, metavar="FILE", help="of LSP test")
    parser.add_argument("--weights", nargs="*", default=["lsp-t"], help="ours: names, checkpoints or .onnx files")
    parser.add_argument("--tests", nargs="+", default=list(TESTS), choices=TESTS, help="how ours are asked")
    parser.add_argument("--boxes", nargs="+", default=list(RULES), choices=RULES, help="where persons are looked for")
    parser.add_argument("--backend", help="of ours; named in the table (default: the fastest there is, not named)")
    parser.add_argument("--split", default="test", choices=("test", "val"), help="val: for anything that is chosen")
    parser.add_argument("--no-peers", dest="peers", action="store_false", help="ours and the predictions only")
    parser.add_argument("--count", type=int, help="the first persons only, to try it out")
    parser.add_argument("--keep", action="store_true", help="keep rows measured earlier on the same persons")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the JSON file of results")
    return parser.parse_args(arguments)


def main(given: Sequence[str] | None = None) -> int:
    arguments = parse(given)
    try:
        result = measure(arguments)
    except SadinetError as error:
        print(f"accuracy: {error}", file=sys.stderr)
        return 1
    with replacing(arguments.out) as temporary:
        temporary.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    print(accuracy_table(result, RULES))
    for skip in result["skipped"]:
        print(f"skipped: {skip['model']}: {skip['reason']}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
