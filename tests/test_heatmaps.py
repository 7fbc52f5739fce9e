"""Heatmaps: targets and reading against slow twins, and how exactly a keypoint comes back."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from sadinet.crops import SIX_SCALES
from sadinet.errors import ConfigError
from sadinet.geometry import apply, mirror
from sadinet.heatmaps import _neighbourhood, argmax, average_scales, decode, unmirror
from sadinet.model.targets import gaussian_targets, target_weights
from sadinet.skeleton import Skeleton

from .reference import heatmaps as slow

NAN = math.nan
HOW = ("argmax", "quarter", "dark")


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(7)


def scattered(generator: torch.Generator, shape: tuple[int, int], size: tuple[int, int], inset: float) -> Tensor:
    """Random keypoints ``(*shape, 2)`` at least ``inset`` inside the outermost pixels' centres."""
    room = torch.tensor([size[1] - 1.0, size[0] - 1.0]) - 2 * inset
    return torch.rand(*shape, 2, generator=generator) * room + inset


@pytest.mark.parametrize("kind", ["rounded", "unbiased"])
@pytest.mark.parametrize("sigma", [1.0, 1.5])
def test_targets_and_weights_match_the_slow_twin(kind, sigma, generator):
    size = (9, 13)
    xy = scattered(generator, (2, 5), size, inset=-6.0)  # some centres lie outside
    xy[0, 1], xy[1, 3, 0], xy[1, 4] = NAN, NAN, torch.tensor([4.5, 2.5])
    labelled = torch.rand(2, 5, generator=generator) < 0.7
    target = gaussian_targets(xy, size, sigma=sigma, kind=kind)
    weights = target_weights(xy, labelled, size, sigma=sigma)
    assert target.shape == (2, 5, 9, 13)
    for b in range(2):
        for k in range(5):
            x, y = xy[b, k].tolist()
            torch.testing.assert_close(target[b, k], torch.tensor(slow.gaussian(x, y, size, sigma, kind)))
            assert weights[b, k] == slow.weight(x, y, bool(labelled[b, k]), size, sigma)


def test_a_small_target_on_paper():
    target = gaussian_targets(torch.tensor([[[1.4, 0.0]]]), (2, 4), sigma=1.0)
    a, b, c = math.exp(-0.5), math.exp(-1), math.exp(-2)  # one, one diagonally, two beside the pixel (1, 0)
    torch.testing.assert_close(target[0, 0], torch.tensor([[a, 1, a, c], [b, a, b, math.exp(-2.5)]]))


def test_half_way_rounds_up_and_the_cut_is_at_three_sigma():
    target = gaussian_targets(torch.tensor([[[2.5, 5.0]]]), (11, 8), sigma=1.0)[0, 0]
    assert (target == 1).nonzero().tolist() == [[5, 3]]
    assert target[5].gt(0).tolist() == [True] * 7 + [False]  # columns 0 to 6
    assert target[:, 3].gt(0).nonzero().flatten().tolist() == [2, 3, 4, 5, 6, 7, 8]


def test_a_keypoint_counts_until_its_target_leaves_the_map():
    size, sigma = (6, 10), 1.5  # the target reaches 4.5 px
    xy = torch.tensor([[[-4.4, 0], [-4.6, 0], [13.4, 5], [13.6, 5], [0, 9.4], [0, 9.6], [NAN, NAN], [3, 3]]])
    labelled = torch.tensor([[True] * 7 + [False]])
    assert target_weights(xy, labelled, size, sigma=sigma).tolist() == [[1, 0, 1, 0, 1, 0, 0, 0]]


@pytest.mark.parametrize("sigma", [1.0, 2.0, 3.0])
def test_dark_returns_unbiased_keypoints(sigma, generator):
    size = (48, 57)
    inside = scattered(generator, (30, 11), size, inset=3 * sigma)
    xy, peak = decode(gaussian_targets(inside, size, sigma=sigma, kind="unbiased"), "dark", sigma=sigma)
    assert (xy - inside).abs().max() < 1e-3
    assert (peak > math.exp(-0.25 / sigma**2) - 1e-6).all()  # at most half a pixel away in x and y
    nearer = scattered(generator, (30, 11), size, inset=2 * sigma)  # smoothing misses what the border cuts off
    xy, _ = decode(gaussian_targets(nearer, size, sigma=sigma, kind="unbiased"), "dark", sigma=sigma)
    assert (xy - nearer).abs().max() < 0.05


