"""What an estimator knows of a network besides its arithmetic."""

import dataclasses

import numpy as np
import pytest

from sadinet.errors import ConfigError
from sadinet.experiment import override, preset
from sadinet.reading import Reading
from sadinet.skeleton import MPII


def test_an_experiment_says_it_all():
    experiment = override(preset("mpii-s"), ["network.input_size=128", "decoding=dark", "loss.sigma=3"])
    assert Reading.of(experiment) == Reading("mpii-s", MPII, 128, decoding="dark", sigma=3.0, stride=4)


@pytest.mark.parametrize("wrong", [{"input_size": 0}, {"input_size": 254}, {"stride": 0}, {"sigma": 0.0}])
def test_nonsense_is_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        dataclasses.replace(Reading("x", MPII, 256), **wrong)


class TestScores:
    def test_a_score_is_the_peak_cut_to_0_and_1(self):
        np.testing.assert_array_equal(
            Reading("x", MPII, 256).scores(np.array([[-0.1, 0.3], [1.0, 1.7]])), [[0, 0.3], [1, 1]]
        )

    def test_calibration_maps_peaks_piecewise_linearly(self):
        reading = Reading("x", MPII, 256, calibration=((0.2, 0.0), (0.4, 0.5), (0.8, 0.9)))
        np.testing.assert_allclose(reading.scores(np.array([0.0, 0.3, 0.4, 0.6, 2.0])), [0, 0.25, 0.5, 0.7, 0.9])

    def test_its_peaks_must_ascend(self):
        with pytest.raises(ConfigError, match="do not ascend"):
            Reading("x", MPII, 256, calibration=((0.2, 0.0), (0.2, 0.5)))
