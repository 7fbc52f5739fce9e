"""The inference path: networks that see coloured blobs tell where they are, whatever window they look through."""

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from sadinet.crops import SIX_SCALES, Inference
from sadinet.errors import DataError, ImageError
from sadinet.estimator import Estimator
from sadinet.geometry import BOX_MARGIN, Crop, apply, image_to_crop, whole_image
from sadinet.model.config import STRIDE
from sadinet.presets import preset
from sadinet.skeleton import LSP
from sadinet.values import override

WIDTH, HEIGHT = 190, 230
RIGHT, LEFT, NECK, HEAD = (61.3, 143.8), (121.6, 99.4), (88.7, 61.2), (93.2, 170.6)


class Blobs(torch.nn.Module):
    """Right keypoints are red on the left half of the window, left ones on the other; neck green, head top blue.

    Exact, and symmetric as a trained network should be: a mirrored window gives the mirror image of the answer.
    """

    def __init__(self):
        super().__init__()
        self.seen = []

    def backbone_heatmaps(self, images):
        self.seen.append(images)
        red, green, blue = F.avg_pool2d(images, STRIDE).unbind(1)
        side = torch.arange(red.shape[-1]) < red.shape[-1] / 2
        which = {"right": red * side, "left": red * ~side, "neck": green, "head": blue}
        return torch.stack([which[name.split("_")[0]] for name in LSP.keypoints], 1)


def blob(size, at, spread):
    """A Gaussian of peak 255 at ``at`` on a picture of (width, height), ``(H, W)``."""
    x, y = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    return 255 * np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / (2 * spread**2))


def painted(size=(WIDTH, HEIGHT), right=RIGHT, left=LEFT, neck=NECK, head=HEAD, spread=7.0):
    red = np.maximum(blob(size, right, spread), blob(size, left, spread))
    return np.rint(np.dstack([red, blob(size, neck, spread), blob(size, head, spread)])).astype(np.uint8)


def expected(right=RIGHT, left=LEFT, neck=NECK, head=HEAD):
    which = {"right": right, "left": left, "neck": neck, "head": head}
    return np.array([which[name.split("_")[0]] for name in LSP.keypoints])


@pytest.fixture(scope="module")
def picture():
    return painted()


@pytest.fixture(scope="module")
def experiment():
    return override(preset("toy-t"), ["network.input_size=256", "decoding=dark", "loss.sigma=2"])


@pytest.fixture
def make(experiment):
    """Estimators that see blobs."""

    def make(network=None, **inference):
        return Estimator(network or Blobs(), experiment, device="cpu", inference=Inference(**inference))

    return make


BOXES = {
    "none": None,
    "inside": (25.0, 30.0, 160.0, 200.0),
    "fractions": (31.25, 42.5, 150.75, 190.125),
    "wide": (11.0, 60.0, 171.0, 160.0),
    "partly outside": (-90.0, 20.0, 275.0, 199.0),
    "larger than the picture": (-60.0, -80.0, 250.0, 310.0),
}