def test_coarser_readings_keep_their_bounds(generator):
    size = (31, 22)
    xy = scattered(generator, (20, 9), size, inset=1.0)
    exact = gaussian_targets(xy, size, sigma=2.0, kind="unbiased")
    assert (decode(exact, "argmax")[0] - xy).abs().max() <= 0.5  # to the nearest pixel
    assert (decode(exact, "quarter")[0] - xy).abs().max() <= 0.2501  # to the middle of the nearer half of it
    rounded = gaussian_targets(xy, size, sigma=2.0, kind="rounded")
    assert (decode(rounded, "quarter")[0] - xy).abs().max() <= 0.5  # the target itself is that far off
    far = scattered(generator, (20, 9), size, inset=6.0)
    rounded = gaussian_targets(far, size, sigma=2.0, kind="rounded")
    torch.testing.assert_close(decode(rounded, "dark")[0], (far + 0.5).floor(), atol=2e-5, rtol=0)


def test_quarter_matches_the_slow_twin(generator):
    maps = torch.rand(3, 4, 5, 7, generator=generator)
    maps[0, 0], maps[1, 2, 2, :] = 0.25, 2.0  # a constant map; a ridge
    xy, peak = decode(maps, "quarter")
    for b in range(3):
        for k in range(4):
            assert tuple(xy[b, k].tolist()) == slow.quarter(maps[b, k].tolist())
            assert peak[b, k] == maps[b, k].max()


@pytest.mark.parametrize("how", HOW)
def test_borders_and_flat_maps_give_a_pixel_of_the_map(how):
    height, width = 6, 9
    corners = torch.tensor([[0, 0], [8, 0], [0, 5], [8, 5], [4, 0], [0, 3]])
    maps = torch.zeros(1, len(corners), height, width)
    for k, (x, y) in enumerate(corners.tolist()):
        maps[0, k, y, x] = 0.9
    xy, peak = decode(maps, how)
    torch.testing.assert_close(xy[0], corners.float())
    assert (peak == 0.9).all()
    for level in (0.0, -0.3, 1.0, 1e-30, 1e30):
        xy, peak = decode(torch.full((2, 3, height, width), level), how)
        assert (xy == 0).all()
        assert (peak == torch.tensor(level)).all()


@pytest.mark.parametrize("how", HOW)
def test_arrays_are_read_as_tensors_are(how, generator):
    noise = torch.randn(2, 5, 7, 12, generator=generator)
    drawn = gaussian_targets(scattered(generator, (2, 5), (7, 12), inset=0.2), (7, 12), sigma=1.5, kind="unbiased")
    for maps in (noise, drawn):
        for found, expected in zip(decode(maps.numpy(), how, sigma=1.5), decode(maps, how, sigma=1.5), strict=True):
            assert type(found) is np.ndarray
            assert found.dtype == np.float32
            np.testing.assert_allclose(found, expected, atol=2e-5)
        np.testing.assert_array_equal(
            unmirror(maps.numpy(), FIGURE.flip_index[:5]), unmirror(maps, FIGURE.flip_index[:5])
        )
        mean = average_scales([maps.numpy(), noise.numpy()], (0.8, 1.3), 9)
        np.testing.assert_allclose(mean, average_scales([maps, noise], (0.8, 1.3), 9), atol=1e-6)


@pytest.mark.parametrize("how", HOW)
def test_any_map_is_read_without_nan_and_stays_within_a_pixel_of_the_peak(how, generator):
    noise = torch.randn(4, 6, 8, 11, generator=generator)
    for maps in (noise, -noise.abs(), noise * 1e-12, noise.clamp(min=2.0), noise.bfloat16()):
        xy, peak = decode(maps, how)
        assert xy.dtype == peak.dtype == torch.float32
        assert xy.isfinite().all()
        assert (xy - argmax(maps.float())[0]).abs().max() <= 1
        torch.testing.assert_close(peak, maps.float().amax((2, 3)))


def test_dark_finds_a_turned_ellipse():
    x, y = torch.meshgrid(torch.arange(40.0) - 17.3, torch.arange(33.0) - 15.8, indexing="xy")
    bump = torch.exp(-(0.10 * x**2 + 0.07 * y**2 + 0.06 * x * y))
    xy, _ = decode(bump[None, None], "dark", sigma=2.0)
    torch.testing.assert_close(xy[0, 0], torch.tensor([17.3, 15.8]), atol=0.02, rtol=0)


