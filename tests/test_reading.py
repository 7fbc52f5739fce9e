"""What an estimator knows of a network besides its arithmetic."""

import dataclasses
import json

import pytest
import torch

from sadinet.calibration import Calibration
from sadinet.errors import CheckpointError, ConfigError
from sadinet.presets import preset
from sadinet.reading import FORMAT, Reading
from sadinet.skeleton import MPII
from sadinet.values import override, to_dict


def test_an_experiment_says_it_all():
    experiment = override(preset("mpii-s"), ["network.input_size=128", "decoding=dark", "loss.sigma=3"])
    assert Reading.of(experiment) == Reading("mpii-s", MPII, 128, decoding="dark", sigma=3.0, stride=4)


class TestFacts:
    reading = Reading("x", MPII, 192, decoding="quarter", sigma=1.5, calibration=Calibration((0.1, 0.7), (0.0, 0.9)))

    def test_it_can_be_written_down(self):
        facts = {"sadinet": json.dumps({"format": FORMAT, "reading": to_dict(self.reading)})}
        assert Reading.from_facts(facts, "here") == self.reading

    @pytest.mark.parametrize(
        ("told", "message"),
        [
            (None, "x.onnx: says nothing of its keypoints"),
            ("{", "x.onnx: says nothing"),
            ("[]", "x.onnx: says nothing"),
            ('{"format": "sadinet-onnx-9"}', "x.onnx: its format is 'sadinet-onnx-9', this sadinet knows"),
            (f'{{"format": "{FORMAT}", "reading": {{"name": "x", "size": 3}}}}', "unknown field 'size'"),
            (f'{{"format": "{FORMAT}", "reading": {{"name": "x"}}}}', "x.onnx: does not fit .* missing"),
        ],
    )
    def test_what_is_not_understood_is_refused(self, told, message):
        with pytest.raises(CheckpointError, match=message):
            Reading.from_facts({} if told is None else {"sadinet": told}, "x.onnx")


@pytest.mark.parametrize("wrong", [{"input_size": 0}, {"input_size": 254}, {"stride": 0}, {"sigma": 0.0}])
def test_nonsense_is_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        dataclasses.replace(Reading("x", MPII, 256), **wrong)


class TestScores:
    def test_a_score_is_the_peak_cut_to_0_and_1(self):
        found = Reading("x", MPII, 256).scores(torch.tensor([[-0.1, 0.3], [1.0, 1.7]]))
        torch.testing.assert_close(found, torch.tensor([[0, 0.3], [1, 1]]))

    def test_calibration_maps_peaks_piecewise_linearly(self):
        reading = Reading("x", MPII, 256, calibration=Calibration((0.2, 0.4, 0.8), (0.0, 0.5, 0.9)))
        torch.testing.assert_close(
            reading.scores(torch.tensor([0.0, 0.3, 0.4, 0.6, 2.0])), torch.tensor([0, 0.25, 0.5, 0.7, 0.9])
        )

    def test_it_agrees_with_the_calibration_itself(self):
        calibration = Calibration((0.1, 0.35, 0.6, 0.61), (0.05, 0.05, 0.8, 1.0))
        peaks = torch.linspace(-0.2, 1.2, 57)
        found = Reading("x", MPII, 256, calibration=calibration).scores(peaks)
        torch.testing.assert_close(found.double(), torch.from_numpy(calibration(peaks)), atol=2e-6, rtol=0)
