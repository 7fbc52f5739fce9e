"""The metrics once more, slowly: one number at a time, straight from their definitions."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any


def error(ours: Sequence[float], true: Sequence[float], length: float) -> float:
    """The error of one labelled keypoint in units of ``length``."""
    if not all(math.isfinite(v) for v in ours):
        return math.inf
    return math.sqrt((ours[0] - true[0]) ** 2 + (ours[1] - true[1]) ** 2) / length


def errors(predicted: Any, target: Any, labelled: Any, reference: Any, keypoints: Sequence[int]) -> list[float]:
    """The errors that count, of the keypoints numbered ``keypoints``."""
    found = []
    for person, length in enumerate(reference):
        if not (math.isfinite(length) and length > 0):
            continue
        for k in keypoints:
            if labelled[person][k]:
                found.append(error(predicted[person][k], target[person][k], length))
    return found


def share(errors: Sequence[float], threshold: float) -> float:
    """How many of ``errors`` are at most ``threshold`` [%]."""
    right = 0
    for value in errors:
        if value <= threshold:
            right += 1
    return 100.0 * right / len(errors) if errors else math.nan


def area(errors: Sequence[float], thresholds: Sequence[float]) -> float:
    """The area under the curve of ``share`` by the trapezoid rule, divided by its width."""
    total = 0.0
    for left, right in pairwise(thresholds):
        total += (right - left) * (share(errors, left) + share(errors, right)) / 2
    return total / (thresholds[-1] - thresholds[0])


def similarity(predicted: Any, target: Any, labelled: Any, area: float, sigmas: Sequence[float]) -> float:
    """The object keypoint similarity of one person with at least one labelled keypoint."""
    terms = []
    for ours, true, known, sigma in zip(predicted, target, labelled, sigmas, strict=True):
        if known:
            squared = (ours[0] - true[0]) ** 2 + (ours[1] - true[1]) ** 2
            terms.append(math.exp(-squared / (2 * area * (2 * sigma) ** 2)))
    return sum(terms) / len(terms)
