"""Exported networks do what PyTorch does, say all about themselves, and are written whole or not at all."""

import dataclasses
import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import save_file

import sadinet
from sadinet.backend import OnnxBackend
from sadinet.checkpoint import load_checkpoint, save_checkpoint
from sadinet.cli import main
from sadinet.data.toy import write_toy
from sadinet.errors import CheckpointError, ConfigError
from sadinet.exporting import export as module
from sadinet.exporting.export import Agreement, compare, export_onnx, generated, real_crops
from sadinet.exporting.graph import build, weights_of
from sadinet.heatmaps import decode, to_numpy
from sadinet.model.network import SadiNet
from sadinet.models import DEFAULT, embedded_models, weights_file
from sadinet.presets import preset
from sadinet.reading import Reading
from sadinet.stored import graph_name, graph_weights, read_origin, read_tensors
from sadinet.torch_backend import TorchBackend
from sadinet.values import override

pytest.importorskip("onnx", reason='exporting needs pip install "sadinet[export]"')
pytest.importorskip("onnxscript", reason='exporting needs pip install "sadinet[export]"')
onnxruntime = pytest.importorskip("onnxruntime", reason='running needs pip install "sadinet[onnx]"')

MICRO = (
    "network.learn_distribution=false",
    "network.backbone.channels=8,12,16,20",
    "network.backbone.blocks=1,1,1,1",
    "network.backbone.features=16",
    "decoding=dark",
)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with toy data, ``net.safetensors`` that answers strongly, and ``net.onnx`` with its side-car."""
    place = tmp_path_factory.mktemp("export")
    write_toy(place, 30, 1)
    torch.manual_seed(4)
    experiment = override(preset("toy-t"), MICRO)
    network = SadiNet(experiment.network)
    for head in network.backbone.heads:
        torch.nn.init.normal_(head.weight, std=0.03)  # an untrained head is so weak that nothing counts as found
    save_checkpoint(place / "net.safetensors", network, experiment)
    assert main(["export", str(place / "net.safetensors"), str(place / "net.onnx"), "--decode"]) == 0
    return place


@pytest.fixture(scope="module")
def checkpoint(place):
    return load_checkpoint(place / "net.safetensors")


@pytest.fixture(scope="module")
def reading(checkpoint):
    return Reading.of(checkpoint.experiment)


@pytest.fixture(scope="module")
def model(place):
    return (place / "net.onnx").read_bytes()


class TestAgreement:
    @pytest.mark.parametrize("count", [1, 2, 7])
    def test_any_batch_gives_pytorch_s_heatmaps(self, checkpoint, reading, model, count):
        crops = generated(reading, count)
        expected = TorchBackend(checkpoint.network, "cpu").heatmaps(crops)
        found = OnnxBackend(model).heatmaps(crops)
        assert found.shape == expected.shape == (count, 14, 16, 16)
        assert expected.max() > 0.1
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)

    def test_the_graph_reads_keypoints_by_the_same_law(self, reading, model):
        crops = generated(reading, 5)
        heatmaps, xy, score = onnxruntime.InferenceSession(model).run(["heatmaps", "xy", "score"], {"images": crops})
        expected, peak = decode(torch.from_numpy(heatmaps), "dark", sigma=reading.sigma)
        np.testing.assert_allclose(xy, (expected + 0.5) * 4 - 0.5, atol=1e-3)
        np.testing.assert_allclose(score, peak.clamp(0, 1), atol=1e-6)

    def test_on_toy_persons(self, place, checkpoint, reading, model):
        agreement = compare(checkpoint.network, reading, model, real_crops("toy", "train", place, 64, 20))
        assert agreement.crops == 20
        assert agreement.compared > 100
        assert agreement.heatmaps < 1e-4
        assert agreement.keypoints < 0.01

    def test_on_real_persons(self, shared):
        """With the weights that come along and the graph that comes along, too."""
        if DEFAULT not in embedded_models():
            pytest.skip("this checkout has no weights in src/sadinet/weights")
        checkpoint = load_checkpoint(weights_file(DEFAULT))
        reading, network = Reading.of(checkpoint.experiment), checkpoint.network
        crops = real_crops("lsp", "test", shared / "data", reading.input_size, 12)
        theirs, ours = sadinet.load(device="cpu", backend="onnxruntime"), TorchBackend(network, "cpu")
        found, expected = (to_numpy(each.heatmaps(crops)) for each in (theirs.backend, ours))
        assert np.abs(found - expected).max() < 1e-4
        (xy, _), (expected_xy, peak) = (decode(maps, "dark") for maps in (found, expected))
        assert (peak > 0.1).mean() > 0.9
        assert np.linalg.norm(xy - expected_xy, axis=-1).max() * reading.stride < 0.01

    def test_the_network_is_not_changed(self, checkpoint, reading, model):
        before = [(v.clone(), v.stride()) for v in checkpoint.network.state_dict().values()]
        compare(checkpoint.network, reading, model, generated(reading, 2))
        for (values, stride), after in zip(before, checkpoint.network.state_dict().values(), strict=True):
            assert torch.equal(values, after)
            assert stride == after.stride()


class TestFile:
    def test_it_opens_in_onnxruntime_1_20(self, model):
        onnx = pytest.importorskip("onnx")
        graph = onnx.load_from_string(model)
        assert graph.ir_version <= 10
        assert [(entry.domain, entry.version) for entry in graph.opset_import] == [("", 18)]

    def test_its_contract(self, model):
        session = onnxruntime.InferenceSession(model)
        (images,) = session.get_inputs()
        assert (images.name, images.type, images.shape) == ("images", "tensor(uint8)", ["batch", 64, 64, 3])
        assert [(o.name, o.type, o.shape) for o in session.get_outputs()] == [
            ("heatmaps", "tensor(float)", ["batch", 14, 16, 16]),
            ("xy", "tensor(float)", ["batch", 14, 2]),
            ("score", "tensor(float)", ["batch", 14]),
        ]

    def test_nothing_is_left_of_batch_norms_and_of_this_machine(self, model):
        graph = pytest.importorskip("onnx").load_from_string(model).graph
        operations = {node.op_type for node in graph.node}
        assert operations.isdisjoint({"BatchNormalization", "ReduceMean"})
        assert str(Path(sadinet.__file__).parent).encode() not in model
        assert b"stack_trace" not in model

    def test_the_side_car_says_all_and_so_does_the_file(self, place, checkpoint, model):
        told = json.loads((place / "net.json").read_text())
        assert told["sha256"] == hashlib.sha256(model).hexdigest()
        weights = (place / "net.safetensors").read_bytes()
        assert told["weights_sha256"] == hashlib.sha256(weights).hexdigest()
        assert told["flip_index"] == list(checkpoint.experiment.skeleton.flip_index)
        assert told["reading"]["skeleton"]["keypoints"] == list(checkpoint.experiment.skeleton.keypoints)
        assert (told["opset"], told["batch"], told["precision"], told["decoded"]) == (18, "dynamic", "float32", True)
        inside = json.loads(OnnxBackend(model).facts["sadinet"])
        assert inside == {key: value for key, value in told.items() if key not in ("file", "sha256")}

    def test_a_file_that_does_not_agree_is_not_kept(self, tmp_path, checkpoint, reading, model, monkeypatch):
        (tmp_path / "x.onnx").write_bytes(b"as before")
        monkeypatch.setattr(module, "build", lambda *_, **__: FakeModel(model))
        wrong = SadiNet(checkpoint.experiment.network)
        with pytest.raises(CheckpointError, match=r"x\.onnx: not written, .* heatmaps differ by .*at most 0\.0001"):
            export_onnx(wrong, reading, tmp_path / "x.onnx")
        assert [path.name for path in tmp_path.iterdir()] == ["x.onnx"]
        assert (tmp_path / "x.onnx").read_bytes() == b"as before"


class FakeModel:
    """A graph that was made before."""

    def __new__(cls, content):
        return pytest.importorskip("onnx").load_from_string(content)


@pytest.mark.parametrize(
    ("agreement", "kept"),
    [
        (Agreement(8, 9e-5, 0.009, 0, 5), True),
        (Agreement(8, 2e-4, 0.0, 0, 5), False),
        (Agreement(8, 0.0, 0.02, 0, 5), False),
        (Agreement(8, float("nan"), 0.0, 0, 5), False),
    ],
)
def test_what_is_refused(agreement, kept, tmp_path):
    if kept:
        assert module._check(agreement, "float32", tmp_path) is None
    else:
        with pytest.raises(CheckpointError, match="disagree"):
            module._check(agreement, "float32", tmp_path)


class TestLoad:
    def test_it_is_the_same_estimator(self, place, reading):
        ours, theirs = (sadinet.load(place / name, device="cpu") for name in ("net.safetensors", "net.onnx"))
        assert (ours.backend.name, theirs.backend.name) == ("torch", "onnxruntime")
        assert ours.reading == theirs.reading == reading
        picture = place / "toy" / "images" / "im0003.jpg"
        for options in ({"flip": False}, {"flip": True}, {"six_scales": True}):
            found, expected = (
                sadinet.load(place / name, device="cpu", **options).predict(picture, [(4, 5, 60, 70), (0, 9, 50, 66)])
                for name in ("net.onnx", "net.safetensors")
            )
            np.testing.assert_allclose(found.xy, expected.xy, atol=0.01)
            np.testing.assert_allclose(found.score, expected.score, atol=1e-4)

    def test_evaluate_gives_the_same_report(self, place, capsys):
        reports = []
        for name in ("net.safetensors", "net.onnx"):
            words = ["evaluate", str(place / name), "--dataset", "toy", "--data", str(place), "--split", "train"]
            assert main([*words, "--json", "--device", "cpu"]) == 0
            reports.append(json.loads(capsys.readouterr().out))
        ours, theirs = reports
        assert theirs["parts"] == ours["parts"]
        assert theirs["metadata"] | {"weights": ""} == ours["metadata"] | {"weights": ""}

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"", "not an ONNX model that can be run"),
            (b"no model", "not an ONNX model that can be run"),
        ],
    )
    def test_what_is_no_model_is_refused(self, tmp_path, content, message):
        (tmp_path / "x.onnx").write_bytes(content)
        with pytest.raises(CheckpointError, match=rf"x\.onnx: {message}"):
            sadinet.load(tmp_path / "x.onnx")

    def test_a_model_cut_short_is_refused(self, tmp_path, model):
        (tmp_path / "x.onnx").write_bytes(model[: len(model) // 2])
        with pytest.raises(CheckpointError, match=r"x\.onnx"):
            sadinet.load(tmp_path / "x.onnx")

    def test_a_model_of_somebody_else_is_refused(self, tmp_path):
        onnx = pytest.importorskip("onnx")
        kind = onnx.TensorProto.FLOAT
        values = [onnx.helper.make_tensor_value_info(name, kind, [1]) for name in "xy"]
        graph = onnx.helper.make_graph([onnx.helper.make_node("Relu", ["x"], ["y"])], "g", values[:1], values[1:])
        opsets = [onnx.helper.make_opsetid("", 18)]
        onnx.save(onnx.helper.make_model(graph, opset_imports=opsets, ir_version=9), tmp_path / "x.onnx")
        with pytest.raises(CheckpointError, match=r"x\.onnx: an ONNX model, but not written by sadinet"):
            sadinet.load(tmp_path / "x.onnx")

    def test_backends_that_cannot_are_told(self, place):
        with pytest.raises(ConfigError, match="torch cannot run an exported network"):
            sadinet.load(place / "net.onnx", backend="torch")
        with pytest.raises(ConfigError, match=r"sadinet export .*net\.safetensors net\.onnx"):
            sadinet.load(place / "net.safetensors", backend="onnxruntime", device="cpu")
        with pytest.raises(ConfigError, match="toaster"):
            sadinet.load(place / "net.onnx", device="toaster")


@pytest.mark.parametrize("shape", [(64, 64), (300, 171), (40, 90)])
def test_the_example_finds_the_same_without_sadinet(place, tmp_path, shape):
    example = Path(__file__).parents[2] / "examples" / "onnx_standalone.py"
    coarse = np.random.default_rng(2).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    Image.fromarray(coarse).resize(shape, Image.Resampling.BICUBIC).save(tmp_path / "x.png")
    words = [sys.executable, str(example), str(place / "net.onnx"), str(tmp_path / "x.png")]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=300)
    assert "sadinet" not in example.read_text().split('"""')[2]
    found = json.loads(done.stdout)
    poses = sadinet.load(place / "net.onnx", flip=False).predict(tmp_path / "x.png")
    assert list(found) == list(poses.skeleton.keypoints)
    np.testing.assert_allclose(np.array(list(found.values()))[:, :2], poses.xy[0], atol=0.05 * max(shape) / 64)
    np.testing.assert_allclose(np.array(list(found.values()))[:, 2], poses.score[0], atol=0.006)


