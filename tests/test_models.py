"""Weights by name: those that come along are whole, files and folders are found, and the rest is refused."""

import hashlib

import pytest
import torch

from sadinet import models
from sadinet.checkpoint import load_checkpoint, save_checkpoint
from sadinet.crops import SIX_SCALES
from sadinet.errors import CheckpointError
from sadinet.model.network import SadiNet
from sadinet.models import Model, embedded_models, load, weights_file
from sadinet.presets import preset
from sadinet.values import override

MICRO = ("network.learn_distribution=false", "network.backbone.channels=8,8,16,16", "network.backbone.blocks=1,1,1,1")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A small network on disk."""
    torch.manual_seed(3)
    experiment = override(preset("toy-t"), (*MICRO, "network.backbone.features=16"))
    path = tmp_path_factory.mktemp("run") / "best.safetensors"
    save_checkpoint(path, SadiNet(experiment.network), experiment)
    return path


class TestEmbedded:
    def test_each_is_whole_and_loads(self):
        for name, model in embedded_models().items():
            assert model.name == name == model.file.stem
            assert len(model.expected_sha256) == 64
            assert model.sha256 == model.expected_sha256, f"{model.file} is not what it was when it was made"
        assert list(embedded_models()) == sorted(embedded_models())

    def test_the_default_is_among_them(self):
        if not embedded_models():
            pytest.skip("this checkout has no weights in src/sadinet/weights")
        assert models.DEFAULT in embedded_models()
        # The variant it was trained as may differ in what prediction does not use.
        assert (
            load_checkpoint(weights_file(models.DEFAULT)).experiment.network.backbone
            == preset(models.DEFAULT).network.backbone
        )

    def test_damage_is_seen(self, tmp_path):
        file = tmp_path / "x.safetensors"
        file.write_bytes(b"good weights")
        good = hashlib.sha256(b"good weights").hexdigest()
        file.with_suffix(".sha256").write_text(f"{good}  x.safetensors\n")
        model = Model("x", file)
        assert model.sha256 == model.expected_sha256 == good
        file.write_bytes(b"good weightz")
        assert model.sha256 != model.expected_sha256

    @pytest.mark.parametrize("text", [None, "", " \n", "π"])
    def test_a_sum_that_is_missing_or_empty_fits_nothing(self, tmp_path, text):
        file = tmp_path / "x.safetensors"
        file.write_bytes(b"weights")
        if text is not None:
            file.with_suffix(".sha256").write_text(text, "utf-8")
        assert Model("x", file).expected_sha256 == ""


class TestNames:
    def test_a_file_and_the_folder_of_a_training(self, checkpoint):
        assert weights_file(checkpoint) == weights_file(str(checkpoint)) == checkpoint
        assert weights_file(checkpoint.parent) == checkpoint

    def test_an_embedded_name(self, monkeypatch, checkpoint):
        monkeypatch.setattr(models, "embedded_models", lambda: {"tiny": Model("tiny", checkpoint)})
        assert weights_file("tiny") == checkpoint

    def test_an_unknown_one_is_refused_with_the_known_ones(self, monkeypatch, checkpoint, tmp_path):
        known = {name: Model(name, checkpoint) for name in ("lsp-t", "mpii-t")}
        monkeypatch.setattr(models, "embedded_models", lambda: known)
        for name in ("lsp-q", tmp_path, ""):
            with pytest.raises(
                CheckpointError, match=r"neither a checkpoint file .* embedded weights \(lsp-t, mpii-t\)"
            ):
                load(name)


class TestLoad:
    def test_it_predicts_as_it_was_trained(self, checkpoint):
        estimator = load(checkpoint, device="cpu")
        assert estimator.reading.name == "toy-t"
        assert estimator.input_size == 64
        assert (estimator.inference.flip, estimator.inference.scales) == (True, (1.0,))
        assert not estimator.backend.network.training

    def test_the_options_arrive(self, checkpoint):
        inference = load(checkpoint, device="cpu", flip=False, six_scales=True, batch_size=3).inference
        assert (inference.flip, inference.scales, inference.batch_size) == (False, SIX_SCALES, 3)

    def test_a_damaged_file_is_refused(self, checkpoint, tmp_path):
        (tmp_path / "x.safetensors").write_bytes(checkpoint.read_bytes()[:-1])
        with pytest.raises(CheckpointError, match=r"x\.safetensors"):
            load(tmp_path / "x.safetensors")
