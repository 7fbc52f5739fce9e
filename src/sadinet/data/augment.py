"""Random changes of a training example, drawn as values first so that they can be tested, printed and repeated."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..errors import ConfigError
from ..geometry import Crop, Floats, apply, bounding_box, compose, image_to_crop, invert, mirror
from ..skeleton import Skeleton
from .person import Person

HALF_BODY_KEYPOINTS = 9
"""A person with fewer labelled keypoints than this is never cut to a half (as in HRNet)."""

CUTOUTS = 3
"""The most rectangles that are painted on one example."""

_HALF_BODY_MARGIN = 1.5  # the half's window over the longer side of the box around its keypoints, as in HRNet
_HALF_BODY_SMALLEST = 0.25  # of the person's window: keypoints in one place must not be blown up to fill the input
_HALF_BODY_LEAST = 3  # keypoints that a half needs
_CUTOUT_SIDE = (0.08, 0.3)  # of the input's side
_LOWER_PARTS = ("pelvis", "hip", "knee", "ankle", "heel", "foot", "toe")


@dataclass(frozen=True)
class AugmentConfig:
    """Ranges of the random changes (paper Sec. IV-A; values it does not give: decision 007).

    Attributes:
        rotation: Largest turn either way [degrees].
        scale: Smallest and largest factor on the crop's side.
        shift: Largest move of the crop either way, as a share of its side.
        flip: Probability of the mirror image.
        gain: Largest change of each colour channel's brightness, as a share.
        distribution: ``"uniform"`` in the ranges, or ``"clipped-normal"``: HRNet's draw, normal with the range as its
            deviation, clipped at twice that; the rotation is 0 in 4 of 10 cases.
        half_body: Probability of a closer window, around the upper or the lower body only, where nine keypoints or
            more are labelled; not in the paper (HRNet's).
        cutout: Probability of 1 to 3 random rectangles painted over the example in one colour each. Keypoints under
            them stay labelled: they are to be guessed. Not in the paper.
    """

    rotation: float = 30.0
    scale: tuple[float, float] = (0.75, 1.25)
    shift: float = 0.0
    flip: float = 0.5
    gain: float = 0.0
    distribution: Literal["uniform", "clipped-normal"] = "uniform"
    half_body: float = 0.0
    cutout: float = 0.0

    def __post_init__(self) -> None:
        shares = (self.flip, self.half_body, self.cutout)
        if not (
            0 < self.scale[0] <= self.scale[1]
            and all(0 <= share <= 1 for share in shares)
            and 0 <= self.gain < 1
            and self.shift >= 0
        ):
            raise ConfigError(
                "augment: 0 < scale[0] <= scale[1], flip, half_body and cutout in [0, 1], gain in [0, 1), shift >= 0 "
                f"must hold, got {self}"
            )


@dataclass(frozen=True)
class Cutout:
    """A rectangle painted over an example.

    Attributes:
        box: Left, top, right and bottom as shares of the input's side, in [0, 1].
        color: Red, green and blue, 0 to 255.
    """

    box: tuple[float, float, float, float]
    color: tuple[int, int, int]

    def pixels(self, size: int) -> tuple[int, int, int, int]:
        """Left, top, right and bottom on an input of side ``size``; right and bottom are the first pixels outside."""
        left, top, right, bottom = (round(share * size) for share in self.box)
        return left, top, right, bottom


@dataclass(frozen=True)
class Augmentation:
    """One drawn change.

    Attributes:
        mirrored: The example becomes its mirror image.
        angle: Turn of the crop, see `Crop` [degrees].
        scale: Factor on the crop's side.
        shift: Move of the crop's centre (x, y) as shares of its side.
        gains: Factors on red, green and blue.
        crop: The window to start from [image px], a part of the person's own; None: the person's own.
        cutouts: Painted over the finished input, in this order.
    """

    mirrored: bool = False
    angle: float = 0.0
    scale: float = 1.0
    shift: tuple[float, float] = (0.0, 0.0)
    gains: tuple[float, float, float] = (1.0, 1.0, 1.0)
    crop: Crop | None = None
    cutouts: tuple[Cutout, ...] = ()

    def image_to_input(self, crop: Crop, size: int) -> Floats:
        """The map from image pixels to the pixels of the network's input of side ``size``, for a person in ``crop``."""
        crop = self.crop or crop
        center = (crop.center[0] + self.shift[0] * crop.side, crop.center[1] + self.shift[1] * crop.side)
        changed = Crop(center, crop.side * self.scale, crop.angle + self.angle)
        straight = image_to_crop(changed, size)
        return compose(straight, mirror(size)) if self.mirrored else straight


IDENTITY = Augmentation()


def example_rng(seed: int, epoch: int, index: int) -> np.random.Generator:
    """The random numbers of one example: a function of three integers, whoever asks and in whatever order."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence((seed, epoch, index))))


def upper_body(skeleton: Skeleton) -> tuple[int, ...]:
    """The channels of ``skeleton`` above the pelvis, told by their names."""
    return tuple(k for k, name in enumerate(skeleton.keypoints) if not name.endswith(_LOWER_PARTS))


def draw_augmentation(
    rng: np.random.Generator, config: AugmentConfig, person: Person, upper: Sequence[int] = ()
) -> Augmentation:
    """One change of ``person`` within the ranges of ``config``.

    Args:
        rng: The example's own, see `example_rng`.
        config: The ranges.
        person: Whose keypoints decide on half bodies.
        upper: Channels of the upper body, see `upper_body`; needed for half bodies alone.
    """
    mirrored = bool(rng.random() < config.flip)
    low, high = config.scale
    if config.distribution == "uniform":
        angle = float(rng.uniform(-config.rotation, config.rotation))
        scale = float(rng.uniform(low, high))
    else:
        turn, stretch = rng.normal(size=2)
        angle = float(np.clip(turn, -2, 2)) * config.rotation if rng.random() < 0.6 else 0.0
        scale = float(np.clip(1 + stretch * (high - low) / 2, low, high))
    x, y = (float(v) for v in rng.uniform(-config.shift, config.shift, 2))
    red, green, blue = (float(v) for v in rng.uniform(1 - config.gain, 1 + config.gain, 3))
    # New kinds of change are drawn last, so that they leave the numbers of the others as they were.
    crop = None
    if config.half_body and rng.random() < config.half_body:
        crop = half_body_crop(person, upper, prefer_upper=bool(rng.random() < 0.5))
    cutouts: tuple[Cutout, ...] = ()
    if config.cutout and rng.random() < config.cutout:
        cutouts = tuple(_draw_cutout(rng) for _ in range(int(rng.integers(1, CUTOUTS + 1))))
    return Augmentation(mirrored, angle, scale, (x, y), (red, green, blue), crop, cutouts)


def half_body_crop(person: Person, upper: Sequence[int], *, prefer_upper: bool) -> Crop | None:
    """The part of the person's window around the upper or the lower body; None with too few labelled keypoints.

    The other half is taken where the preferred one has fewer than three labelled keypoints.
    """
    if person.labelled.sum() < HALF_BODY_KEYPOINTS:
        return None
    above = np.isin(np.arange(len(person.labelled)), list(upper))
    halves = [person.labelled & above, person.labelled & ~above]
    chosen = [half for half in (halves if prefer_upper else halves[::-1]) if half.sum() >= _HALF_BODY_LEAST]
    if not chosen:
        return None
    image_to_window = image_to_crop(person.crop, 1)  # the window spans [-0.5, 0.5] here, whatever its angle
    left, top, right, bottom = bounding_box(apply(image_to_window, person.xy[chosen[0]]))
    side = float(np.clip(max(right - left, bottom - top) * _HALF_BODY_MARGIN, _HALF_BODY_SMALLEST, 1.0))
    middle = np.clip([(left + right) / 2, (top + bottom) / 2], (side - 1) / 2, (1 - side) / 2)
    x, y = (float(v) for v in apply(invert(image_to_window), middle))
    return Crop((x, y), person.crop.side * side, person.crop.angle)


def _draw_cutout(rng: np.random.Generator) -> Cutout:
    width, height = (float(v) for v in rng.uniform(*_CUTOUT_SIDE, 2))
    left, top = float(rng.uniform(0, 1 - width)), float(rng.uniform(0, 1 - height))
    red, green, blue = (int(v) for v in rng.integers(0, 256, 3))
    return Cutout((left, top, left + width, top + height), (red, green, blue))
