"""Where each picture's person is looked for: four rules, the same for every model.

A box is xyxy [image px]; a row of NaN means that the rule found nobody.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from sadinet.geometry import Crop, whole_image

Boxes = NDArray[np.float64]
Rule = Literal["truth", "matched", "central", "whole"]
RULES: tuple[Rule, ...] = get_args(Rule)


def overlaps(boxes: Boxes, box: Boxes) -> NDArray[np.float64]:
    """Intersection over union ``(N,)`` of each of ``boxes`` ``(N, 4)`` with ``box`` ``(4,)``."""
    low, high = np.maximum(boxes[:, :2], box[:2]), np.minimum(boxes[:, 2:], box[2:])
    both = np.clip(high - low, 0, None).prod(1)
    union = (boxes[:, 2:] - boxes[:, :2]).prod(1) + (box[2:] - box[:2]).prod() - both
    return both / union


def matched(boxes: Boxes, truth: Boxes) -> Boxes:
    """Of detected ``boxes`` ``(N, 4)`` the one that overlaps ``truth`` ``(4,)`` most; NaN if none does."""
    if not len(boxes) or not (shares := overlaps(boxes, truth)).max() > 0:
        return np.full(4, np.nan)
    return boxes[int(shares.argmax())]


def central(boxes: Boxes, width: int, height: int) -> Boxes:
    """Of detected ``boxes`` ``(N, 4)`` the one whose centre is nearest to the picture's; NaN if there are none."""
    if not len(boxes):
        return np.full(4, np.nan)
    away = (boxes[:, :2] + boxes[:, 2:]) / 2 - [(width - 1) / 2, (height - 1) / 2]
    return boxes[int(np.hypot(away[:, 0], away[:, 1]).argmin())]


def choose(rule: Rule, *, truth: Boxes, detected: Boxes, width: int, height: int) -> Boxes:
    """The box ``(4,)`` that ``rule`` gives for one picture."""
    if rule == "truth":
        return truth
    if rule == "matched":
        return matched(detected, truth)
    if rule == "central":
        return central(detected, width, height)
    return whole_image(width, height)


@dataclass(frozen=True)
class Margins:
    """The side of a model's crop over the longer side of a box.

    Attributes:
        tight: Of a box of keypoints: what the model was made for.
        detected: Of a detector's box, which has hands, feet and clothes in it: chosen on validation.
    """

    tight: float
    detected: float


def crop_around(box: Boxes, rule: Rule, margins: Margins) -> Crop:
    """The square shown to a model; a whole picture gets no margin."""
    return Crop.around(box, {"truth": margins.tight, "whole": 1.0}.get(rule, margins.detected))


def upright(xy: Boxes, limbs: Sequence[Sequence[int]], margin: float) -> Crop:
    """The crop turned so that the true torso stands upright, around the true keypoints ``xy`` ``(K, 2)``.

    Args:
        xy: True keypoints [image px].
        limbs: Channels of the shoulders, then those of the hips.
        margin: Factor on the longer side of their box in the turned frame.
    """
    shoulders, hips = (xy[list(channels)].mean(0) for channels in limbs)
    across, up = shoulders - hips
    angle = float(np.arctan2(across, -up))
    cos, sin = np.cos(angle), np.sin(angle)
    image_to_window = np.array([[cos, sin], [-sin, cos]])
    turned = xy @ image_to_window.T
    low, high = np.nanmin(turned, axis=0), np.nanmax(turned, axis=0)
    x, y = image_to_window.T @ ((low + high) / 2)
    return Crop((float(x), float(y)), float((high - low).max()) * margin, float(np.degrees(angle)))