class TestVariants:
    def test_half_and_a_fixed_batch(self, place, tmp_path, checkpoint, reading, capsys):
        words = ["export", str(place / "net.safetensors"), str(tmp_path / "x.onnx"), "--half", "--batch", "3"]
        assert main(words) == 0
        assert capsys.readouterr().err == ""
        backend = OnnxBackend(tmp_path / "x.onnx")
        crops = generated(reading, 4)
        found, expected = (to_numpy(b.heatmaps(crops)) for b in (backend, TorchBackend(checkpoint.network, "cpu")))
        assert backend.session.get_inputs()[0].shape == [3, 64, 64, 3]
        assert found.dtype == np.float32
        assert found.shape == expected.shape
        assert 1e-6 < np.abs(found - expected).max() < 2e-2
        assert (tmp_path / "x.onnx").stat().st_size < 0.7 * (place / "net.onnx").stat().st_size

    def test_int8(self, place, tmp_path, checkpoint, capsys):
        words = ["export", str(place / "net.safetensors"), str(tmp_path / "x.onnx"), "--int8", "--data", str(place)]
        assert main(words) == 0
        out, err = capsys.readouterr()
        assert err == ""
        assert out.startswith(f"{tmp_path / 'x.onnx'} (0.")
        assert "3 real crops" in out
        graph = pytest.importorskip("onnx").load(tmp_path / "x.onnx").graph
        weights = {tensor.name for tensor in graph.initializer if tensor.data_type == 3 and len(tensor.dims) == 4}
        assert len(weights) == sum(node.op_type == "Conv" for node in graph.node)
        crops = real_crops("toy", "val", place, 64, 3)
        found = to_numpy(sadinet.load(tmp_path / "x.onnx").backend.heatmaps(crops))
        expected = to_numpy(TorchBackend(checkpoint.network, "cpu").heatmaps(crops))
        assert 0 < np.abs(found - expected).mean() < 0.05 * np.abs(expected).max()


