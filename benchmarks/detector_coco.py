"""Persons found and their keypoints on COCO pictures, against COCO's labels.

    python benchmarks/detector_coco.py DATA --detector yolox_nano.onnx [--weights lsp-t] [--margin 1.25] [--draw FOLDER]

DATA holds ``coco/person_keypoints.json`` and ``coco/images/``. Three questions, one line of JSON:

- ``boxes``: persons that are no crowds, matched to the detector's boxes, surest first, each to the person it overlaps
  most of those left, from IoU 0.5 on. A box that finds nobody is wrong, unless more than half of it lies in a crowd's.
- ``in_detected_boxes``: the poses in the detector's boxes. Every labelled person (one with at least one of the 12
  keypoints that both sets have: shoulders, elbows, wrists, hips, knees, ankles) is given the matched box's pose; a
  person that was not found scores 0.
- ``in_true_boxes``: the same with COCO's boxes.

``oks``: mean over labelled persons of OKS over the 12 (COCO's areas and sigmas). ``oks_above_50``: share of them with
OKS > 0.5 [%]. ``precision_50``: share of the poses, of labelled persons and of wrong boxes, with OKS > 0.5 [%].
``pck``: share [%] of the 12's labelled keypoints no farther from the truth than 0.2 of the torso's diagonal, left
shoulder to right hip, of persons that have both labelled; keypoints of persons not found are misses. ``pck_found``: the
same of the persons found alone.
"""

import argparse
import dataclasses
import json
from pathlib import Path

import numpy as np

import sadinet
from sadinet.geometry import overlap
from sadinet.metrics import distances, oks, pooled, sigmas_of, torso_sizes
from sadinet.persons.boxes import read_boxes
from sadinet.persons.detect import YoloxDetector

SHARED = tuple(
    f"{side}_{part}" for part in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle") for side in ("left", "right")
)
SET = sadinet.Skeleton("shared", SHARED, torso=("left_shoulder", "right_hip"))


@dataclasses.dataclass
class Truth:
    """One picture: boxes ``(N, 4)``, keypoints ``(N, 12, 2)``, which are labelled, areas ``(N,)``, boxes of crowds."""

    boxes: np.ndarray
    xy: np.ndarray
    labelled: np.ndarray
    area: np.ndarray
    crowds: np.ndarray


def read_truth(data: Path) -> dict[str, Truth]:
    """The persons of every picture."""
    file = data / "coco" / "person_keypoints.json"
    annotation, boxes = json.loads(file.read_text()), read_boxes(file)
    channels = [sadinet.COCO.index(name) for name in SHARED]
    truth = {}
    for image in annotation["images"]:
        here = [a for a in annotation["annotations"] if a["image_id"] == image["id"]]
        persons = [a for a in here if not a["iscrowd"]]
        points = np.array([a["keypoints"] for a in persons], float).reshape(-1, 17, 3)[:, channels]
        crowds = np.array([a["bbox"] for a in here if a["iscrowd"]], float).reshape(-1, 4) - (0.5, 0.5, 0, 0)
        truth[image["file_name"]] = Truth(
            boxes[image["file_name"]],
            np.where(points[..., 2:] > 0, points[..., :2], np.nan),
            points[..., 2] > 0,
            np.array([a["area"] for a in persons], float),
            np.concatenate([crowds[:, :2], crowds[:, :2] + crowds[:, 2:]], 1),
        )
    return truth


