"""Backends: devices and threads are found, fixed batches are filled up, and what is not installed is named."""

import subprocess
import sys

import numpy as np
import pytest
import torch

import sadinet
from sadinet import backend as module
from sadinet import models
from sadinet.backend import is_installed, require, thread_count
from sadinet.errors import ConfigError
from sadinet.models import DEFAULT, embedded_models
from sadinet.presets import preset
from sadinet.torch_backend import TorchBackend
from sadinet.values import override


class Means(torch.nn.Module):
    """Heatmaps that are the colours of the picture."""

    def backbone_heatmaps(self, images):
        self.seen = images
        return torch.nn.functional.avg_pool2d(images, 4)


def test_torch_is_shown_rgb_in_0_to_1_and_the_batch_comes_back():
    crops = np.zeros((2, 8, 12, 3), np.uint8)
    crops[1, 4:, 8:] = (255, 51, 0)
    network = Means().train()
    backend = TorchBackend(network, "cpu")
    heatmaps = backend.heatmaps(crops)
    assert (backend.name, backend.device, network.training) == ("torch", "cpu", False)
    assert heatmaps.shape == (2, 3, 2, 3)
    torch.testing.assert_close(heatmaps[1, :, 1, 2], torch.tensor([1.0, 0.2, 0.0]))
    assert heatmaps.sum() == pytest.approx(1.2)
    assert network.seen.is_contiguous(memory_format=torch.channels_last)


def test_mirrored_crops_without_a_copy_are_fine():
    crops = np.arange(2 * 8 * 8 * 3, dtype=np.uint8).reshape(2, 8, 8, 3)
    backend = TorchBackend(Means(), "cpu")
    torch.testing.assert_close(backend.heatmaps(crops[:, :, ::-1]), backend.heatmaps(crops).flip(-1))


@pytest.mark.parametrize(("count", "size", "sizes"), [(5, 0, [5]), (5, 2, [2, 2, 2]), (4, 2, [2, 2]), (1, 3, [3])])
def test_a_fixed_batch_is_filled_up(count, size, sizes):
    images = np.arange(1, count + 1, dtype=np.uint8)[:, None, None, None]
    parts = module._batches(images, size)
    assert [len(part) for part in parts] == sizes
    np.testing.assert_array_equal(np.concatenate(parts)[:count], images)


def test_threads_are_no_more_than_cores_and_than_torch_takes(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 7)
    monkeypatch.setattr(module.os, "sched_getaffinity", lambda _: {3, 5}, raising=False)
    assert thread_count() == 2
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    assert thread_count() == 1


def test_what_is_not_installed_is_named_with_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ConfigError, match=r'onnxruntime is needed here .* pip install "sadinet\[onnx\]"'):
        require("onnxruntime", "onnx")
    assert is_installed("torch")
    assert not is_installed("no_such_engine")


def test_without_onnxruntime_torch_computes(monkeypatch):
    if DEFAULT not in embedded_models():
        pytest.skip("this checkout has no weights in src/sadinet/weights")
    monkeypatch.setattr("sadinet.models.is_installed", lambda _: False)
    assert sadinet.load(device="cpu").backend.name == "torch"


def test_a_driver_without_a_gpu_is_no_gpu(monkeypatch):
    """PyTorch is asked where there may be one, and its answer counts."""
    if DEFAULT not in embedded_models():
        pytest.skip("this checkout has no weights in src/sadinet/weights")
    monkeypatch.setattr(models, "version", lambda _: "2.13.0+cu130")
    monkeypatch.setattr(models.ctypes, "CDLL", lambda _: None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    models._has_gpu.cache_clear()
    try:
        assert sadinet.load().backend.name == "onnxruntime"
        assert sadinet.load(device="cpu:0").backend.name == "onnxruntime"
    finally:
        models._has_gpu.cache_clear()


def test_torch_is_not_loaded_where_onnxruntime_computes(tmp_path):
    """It would take a second and 200 MB; six scales, a drawing and a followed video do not need it either."""
    if DEFAULT not in embedded_models():
        pytest.skip("this checkout has no weights in src/sadinet/weights")
    code = """if True:
        import sys, numpy, sadinet
        picture = numpy.zeros((60, 50, 3), numpy.uint8)
        estimator = sadinet.load(device="cpu", six_scales=True)
        sadinet.write_image(sadinet.draw_poses(picture, estimator.predict(picture)), "x.png")
        assert len(list(estimator.stream(numpy.stack([picture] * 3), track=True))) == 3
        assert estimator.backend.name == "onnxruntime"
        print([name for name in ("torch", "matplotlib") if name in sys.modules])"""
    asked = [sys.executable, "-c", code]
    done = subprocess.run(asked, capture_output=True, text=True, check=True, timeout=300, cwd=tmp_path)
    assert done.stdout == "[]\n"


def test_onnxruntime_itself_is_not_imported_for_torch():
    """Nor is torch for ``import sadinet``: `test_public` sees to that."""
    code = "import sys, sadinet; sadinet.load(device='cpu', backend='torch'); print('onnxruntime' in sys.modules)"
    if DEFAULT not in embedded_models():
        pytest.skip("this checkout has no weights in src/sadinet/weights")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300)
    assert done.stdout == "False\n"


def test_openvino_computes_the_same(tmp_path):
    pytest.importorskip("openvino", reason='needs pip install "sadinet[openvino]"')
    pytest.importorskip("onnxscript", reason='exporting needs pip install "sadinet[export]"')
    from sadinet.exporting.export import export_onnx, generated
    from sadinet.model.network import SadiNet
    from sadinet.reading import Reading

    torch.manual_seed(3)
    changes = ["network.backbone.channels=8,8,16,16", "network.backbone.blocks=1,1,1,1"]
    experiment = override(preset("toy-t-rfm"), changes)
    network, reading = SadiNet(experiment.network), Reading.of(experiment)
    export_onnx(network, reading, tmp_path / "x.onnx", batch=2)
    estimator = sadinet.load(tmp_path / "x.onnx", backend="openvino")
    crops = generated(reading, 3)
    expected = TorchBackend(network, "cpu").heatmaps(crops)
    assert estimator.reading == reading
    found = torch.from_numpy(estimator.backend.heatmaps(crops))
    torch.testing.assert_close(found, expected, rtol=0, atol=0.02 * float(expected.max()))
    (tmp_path / "y.onnx").write_bytes(b"no model")
    with pytest.raises(sadinet.CheckpointError, match=r"y\.onnx: not an ONNX model"):
        sadinet.load(tmp_path / "y.onnx", backend="openvino")
    with pytest.raises(ConfigError, match="device 'cuda' cannot be used by openvino"):
        sadinet.load(tmp_path / "x.onnx", backend="openvino", device="cuda")
