"""How a network is asked and its heatmaps are read: all that an estimator knows of it besides its arithmetic."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .calibration import Calibration
from .errors import ConfigError
from .experiment import Experiment
from .heatmaps import Decoding
from .model.network import STRIDE
from .skeleton import Skeleton


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
    """

    name: str
    skeleton: Skeleton
    input_size: int
    decoding: Decoding = "dark"
    sigma: float = 2.0
    stride: int = STRIDE
    calibration: Calibration | None = None

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
        )

    def scores(self, peaks: NDArray[np.float64]) -> NDArray[np.float64]:
        """Scores in [0, 1] of peaks of any height, of the same shape."""
        return np.clip(peaks if self.calibration is None else self.calibration(peaks), 0.0, 1.0)