class TestEmbeddedGraph:
    def test_there_is_one_for_the_default_weights(self):
        """Missing after a change of their shape? ``sadinet.exporting.graph.write_graph`` makes it (decision 020)."""
        if DEFAULT not in embedded_models():
            pytest.skip("this checkout has no weights in src/sadinet/weights")
        file = weights_file(DEFAULT)
        assert (file.parent / graph_name(read_origin(file).experiment.network)).is_file()
        assert sadinet.load(device="cpu").backend.name == "onnxruntime"
        assert sadinet.load(device="cpu", backend="torch").backend.name == "torch"

    def test_its_name_tells_the_shape_and_nothing_else(self, checkpoint):
        config = checkpoint.experiment.network
        fusion = dataclasses.replace(config.fusion, residual=True)
        assert graph_name(dataclasses.replace(config, fusion=fusion)) == graph_name(config)
        assert graph_name(dataclasses.replace(config, input_size=128)) != graph_name(config)

    def test_it_asks_for_the_weights_it_is_filled_with(self):
        onnx = pytest.importorskip("onnx")
        if DEFAULT not in embedded_models():
            pytest.skip("this checkout has no weights in src/sadinet/weights")
        file = weights_file(DEFAULT)
        name = graph_name(read_origin(file).experiment.network)
        graph = onnx.load(file.parent / name, load_external_data=False).graph
        asked = {t.name: tuple(t.dims) for t in graph.initializer if t.data_location == onnx.TensorProto.EXTERNAL}
        assert {name: array.shape for name, array in graph_weights(file).items()} == asked

    @pytest.mark.parametrize(
        "damage",
        [
            lambda tensors: tensors.pop("backbone.stem.0.weight"),
            lambda tensors: tensors.pop("backbone.stem.1.running_mean"),
            lambda tensors: tensors.pop("backbone.heads.0.bias"),
            lambda tensors: tensors.update({"backbone.stem.0.weight": np.zeros((16, 3, 3, 3), np.float32)}),
            lambda tensors: tensors.update({"backbone.stem.1.running_mean": np.zeros(3, np.float32)}),
            lambda tensors: tensors.update({"backbone.more.weight": np.zeros(3, np.float32)}),
            lambda tensors: [tensors.pop(name) for name in list(tensors)[1:]],
            lambda tensors: np.copyto(tensors["backbone.stem.0.weight"], np.nan),
            lambda tensors: np.copyto(tensors["backbone.stem.1.running_var"], -1),
        ],
    )
    def test_weights_that_do_not_fit_it_are_refused(self, tmp_path, damage):
        if DEFAULT not in embedded_models():
            pytest.skip("this checkout has no weights in src/sadinet/weights")
        tensors, facts = read_tensors(weights_file(DEFAULT), "np")
        damage(tensors)
        save_file(tensors, tmp_path / "x.safetensors", facts)
        assert sadinet.load(DEFAULT, device="cpu").backend.name == "onnxruntime"
        message = r"x\.safetensors: (weights of another network|.* holds values that are not finite)"
        with pytest.raises(CheckpointError, match=message):
            sadinet.load(tmp_path / "x.safetensors", device="cpu")

    def test_weights_are_folded_as_by_torch(self, place, checkpoint):
        found, expected = graph_weights(place / "net.safetensors"), weights_of(checkpoint.network)
        assert found.keys() == expected.keys()
        for name, values in found.items():
            np.testing.assert_allclose(values, expected[name], rtol=1e-6, atol=1e-7, err_msg=name)
            assert values.dtype == np.float32


class TestMisuse:
    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (("x.onnx", "--int8"), "--data DIR"),
            (("x.onnx", "--int8", "--half", "--data", "."), "exclude each other"),
            (("x.onnx", "--batch", "many"), "--batch many: give a number"),
            (("x.onnx", "--batch", "0"), "--batch 0: give a number"),
            (("x.onnx", "--data", "nowhere"), "nowhere"),
            (("x.safetensors", "--int8"), "--int8 is for ONNX files"),
            (("x.safetensors", "--decode"), "--decode is for ONNX files"),
        ],
    )
    def test_it_is_told_and_nothing_is_written(self, place, tmp_path, capsys, words, message):
        out, *options = words
        assert main(["export", str(place / "net.safetensors"), str(tmp_path / out), *options]) == 2
        assert message in capsys.readouterr().err
        assert list(tmp_path.iterdir()) == []

    def test_what_is_not_installed_is_named(self, checkpoint, reading, monkeypatch):
        monkeypatch.setitem(__import__("sys").modules, "onnxscript", None)
        with pytest.raises(ConfigError, match=r'onnxscript is needed .* pip install "sadinet\[export\]"'):
            build(checkpoint.network, reading)
