"""Random changes of a training example, drawn as values first so that they can be tested, printed and repeated."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..errors import ConfigError
from ..geometry import Crop, Floats, compose, image_to_crop, mirror


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
    """

    rotation: float = 30.0
    scale: tuple[float, float] = (0.75, 1.25)
    shift: float = 0.0
    flip: float = 0.5
    gain: float = 0.0
    distribution: Literal["uniform", "clipped-normal"] = "uniform"

    def __post_init__(self) -> None:
        if not (0 < self.scale[0] <= self.scale[1] and 0 <= self.flip <= 1 and 0 <= self.gain < 1 and self.shift >= 0):
            raise ConfigError(
                f"augment: 0 < scale[0] <= scale[1], flip in [0, 1], gain in [0, 1), shift >= 0 must hold, got {self}"
            )


@dataclass(frozen=True)
class Augmentation:
    """One drawn change.

    Attributes:
        mirrored: The example becomes its mirror image.
        angle: Turn of the crop, see `Crop` [degrees].
        scale: Factor on the crop's side.
        shift: Move of the crop's centre (x, y) as shares of its side.
        gains: Factors on red, green and blue.
    """

    mirrored: bool = False
    angle: float = 0.0
    scale: float = 1.0
    shift: tuple[float, float] = (0.0, 0.0)
    gains: tuple[float, float, float] = (1.0, 1.0, 1.0)

    def image_to_input(self, crop: Crop, size: int) -> Floats:
        """The map from image pixels to the pixels of the network's input of side ``size``."""
        center = (crop.center[0] + self.shift[0] * crop.side, crop.center[1] + self.shift[1] * crop.side)
        changed = Crop(center, crop.side * self.scale, crop.angle + self.angle)
        straight = image_to_crop(changed, size)
        return compose(straight, mirror(size)) if self.mirrored else straight


IDENTITY = Augmentation()


def example_rng(seed: int, epoch: int, index: int) -> np.random.Generator:
    """The random numbers of one example: a function of three integers, whoever asks and in whatever order."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence((seed, epoch, index))))


def draw_augmentation(rng: np.random.Generator, config: AugmentConfig) -> Augmentation:
    """One change within the ranges of ``config``."""
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
    return Augmentation(mirrored, angle, scale, (x, y), (red, green, blue))
