"""Pictures of a training: its curves, and a panel of validation persons."""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from ..data.person import Person
from ..draw import draw_poses
from ..estimator import Estimator
from ..geometry import Floats, apply, bounding_box, image_to_crop
from ..images import Pixels, warp, write_image
from ..poses import Poses
from ..skeleton import Skeleton


def draw_curves(log: Sequence[dict[str, Any]], path: Path) -> bool:
    """Loss and validation score over the epochs, as a picture; False where matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return False
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    loss, score = figure.subplots(1, 2)
    epochs = [line["epoch"] for line in log]
    for name in [key for key in log[0] if key.startswith("loss_")]:
        loss.plot(epochs, [line[name] for line in log], marker=".", label=name.removeprefix("loss_"))
    positive = all(line[name] > 0 for line in log for name in line if name.startswith("loss_"))  # likelihoods are not
    loss.set(xlabel="epoch", ylabel="loss", yscale="log" if positive else "linear")
    loss.legend()
    score.plot(epochs, [line["val"] for line in log], marker=".", color="black", label="mean", linewidth=2)
    for name in [key for key in log[0] if key.startswith("val_")]:
        score.plot(epochs, [line[name] for line in log], label=name.removeprefix("val_"), linewidth=0.8)
    score.set(xlabel="epoch", ylabel="validation score [%]")
    score.legend(ncols=2, fontsize="small")
    figure.savefig(path, dpi=120)
    return True


def draw_panel(
    estimator: Estimator, persons: Sequence[Person], path: Path, *, count: int = 12, side: int = 256
) -> None:
    """Persons spread over ``persons``, each labelled (above) and predicted (below), as one picture.

    Args:
        estimator: Predicts.
        persons: Annotated.
        path: The picture to write.
        count: How many.
        side: Of one drawn person [px].
    """
    shown = list(islice(persons, 0, None, max(len(persons) // count, 1)))[:count]
    images = [person.read() for person in shown]
    answers = estimator.keypoints((image, person.crop) for image, person in zip(images, shown, strict=True))
    columns: list[Pixels] = []
    for person, image, (xy, score) in zip(shown, images, answers, strict=True):
        image_to_panel = image_to_crop(person.crop, side)
        cut = warp(image, image_to_panel, side)
        truth = np.where(person.labelled[:, None], person.xy, np.nan)
        cells = [
            draw_poses(
                cut, _one(apply(image_to_panel, truth), person.labelled.astype(np.float64), estimator.skeleton, side)
            ),
            draw_poses(cut, _one(apply(image_to_panel, xy), score, estimator.skeleton, side)),
        ]
        columns.append(np.concatenate(cells))
    write_image(np.concatenate(columns, axis=1), path)


def _one(xy: Floats, score: Floats, skeleton: Skeleton, side: int) -> Poses:
    box = np.nan_to_num(bounding_box(xy))
    return Poses(xy=xy[None], score=score[None], boxes=box[None], skeleton=skeleton, image_size=(side, side))
