"""How a network is asked and its heatmaps are read: all that an estimator knows of it besides its arithmetic."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

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
        calibration: Points (peak, score), peaks ascending, of the piecewise linear map from the height of a peak to the
            score; empty: the score is the peak.
    """

    name: str
    skeleton: Skeleton
    input_size: int
    decoding: Decoding = "dark"
    sigma: float = 2.0
    stride: int = STRIDE
    calibration: tuple[tuple[float, float], ...] = ()

    def __post_init__(self) -> None:
        if self.input_size < 1 or self.stride < 1 or self.input_size % self.stride or not self.sigma > 0:
            raise ConfigError(
                f"reading '{self.name}': input_size={self.input_size} must be a multiple of stride={self.stride}, and "
                f"sigma={self.sigma} positive"
            )
        peaks = [peak for peak, _ in self.calibration]
        if any(a >= b for a, b in pairwise(peaks)):
            raise ConfigError(f"reading '{self.name}': the peaks of its calibration do not ascend: {peaks}")

    @classmethod
    def of(cls, experiment: Experiment) -> "Reading":
        """Of a network trained by ``experiment``."""
        return cls(
            name=experiment.name,
            skeleton=experiment.skeleton,
            input_size=experiment.network.input_size,
            decoding=experiment.decoding,
            sigma=experiment.loss.sigma,
        )

    def scores(self, peaks: NDArray[np.float64]) -> NDArray[np.float64]:
        """Scores in [0, 1] of peaks of any height, of the same shape."""
        if self.calibration:
            known, scores = np.array(self.calibration).T
            peaks = np.interp(peaks, known, scores)
        return np.clip(peaks, 0.0, 1.0)
