"""The detector: what it shows the network, what it makes of the answer, and what it refuses."""

import json
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sadinet.errors import CheckpointError, ConfigError, DataError
from sadinet.geometry import apply, overlap, resample
from sadinet.images import read_image
from sadinet.persons.boxes import read_boxes
from sadinet.persons.detect import Detections, YoloxDetector, decode, find_detector, grid, letterbox, suppress
from sadinet.persons.fetch import KNOWN

from ..reference.suppress import overlap as slow_overlap
from ..reference.suppress import suppress as slow_suppress

WIDTH, HEIGHT, CLASSES = 96, 64, 2
CELLS = 12 * 8 + 6 * 4 + 3 * 2
# Column 3, row 1 of stride 8; column 4, row 0 of stride 16; column 1, row 1 of stride 32.
BLUE, GREEN, RED = 15, 100, 124


def write_network(
    file, *, decoded=False, cells=CELLS, size=(WIDTH, HEIGHT), columns=5 + CLASSES, inputs=1, finite=True
):
    """A network whose cells BLUE, GREEN and RED see a person as far as the first pixel has that colour.

    Relative to their cells: centres (0.5, 0.25), widths 2 and heights e/2 strides.
    """
    onnx = pytest.importorskip("onnx")
    helper = onnx.helper
    base = np.zeros((cells, columns), np.float32)
    base[:, :4] = 0.5, 0.25, np.log(2.0), 1 - np.log(2.0)
    if decoded:
        where = grid(size)
        base[:, :4] = decode(base[:, :4].astype(np.float64), where)
    base[:, 5:] = (0.5, 0.875)[: columns - 5]
    if not finite:
        base[RED, 2] = 1e9
    colours = np.zeros((3, cells, columns), np.float32)
    for channel, cell in enumerate((BLUE, GREEN, RED)):
        if cell < cells:
            colours[channel, cell, 4] = 1 / 255
    constants = {
        "base": base[None],
        "colours": colours.reshape(3, -1),
        "starts": np.array([0, 0]),
        "ends": np.array([1, 1]),
        "axes": np.array([2, 3]),
        "flat": np.array([1, 3]),
        "shape": np.array([1, cells, columns]),
    }
    nodes = [
        helper.make_node("Slice", ["images", "starts", "ends", "axes"], ["pixel"]),
        helper.make_node("Reshape", ["pixel", "flat"], ["colour"]),
        helper.make_node("MatMul", ["colour", "colours"], ["moved"]),
        helper.make_node("Reshape", ["moved", "shape"], ["change"]),
        helper.make_node("Add", ["base", "change"], ["output"]),
    ]
    values = [("images", (1, 3, size[1], size[0])), *[(f"more{n}", (1,)) for n in range(inputs - 1)]]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name, shape in values],
        [helper.make_tensor_value_info("output", onnx.TensorProto.FLOAT, (1, cells, columns))],
        [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, str(file))
    return file


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    pytest.importorskip("onnxruntime")
    return write_network(tmp_path_factory.mktemp("detect") / "tiny.onnx")


def plain(width, height, colour):
    return np.full((height, width, 3), colour, np.uint8)


class TestDetector:
    @pytest.mark.parametrize("decoded", [False, True])
    def test_hand_numbers(self, tmp_path, decoded):
        pytest.importorskip("onnxruntime")
        detector = YoloxDetector(write_network(tmp_path / "net.onnx", decoded=decoded), min_score=0.1)
        # 192 x 100 is halved to 96 x 50. Red 255 makes a score of 1 x 0.5, green 204 one of 0.8 x 0.5.
        found = detector.detect(plain(192, 100, (255, 204, 0)))
        np.testing.assert_allclose(found.score, [0.5, 0.4], atol=1e-6)
        # RED: centre ((1 + 0.5) 32, (1 + 0.25) 32) = (48, 40), size (64, 16 e), doubled, minus 0.5, cut at 99.5.
        # GREEN: centre (4.5 x 16, 0.25 x 16) = (72, 4), size (32, 8 e), doubled, minus 0.5, cut at -0.5.
        wanted = [[31.5, 80 - 16 * np.e - 0.5, 159.5, 99.5], [111.5, -0.5, 175.5, 8 + 8 * np.e - 0.5]]
        np.testing.assert_allclose(found.boxes, wanted, atol=1e-4)

    @pytest.mark.parametrize(("colour", "cell"), [((0, 0, 255), BLUE), ((0, 255, 0), GREEN), ((255, 0, 0), RED)])
    def test_channels_are_blue_green_red(self, network, colour, cell):
        found = YoloxDetector(network).detect(plain(WIDTH, HEIGHT, colour))
        column, _, stride = grid((WIDTH, HEIGHT))[cell]
        centre = (found.boxes[0, 0] + found.boxes[0, 2]) / 2
        assert len(found) == 1
        assert centre == pytest.approx((column + 0.5) * stride - 0.5, abs=1e-4)

    def test_a_picture_without_persons_has_empty_arrays(self, network):
        found = YoloxDetector(network).detect(plain(50, 40, 0))
        assert (found.boxes.shape, found.score.shape, len(found)) == ((0, 4), (0,), 0)

    @pytest.mark.parametrize(("width", "height"), [(1, 1), (12000, 300), (2, 9000), (12000, 1)])
    def test_any_shape_of_picture(self, network, width, height):
        found = YoloxDetector(network).detect(plain(width, height, 255))
        assert (found.boxes[:, :2] >= -0.5).all()
        assert (found.boxes[:, 2:] <= (width - 0.5, height - 0.5)).all()

    def test_what_is_not_finite_is_left_out(self, tmp_path):
        pytest.importorskip("onnxruntime")
        detector = YoloxDetector(write_network(tmp_path / "net.onnx", finite=False))
        assert len(detector.detect(plain(WIDTH, HEIGHT, (255, 0, 0)))) == 0

    def test_threads_may_share_it(self, network):
        detector = YoloxDetector(network, threads=1)
        pictures = [plain(30 + n, 50, (25 * n, 250 - 25 * n, 0)) for n in range(10)]
        alone = [detector.detect(picture) for picture in pictures]
        with ThreadPoolExecutor(4) as pool:
            together = list(pool.map(detector.detect, pictures))
        for a, b in zip(alone, together, strict=True):
            np.testing.assert_array_equal(a.boxes, b.boxes)

    @pytest.mark.parametrize("options", [{"min_score": 2}, {"max_overlap": 0}, {"threads": 0}])
    def test_options_that_make_no_sense(self, network, options):
        with pytest.raises(ConfigError, match=f"{next(iter(options))}="):
            YoloxDetector(network, **options)