class TestPlaces:
    @pytest.mark.parametrize("flip", [False, True])
    @pytest.mark.parametrize("box", BOXES)
    def test_keypoints_are_where_they_are_on_the_picture(self, make, picture, box, flip):
        poses = make(flip=flip).predict(picture, BOXES[box])
        assert np.abs(poses.xy[0] - expected()).max() < 0.1
        assert poses.score.min() > 0.6

    @pytest.mark.parametrize("flip", [False, True])
    @pytest.mark.parametrize("box", BOXES)
    def test_six_scales_agree_with_them(self, make, picture, box, flip):
        poses = make(flip=flip, scales=SIX_SCALES).predict(picture, BOXES[box])
        left, top, right, bottom = poses.boxes[0]
        side = max(right - left, bottom - top) * (BOX_MARGIN if BOXES[box] else 1.0)
        # In pixels of the common grid; there the highest is up to 1.2 from the top, and dark goes one at most.
        assert np.abs(poses.xy[0] - expected()).max() < 0.3 * side * max(SIX_SCALES) / 256

    @pytest.mark.parametrize("scale", [0.9, 1.0, 1.3])
    def test_any_single_scale_does(self, make, picture, scale):
        poses = make(scales=(scale,)).predict(picture, BOXES["inside"])
        assert np.abs(poses.xy[0] - expected()).max() < 0.1

    def test_a_window_that_is_turned_is_turned_back(self, make, picture):
        crop = Crop((93.0, 118.0), 260.0, angle=17.0)
        ((xy, score),) = make(flip=False).keypoints([(picture, crop)])
        assert np.abs(xy - expected()).max() < 0.1
        assert score.shape == (14,)

    def test_the_network_sees_the_square_around_the_box(self, make, picture):
        network = Blobs()
        make(network, flip=True).predict(picture, (40.0, 60.0, 120.0, 180.0), margin=1.5)
        crop = Crop((80.0, 120.0), 180.0)
        green_x, green_y = apply(image_to_crop(crop, 256), NECK)
        (both,) = network.seen  # the mirrored ones travel along
        plain, mirrored = both.chunk(2)
        assert torch.equal(plain.flip(-1), mirrored)
        row, column = divmod(int(plain[0, 1].argmax()), 256)
        assert abs(column - green_x) <= 1
        assert abs(row - green_y) <= 1
        assert plain.shape == (1, 3, 256, 256)
        assert 0 <= plain.min() < plain.max() <= 1

    def test_the_margin_is_around_boxes_but_not_around_the_whole_picture(self, make, picture):
        network = Blobs()
        estimator = make(network, flip=False)
        estimator.predict(picture)
        estimator.predict(picture, whole_image(WIDTH, HEIGHT), margin=1.0)
        estimator.predict(picture, whole_image(WIDTH, HEIGHT))
        first, second, third = network.seen
        assert torch.equal(first, second)
        assert not torch.equal(first, third)
        ((fourth, _),) = estimator.keypoints([(picture, Crop.around(whole_image(WIDTH, HEIGHT), BOX_MARGIN))])
        np.testing.assert_array_equal(fourth, estimator.predict(picture, whole_image(WIDTH, HEIGHT)).xy[0])

    def test_the_mirror_exchanges_sides(self, make, picture):
        """Without the exchange, the averaged maps would have two peaks of half the height."""
        plain, flipped = make(flip=False).predict(picture), make(flip=True).predict(picture)
        np.testing.assert_allclose(flipped.score, plain.score, atol=0.02)
        np.testing.assert_allclose(flipped.xy, plain.xy, atol=0.1)

    def test_the_mirror_is_averaged_in(self, experiment):
        class LeftToRight(torch.nn.Module):
            def backbone_heatmaps(self, images):
                ramp = torch.linspace(0, 1, images.shape[-1] // STRIDE)
                return ramp.expand(len(images), 14, len(ramp), len(ramp))

        estimator = Estimator(LeftToRight(), experiment, device="cpu", inference=Inference(flip=True))
        heatmaps = estimator.heatmaps(np.zeros((2, 64, 64, 3), np.uint8))
        torch.testing.assert_close(heatmaps, torch.full((2, 14, 16, 16), 0.5))

    @pytest.mark.parametrize("decoding", ["argmax", "quarter", "dark"])
    def test_the_experiment_says_how_they_are_read(self, experiment, picture, decoding):
        estimator = Estimator(Blobs(), dataclasses.replace(experiment, decoding=decoding), device="cpu")
        xy = apply(image_to_crop(Crop.around(whole_image(WIDTH, HEIGHT)), 256), estimator.predict(picture).xy[0])
        place = (xy + 0.5) / STRIDE - 0.5  # on the heatmap
        rest = np.abs(place - np.rint(place))
        assert {"argmax": rest.max() < 1e-4, "quarter": np.allclose(rest, 0.25, atol=1e-4), "dark": True}[decoding]


class TestOnePath:
    def test_predict_and_keypoints_are_one(self, make, picture):
        boxes = np.array([BOXES["inside"], BOXES["partly outside"], BOXES["wide"]])
        estimator = make()
        poses = estimator.predict(picture, boxes)
        found = list(estimator.keypoints((picture, Crop.around(box, BOX_MARGIN)) for box in boxes))
        np.testing.assert_array_equal(poses.xy, [xy for xy, _ in found])
        np.testing.assert_array_equal(poses.score, [score for _, score in found])
        np.testing.assert_array_equal(poses.boxes, boxes)
        assert poses.skeleton == LSP
        assert poses.image_size == (WIDTH, HEIGHT)

    @pytest.mark.parametrize(("batch_size", "threads"), [(1, 1), (2, 3), (3, 1), (5, 2), (99, 4)])
    @pytest.mark.parametrize("scales", [(1.0,), (0.9, 1.2)])
    def test_batches_and_threads_do_not_change_the_answer(self, make, picture, batch_size, threads, scales):
        boxes = [(10.0 * n, 7.0 * n, 100.0 + 9 * n, 150.0 + 13 * n) for n in range(5)]
        usual = make(scales=scales).predict(picture, boxes)
        other = make(scales=scales, batch_size=batch_size, threads=threads).predict(picture, boxes)
        np.testing.assert_allclose(other.xy, usual.xy, atol=1e-4)
        np.testing.assert_allclose(other.score, usual.score, atol=1e-6)

    @pytest.mark.parametrize(("batch_size", "sizes"), [(1, [1] * 5), (2, [2, 2, 1]), (5, [5]), (9, [5])])
    def test_batches_are_as_large_as_asked(self, make, picture, batch_size, sizes):
        network = Blobs()
        make(network, flip=False, batch_size=batch_size).predict(picture, [BOXES["inside"]] * 5)
        assert [len(images) for images in network.seen] == sizes

    def test_pictures_are_read_when_they_are_needed(self, make, picture):
        read = []

        def pictures():
            for number in range(9):
                read.append(number)
                yield picture, Crop((95.0, 115.0), 230.0)

        found = make(batch_size=2).keypoints(pictures())
        assert read == []
        next(found)
        assert read == [0, 1, 2, 3]  # a batch, and the next while the network works
        found.close()
        assert read == [0, 1, 2, 3]

    def test_every_kind_of_source_gives_the_same(self, make, picture, tmp_path):
        Image.fromarray(picture).save(tmp_path / "x.png")
        kinds = (
            tmp_path / "x.png",
            str(tmp_path / "x.png"),
            (tmp_path / "x.png").read_bytes(),
            Image.fromarray(picture),
        )
        estimator = make()
        for kind in kinds:
            np.testing.assert_array_equal(estimator.predict(kind).xy, estimator.predict(picture).xy)

    def test_the_picture_is_not_changed(self, make, picture):
        before = picture.copy()
        before.flags.writeable = False
        make(scales=SIX_SCALES).predict(before, [BOXES["inside"], BOXES["wide"]])
        np.testing.assert_array_equal(before, picture)

    def test_the_network_is_put_to_evaluation(self, experiment):
        network = Blobs().train()
        assert not Estimator(network, experiment, device="cpu").backend.network.training

    def test_scores_stay_in_range(self, make, picture):
        class Loud(Blobs):
            def backbone_heatmaps(self, images):
                return super().backbone_heatmaps(images) * 3 - 1

        assert make(Loud(), flip=False).predict(picture).score.max() == 1.0
        assert make(Loud(), flip=False).predict(np.zeros_like(picture)).score.max() == 0.0


class TestBoxes:
    def test_none_is_one_person_who_fills_the_picture(self, make, picture):
        poses = make().predict(picture)
        np.testing.assert_array_equal(poses.boxes, [[-0.5, -0.5, WIDTH - 0.5, HEIGHT - 0.5]])

    def test_one_box_may_stand_alone(self, make, picture):
        one, many = make().predict(picture, BOXES["wide"]), make().predict(picture, [BOXES["wide"]])
        np.testing.assert_array_equal(one.xy, many.xy)
        assert one.boxes.shape == (1, 4)

    @pytest.mark.parametrize("boxes", [[], (), np.zeros((0, 4)), np.zeros(0)])
    def test_no_boxes_no_poses(self, make, picture, boxes):
        poses = make().predict(picture, boxes)
        assert (poses.xy.shape, poses.score.shape, poses.boxes.shape) == ((0, 14, 2), (0, 14), (0, 4))
        assert poses.to_json()["people"] == []

    @pytest.mark.parametrize(
        ("boxes", "message"),
        [
            ((10, 20, 10, 40), r"box 0 \(10 20 10 40\) is empty"),
            ((10, 40, 30, 20), "box 0 .* is empty"),
            ([(1, 2, 30, 40), (1, 2, np.nan, 40)], r"box 1 \(1 2 nan 40\) is not finite"),
            ((1, 2, np.inf, 40), "is not finite"),
            ((-30, 5, -2, 40), "outside the picture of 190 x 230"),
            ((190, 5, 260, 40), "outside the picture of 190 x 230"),
            ((5, 230, 40, 260), "outside"),
            ((1, 2, 3), r"boxes have shape \(1, 3\)"),
            ([[[1, 2, 3, 4]]], r"boxes have shape \(1, 1, 4\)"),
            (5.0, r"boxes have shape \(1, 1\)"),
            (np.zeros((3, 0)), r"boxes have shape \(3, 0\)"),
            ([[1, 2, 3, 4], [1, 2, 3]], "boxes are not numbers"),
            ("left", "boxes are not numbers"),
        ],
    )
    def test_bad_ones_are_refused_with_the_reason(self, make, picture, boxes, message):
        with pytest.raises(DataError, match=message):
            make().predict(picture, boxes)

    def test_the_caller_s_boxes_are_not_kept(self, make, picture):
        boxes = np.array([BOXES["inside"]])
        poses = make().predict(picture, boxes)
        boxes[0, 0] = -1000
        assert poses.boxes[0, 0] == BOXES["inside"][0]


class TestSizes:
    @pytest.mark.parametrize("scales", [(1.0,), SIX_SCALES])
    @pytest.mark.parametrize("shape", [(1, 1), (1, 57), (43, 1), (2, 3)])
    def test_tiny_pictures_have_finite_keypoints_near_them(self, make, shape, scales):
        poses = make(scales=scales).predict(np.full((*shape, 3), 200, np.uint8))
        assert poses.xy.shape == (1, 14, 2)
        assert np.isfinite(poses.xy).all()
        assert np.abs(poses.xy).max() <= 1.3 * max(shape)

    def test_a_very_wide_picture(self, make):
        places = {"right": (2120.0, 130.0), "left": (10315.0, 95.0), "neck": (7003.0, 220.0), "head": (5030.0, 40.0)}
        picture = np.zeros((300, 12000, 3), np.uint8)
        for name, channel in (("right", 0), ("left", 0), ("neck", 1), ("head", 2)):
            x, y = np.rint(places[name]).astype(int)
            picture[max(y - 120, 0) : y + 121, x - 120 : x + 121, channel] = 255
        found = make(flip=False).predict(picture).xy[0]
        assert np.abs(found[:, 0] - expected(**places)[:, 0]).max() < 12000 / 256 * STRIDE  # one heatmap pixel
        inside = make().predict(picture, (6850.0, 60.0, 7150.0, 299.0))
        assert np.linalg.norm(inside.xy[0, LSP.index("neck")] - places["neck"]) < 170

    def test_what_is_no_picture_is_refused(self, make, tmp_path):
        (tmp_path / "no.jpg").write_text("no picture")
        with pytest.raises(ImageError, match=r"no\.jpg"):
            make().predict(tmp_path / "no.jpg")
        with pytest.raises(ImageError, match="no pixels"):
            make().predict(np.zeros((0, 5, 3), np.uint8))
