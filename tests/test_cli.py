"""The command line: options, exit codes, and which of the two streams says what."""

import json
import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

import sadinet
from sadinet import doctor, models
from sadinet.checkpoint import load_checkpoint, save_checkpoint
from sadinet.cli import main
from sadinet.data.toy import write_toy
from sadinet.experiment import from_json, to_json
from sadinet.model.network import SadiNet
from sadinet.models import Model
from sadinet.poses import Poses
from sadinet.presets import preset
from sadinet.values import override

INFERENCE = "--device --backend --batch-size --no-flip --six-scales"
OPTIONS = {
    "predict": f"SOURCE --weights --out --box --boxes --detector --max-persons --save --min-score --heatmaps --no-draw "
    f"--json --resume --detect-every --track --no-track --smooth {INFERENCE}",
    "train": "--list --data --out --set --show --resume --init --device --workers --json",
    "evaluate": f"weights --dataset --split --data --json --markdown --save {INFERENCE}",
    "score": "file --dataset --split --data --json --markdown --layout --one-based --key",
    "export": "weights out --format --half --int8 --data --dataset --calibration --batch --opset --decode",
    "models": "--json",
    "fetch": "name --url --sha256 --name --max-mb --json",
    "doctor": "--fast --json",
    "data check": "data --fast --sheet --json",
    "data toy": "data --count --seed",
}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Toy data, weights ``net.safetensors``, and pictures ``good.png`` and ``bad.png``."""
    place = tmp_path_factory.mktemp("cli")
    write_toy(place, 20, 1)
    torch.manual_seed(4)
    changes = ["network.backbone.channels=8,8,16,16", "network.backbone.blocks=1,1,1,1", "network.backbone.features=16"]
    experiment = override(preset("toy-t"), ["network.learn_distribution=false", *changes])
    save_checkpoint(place / "net.safetensors", SadiNet(experiment.network), experiment)
    Image.new("RGB", (40, 60), "gray").save(place / "good.png")
    (place / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    return place


@pytest.fixture
def run(place, capsys, monkeypatch):
    """Runs a command line in ``place``: exit code, standard output, standard error."""
    monkeypatch.chdir(place)

    def run(*words):
        try:
            code = main([str(word) for word in words])
        except SystemExit as end:  # argparse
            code = end.code
        return code, *capsys.readouterr()

    return run


class TestHelp:
    @pytest.mark.parametrize("command", OPTIONS)
    def test_every_command_explains_its_options(self, run, command):
        code, out, err = run(*command.split(), "--help")
        assert (code, err) == (0, "")
        assert out.startswith(f"usage: sadinet {command}")
        missing = [word for word in [*OPTIONS[command].split(), "--quiet"] if word not in out]
        assert missing == []

    def test_all_commands_are_listed(self, run):
        code, out, _ = run("--help")
        assert code == 0
        assert all(f"\n    {command.split()[0]} " in out for command in OPTIONS)
        assert "examples:" in out
        assert run("data", "--help")[0] == 0

    def test_the_version(self, run):
        assert run("--version") == (0, f"sadinet {sadinet.__version__}\n", "")

    @pytest.mark.parametrize(
        "words",
        [
            (),
            ("frobnicate",),
            ("predict",),
            ("predict", "x.png", "--frobnicate"),
            ("predict", "x.png", "--batch-size", "many"),
            ("predict", "x.png", "--box", "1,2,3"),
            ("predict", "x.png", "--box", "1,2,3,x"),
            ("evaluate", "net.safetensors", "--data", "."),
            ("score", "x.npz", "--data", "."),
            ("data",),
        ],
    )
    def test_misuse_is_explained_with_exit_code_2(self, run, words):
        code, out, err = run(*words)
        assert (code, out) == (2, "")
        assert err.startswith("usage: sadinet")
        assert "error:" in err


class TestProcess:
    """What only a process of its own can show."""

    def run(self, place, script, **more):
        environment = {**os.environ, "PYTHONWARNINGS": "error"}
        return subprocess.run(
            ["/bin/sh", "-c", script], cwd=place, env=environment, capture_output=True, text=True, timeout=300, **more
        )

    def test_help_does_not_wait_for_torch(self, place):
        code = "import sys; from sadinet.cli import main\ntry: main(['train', '--help'])\nexcept SystemExit: pass\n"
        done = self.run(place, f'"{sys.executable}" -c "{code}print([m for m in sys.modules if m in {{\'torch\'}}])"')
        assert done.stderr == ""
        assert done.stdout.endswith("\n[]\n")

    @pytest.mark.skipif(os.name != "posix", reason="needs a shell")
    def test_a_reader_who_leaves_early_is_no_error(self, place):
        """The reader has gone before anything is printed."""
        command = f'"{sys.executable}" -m sadinet train --list'
        done = self.run(place, f'({{ sleep 0.2; {command}; }} ; echo "code $?" >&2) | true')
        assert done.stderr == "code 141\n"


class TestErrors:
    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (("predict", "good.png", "--weights", "nothing"), "nothing: neither a checkpoint file nor the name of"),
            (("predict", "good.png", "--weights", "good.png"), "good.png: not a safetensors file"),
            (("predict", "gone.png", "--weights", "net.safetensors"), "gone.png: no such file or folder"),
            (("predict", "good.png", "--weights", "net.safetensors", "--batch-size", "0"), "batch_size"),
            (("predict", "good.png", "--weights", "net.safetensors", "--device", "toaster"), "device 'toaster' cannot"),
            (("evaluate", "net.safetensors", "--dataset", "toy", "--data", "nowhere"), "no toy data in 'nowhere'"),
            (("evaluate", "net.safetensors", "--dataset", "toy", "--data", ".", "--split", "x"), "has no split 'x'"),
            (("evaluate", "gone", "--dataset", "toy", "--data", "."), "gone: neither a checkpoint"),
            (("score", "gone.npz", "--dataset", "lsp", "--data", "nowhere"), "nowhere"),
            (("export", "gone", "x.safetensors"), "gone: neither a checkpoint"),
            (("export", "net.safetensors", "good.png/x"), "cannot be written"),
            (("train",), "name an experiment"),
            (("train", "toy-x"), "no experiment is called 'toy-x'"),
            (("train", "toy-t"), "--data"),
            (("train", "gone.json"), "gone.json: no such experiment file"),
            (("train", "toy-t", "--show", "--set", "training.epoch=3"), "unknown field 'training.epoch'"),
            (("train", "toy-t", "--show", "--set", "training.epochs"), "write part.field=value"),
            (("data", "toy", "."), "exists already"),
            (("data", "toy", "good.png/below"), "good.png"),
            (("data", "toy", "more", "--count", "0"), "cannot draw 0"),
        ],
    )
    def test_what_the_user_can_mend_is_told_on_the_error_stream(self, run, words, message):
        code, out, err = run(*words)
        assert (code, out) == (2, "")
        assert message in err
        assert err.startswith("sadinet: ")
        assert err.count("\n") == 1
        assert "Traceback" not in err

    def test_unknown_weights_name_the_known_ones(self, run, monkeypatch, place):
        known = {name: Model(name, place / "net.safetensors") for name in ("lsp-t", "mpii-t")}
        monkeypatch.setattr(models, "embedded_models", lambda: known)
        code, _, err = run("predict", "good.png", "--weights", "lsp-q")
        assert code == 2
        assert "lsp-q" in err
        assert "(lsp-t, mpii-t)" in err

    def test_interruption(self, run, monkeypatch):
        def interrupt():
            raise KeyboardInterrupt

        monkeypatch.setattr(models, "embedded_models", interrupt)
        assert run("models") == (130, "", "sadinet: interrupted\n")


class TestPredict:
    def test_files_are_written_and_named(self, run, tmp_path):
        words = ("--weights", "net.safetensors", "--out", tmp_path, "--box", "3,4,30,50", "--box", "5,5,39,59.5")
        code, out, err = run("predict", "good.png", *words, "--quiet")
        assert (code, err) == (0, "")
        assert out == f"{tmp_path / 'good.jpg'} {tmp_path / 'good.json'}\n"
        poses = Poses.from_json(json.loads((tmp_path / "good.json").read_text()))
        np.testing.assert_array_equal(poses.boxes, [[3, 4, 30, 50], [5, 5, 39, 59.5]])
        assert poses.xy.shape == (2, 14, 2)

    def test_json_goes_to_the_output_and_no_file_is_made(self, run, place):
        before = sorted(place.rglob("*"))
        code, out, err = run("predict", "good.png", "good.png", "--weights", "net.safetensors", "--json", "--no-flip")
        assert (code, err) == (0, "")
        first, second = (Poses.from_json(json.loads(line)) for line in out.splitlines())
        assert first.source == "good.png"
        np.testing.assert_array_equal(first.xy, second.xy)
        assert sorted(place.rglob("*")) == before

    def test_a_bad_picture_among_good_ones_is_exit_code_1(self, run, tmp_path):
        words = ("--weights", "net.safetensors", "--out", tmp_path, "--no-draw", "-q")
        code, out, err = run("predict", "bad.png", "good.png", *words)
        assert code == 1
        assert out == f"{tmp_path / 'good.json'}\n"
        assert "sadinet: skipped: bad.png: cannot be decoded" in err
        assert "1 of the pictures could not be done" in err

    def test_and_told_in_json_too(self, run):
        code, out, err = run("predict", "bad.png", "good.png", "--weights", "net.safetensors", "--json")
        bad, good = (json.loads(line) for line in out.splitlines())
        assert code == 1
        assert bad["source"] == "bad.png"
        assert "cannot be decoded" in bad["error"]
        assert len(good["people"]) == 1
        assert "skipped" in err


class TestPredictMore:
    WEIGHTS = ("--weights", "net.safetensors", "--no-flip", "-q")

    def test_boxes_from_a_file_and_tables(self, run, tmp_path):
        (tmp_path / "boxes.csv").write_text("file,x0,y0,x1,y1\ngood.png,3,4,30,50\ngood.png,5,5,39,59\n")
        words = (*self.WEIGHTS, "--boxes", tmp_path / "boxes.csv", "--save", "csv,jsonl", "--out", tmp_path / "out")
        assert run("predict", "good.png", *words) == (0, "", "")
        poses = Poses.from_json(json.loads((tmp_path / "out" / "poses.jsonl").read_text()))
        np.testing.assert_array_equal(poses.boxes, [[3, 4, 30, 50], [5, 5, 39, 59]])
        assert len((tmp_path / "out" / "poses.csv").read_text().splitlines()) == 3

    def test_resume(self, run, tmp_path):
        words = ("predict", "good.png", *self.WEIGHTS, "--out", tmp_path, "--detector", "none", "--resume")
        assert run(*words)[1] == f"{tmp_path / 'good.jpg'} {tmp_path / 'good.json'}\n"
        assert run(*words) == (0, "", "")

    def test_a_video_and_a_camera_that_is_not_there(self, run, tmp_path):
        pytest.importorskip("av")
        from .videos import walkers, write_video

        write_video(tmp_path / "x.mp4", walkers(3, (64, 48))[0])
        words = (*self.WEIGHTS, "--detector", "none", "--out", tmp_path / "out")
        code, out, err = run("predict", tmp_path / "x.mp4", "77", *words)
        assert code == 1
        assert out == f"{tmp_path / 'out' / 'x.mp4'} {tmp_path / 'out' / 'x.jsonl'}\n"
        assert "sadinet: skipped: camera 77: cannot be opened" in err
        code, out, err = run("predict", tmp_path / "x.mp4", *words, "--json", "--track")
        lines = [json.loads(line) for line in out.splitlines()]
        assert (code, err) == (0, "")
        assert [(line["frame"], line["people"][0]["id"]) for line in lines] == [(0, 0), (1, 0), (2, 0)]

    def test_a_damaged_video_is_done_in_part(self, run, tmp_path):
        pytest.importorskip("av")
        from .videos import break_middle, walkers, write_video

        break_middle(write_video(tmp_path / "x.mp4", walkers(60)[0]))
        words = (*self.WEIGHTS, "--detector", "none", "--out", tmp_path / "out", "--save", "json")
        code, _, err = run("predict", tmp_path / "x.mp4", *words)
        assert code == 1
        assert "x.mp4: " in err
        assert "damaged packets were left out" in err

    def test_the_device_the_detector_and_a_summary_are_told(self, run, tmp_path, caplog):
        caplog.set_level("INFO")
        assert run("predict", "good.png", *self.WEIGHTS, "--detector", "none", "--out", tmp_path)[0] == 0
        assert "net.safetensors by torch on cpu, 1 scale; persons: whole pictures" in caplog.text
        assert "1 pictures and frames with 1 persons in " in caplog.text
        assert "seconds by stage" in caplog.text

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (("--save", "gif"), "cannot save gif"),
            (("--detector", "gone.onnx"), "detector 'gone.onnx'"),
            (("--boxes", "gone.csv"), "gone.csv: no such file"),
            (("--smooth", "offline", "--heatmaps"), "offline smoothing"),
            (("--max-persons", "0"), "count from 1"),
            (("--no-track", "--smooth", "one-euro"), "who is who"),
        ],
    )
    def test_nonsense_is_told(self, run, words, message):
        code, out, err = run("predict", "good.png", *self.WEIGHTS, *words)
        assert (code, out) == (2, "")
        assert message in err
        assert err.startswith("sadinet: ")

    def test_an_address_is_refused(self, run):
        code, _, err = run("predict", "https://example.org/x.jpg", *self.WEIGHTS)
        assert code == 2
        assert "nothing is downloaded here" in err


class TestOthers:
    def test_evaluate_prints_a_table_markdown_or_json(self, run):
        words = ("evaluate", "net.safetensors", "--dataset", "toy", "--data", ".", "--split", "val", "--no-flip", "-q")
        code, out, err = run(*words)
        assert (code, err) == (0, "")
        assert "PCK@0.2" in out
        assert "2 persons, 28 keypoints." in out
        assert run(*words, "--markdown")[1].startswith("|  | Head |")
        report = json.loads(run(*words, "--json")[1])
        assert report["persons"] == 2
        assert report["metadata"]["weights"] == "net.safetensors"
        assert report["metadata"]["test"] == "1 scale"

    def test_show_prints_what_train_takes_back(self, run, tmp_path):
        code, out, _ = run("train", "mpii-s-rle", "--show", "--set", "training.epochs=9")
        assert code == 0
        assert from_json(out) == override(preset("mpii-s-rle"), ["training.epochs=9"])
        (tmp_path / "mine.json").write_text(out)
        code, out, _ = run("train", tmp_path / "mine.json", "--show", "--set", "loss.sigma=3")
        assert code == 0
        assert out.strip() == to_json(override(preset("mpii-s-rle"), ["training.epochs=9", "loss.sigma=3"]))

    def test_list_names_every_variant(self, run):
        code, out, _ = run("train", "--list")
        assert code == 0
        assert "-hourglass" in out
        assert "network.backbone.block=basic" in out

    def test_export(self, run, place, tmp_path):
        code, out, err = run("export", "net.safetensors", tmp_path / "half.safetensors", "--half")
        assert (code, err) == (0, "")
        assert out.startswith(f"{tmp_path / 'half.safetensors'} (0.")
        ours, theirs = (
            load_checkpoint(p).experiment for p in (place / "net.safetensors", tmp_path / "half.safetensors")
        )
        assert ours == theirs

    def test_models_lists_and_verifies(self, run, monkeypatch, tmp_path):
        for name, content in (("good", b"weights"), ("broken", b"Weights")):
            (tmp_path / f"{name}.safetensors").write_bytes(content)
            (tmp_path / f"{name}.sha256").write_text("9a129038f7f49dfc" if name == "broken" else "?")
        known = {name: Model(name, tmp_path / f"{name}.safetensors") for name in ("good", "broken")}
        (tmp_path / "good.sha256").write_text(known["good"].sha256)
        monkeypatch.setattr(models, "embedded_models", lambda: known)
        code, out, _ = run("models")
        assert code == 1
        assert [line.split()[-1] for line in out.splitlines()] == ["whole", "DAMAGED"]
        lines = [json.loads(line) for line in run("models", "--json")[1].splitlines()]
        assert [(line["name"], line["whole"]) for line in lines] == [("good", True), ("broken", False)]
        known.pop("broken")
        assert run("models")[0] == 0

    def test_doctor_tells_what_is_there_and_what_is_not(self, run, monkeypatch, tmp_path):
        if models.DEFAULT not in models.embedded_models():
            pytest.skip("this checkout has no weights in src/sadinet/weights")
        monkeypatch.setattr(doctor, "_version", lambda package: None if package in ("av", "onnx") else "9.8")
        code, out, err = run("doctor", "--fast")
        assert (code, err) == (0, "")
        assert out.startswith(f"sadinet {sadinet.__version__}, Python ")
        assert 'video        no av: pip install "sadinet[video]"' in out
        assert 'export       onnxscript 9.8; no onnx: pip install "sadinet[export]"' in out
        assert f"weights   {models.DEFAULT} whole" in out
        assert "detector  none: sadinet fetch yolox-nano" in out
        (tmp_path / "broken.safetensors").write_bytes(b"x")
        broken = {"broken": Model("broken", tmp_path / "broken.safetensors")}
        monkeypatch.setattr(doctor, "embedded_models", lambda: broken)
        code, out, _ = run("doctor", "--fast", "--json")
        found = json.loads(out)
        assert code == 1
        assert found["weights"] == {"broken": False}
        assert len(found["problems"]) == 2
        assert "'broken' are damaged" in found["problems"][0]

    def test_the_doctor_finds_the_detector(self, run, monkeypatch, tmp_path):
        monkeypatch.setattr(doctor, "find_detector", lambda: SimpleNamespace(file=tmp_path / "d.onnx"))
        assert f"detector  {tmp_path / 'd.onnx'}" in run("doctor", "--fast")[1]
        monkeypatch.undo()
        monkeypatch.setenv("SADINET_DETECTOR", str(tmp_path / "gone.onnx"))
        code, out, _ = run("doctor", "--fast")
        assert code == 1
        assert "PROBLEM   the person detector that SADINET_DETECTOR names" in out
        assert "gone.onnx" in out

    def test_the_doctor_times_every_backend(self, run, monkeypatch):
        if models.DEFAULT not in models.embedded_models():
            pytest.skip("this checkout has no weights in src/sadinet/weights")
        monkeypatch.setattr(doctor, "_milliseconds", lambda work, seconds: (work(), 32 * seconds)[1])
        found = json.loads(run("doctor", "--json")[1])
        assert found["problems"] == []
        assert list(found["milliseconds"]) == [name for name in found["backends"] if name != "openvino"]
        assert all(took["one"] == 16 * took["sixteen"] > 0 for took in found["milliseconds"].values())

    def test_data_toy_and_check(self, run, tmp_path):
        code, out, _ = run("data", "toy", tmp_path, "--count", 7, "--seed", 3)
        assert (code, out) == (0, f"7 pictures in {tmp_path / 'toy'}\n")
        code, out, err = run("data", "check", tmp_path, "--json", "--sheet", tmp_path / "sheet.jpg")
        report = json.loads(out)
        assert code == 0
        assert report["datasets"]
        assert err == f"{tmp_path / 'sheet.jpg'}\n"
        assert (tmp_path / "sheet.jpg").is_file()
        (tmp_path / "toy" / "images" / "im0003.jpg").unlink()
        code, out, _ = run("data", "check", tmp_path)
        assert code == 1
        assert "im0003" in out
