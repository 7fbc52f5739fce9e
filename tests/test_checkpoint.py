"""Checkpoints: what goes in comes out, what is damaged is refused, and no write leaves half a file."""

import contextlib
import dataclasses
import errno
import json
import os
import random
import stat
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from sadinet import checkpoint as module
from sadinet.checkpoint import FORMAT, load_checkpoint, load_tensors, save_checkpoint, save_tensors
from sadinet.errors import CheckpointError
from sadinet.experiment import to_json
from sadinet.files import replacing
from sadinet.model.network import SadiNet
from sadinet.presets import preset
from sadinet.skeleton import LSP, Skeleton
from sadinet.values import override

MICRO = (
    "network.backbone.channels=8,16,32,64",
    "network.backbone.blocks=1,1,1,1",
    "network.backbone.features=32",
    "network.fusion.features=32",
    "network.fusion.widths=16,32,64,128",
    "network.fusion.outputs=128",
    "network.distribution.table_size=33",
)
WEIGHT = "backbone.stem.0.weight"
FACTS = {"val": {"mean": 12.5, "name": "π"}, "epoch": 3, "note": None, "list": [1, [2, "x"]]}


@pytest.fixture(scope="module")
def experiment():
    return override(preset("toy-t"), (*MICRO, "training.seed=5", "loss.sigma=1.5"))


@pytest.fixture(scope="module")
def network(experiment):
    torch.manual_seed(7)
    network = SadiNet(experiment.network, sigma=experiment.loss.sigma)
    network.train()(torch.rand(2, 3, 64, 64))  # batch norm has seen something
    return network.eval()


@pytest.fixture(scope="module")
def images():
    return torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(2))


@pytest.fixture(scope="module")
def saved(tmp_path_factory, network, experiment):
    """A good file; tests damage copies of it."""
    path = tmp_path_factory.mktemp("saved") / "good.safetensors"
    save_checkpoint(path, network, experiment, FACTS)
    return path


def rewritten(saved, path, change):
    """``path`` with the tensors and facts of ``saved`` as ``change`` leaves them."""
    tensors, facts = load_tensors(saved)
    change(tensors, facts)
    save_file(tensors, path, metadata=facts)
    return path


class TestRoundTrip:
    def test_every_weight_comes_back_to_the_bit(self, saved, network, experiment):
        loaded = load_checkpoint(saved)
        ours, theirs = network.state_dict(), loaded.network.state_dict()
        assert list(ours) == list(theirs)
        for name, value in ours.items():
            assert theirs[name].dtype == value.dtype
            assert torch.equal(theirs[name], value), name
        assert loaded.experiment == experiment
        assert loaded.facts == FACTS
        assert not loaded.network.training
        assert loaded.network.sigma == 1.5

    def test_and_gives_the_same_answer_with_the_training_parts(self, saved, network, images):
        with torch.inference_mode():
            ours, theirs = network(images), load_checkpoint(saved).network(images)
        assert torch.equal(ours.heatmaps, theirs.heatmaps)
        assert torch.equal(ours.distribution.mean, theirs.distribution.mean)

    def test_the_file_alone_is_enough(self, saved, tmp_path, images, network, monkeypatch):
        copy = tmp_path / "renamed.bin"
        copy.write_bytes(saved.read_bytes())
        monkeypatch.chdir(tmp_path)
        with torch.inference_mode():
            heatmaps = load_checkpoint(Path("renamed.bin")).network.backbone_heatmaps(images)
            assert torch.equal(heatmaps, network.backbone_heatmaps(images))

    def test_without_training_parts_it_is_smaller_and_predicts_the_same(self, tmp_path, network, experiment, images):
        path = tmp_path / "small.safetensors"
        save_checkpoint(path, network, experiment, training_parts=False)
        loaded = load_checkpoint(path)
        assert {name.split(".")[0] for name in load_file(path)} == {"backbone"}
        assert loaded.network.distribution is loaded.network.head is loaded.network.attention is None
        assert loaded.experiment == experiment  # what it was trained by, not what is left
        assert network.distribution is not None
        with torch.inference_mode():
            answer = loaded.network(images)
            assert torch.equal(answer.heatmaps, network.backbone_heatmaps(images))
        assert answer.distribution is None
        save_checkpoint(tmp_path / "again.safetensors", loaded.network, loaded.experiment)
        assert (tmp_path / "again.safetensors").stat().st_size == path.stat().st_size

    def test_half_is_half_as_large_and_within_the_rounding_of_float16(self, tmp_path, saved, network, experiment):
        path = tmp_path / "half.safetensors"
        save_checkpoint(path, network, experiment, half=True)
        assert path.stat().st_size < 0.6 * saved.stat().st_size
        assert {v.dtype for v in load_file(path).values()} == {torch.float16, torch.int64}
        theirs = load_checkpoint(path).network.state_dict()
        for name, value in network.state_dict().items():
            assert theirs[name].dtype == value.dtype
            torch.testing.assert_close(theirs[name], value, rtol=2**-11, atol=2**-25)
        assert next(network.parameters()).dtype == torch.float32

    def test_weights_in_another_memory_layout_are_the_same(self, tmp_path, network, experiment, saved):
        shuffled = SadiNet(experiment.network)
        shuffled.load_state_dict(network.state_dict())
        save_checkpoint(tmp_path / "a.safetensors", shuffled.to(memory_format=torch.channels_last), experiment, FACTS)
        ours, theirs = load_file(tmp_path / "a.safetensors"), load_file(saved)
        assert list(ours) == list(theirs)
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)

    def test_half_refuses_what_float16_cannot_hold(self, tmp_path, network, experiment):
        large = SadiNet(experiment.network)
        large.load_state_dict(network.state_dict())
        with torch.no_grad():
            next(large.backbone.parameters()).view(-1)[3] = 1e5
        with pytest.raises(CheckpointError, match=r"h\.safetensors: backbone\..* does not fit float16"):
            save_checkpoint(tmp_path / "h.safetensors", large, experiment, half=True)
        assert list(tmp_path.iterdir()) == []

    def test_tensors_and_facts_of_any_kind(self, tmp_path):
        tensors = {"a": torch.arange(6).view(2, 3).T, "b.c": torch.tensor(2.5), "none": torch.zeros(0, 4)}
        save_tensors(tmp_path / "t", tensors, {"format": FORMAT, "text": '"', "number": 3, "map": {"x": [None]}})
        read, facts = load_tensors(tmp_path / "t")
        assert all(torch.equal(read[k], v) for k, v in tensors.items())
        assert facts == {"format": FORMAT, "text": '"', "number": "3", "map": '{"x": [null]}'}


