"""How a network is asked and its heatmaps are read: all that an estimator knows of it besides its arithmetic."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from .calibration import Calibration
from .errors import CheckpointError, ConfigError, DataError
from .experiment import Experiment
from .heatmaps import Array, Decoding, like
from .model.config import STRIDE
from .skeleton import Skeleton
from .values import from_dict

FORMAT = "sadinet-onnx-1"
"""Of exported networks: what their files say about themselves, and how."""


@dataclass(frozen=True)
class Reading:
    """How a network is asked and its heatmaps are read.

    Attributes:
        name: What the network is called in reports.
        skeleton: The keypoints, in the order of the heatmaps' channels.
        input_size: Side of the square crop that it is shown [px].
        decoding: How keypoints are read from heatmaps.
        sigma: Spread of the Gaussians it was trained to draw [heatmap px].
        stride: Input pixels per heatmap pixel.
        calibration: From the height of a peak to the score, the probability of being right; None: the score is the
            peak (decision 024).
        answer: What is read: the ``"heatmaps"``, or the ``"mean"`` that a network regresses (decision 022).
    """

    name: str
    skeleton: Skeleton
    input_size: int
    decoding: Decoding = "dark"
    sigma: float = 2.0
    stride: int = STRIDE
    calibration: Calibration | None = None
    answer: Literal["heatmaps", "mean"] = "heatmaps"

    def __post_init__(self) -> None:
        if self.input_size < 1 or self.stride < 1 or self.input_size % self.stride or not self.sigma > 0:
            raise ConfigError(
                f"reading '{self.name}': input_size={self.input_size} must be a multiple of stride={self.stride}, and "
                f"sigma={self.sigma} positive"
            )

    @classmethod
    def of(cls, experiment: Experiment, calibration: Calibration | None = None) -> "Reading":
        """Of a network trained by ``experiment``."""
        return cls(
            name=experiment.name,
            skeleton=experiment.skeleton,
            input_size=experiment.network.input_size,
            decoding=experiment.decoding,
            sigma=experiment.loss.sigma,
            calibration=calibration,
            answer=experiment.network.answer,
        )

    def scores(self, peaks: Array) -> Array:
        """Scores in [0, 1] of peaks of any height, of the same shape."""
        values: Any = peaks
        if self.calibration is not None:  # as `Calibration` itself, in operations that a graph can hold
            known, scores = (like(knots, values) for knots in (self.calibration.peak, self.calibration.probability))
            low, high = known[:-1], known[1:]
            risen = (values[..., None].clip(low, high) - low) * ((scores[1:] - scores[:-1]) / (high - low))
            values = scores[0] + risen.sum(-1)
        clipped: Array = values.clip(0, 1)
        return clipped

    @classmethod
    def from_facts(cls, facts: Mapping[str, str], source: str) -> "Reading":
        """What an exported network says about itself in its metadata.

        Raises:
            CheckpointError: If that is missing, or not understood by this version.
        """
        try:
            told = json.loads(facts["sadinet"])
            if told["format"] != FORMAT:
                raise CheckpointError(f"{source}: its format is {told['format']!r}, this sadinet knows {FORMAT}")
            return from_dict(cls, told["reading"])
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"{source}: says nothing of its keypoints ({error!r}); export it again") from None
        except (ConfigError, DataError) as error:
            raise CheckpointError(f"{source}: does not fit this version of sadinet: {error}") from None
