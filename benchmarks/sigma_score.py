"""Does the distribution learning module know when the heatmap is wrong? Peak, sigma and both as scores.

    python benchmarks/sigma_score.py DATA WEIGHTS

For every labelled keypoint of the validation persons: the heatmap's peak, the module's sigma, and how far its mean lies
from the peak, as predictors of "within half a head". Logistic regression, five-fold cross-validated over persons, one
scale, no mirror. WEIGHTS must have the training-only parts (a training's best.safetensors). Prints one line of JSON.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from scipy.optimize import minimize
from scipy.stats import rankdata

from sadinet import load_checkpoint
from sadinet.calibration import right_keypoints
from sadinet.data.person import head_sizes
from sadinet.data.splits import read_split
from sadinet.geometry import apply, image_to_crop, invert
from sadinet.heatmaps import decode
from sadinet.images import warp
from sadinet.model.loss import from_units

FOLDS = 5


def logistic(features: np.ndarray, right: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Cross-validated probabilities."""
    x = np.column_stack([(features - features.mean(0)) / features.std(0), np.ones(len(features))])
    found = np.zeros(len(x))
    for number in range(FOLDS):
        fit, y = x[fold != number], right[fold != number].astype(float)

        def loss(w: np.ndarray, fit: np.ndarray = fit, y: np.ndarray = y) -> tuple[float, np.ndarray]:
            z = fit @ w
            return float((np.logaddexp(0, z) - y * z).mean()), fit.T @ (1 / (1 + np.exp(-z)) - y) / len(y)

        w = minimize(loss, np.zeros(x.shape[1]), jac=True).x
        found[fold == number] = 1 / (1 + np.exp(-x[fold == number] @ w))
    return found


def auroc(score: np.ndarray, right: np.ndarray) -> float:
    """The probability that a right keypoint has a higher score than a wrong one."""
    rank, positive = rankdata(score), int(right.sum())
    return float((rank[right].sum() - positive * (positive + 1) / 2) / (positive * (len(right) - positive)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("weights", type=Path)
    arguments = parser.parse_args()
    checkpoint = load_checkpoint(arguments.weights)
    network, experiment = checkpoint.network, checkpoint.experiment
    size = experiment.network.input_size
    persons = read_split("lsp+lspet", "val", arguments.data).persons
    xy, peaks, sigmas, gaps, means = [], [], [], [], []
    for person in persons:
        to_input = image_to_crop(person.crop, size)
        picture = torch.from_numpy(warp(person.read(), to_input, size)).permute(2, 0, 1)[None].float() / 255
        with torch.inference_mode():
            output = network(picture)
        if output.distribution is None:
            raise SystemExit(f"{arguments.weights} has no distribution learning module")
        at, peak = decode(output.heatmaps, experiment.decoding, sigma=experiment.loss.sigma)
        side = output.heatmaps.shape[-1]
        mean = from_units(output.distribution.mean[0], (side, side))
        gaps.append(torch.linalg.vector_norm(mean - at[0], dim=-1).numpy())
        sigmas.append(output.distribution.deviation[0].log().mean(-1).numpy())
        peaks.append(peak[0].numpy())
        to_image, stride = invert(to_input), size / side
        xy.append(apply(to_image, (at[0].numpy() + 0.5) * stride - 0.5))
        means.append(apply(to_image, (mean.numpy() + 0.5) * stride - 0.5))
    truth, labelled = np.stack([p.xy for p in persons]), np.stack([p.labelled for p in persons])
    heads = head_sizes(persons, experiment.skeleton)
    right, judged = right_keypoints(np.stack(xy), truth, labelled, heads)
    of_mean, _ = right_keypoints(np.stack(means), truth, labelled, heads)
    fold = np.broadcast_to((np.arange(len(persons)) % FOLDS)[:, None], judged.shape)[judged]
    peak, sigma, gap = (np.stack(values)[judged] for values in (peaks, sigmas, gaps))
    log_peak = np.log(np.clip(peak, 1e-3, None))
    answer: dict[str, object] = {
        "weights": arguments.weights.name,
        "keypoints": int(judged.sum()),
        "right_by_heatmap": round(100 * float(right[judged].mean()), 2),
        "right_by_mean": round(100 * float(of_mean[judged].mean()), 2),
    }
    for name, features in (
        ("peak", [log_peak]),
        ("sigma", [sigma]),
        ("peak and sigma", [log_peak, sigma]),
        ("peak, sigma and distance", [log_peak, sigma, np.log1p(gap)]),
    ):
        said = logistic(np.column_stack(features), right[judged], fold)
        brier = float(np.square(said - right[judged]).mean())
        answer[name] = {"auroc": round(auroc(said, right[judged]), 4), "brier": round(brier, 4)}
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
