"""Frames and the maps between them: laws, and numbers that fit on paper."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sadinet.errors import DataError
from sadinet.geometry import (
    Crop,
    apply,
    bounding_box,
    compose,
    image_to_crop,
    invert,
    mirror,
    overlap,
    resample,
    swap_sides,
    whole_image,
)

NAN = float("nan")
POINTS = np.array([[0.0, 0.0], [13.0, -4.5], [-7.25, 31.0]])

lengths = st.floats(-500, 500)
crops = st.builds(Crop, center=st.tuples(lengths, lengths), side=st.floats(0.5, 2000), angle=st.floats(-720, 720))
sizes = st.integers(1, 512)


@given(crops, sizes)
def test_the_inverse_of_a_map_undoes_it(crop, size):
    there = image_to_crop(crop, size)
    np.testing.assert_allclose(apply(invert(there), apply(there, POINTS)), POINTS, atol=1e-6)


@given(crops, sizes, st.floats(0.1, 8), st.integers(1, 900))
def test_composing_maps_is_doing_them_in_turn(crop, size, scale, width):
    first, second, third = image_to_crop(crop, size), resample(scale), mirror(width)
    in_turn = apply(third, apply(second, apply(first, POINTS)))
    np.testing.assert_allclose(apply(compose(first, second, third), POINTS), in_turn, rtol=1e-9, atol=1e-6)


@given(crops, sizes)
def test_the_corners_of_a_window_are_the_corners_of_its_crop(crop, size):
    half, turn = crop.side / 2, np.radians(crop.angle)
    right = np.array([np.cos(turn), np.sin(turn)]) * half  # turning clockwise: y points down
    down = np.array([-np.sin(turn), np.cos(turn)]) * half
    window = crop.center + np.array([-right - down, right - down, right + down, -right + down])
    low, high = -0.5, size - 0.5
    expected = [(low, low), (high, low), (high, high), (low, high)]
    np.testing.assert_allclose(apply(image_to_crop(crop, size), window), expected, atol=1e-6)


def test_a_window_turned_clockwise_sees_its_content_turned_the_other_way():
    to_crop = image_to_crop(Crop((10.0, 20.0), side=8.0, angle=90.0), size=8)
    np.testing.assert_allclose(apply(to_crop, [(10, 20), (13, 20), (10, 22)]), [(3.5, 3.5), (3.5, 0.5), (5.5, 3.5)])


def test_a_crop_by_hand():
    # Side 6 around (4, 7), so it spans [1, 7] x [4, 10]; at 3 pixels each one is 2 wide and the first is centred at 2.
    to_crop = image_to_crop(Crop((4.0, 7.0), side=6.0), size=3)
    np.testing.assert_allclose(apply(to_crop, [(2, 5), (4, 7), (1, 10)]), [(0, 0), (1, 1), (-0.5, 2.5)])
    assert to_crop.shape == (2, 3)
    assert to_crop.dtype == np.float64


def test_resampling_keeps_the_borders_of_the_image():
    # 10 pixels wide at 0.4 are 4: the borders -0.5 and 9.5 become -0.5 and 3.5.
    np.testing.assert_allclose(apply(resample(0.4), [(-0.5, 9.5), (2.0, 4.5)]), [(-0.5, 3.5), (0.5, 1.5)])


def test_the_mirror_swaps_first_and_last_column():
    np.testing.assert_array_equal(apply(mirror(7), [(0, 3), (6, 1), (2.5, 0)]), [(6, 3), (0, 1), (3.5, 0)])


@given(st.integers(1, 10_000))
def test_mirroring_twice_is_nothing(width):
    np.testing.assert_array_equal(compose(mirror(width), mirror(width)), np.eye(3)[:2])
    np.testing.assert_array_equal(invert(mirror(width)), mirror(width))


def test_composing_nothing_is_the_identity():
    np.testing.assert_array_equal(compose(), np.eye(3)[:2])


def test_points_of_any_shape_are_mapped_and_nan_stays_nan():
    points = np.full((2, 5, 3, 2), 4.0)
    points[1, 2, 0] = NAN
    mapped = apply(resample(2.0), points)
    assert mapped.shape == points.shape
    assert np.isnan(mapped[1, 2, 0]).all()
    assert np.isnan(mapped).sum() == 2
    assert mapped[0, 0, 0].tolist() == [8.5, 8.5]


def test_the_window_around_a_box_is_square_on_its_longer_side():
    assert Crop.around((2, 10, 8, 30), margin=1.25) == Crop((5.0, 20.0), 25.0)


@pytest.mark.parametrize("box", [(5, 0, 5, 9), (0, 9, 4, 3), (0, 0, NAN, 3)])
def test_an_empty_box_is_refused(box):
    with pytest.raises(DataError, match="empty box"):
        Crop.around(box)


@pytest.mark.parametrize(
    ("center", "side", "angle"), [((0, 0), 0, 0), ((0, 0), -2, 0), ((NAN, 0), 3, 0), ((0, 0), NAN, 0), ((0, 0), 3, NAN)]
)
def test_a_window_that_is_none_is_refused(center, side, angle):
    with pytest.raises(DataError, match="not a window"):
        Crop(center, side, angle)


def test_a_whole_image_spans_half_a_pixel_beyond_its_centres():
    assert whole_image(4, 9).tolist() == [-0.5, -0.5, 3.5, 8.5]


def test_the_bounding_box_knows_only_finite_points():
    xy = [[(3.0, 8.0), (NAN, 1.0)], [(-2.0, 5.0), (NAN, NAN)]]
    assert bounding_box(xy).tolist() == [-2.0, 5.0, 3.0, 8.0]
    assert np.isnan(bounding_box([(NAN, NAN)])).all()


def test_overlap_is_a_share_of_the_union():
    a = [[0, 0, 10, 6], [20, 20, 30, 30], [4, 4, 4, 9]]
    b = [[5, 0, 15, 4], [20, 20, 30, 30]]  # 5 x 4 in common of 60 + 40
    np.testing.assert_allclose(overlap(a, b), [[20 / 80, 0], [0, 1], [0, 0]])
    assert overlap(np.zeros((0, 4)), b).shape == (0, 2)


def test_sides_are_swapped_by_channel():
    xy = np.arange(6.0).reshape(3, 2)
    assert swap_sides(xy, (2, 1, 0)).tolist() == [[4, 5], [2, 3], [0, 1]]
