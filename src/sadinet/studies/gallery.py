"""Pictures of hard persons: labelled and predicted side by side, and the heatmaps behind it (paper Fig. 7)."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from ..breakdown import turn
from ..data.person import Person
from ..data.splits import Split
from ..draw import draw_poses
from ..errors import ConfigError
from ..estimator import Estimator
from ..evaluate import check_keypoints, predict_persons
from ..files import replacing
from ..geometry import Floats, apply, bounding_box, image_to_crop
from ..heatmaps import average_scales, to_numpy
from ..images import Pixels, warp, write_image
from ..poses import Poses
from ..report import person_errors
from ..skeleton import Skeleton

RULES = ("worst", "occluded", "upside-down")
"""How hard persons are chosen, see `choose`."""

_BAR = 18  # height of a line of text [px]
_GREY = 72  # in the photographs' place


@dataclass(frozen=True)
class Answers:
    """What some weights say about the persons of a split.

    Attributes:
        name: Of the weights.
        estimator: Them.
        xy: ``(N, K, 2)`` [image px].
        score: ``(N, K)``.
        errors: ``(N, K)`` in reference lengths, NaN where not counted.
        found: ``(N,)`` share of each person's counted keypoints that are right [%]; NaN if none counts.
    """

    name: str
    estimator: Estimator
    xy: Floats
    score: Floats
    errors: Floats
    found: Floats


def check(name: str, estimator: Estimator, split: Split, *, heatmaps: bool = False) -> None:
    """Refuses an estimator that cannot be asked about the persons of a split.

    Args:
        name: Of its weights.
        estimator: Whom to ask.
        split: About whom.
        heatmaps: Its heatmaps will be drawn too.

    Raises:
        ConfigError: If heatmaps are wanted of a network whose answer is the mean.
        DataError: If it has other keypoints than the data set.
    """
    if heatmaps and estimator.reading.answer == "mean":
        raise ConfigError(f"{name} regresses a mean and draws no heatmaps: leave --heatmaps or it out")
    check_keypoints(estimator.skeleton, split, name)


def ask(name: str, estimator: Estimator, split: Split, *, quiet: bool = True) -> Answers:
    """The answers of an estimator on all persons of a split.

    Args:
        name: Of its weights.
        estimator: Whom to ask, as `check` lets it pass.
        split: About whom.
        quiet: No progress bar.
    """
    xy, score = predict_persons(estimator, split.persons, quiet=quiet)
    errors, _ = person_errors(xy, split.persons, split.skeleton, split.protocol)
    number = (~np.isnan(errors)).sum(1)
    found = np.where(number > 0, 100 * (errors <= split.protocol.threshold).sum(1) / np.maximum(number, 1), np.nan)
    return Answers(name, estimator, xy, score, errors, found)


def choose(rule: str, persons: Sequence[Person], answers: Sequence[Answers], count: int) -> list[int]:
    """Indices of the hardest persons by a rule, hardest first; those of whom the rule says nothing are left out.

    ``"worst"``: fewest keypoints found, on average over all answers; ``"occluded"``: most occluded keypoints;
    ``"upside-down"``: turned furthest. Among equals those with the largest errors.
    """
    skeleton = answers[0].estimator.skeleton
    error = np.nan_to_num(np.minimum(np.mean([a.errors for a in answers], axis=0), 9.0)).mean(1)  # (N,)
    if rule == "worst":
        hard, least = -np.mean([a.found for a in answers], axis=0), -100.0
    elif rule == "occluded":
        hard, least = np.array([float((p.labelled & ~p.visible).sum()) for p in persons]), 0.0
    else:
        hard, least = np.array([turn(p, skeleton) for p in persons]), 90.0
    usable = [i for i, value in enumerate(hard) if value > least]  # never NaN
    return sorted(usable, key=lambda i: (hard[i], error[i]), reverse=True)[:count]


def write_gallery(
    split: Split,
    answers: Sequence[Answers],
    out: Path,
    *,
    rules: Sequence[str] = RULES,
    count: int = 8,
    heatmaps: bool = False,
    photographs: bool = True,
    side: int = 224,
) -> list[Path]:
    """Pictures of the hardest persons by each rule: ``RULE.jpg``, and ``gallery.json`` that says who is on them.

    Args:
        split: Whom the answers are about.
        answers: One or more.
        out: The folder.
        rules: Of `RULES`.
        count: Persons per rule.
        heatmaps: Also a picture per person, ``RULE-heatmaps-N.jpg``: a row per weights, a column per keypoint.
        photographs: Draw on the photographs; else on grey, for places where they may not be shown.
        side: Of one drawn person [px].

    Returns:
        The files.
    """
    out.mkdir(parents=True, exist_ok=True)
    written, listed = [], {}
    for rule in rules:
        chosen = choose(rule, split.persons, answers, count)
        listed[rule] = [
            {"person": split.ids[i], "found": {a.name: _number(a.found[i]) for a in answers}} for i in chosen
        ]
        if not chosen:
            continue
        sheet = np.concatenate(
            [_column(split.persons[i], i, answers, side, photographs=photographs) for i in chosen], axis=1
        )
        write_image(sheet, out / f"{rule}.jpg")
        written.append(out / f"{rule}.jpg")
        for number, i in enumerate(chosen if heatmaps else (), 1):
            path = out / f"{rule}-heatmaps-{number}.jpg"
            write_image(draw_heatmaps(split.persons[i], answers, photographs=photographs), path)
            written.append(path)
    with replacing(out / "gallery.json") as file:
        file.write_text(json.dumps({"data": split.name, "persons_hash": split.hash, **listed}, indent=1) + "\n")
    return [*written, out / "gallery.json"]


def short_names(names: Sequence[str]) -> list[str]:
    """As much of the end of each path as tells it from the others: ``rfm/seed-0`` beside ``hourglass/seed-0``."""
    parts = [Path(name).parts for name in names]
    for length in range(1, max(map(len, parts))):
        short = ["/".join(part[-length:]) for part in parts]
        if len(set(short)) == len(set(names)):
            return short
    return list(names)


def _number(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 1)


def _column(person: Person, index: int, answers: Sequence[Answers], side: int, *, photographs: bool) -> Pixels:
    """A person as labelled and, below, as each of the answers has it."""
    skeleton, image_to_cell = answers[0].estimator.skeleton, image_to_crop(person.crop, side)
    cut = warp(person.read(), image_to_cell, side) if photographs else np.full((side, side, 3), _GREY, np.uint8)
    cells = [_bar(person.id, side), _drawn(cut, apply(image_to_cell, _labelled(person)), person.labelled, skeleton)]
    for title, answer in zip(short_names([a.name for a in answers]), answers, strict=True):
        at = apply(image_to_cell, answer.xy[index])
        share = answer.found[index]
        cells += [
            _bar(f"{title}: {'-' if np.isnan(share) else f'{share:.0f} %'}", side),
            _drawn(cut, at, answer.score[index], skeleton),
        ]
    return np.concatenate(cells)


def _labelled(person: Person) -> Floats:
    return np.where(person.labelled[:, None], person.xy, np.nan)


def _drawn(cut: Pixels, xy: Floats, score: NDArray[np.generic], skeleton: Skeleton) -> Pixels:
    box = np.nan_to_num(bounding_box(xy))
    size = (cut.shape[1], cut.shape[0])
    return draw_poses(cut, Poses(xy[None], np.asarray(score, np.float64)[None], box[None], skeleton, size), min_score=0)


def draw_heatmaps(person: Person, answers: Sequence[Answers], *, photographs: bool = True, side: int = 160) -> Pixels:
    """The heatmaps of one person: a row per weights, a column per keypoint, in two blocks; all together come first.

    Each is laid over the picture, or over the labelled figure where photographs may not be shown, from clear at 0 to
    yellow at its own peak, whose value stands in the corner; rings mark the labelled places.
    """
    skeleton, image_to_cell = answers[0].estimator.skeleton, image_to_crop(person.crop, side)
    image = person.read()
    cut = warp(image, image_to_cell, side) if photographs else np.full((side, side, 3), _GREY, np.uint8)
    places = apply(image_to_cell, _labelled(person))
    titles = [person.id, "all", *(name.replace("_", " ") for name in skeleton.keypoints)]
    labelled = _drawn(cut, places, person.labelled, skeleton)
    faded = (cut if photographs else labelled).astype(np.float32).mean(2, keepdims=True).repeat(3, 2) * 0.6
    rows = []
    for answer in answers:
        size = answer.estimator.input_size
        crop = warp(image, image_to_crop(person.crop, size), size)[None]
        maps = to_numpy(answer.estimator.heatmaps(crop))
        fine = average_scales([maps], (1.0,), side)[0].clip(0)
        single = [_heated(faded, layer, places[[k]]) for k, layer in enumerate(fine)]
        rows.append([labelled, _heated(faded, fine.max(0), places), *single])
    half = (len(titles) + 1) // 2
    blocks = []
    for start in (0, half):
        blocks.append(_row([_bar(title, side) for title in titles[start : start + half]], half))
        for name, cells in zip(short_names([a.name for a in answers]), rows, strict=True):
            blocks += [_bar(name, side * half), _row(cells[start : start + half], half)]
    return np.concatenate(blocks)


def _row(cells: Sequence[Pixels], count: int) -> Pixels:
    """Cells side by side, black ones added up to ``count``."""
    return np.concatenate([*cells, *[np.zeros_like(cells[0])] * (count - len(cells))], axis=1)


def _heated(faded: NDArray[np.float32], heat: NDArray[np.float32], places: Floats) -> Pixels:
    """A grey picture under a heatmap, with rings at the labelled places."""
    peak = float(heat.max())
    share = heat / max(peak, 0.01)
    colour = np.stack([np.full_like(share, 255.0), 255 * share, 30 + 0 * share], -1)
    cover = share[..., None] ** 0.7
    picture = Image.fromarray(np.clip(faded * (1 - cover) + colour * cover, 0, 255).astype(np.uint8))
    pen = ImageDraw.Draw(picture)
    for x, y in places[np.isfinite(places).all(1)]:
        pen.ellipse((x - 4, y - 4, x + 4, y + 4), outline=(90, 255, 160))
    corner = (4, picture.height - _BAR)
    pen.text(corner, f"{peak:.2f}", (255, 255, 255), ImageFont.load_default(12), stroke_width=1, stroke_fill=(0, 0, 0))
    return np.asarray(picture)


def _bar(text: str, width: int) -> Pixels:
    """A line of text."""
    bar = Image.new("RGB", (width, _BAR), (24, 24, 32))
    ImageDraw.Draw(bar).text((4, 2), text, (255, 255, 255), ImageFont.load_default(12))
    return np.asarray(bar)
