"""Does a network know that half of a person is not there? Scores of keypoints outside of a half body's window.

    python benchmarks/half_bodies.py DATA WEIGHTS [WEIGHTS ...]

Every validation person with enough labelled keypoints is shown twice, in a window around the upper and around the lower
body. Keypoints in the window should be found, those outside should get low scores: given are the share found of the
former (within half a head), the probability that a found one has a higher score than one outside (area under the ROC
curve), and how many of both reach a score of 0.5. One line of JSON per weights.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from sigma_score import auroc

import sadinet
from sadinet.calibration import right_keypoints
from sadinet.data.augment import half_body_crop, upper_body
from sadinet.data.person import Person, head_sizes
from sadinet.data.splits import read_split
from sadinet.draw import MIN_SCORE
from sadinet.geometry import apply, image_to_crop


def measure(weights: str, persons: Sequence[Person]) -> dict[str, object]:
    estimator = sadinet.load(weights, device="cpu")
    upper = upper_body(estimator.skeleton)
    shown = [
        (person, crop)
        for person in persons
        for prefer in (True, False)
        if (crop := half_body_crop(person, upper, prefer_upper=prefer)) is not None
    ]
    answers = list(estimator.keypoints((person.read(), crop) for person, crop in shown))
    xy, score = (np.stack(parts) for parts in zip(*answers, strict=True))
    truth, labelled = (np.stack([getattr(p, name) for p, _ in shown]) for name in ("xy", "labelled"))
    right, judged = right_keypoints(xy, truth, labelled, head_sizes([p for p, _ in shown], estimator.skeleton))
    place = np.stack([apply(image_to_crop(crop, 1), person.xy) for person, crop in shown])
    inside = (np.abs(place) <= 0.5).all(-1)
    outside = labelled & (np.abs(place) > 0.55).any(-1)  # not those on the border
    found, absent = score[right & inside], score[outside]
    return {
        "weights": weights,
        "windows": len(shown),
        "inside": int((judged & inside).sum()),
        "outside": len(absent),
        "found": round(100 * float(right[judged & inside].mean()), 2),
        "auroc": round(auroc(np.concatenate([found, absent]), np.arange(len(found) + len(absent)) < len(found)), 4),
        "found_shown": round(100 * float((found >= MIN_SCORE).mean()), 2),
        "outside_shown": round(100 * float((absent >= MIN_SCORE).mean()), 2),
        "outside_median": round(float(np.median(absent)), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("weights", nargs="+")
    parser.add_argument("--persons", type=int, help="only the first so many")
    arguments = parser.parse_args()
    persons = read_split("lsp+lspet", "val", arguments.data).persons[: arguments.persons]
    for weights in arguments.weights:
        print(json.dumps(measure(weights, persons)), flush=True)


if __name__ == "__main__":
    main()