class TestRefuses:
    @staticmethod
    def refused(path, match=""):
        with pytest.raises(CheckpointError, match=match) as caught:
            load_checkpoint(path)
        assert str(path) in str(caught.value)

    def test_what_is_not_there(self, tmp_path):
        self.refused(tmp_path / "nothing.safetensors", "no such checkpoint")
        self.refused(tmp_path, "no such checkpoint")

    def test_a_file_cut_short(self, saved, tmp_path):
        whole = saved.read_bytes()
        header = int.from_bytes(whole[:8], "little") + 8
        rng = random.Random(3)
        path = tmp_path / "short.safetensors"
        for length in (
            0,
            1,
            7,
            8,
            9,
            header - 1,
            header,
            header + 1,
            len(whole) - 1,
            *rng.sample(range(len(whole)), 30),
        ):
            path.write_bytes(whole[:length])
            self.refused(path, "damaged")

    def test_a_file_with_something_behind_it(self, saved, tmp_path):
        (tmp_path / "long").write_bytes(saved.read_bytes() + b"x")
        self.refused(tmp_path / "long", "damaged")

    @pytest.mark.parametrize("length", [1, 8, 100, 5000])
    def test_random_bytes(self, tmp_path, length):
        for seed in range(10):
            (tmp_path / "noise").write_bytes(random.Random(seed).randbytes(length))
            self.refused(tmp_path / "noise", "damaged")

    @pytest.mark.parametrize("start", [b"PK\x03\x04", b"\x80\x02}q\x00.", b"\x89HDF\r\n\x1a\n", b"{}", b"\xff" * 16])
    def test_files_of_other_kinds(self, tmp_path, start):
        (tmp_path / "other.pth").write_bytes(start + bytes(200))
        self.refused(tmp_path / "other.pth", "not a safetensors file")

    def test_a_flipped_bit_in_the_header_is_refused_or_harmless(self, saved, tmp_path):
        whole, rng, path = saved.read_bytes(), random.Random(4), tmp_path / "flipped"
        header = int.from_bytes(whole[:8], "little") + 8
        for _ in range(40):
            damaged = bytearray(whole)
            damaged[rng.randrange(header)] ^= 1 << rng.randrange(8)
            path.write_bytes(damaged)
            with contextlib.suppress(CheckpointError):  # and nothing else
                assert isinstance(load_checkpoint(path).network, SadiNet)

    @pytest.mark.parametrize("metadata", [None, {"format": "pt"}, {"format": "sadinet-99"}])
    def test_safetensors_of_somebody_else(self, tmp_path, network, metadata):
        save_file({k: v.clone() for k, v in network.state_dict().items()}, tmp_path / "other", metadata=metadata)
        self.refused(tmp_path / "other", "not written by sadinet")

    def test_the_state_of_a_training(self, tmp_path, network, experiment):
        state = {f"network.{k}": v for k, v in network.state_dict().items()}
        facts = {"format": FORMAT, "progress": "{}", "experiment": to_json(experiment), "train": "abc", "val": "def"}
        save_tensors(tmp_path / "state.safetensors", state, facts)
        self.refused(tmp_path / "state.safetensors", "the state of a training, not a network")

    @pytest.mark.parametrize("facts", ["", "{", "[" * 100_000])
    def test_facts_that_are_not_json(self, saved, tmp_path, facts):
        self.refused(rewritten(saved, tmp_path / "x", lambda _, about: about.update(facts=facts)), "facts are not JSON")

    @pytest.mark.parametrize("text", ["", "{}", '{"name": "x", "colour": "red"}'])
    def test_an_experiment_that_is_none(self, saved, tmp_path, text):
        path = rewritten(saved, tmp_path / "x", lambda _, about: about.update(experiment=text))
        self.refused(path, "its experiment does not fit")

    def test_weights_of_another_shape(self, saved, tmp_path, experiment):
        other = to_json(override(experiment, ["network.backbone.channels=8,16,32,48"]))
        path = rewritten(saved, tmp_path / "x", lambda _, about: about.update(experiment=other))
        self.refused(path, "weights of another network.*size mismatch")

    def test_a_weight_that_is_missing_or_unknown(self, saved, tmp_path):
        self.refused(rewritten(saved, tmp_path / "x", lambda tensors, _: tensors.pop(WEIGHT)), f"Missing key.*{WEIGHT}")
        extra = {"backbone.more": torch.zeros(3)}
        self.refused(rewritten(saved, tmp_path / "y", lambda tensors, _: tensors.update(extra)), "Unexpected key")

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
    def test_weights_that_are_not_finite(self, saved, tmp_path, value):
        def spoil(tensors, _):
            tensors[WEIGHT].view(-1)[1] = value

        self.refused(rewritten(saved, tmp_path / "x", spoil), f"{WEIGHT} holds values that are not finite")

    def test_nothing_is_unpickled(self, tmp_path):
        torch.save({"state_dict": {}}, tmp_path / "pickled.safetensors")
        self.refused(tmp_path / "pickled.safetensors", "not a safetensors file")