class TestFiles:
    @pytest.mark.parametrize(
        ("changes", "why"),
        [
            ({"cells": 130}, r"an answer \(1, 126, 5 \+ classes\) to pictures of 96 x 64 px is needed, not \(130, 7\)"),
            ({"columns": 5}, r"not \(126, 5\)"),
            ({"size": (100, 64)}, "sides multiples of 32"),
            ({"inputs": 2}, "takes one .* it takes images .*, more0"),
        ],
    )
    def test_other_networks_are_refused(self, tmp_path, changes, why):
        pytest.importorskip("onnxruntime")
        file = tmp_path / "other.onnx"
        write_network(file, **changes)
        with pytest.raises(CheckpointError, match=why) as caught:
            YoloxDetector(file)
        assert str(file) in str(caught.value)

    def test_what_is_no_network_is_refused(self, tmp_path):
        pytest.importorskip("onnxruntime")
        file = tmp_path / "text.onnx"
        file.write_text("hello")
        with pytest.raises(CheckpointError, match=r"text\.onnx: not an ONNX file that can be run"):
            YoloxDetector(file)
        with pytest.raises(CheckpointError, match=r"none\.onnx: no such file"):
            YoloxDetector(tmp_path / "none.onnx")

    def test_without_onnxruntime_it_says_how_to_get_it(self, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "onnxruntime", None)
        with pytest.raises(ConfigError, match=r'pip install "sadinet\[onnx\]"'):
            YoloxDetector(tmp_path / "any.onnx")


class TestFind:
    @pytest.fixture(autouse=True)
    def home(self, tmp_path, monkeypatch):
        monkeypatch.setenv("SADINET_HOME", str(tmp_path / "home"))
        monkeypatch.delenv("SADINET_DETECTOR", raising=False)
        (tmp_path / "home").mkdir()
        return tmp_path / "home"

    def test_none_where_there_is_none(self):
        assert find_detector() is None

    def test_a_file(self, network):
        assert find_detector(network, min_score=0.7).min_score == 0.7
        assert find_detector(str(network)).file == network

    def test_a_name_that_was_fetched(self, network, home):
        name = next(iter(KNOWN))
        with pytest.raises(ConfigError, match=f"sadinet fetch {name}"):
            find_detector(name)
        (home / f"{name}.onnx").write_bytes(network.read_bytes())
        assert find_detector(name).file == home / f"{name}.onnx"
        assert find_detector().file == home / f"{name}.onnx"

    def test_the_environment_names_one(self, network, monkeypatch, tmp_path):
        monkeypatch.setenv("SADINET_DETECTOR", str(network))
        assert find_detector().file == network
        monkeypatch.setenv("SADINET_DETECTOR", str(tmp_path / "gone.onnx"))
        with pytest.raises(ConfigError, match=r"gone\.onnx"):
            find_detector()
        assert find_detector(network).file == network

    def test_an_unknown_name(self):
        with pytest.raises(ConfigError, match=r"frobnicate.* \(can be fetched: yolox-nano"):
            find_detector("frobnicate")