def match(found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """For each box, surest first, the person that it finds, or -1."""
    alike = overlap(found, truth)
    persons = np.full(len(found), -1)
    for row in range(len(found)):
        if len(truth) and alike[row].max() >= 0.5:
            persons[row] = alike[row].argmax()
            alike[:, persons[row]] = 0
    return persons


def in_crowds(boxes: np.ndarray, crowds: np.ndarray) -> np.ndarray:
    """Whether more than half of each box lies in a crowd's."""
    low = np.maximum(boxes[:, None, :2], crowds[:, :2])
    high = np.minimum(boxes[:, None, 2:], crowds[:, 2:])
    inside = np.maximum(high - low, 0).prod(-1)
    return (inside > 0.5 * (boxes[:, 2:] - boxes[:, :2]).prod(1)[:, None]).any(1)


def score_poses(xy: list[np.ndarray], truths: list[Truth], wrong: int) -> dict[str, float]:
    """Scores of the poses ``(N, 12, 2)`` given to the persons of each picture, NaN where not found."""
    ours, true = np.concatenate(xy), np.concatenate([t.xy for t in truths])
    labelled, area = np.concatenate([t.labelled for t in truths]), np.concatenate([t.area for t in truths])
    counted = labelled.any(1)
    ours, true, labelled, area = ours[counted], true[counted], labelled[counted], area[counted]
    found = np.isfinite(ours).any((1, 2))
    similarity = oks(ours, true, labelled, area, sigmas_of(SET))
    errors = distances(ours, true, labelled, torso_sizes(true, SET))
    good = int((similarity > 0.5).sum())
    return {
        "persons": len(ours),
        "found": int(found.sum()),
        "oks": round(float(similarity.mean()), 4),
        "oks_found": round(float(similarity[found].mean()), 4),
        "oks_above_50": round(100 * good / len(ours), 2),
        "precision_50": round(100 * good / max(int(found.sum()) + wrong, 1), 2),
        "pck": round(pooled(errors, 0.2), 2),
        "pck_found": round(pooled(errors[found], 0.2), 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--detector", type=Path, required=True, help="a YOLOX .onnx file")
    parser.add_argument("--min-score", type=float, default=0.3, help="of a detection")
    parser.add_argument("--weights", default="lsp-t")
    parser.add_argument("--margin", type=float, default=1.25, help="from a box to the square that the network sees")
    parser.add_argument("--draw", type=Path, metavar="FOLDER", help="write the pictures with their poses")
    arguments = parser.parse_args()
    detector = YoloxDetector(arguments.detector, min_score=arguments.min_score)
    estimator = sadinet.load(arguments.weights)
    channels = [estimator.skeleton.index(name) for name in SHARED]
    truths = read_truth(arguments.data)
    matched: list[np.ndarray] = []
    given: list[np.ndarray] = []
    right = wrong = persons = large = large_right = 0
    for name, truth in truths.items():
        image = sadinet.read_image(arguments.data / "coco" / "images" / name)
        seen = detector.detect(image)
        who = match(seen.boxes, truth.boxes)
        ignored = in_crowds(seen.boxes, truth.crowds) & (who < 0)
        big = (truth.boxes[:, 2:] - truth.boxes[:, :2]).prod(1) > 64**2
        right, wrong, persons = (
            right + (who >= 0).sum(),
            wrong + ((who < 0) & ~ignored).sum(),
            persons + len(truth.boxes),
        )
        large, large_right = large + big.sum(), large_right + big[who[who >= 0]].sum()
        poses = estimator.predict(image, seen.boxes, margin=arguments.margin)
        matched.append(np.full(truth.xy.shape, np.nan))
        matched[-1][who[who >= 0]] = poses.xy[who >= 0][:, channels]
        given.append(estimator.predict(image, truth.boxes, margin=arguments.margin).xy[:, channels])
        if arguments.draw:
            arguments.draw.mkdir(parents=True, exist_ok=True)
            sadinet.write_image(sadinet.draw_poses(image, poses), arguments.draw / name)
    answer = {
        "pictures": len(truths),
        "detector": arguments.detector.name,
        "min_score": detector.min_score,
        "max_overlap": detector.max_overlap,
        "weights": arguments.weights,
        "margin": arguments.margin,
        "boxes": {
            "persons": persons,
            "recall": round(100 * float(right) / persons, 2),
            "recall_above_64x64": round(100 * float(large_right) / float(large), 2),
            "precision": round(100 * float(right) / float(right + wrong), 2),
        },
        "in_detected_boxes": score_poses(matched, list(truths.values()), int(wrong)),
        "in_true_boxes": score_poses(given, list(truths.values()), 0),
    }
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