class TestWriting:
    @pytest.fixture
    def old(self, tmp_path, network, experiment):
        """An older checkpoint that must survive."""
        path = tmp_path / "kept.safetensors"
        save_checkpoint(path, network, experiment, {"epoch": 1})
        return path

    @staticmethod
    def assert_whole(path):
        assert [file.name for file in path.parent.iterdir()] == [path.name]
        assert load_checkpoint(path).facts == {"epoch": 1}

    def test_a_new_file_takes_the_old_one_s_place(self, old, network, experiment):
        save_checkpoint(old, network, experiment, {"epoch": 2})
        assert load_checkpoint(old).facts == {"epoch": 2}
        assert [file.name for file in old.parent.iterdir()] == [old.name]

    def test_missing_folders_are_made(self, tmp_path, network, experiment):
        save_checkpoint(tmp_path / "a" / "b" / "c.safetensors", network, experiment)
        assert load_checkpoint(tmp_path / "a" / "b" / "c.safetensors").experiment == experiment

    @pytest.mark.parametrize(
        "error", [OSError(errno.ENOSPC, "No space left on device"), module.SafetensorError("I/O error: no space left")]
    )
    def test_a_full_disk_is_told_and_leaves_the_old_file(self, old, network, experiment, monkeypatch, error):
        def fill(_, path, **__):
            path.write_bytes(b"half of a fi")
            raise error

        monkeypatch.setattr(module, "save_file", fill)
        with pytest.raises(CheckpointError, match=r"kept\.safetensors: cannot be written.*[Nn]o space left.*disk full"):
            save_checkpoint(old, network, experiment, {"epoch": 2})
        self.assert_whole(old)

    @pytest.mark.parametrize("call", ["fsync", "replace"])
    def test_a_disk_that_fails_late_leaves_the_old_file(self, old, network, experiment, monkeypatch, call):
        def fail(*_):
            raise OSError(errno.EIO, "Input/output error")

        monkeypatch.setattr(*((os, "fsync") if call == "fsync" else (Path, "replace")), fail)
        with pytest.raises(CheckpointError, match="Input/output error"):
            save_checkpoint(old, network, experiment, {"epoch": 2})
        monkeypatch.undo()
        self.assert_whole(old)

    def test_an_interruption_leaves_the_old_file(self, old, network, experiment, monkeypatch):
        def interrupt(_, path, **__):
            path.write_bytes(b"half of a fi")
            raise KeyboardInterrupt

        monkeypatch.setattr(module, "save_file", interrupt)
        with pytest.raises(KeyboardInterrupt):
            save_checkpoint(old, network, experiment, {"epoch": 2})
        self.assert_whole(old)

    def test_a_folder_that_cannot_be_made_is_told(self, old, network, experiment):
        with pytest.raises(CheckpointError, match="cannot be written"):
            save_checkpoint(old / "below a file" / "x.safetensors", network, experiment)

    @pytest.mark.skipif(os.name != "posix", reason="file permissions are POSIX")
    @pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600)])
    def test_permissions_follow_the_umask(self, tmp_path, network, experiment, umask, mode):
        before = os.umask(umask)
        try:
            save_checkpoint(tmp_path / "x.safetensors", network, experiment)
            with replacing(tmp_path / "x.txt") as file:
                file.write_text("x")
        finally:
            os.umask(before)
        assert {stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()} == {mode}

    def test_replacing_shows_nothing_before_the_end(self, tmp_path):
        path = tmp_path / "x.json"
        with replacing(path) as file:
            file.write_text(json.dumps([1, 2]))
            assert not path.exists()
        assert json.loads(path.read_text()) == [1, 2]
        assert list(tmp_path.iterdir()) == [path]


