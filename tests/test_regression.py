"""Networks whose answer is the regressed mean: asking, training, scoring and keeping them."""

import numpy as np
import pytest
import torch

from sadinet.checkpoint import load_checkpoint, save_checkpoint
from sadinet.crops import Inference
from sadinet.data.splits import read_split
from sadinet.estimator import Estimator
from sadinet.evaluate import evaluate_split
from sadinet.geometry import Crop, apply, image_to_crop
from sadinet.heatmaps import unmirror_moments
from sadinet.model.network import SadiNet
from sadinet.models import load
from sadinet.presets import preset
from sadinet.skeleton import LSP
from sadinet.training.curves import draw_curves
from sadinet.training.folder import read_log
from sadinet.training.train import train
from sadinet.values import override

from .micro import MICRO, QUIET, toy_folder


@pytest.mark.parametrize("scales", [(1.0,), (0.8, 1.25)])
@pytest.mark.parametrize("flip", [False, True])
def test_the_mean_is_the_answer_in_every_crop(scales, flip):
    """The network answers where a keypoint is in its own crop; mirrored crops are answered mirrored."""
    experiment = preset("toy-t-regression")
    network = SadiNet(experiment.network)
    estimator = Estimator(network, experiment, inference=Inference(flip=flip, scales=scales, batch_size=2))
    crops = [Crop((40.0, 30.0), 50.0), Crop((20.5, 61.0), 33.0, 20.0), Crop((50.0, 50.0), 70.0)]
    truth = np.stack([np.linspace(10, 60, 14), np.linspace(70, 25, 14)], -1)
    asked: list[tuple[Crop, bool]] = [
        (Crop(crop.center, crop.side * scale, crop.angle), mirrored)
        for batch in (crops[:2], crops[2:])
        for scale in scales
        for mirrored in ((False, True) if flip else (False,))
        for crop in batch
    ]

    def regress(images):
        here, size = [asked.pop(0) for _ in images], estimator.input_size
        u = [(apply(image_to_crop(crop, size), truth) + 0.5) / size - 0.5 for crop, _ in here]
        u = [v[list(LSP.flip_index)] * (-1, 1) if mirrored else v for v, (_, mirrored) in zip(u, here, strict=True)]
        return torch.from_numpy(np.stack(u)), torch.full((len(here), 14, 2), 0.25, dtype=torch.float64)

    network.regress = regress
    image = np.zeros((100, 90, 3), np.uint8)
    answers = list(estimator.keypoints((image, crop) for crop in crops))
    assert asked == []
    for xy, score in answers:
        np.testing.assert_allclose(xy, truth, atol=1e-9)
        assert score.tolist() == [0.75] * 14


def test_moments_of_a_mirrored_picture_change_sides():
    mean, deviation = torch.tensor([[[0.1, 0.2], [0.3, -0.4], [0.0, 0.5]]]), torch.tensor([[[1.0, 2], [3, 4], [5, 6]]])
    back, spread = unmirror_moments(mean, deviation, (1, 0, 2))
    torch.testing.assert_close(back, torch.tensor([[[-0.3, -0.4], [-0.1, 0.2], [0.0, 0.5]]]))
    assert torch.equal(spread, deviation[:, [1, 0, 2]])


def test_it_is_kept_whole_and_scored_by_its_mean(tmp_path):
    """Also without what other networks need for training only."""
    experiment = preset("toy-t-regression")
    torch.manual_seed(3)
    network = SadiNet(experiment.network)
    save_checkpoint(tmp_path / "a.safetensors", network, experiment, training_parts=False)
    kept = load_checkpoint(tmp_path / "a.safetensors").network
    images = torch.rand(2, 3, 64, 64)
    assert torch.equal(kept.regress(images)[0], network.eval().regress(images)[0])


def test_curves_of_a_negative_loss_are_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    log = [{"epoch": i, "loss_total": 1.0 - i, "loss_distribution": 1.0 - i, "val": 5.0} for i in (1, 2, 3)]
    assert draw_curves(log, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 1000


def test_a_few_steps_move_the_mean_towards_the_keypoints(tmp_path):
    data = toy_folder(tmp_path)
    experiment = override(preset("toy-t-regression"), (*MICRO, "training.epochs=4"))
    train(experiment, data, tmp_path / "run", machine=QUIET)
    log = read_log(tmp_path / "run")
    assert "loss_heatmaps" not in log[0]
    assert log[-1]["loss_total"] < log[0]["loss_total"]
    split = read_split("toy", "val", data)
    report = evaluate_split(load(tmp_path / "run"), split)
    assert report.metadata["decoding"] == "mean"
    assert report.persons == len(split)