class TestLetterbox:
    @pytest.mark.parametrize(("width", "height"), [(200, 90), (37, 171), (96, 64), (20, 5), (500, 301)])
    def test_a_point_lands_where_the_map_says(self, width, height):
        y, x = np.mgrid[:height, :width]
        at = np.array([0.6 * width, 0.4 * height])
        spread = 0.08 * min(width, height) + 1
        blob = np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / (2 * spread**2))
        shown, scale = letterbox(np.repeat((blob * 255).astype(np.uint8)[..., None], 3, -1), (WIDTH, HEIGHT))
        inner = shown[: int(height * scale + 0.5), : int(width * scale + 0.5), 0].astype(float)
        rows, columns = np.mgrid[: inner.shape[0], : inner.shape[1]]
        centre = np.array([(columns * inner).sum(), (rows * inner).sum()]) / inner.sum()
        np.testing.assert_allclose(centre, apply(resample(scale), at), atol=0.06)

    @pytest.mark.parametrize(("width", "height"), [(200, 90), (37, 171), (1, 1), (12000, 300), (7, 3), (191, 127)])
    def test_the_picture_fills_its_part_and_grey_the_rest(self, width, height):
        shown, scale = letterbox(plain(width, height, 255), (WIDTH, HEIGHT))
        assert scale == min(WIDTH / width, HEIGHT / height)
        inside = (shown == 255).all(-1)
        assert ((shown == 114).all(-1) | inside).all()
        rows, columns = inside.any(1).sum(), inside.any(0).sum()
        assert inside[:rows, :columns].all()
        assert (abs(rows - height * scale), abs(columns - width * scale)) <= (0.5, 0.5)


class TestSuppress:
    def test_hand_numbers(self):
        boxes = np.array([[0, 0, 10, 20], [0, 0, 10, 12], [0, 0, 10, 14], [30, 0, 40, 5]], float)
        score = np.array([0.5, 0.9, 0.6, 0.1])
        # Against the surest, box 1: 120/200 = 0.6 and 120/140 = 0.857.
        assert suppress(boxes, score, 0.7).tolist() == [1, 0, 3]
        assert suppress(boxes, score, 0.6).tolist() == [1, 0, 3]
        assert suppress(boxes, score, 0.59).tolist() == [1, 3]
        assert suppress(boxes, score, 1.0).tolist() == [1, 2, 0, 3]

    def test_nothing(self):
        assert suppress(np.zeros((0, 4)), np.zeros(0), 0.5).shape == (0,)

    @settings(max_examples=60, deadline=None)
    @given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.sampled_from([0.1, 0.45, 0.9]))
    def test_as_the_slow_twin(self, seed, count, max_overlap):
        rng = np.random.default_rng(seed)
        corner = rng.integers(0, 20, (count, 2))
        boxes = np.concatenate([corner, corner + rng.integers(1, 15, (count, 2))], 1).astype(float)
        score = rng.integers(0, 10, count) / 10  # with equal ones
        assert suppress(boxes, score, max_overlap).tolist() == slow_suppress(boxes, score, max_overlap)
        slow = [[slow_overlap(a, b) for b in boxes] for a in boxes]
        np.testing.assert_allclose(overlap(boxes, boxes), slow, atol=1e-12)


class TestDetections:
    def test_nobody(self):
        assert Detections.empty().boxes.shape == (0, 4)

    @pytest.mark.parametrize(
        ("boxes", "score", "why"),
        [
            ([[0, 0, 1, 1]], [0.5, 0.5], r"boxes \(1, 4\), score \(2,\)"),
            ([[0, 0, 1, 1]], [1.5], "not in"),
            ([[0, 0, 1, 1]], [np.nan], "not in"),
            ([[3, 0, 1, 1]], [0.5], "x0 < x1"),
            ([[0, 0, np.inf, 1]], [0.5], "finite"),
        ],
    )
    def test_contradictions(self, boxes, score, why):
        with pytest.raises(DataError, match=why):
            Detections(np.array(boxes), np.array(score))


@pytest.fixture(scope="module")
def real(shared):
    pytest.importorskip("onnxruntime")
    file = shared / "models" / "yolox_nano.onnx"
    if not file.is_file():
        pytest.skip("no real detector (shared/models/yolox_nano.onnx)")
    return YoloxDetector(file)


class TestRealNetwork:
    def test_the_persons_of_coco_are_found(self, real, shared):
        folder = shared / "data" / "coco"
        boxes = read_boxes(folder / "person_keypoints.json")
        crowds = {
            a["image_id"]
            for a in json.loads((folder / "person_keypoints.json").read_text())["annotations"]
            if a["iscrowd"]
        }
        large = found = right = wrong = 0
        for name, truth in boxes.items():
            seen = real.detect(read_image(folder / "images" / name))
            assert (np.diff(seen.score) <= 0).all()
            alike = overlap(truth, seen.boxes) >= 0.5
            big = (truth[:, 2:] - truth[:, :2]).prod(1) > 64**2
            large += big.sum()
            found += alike[big].any(1).sum()
            if int(name.split(".")[0]) not in crowds:
                right += alike.any(0).sum()
                wrong += len(seen) - alike.any(0).sum()
        assert large == 116
        assert found / large > 0.76  # measured 0.793
        assert right / (right + wrong) > 0.87  # measured 0.897

    @pytest.mark.parametrize(("width", "height"), [(1, 1), (12000, 300)])
    def test_odd_pictures(self, real, width, height):
        rng = np.random.default_rng(3)
        found = real.detect(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
        assert found.boxes.shape == (len(found), 4)