class TestWarmStart:
    def test_weights_that_fit_are_taken_the_others_kept(self, saved, network, experiment):
        wider = SadiNet(override(experiment, ["network.fusion.outputs=96"]).network)
        own = {k: v.clone() for k, v in wider.state_dict().items()}
        state = module.fitting_weights(wider, saved, experiment.skeleton)
        assert list(state) == list(own)
        trained = network.state_dict()
        taken = [k for k, v in state.items() if v.shape == trained[k].shape]
        assert all(torch.equal(state[k], trained[k]) for k in taken)
        assert all(torch.equal(state[k], own[k]) for k in set(own) - set(taken))
        assert 0 < len(taken) < len(own)

    def test_weights_that_do_not_fit_are_refused(self, saved, experiment):
        other = SadiNet(override(experiment, ["network.backbone.channels=12,20,28,36"]).network)
        with pytest.raises(CheckpointError, match=rf"{saved.name}: .*fit.* this network"):
            module.fitting_weights(other, saved, experiment.skeleton)

    @pytest.mark.parametrize("stacks", [1, 2])
    def test_keypoints_keep_their_channels_by_name(self, tmp_path, experiment, stacks):
        experiment = experiment if stacks == 1 else preset("toy-t-newell2")
        network = SadiNet(experiment.network)
        module.save_checkpoint(tmp_path / "lsp.safetensors", network, experiment)
        names = ("tail", "neck", "left_knee", "right_knee")
        for mine in (names, ("tail", "nose", *LSP.keypoints[:12])):  # four, and as many as LSP's
            other = SadiNet(dataclasses.replace(experiment.network, keypoints=len(mine)))
            own = {k: v.clone() for k, v in other.state_dict().items()}
            state = module.fitting_weights(other, tmp_path / "lsp.safetensors", Skeleton("mine", mine))
            for number in range(stacks):
                for what in ("weight", "bias"):
                    name = f"backbone.heads.{number}.{what}"
                    assert name in state
                    for k, keypoint in enumerate(mine):
                        known = keypoint in LSP.keypoints
                        wanted = network.state_dict()[name][LSP.index(keypoint)] if known else own[name][k]
                        assert torch.equal(state[name][k], wanted), (name, keypoint)
            of_keypoints = [k for k in own if k.startswith(("distribution.", "backbone.merge_heatmaps."))]
            assert all(torch.equal(state[k], own[k]) for k in of_keypoints)
            assert torch.equal(state["backbone.stem.0.weight"], network.state_dict()["backbone.stem.0.weight"])