def test_only_the_neighbourhood_is_smoothed_but_as_the_whole_map_would_be(generator):
    maps = torch.rand(2, 3, 17, 23, generator=generator)
    offset = torch.arange(-4.0, 5.0)  # 2.5 x 1.5, rounded up
    kernel = torch.exp(-0.5 * (offset / 1.5).square())
    kernel = torch.outer(kernel, kernel) / kernel.sum() ** 2
    whole = torch.nn.functional.conv2d(maps.flatten(0, 1)[:, None], kernel[None, None], padding=4).view_as(maps)
    xy = torch.tensor([[[1.0, 1.0], [11.0, 8.0], [21.0, 15.0]], [[5.0, 1.0], [20.0, 3.0], [1.0, 14.0]]])
    found = _neighbourhood(maps, xy, 1.5)
    for b in range(2):
        for k in range(3):
            x, y = xy[b, k].int().tolist()
            torch.testing.assert_close(found[b, k], whole[b, k, y - 1 : y + 2, x - 1 : x + 2])
    assert torch.equal(_neighbourhood(maps, xy)[1, 2], maps[1, 2, 13:16, 0:3])


FIGURE = Skeleton("figure", ("nose", "left_hand", "right_hand", "right_foot", "left_foot"))


def test_unmirror_is_its_own_inverse_and_matches_the_slow_twin(generator):
    maps = torch.rand(2, 5, 4, 7, generator=generator)
    back = unmirror(maps, FIGURE.flip_index)
    assert torch.equal(unmirror(back, FIGURE.flip_index), maps)
    assert not torch.equal(back, maps)
    for b in range(2):
        assert back[b].tolist() == slow.unmirror(maps[b].tolist(), FIGURE.flip_index)


def test_unmirror_undoes_the_mirror_of_keypoints(generator):
    size = (12, 19)
    xy = scattered(generator, (3, 5), size, inset=1.0).double()
    mirrored = torch.from_numpy(apply(mirror(size[1]), xy.numpy()))[:, list(FIGURE.flip_index)]
    maps = gaussian_targets(mirrored, size, sigma=1.5, kind="unbiased")
    torch.testing.assert_close(
        unmirror(maps, FIGURE.flip_index), gaussian_targets(xy, size, sigma=1.5, kind="unbiased")
    )


def blob(side, at, spread):
    """A Gaussian of peak 1 at ``at``, ``(side, side)``."""
    y, x = np.mgrid[:side, :side]
    return torch.from_numpy(np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / (2 * spread**2)))


class TestAverageScales:
    def test_it_is_the_slow_one(self):
        scales = (0.7, 1.0, 1.3)
        rng = np.random.default_rng(5)
        maps = rng.random((3, 2, 4, 9, 9))
        fast = average_scales([torch.from_numpy(m) for m in maps], scales, 31)
        assert fast.shape == (2, 4, 31, 31)
        for b, k in ((0, 0), (1, 3)):
            np.testing.assert_allclose(fast[b, k], slow.average_scales(maps[:, b, k], scales, 31), atol=1e-9)

    @pytest.mark.parametrize("place", [(0.0, 0.0), (0.21, -0.13), (-0.252, 0.117)])
    def test_a_keypoint_is_at_the_same_place_at_every_scale(self, place):
        """``place`` in sides of the crop of scale 1, from its centre."""
        size, side, spread = 128, 32, 2.0
        heatmaps = []
        for scale in SIX_SCALES:
            at = (np.array(place) / scale + 0.5) * side - 0.5
            heatmaps.append(blob(side, at, spread / scale)[None, None])
        expected = (np.array(place) / max(SIX_SCALES) + 0.5) * size - 0.5
        y, x = np.mgrid[:size, :size]
        single = [
            average_scales([m, torch.zeros_like(m)], (s, 1.3), size)[0, 0]
            for m, s in zip(heatmaps, SIX_SCALES, strict=True)
        ]
        for mean in (average_scales(heatmaps, SIX_SCALES, size)[0, 0], *single):
            weights = mean.numpy() / mean.numpy().sum()
            assert np.hypot((weights * x).sum() - expected[0], (weights * y).sum() - expected[1]) < 0.3

    def test_one_scale_at_its_own_size_is_itself(self):
        heatmaps = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))
        torch.testing.assert_close(average_scales([heatmaps], (1.2,), 16), heatmaps)

    def test_nothing_cannot_be_averaged(self):
        with pytest.raises(ConfigError, match="no scales"):
            average_scales([], (), 16)
