"""Pictures: read upright and in 8 bits whatever their kind, refused with a reason, warped on pixel centres."""

import io
import struct
import threading
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from sadinet.errors import ImageError
from sadinet.geometry import Crop, apply, compose, image_to_crop, invert, resample
from sadinet.images import read_image, warp, write_image

from .reference import warp as slow

LOSSLESS = {"PNG": {}, "WEBP": {"lossless": True}, "BMP": {}, "TIFF": {}}


@pytest.fixture
def picture() -> np.ndarray:
    """Smooth, 17 high and 23 wide, different in every direction and channel."""
    x, y = np.meshgrid(np.linspace(0, 255, 23), np.linspace(0, 255, 17))
    return np.dstack([x, y, (x + 2 * y) / 3]).astype(np.uint8)


def encoded(image: Image.Image | np.ndarray, kind: str, **options) -> bytes:
    stream = io.BytesIO()
    (Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(stream, kind, **options)
    return stream.getvalue()


class TestRead:
    @pytest.mark.parametrize("kind", LOSSLESS)
    def test_what_was_saved_without_loss_comes_back(self, picture, kind):
        read = read_image(encoded(picture, kind, **LOSSLESS[kind]))
        np.testing.assert_array_equal(read, picture)
        assert read.dtype == np.uint8
        assert read.flags.writeable

    @pytest.mark.parametrize(("kind", "options", "most"), [("JPEG", {"quality": 95}, 16), ("GIF", {}, 32)])
    def test_what_was_saved_with_loss_comes_back_nearly(self, picture, kind, options, most):
        read = read_image(encoded(picture, kind, **options))
        assert read.shape == picture.shape
        assert np.abs(read.astype(int) - picture).max() <= most

    def test_a_path_its_text_its_bytes_and_the_open_image_are_the_same(self, picture, tmp_path):
        path = tmp_path / "picture.of.nothing"  # the content tells the format, not the name
        path.write_bytes(encoded(picture, "PNG"))
        for source in (path, str(path), path.read_bytes(), Image.fromarray(picture), picture):
            read = read_image(source)
            np.testing.assert_array_equal(read, picture)
            assert not np.shares_memory(read, picture)

    # A picture of 3 x 2: where the first stored row (1, 2, 3) and the second (4, 5, 6) belong on an upright one.
    @pytest.mark.parametrize(
        ("orientation", "upright"),
        [
            (1, [[1, 2, 3], [4, 5, 6]]),
            (2, [[3, 2, 1], [6, 5, 4]]),
            (3, [[6, 5, 4], [3, 2, 1]]),
            (4, [[4, 5, 6], [1, 2, 3]]),
            (5, [[1, 4], [2, 5], [3, 6]]),
            (6, [[4, 1], [5, 2], [6, 3]]),
            (7, [[6, 3], [5, 2], [4, 1]]),
            (8, [[3, 6], [2, 5], [1, 4]]),
            (9, [[1, 2, 3], [4, 5, 6]]),
        ],
    )
    @pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
    def test_the_camera_s_orientation_is_applied(self, kind, orientation, upright):
        exif = Image.Exif()
        exif[0x0112] = orientation
        stored = np.repeat(np.array([[1, 2, 3], [4, 5, 6]], np.uint8)[..., None] * 40, 3, 2)
        read = read_image(encoded(stored, kind, exif=exif, **LOSSLESS[kind]))
        np.testing.assert_array_equal(read[..., 0], np.array(upright) * 40)

    def test_an_orientation_in_jpeg_is_applied(self, picture):
        exif = Image.Exif()
        exif[0x0112] = 6
        read = read_image(encoded(picture, "JPEG", quality=95, exif=exif))
        assert np.abs(read.astype(int) - np.rot90(picture, -1)).max() <= 16

    def test_damaged_notes_of_the_camera_do_not_cost_the_picture(self, picture):
        read = read_image(encoded(picture, "WEBP", lossless=True, exif=b"Exif\0\0nonsense"))
        np.testing.assert_array_equal(read, picture)

    @pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "HSV", "RGBA", "RGBX", "RGBa"])
    def test_colours_survive_another_colour_space(self, picture, mode):
        read = read_image(Image.fromarray(picture).convert(mode))
        assert np.abs(read.astype(int) - picture).max() <= 5

    @pytest.mark.parametrize(("mode", "order"), [("I;16", "<u2"), ("I;16L", "<u2"), ("I;16B", ">u2")])
    def test_16_bits_are_scaled_and_not_cut_off(self, mode, order):
        grey = np.array([[0, 128, 129], [32768, 65406, 65535]])
        read = read_image(Image.frombytes(mode, (3, 2), grey.astype(order).tobytes()))
        assert read[..., 0].tolist() == [[0, 0, 1], [128, 254, 255]]
        assert (read == read[..., :1]).all()

    @pytest.mark.parametrize("kind", ["PNG", "TIFF"])
    def test_16_bits_are_scaled_in_files(self, kind):
        grey = np.array([[0, 257, 65535]], np.uint16)
        assert read_image(encoded(grey, kind))[0, :, 1].tolist() == [0, 1, 255]

    def test_32_bits_are_taken_as_16_or_as_a_fraction(self):
        assert read_image(Image.fromarray(np.array([[0, 65535]], np.int32)))[0, :, 0].tolist() == [0, 255]
        assert read_image(Image.fromarray(np.array([[0, 0.2, 1]], np.float32)))[0, :, 0].tolist() == [0, 51, 255]
        with pytest.raises(ImageError, match=r"grey values beyond \[0, 1\]"):
            read_image(Image.fromarray(np.array([[0, 7]], np.float32)))

    def test_one_bit_is_black_and_white(self):
        read = read_image(encoded(Image.fromarray(np.array([[0, 255, 0]], np.uint8)).convert("1"), "PNG"))
        assert read[0].tolist() == [[0, 0, 0], [255, 255, 255], [0, 0, 0]]

    @pytest.mark.parametrize("mode", ["RGBA", "LA", "La"])
    def test_transparency_is_laid_over_white(self, mode):
        rgba = Image.fromarray(np.array([[[90, 90, 90, 0], [90, 90, 90, 255]]], np.uint8), "RGBA")
        image = rgba if mode == "RGBA" else rgba.convert("LA").convert(mode)
        assert read_image(image)[0].tolist() == [[255, 255, 255], [90, 90, 90]]

    @pytest.mark.parametrize(("mode", "clear"), [("P", 1), ("P", b"\xff\x00"), ("L", 1), ("RGB", (1, 1, 1))])
    def test_a_transparent_colour_is_laid_over_white(self, mode, clear):
        image = Image.fromarray(np.array([[0, 1]], np.uint8)).convert(mode)
        if mode == "P":
            image.putpalette([0, 0, 0, 1, 1, 1])
        assert read_image(encoded(image, "PNG", transparency=clear))[0].tolist() == [[0, 0, 0], [255, 255, 255]]

    @pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
    def test_an_animation_gives_its_first_frame(self, kind):
        red, green = (Image.new("RGB", (9, 5), colour) for colour in ((255, 0, 0), (0, 255, 0)))
        data = encoded(red, kind, save_all=True, append_images=[green], **LOSSLESS.get(kind, {}))
        assert (read_image(data) == (255, 0, 0)).all()

    def test_arrays_grey_with_alpha_and_of_floats(self):
        assert read_image(np.array([[3, 7]], np.uint8)).tolist() == [[[3, 3, 3], [7, 7, 7]]]
        assert read_image(np.array([[[1, 2, 3, 255], [9, 9, 9, 0]]], np.uint8))[0].tolist() == [[1, 2, 3], [255] * 3]
        assert read_image(np.array([[0.0, 0.2, 1.0]]))[0, :, 0].tolist() == [0, 51, 255]

    def test_many_threads_read_the_same(self, picture):
        data, results = encoded(picture, "PNG"), []
        threads = [threading.Thread(target=lambda: results.append(read_image(data))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(results) == 8
        assert all((result == picture).all() for result in results)


class TestRefused:
    @pytest.mark.parametrize(
        ("array", "message"),
        [
            (np.zeros((4, 5, 2), np.uint8), r"an array \(4, 5, 2\) of uint8; give"),
            (np.zeros(7, np.uint8), r"an array \(7,\)"),
            (np.zeros((4, 5), np.int64), "of int64"),
            (np.full((4, 5), 1.5), r"floats beyond \[0, 1\]"),
            (np.full((4, 5, 3), np.nan), "NaN"),
            (np.zeros((0, 5, 3), np.uint8), "has no pixels"),
        ],
    )
    def test_an_array_that_is_no_picture(self, array, message):
        with pytest.raises(ImageError, match=message):
            read_image(array)

    def test_a_file_that_is_not_there_empty_or_a_folder(self, tmp_path):
        (tmp_path / "empty.png").touch()
        for name, message in [("none.png", "none.png: no such file"), ("empty.png", "empty.png: the file is empty")]:
            with pytest.raises(ImageError, match=message):
                read_image(tmp_path / name)
        with pytest.raises(ImageError, match="this is a folder"):
            read_image(tmp_path)
        with pytest.raises(ImageError, match="cannot be opened"):
            read_image("a\0b.png")

    def test_another_kind_of_file_or_thing(self, tmp_path):
        path = tmp_path / "notes.png"
        path.write_text("no picture")
        with pytest.raises(ImageError, match=r"notes.png: .* convert it to JPEG, PNG"):
            read_image(path)
        with pytest.raises(ImageError, match="convert it to JPEG"):  # known to Pillow, not wanted here
            read_image(encoded(Image.new("RGB", (3, 2)), "PPM"))
        with pytest.raises(ImageError, match="cannot read a picture from int"):
            read_image(7)  # type: ignore[arg-type]

    @pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF"])
    def test_a_truncated_file(self, kind, tmp_path):
        noise = np.random.default_rng(0).integers(0, 256, (61, 47, 3), dtype=np.uint8)
        whole = encoded(noise, kind)
        path = tmp_path / "half"
        path.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(ImageError, match=r"half: cannot be decoded, perhaps damaged or cut short \(.+\)"):
            read_image(path)

    @pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's remarks on damaged tags
    @settings(max_examples=60, deadline=None)
    @given(st.data())
    def test_damage_is_read_or_refused_but_never_a_crash(self, data):
        kind = data.draw(st.sampled_from(["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF"]))
        damaged = bytearray(encoded(np.arange(9 * 7 * 3, dtype=np.uint8).reshape(9, 7, 3), kind))
        for _ in range(data.draw(st.integers(1, 4))):
            damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
        try:
            read = read_image(bytes(damaged), max_pixels=10_000)
        except ImageError:
            return
        assert read.dtype == np.uint8
        assert read.ndim == 3

    def test_too_many_pixels_are_refused_from_the_header(self):
        def chunk(kind: bytes, content: bytes) -> bytes:
            return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

        header = chunk(b"IHDR", struct.pack(">IIBBBBB", 20_000, 30_000, 8, 2, 0, 0, 0))
        bomb = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", b"")
        with pytest.raises(ImageError, match="20000 x 30000 is more than 100000000 pixels"):
            read_image(bomb)

    def test_the_limit_is_the_caller_s(self, picture):
        data = encoded(picture, "PNG")
        assert read_image(data, max_pixels=17 * 23).shape == (17, 23, 3)
        for source in (data, picture, Image.fromarray(picture)):
            with pytest.raises(ImageError, match="23 x 17 is more than 390 pixels; make it smaller"):
                read_image(source, max_pixels=390)

    @pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "TIFF", "GIF"])
    def test_pillow_s_own_limit_neither_warns_nor_refuses(self, picture, kind, monkeypatch):
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 300)  # 391 pixels: a warning, and so an error in these tests
        assert read_image(encoded(picture, kind)).shape == (17, 23, 3)
        assert Image.MAX_IMAGE_PIXELS == 300


class TestWrite:
    @pytest.mark.parametrize("name", ["a.png", "b.BMP", "c.tiff", "d.tif"])
    def test_what_is_written_is_read_again(self, picture, tmp_path, name):
        write_image(picture, tmp_path / name)
        np.testing.assert_array_equal(read_image(tmp_path / name), picture)

    @pytest.mark.parametrize(("name", "start"), [("a.jpg", b"\xff\xd8"), ("b.jpeg", b"\xff\xd8"), ("c.webp", b"RIFF")])
    def test_the_suffix_names_the_format(self, picture, tmp_path, name, start):
        write_image(picture, str(tmp_path / name))
        assert (tmp_path / name).read_bytes().startswith(start)

    def test_an_older_file_is_replaced_and_nothing_else_is_left(self, picture, tmp_path):
        path = tmp_path / "a.png"
        path.write_text("old")
        write_image(picture[..., 0], path)
        np.testing.assert_array_equal(read_image(path)[..., 2], picture[..., 0])
        assert list(tmp_path.iterdir()) == [path]

    def test_a_failure_leaves_the_older_file_alone(self, picture, tmp_path, monkeypatch):
        def full(*_: object) -> None:
            raise OSError("no space left")

        path = tmp_path / "a.png"
        path.write_text("old")
        monkeypatch.setattr(Image.Image, "save", full)
        with pytest.raises(ImageError, match=r"a.png: cannot be written \(no space left"):
            write_image(picture, path)
        assert path.read_text() == "old"
        assert list(tmp_path.iterdir()) == [path]

    def test_what_cannot_be_written_is_refused(self, picture, tmp_path):
        with pytest.raises(ImageError, match=r"a.txt: cannot tell the format; end the name in one of .jpg"):
            write_image(picture, tmp_path / "a.txt")
        with pytest.raises(ImageError, match="cannot be written"):
            write_image(picture, tmp_path / "no such folder" / "a.png")
        with pytest.raises(ImageError, match="of float64"):
            write_image(picture / 255, tmp_path / "a.png")  # type: ignore[arg-type]


class TestWarp:
    def test_the_identity_is_exact(self, picture):
        np.testing.assert_array_equal(warp(picture, resample(1.0), (23, 17)), picture)

    def test_whole_pixels_move_exactly_and_black_comes_in(self, picture):
        moved = warp(picture, np.array([[1.0, 0.0, 5.0], [0.0, 1.0, -3.0]]), (20, 17))
        expected = np.zeros((17, 20, 3), np.uint8)
        expected[:14, 5:] = picture[3:, :15]
        np.testing.assert_array_equal(moved, expected)

    @settings(max_examples=25, deadline=None)
    @given(
        st.tuples(st.floats(-5, 25), st.floats(-5, 20)),
        st.floats(3, 24),
        st.floats(-360, 360),
        st.tuples(st.integers(5, 13), st.integers(5, 13)),
    )
    def test_it_agrees_with_the_definition(self, center, side, angle, size):
        image = np.random.default_rng(1).integers(0, 256, (17, 23, 3), dtype=np.uint8)
        to_out = image_to_crop(Crop(center, side, angle), 13)
        expected = slow.warp(image, to_out, size)
        difference = np.abs(warp(image, to_out, size) - expected).max(2)
        v, u = np.mgrid[: size[1], : size[0]]
        seen = apply(invert(to_out), np.stack([u, v], -1))
        # Within rounding of the border, a position may fall on either side of it.
        on_border = (np.abs(np.abs(seen - (11.0, 8.0)) - (11.5, 8.5)) < 1e-6).any(-1)
        assert difference[~on_border].max(initial=0) <= 1.001

    @pytest.mark.parametrize("scale", [0.2, 0.27, 0.34, 0.5, 0.8, 1.0, 1.7, 4.0])
    @pytest.mark.parametrize("angle", [0.0, 30.0, -117.0])
    def test_a_blob_lands_where_geometry_says(self, scale, angle):
        at = np.array([83.3, 61.8])
        x, y = np.meshgrid(np.arange(170), np.arange(131))
        blob = 250 * np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / (2 * 7.0**2))
        image = np.repeat(np.rint(blob).astype(np.uint8)[..., None], 3, 2)
        size = round(100 * scale) + 3
        to_out = image_to_crop(Crop((80.0, 65.0), size / scale, angle), size)
        out = warp(image, to_out, size)[..., 1].astype(float)
        v, u = np.mgrid[:size, :size]
        centroid = np.array([(u * out).sum(), (v * out).sum()]) / out.sum()
        np.testing.assert_allclose(centroid, apply(to_out, at), atol=0.05)

    @pytest.mark.parametrize("scale", [1 / 8, 1 / 5, 1 / 2])
    def test_fine_patterns_turn_grey_when_shrunk(self, scale):
        image = np.repeat(np.indices((80, 120)).sum(0)[..., None] % 2 * 255, 3, 2).astype(np.uint8)
        small = warp(image, resample(scale), (round(120 * scale), round(80 * scale)))
        inner = small[1:-1, 1:-1].astype(int)
        assert inner.size > 0
        assert np.abs(inner - 127.5).max() <= 15

    def test_shrinking_by_a_whole_number_averages_blocks(self):
        image = np.random.default_rng(2).integers(0, 256, (12, 20, 3), dtype=np.uint8)
        blocks = image.reshape(3, 4, 5, 4, 3).mean((1, 3))
        assert np.abs(warp(image, resample(0.25), (5, 3)) - blocks).max() <= 1

    @pytest.mark.parametrize("scale", [0.15, 0.45, 1.3])
    def test_a_window_is_the_same_part_of_the_whole(self, scale):
        image = np.random.default_rng(3).integers(0, 256, (150, 210, 3), dtype=np.uint8)
        whole = warp(image, resample(scale), (round(210 * scale), round(150 * scale)))
        left, top, width, height = round(80 * scale), round(60 * scale), 9, 7
        window_map = compose(resample(scale), np.array([[1.0, 0.0, -left], [0.0, 1.0, -top]]))
        window = warp(image, window_map, (width, height)).astype(int)
        assert np.abs(window - whole[top : top + height, left : left + width]).max() <= 1

    def test_size_is_width_and_height_or_a_square(self, picture):
        assert warp(picture, resample(1.0), (6, 4)).shape == (4, 6, 3)
        assert warp(picture, resample(1.0), 5).shape == (5, 5, 3)

    @pytest.mark.parametrize("center", [(-200.0, 5.0), (5.0, 900.0), (1e9, -1e9)])
    def test_a_window_beside_the_picture_is_black(self, picture, center):
        beside = warp(picture + np.uint8(1), image_to_crop(Crop(center, 30.0, 10.0), 8), 8)
        assert beside.shape == (8, 8, 3)
        assert not beside.any()

    def test_the_picture_is_left_as_it_was(self, picture):
        before = picture.copy()
        out = warp(picture, resample(1.0), (23, 17))
        out[:] = 0
        np.testing.assert_array_equal(picture, before)

    @pytest.mark.parametrize("linear", [[[0, 0], [0, 0]], [[1, 2], [2, 4]], [[np.nan, 0], [0, 1]]])
    def test_a_map_without_inverse_is_refused(self, picture, linear):
        with pytest.raises(ImageError, match="no inverse"):
            warp(picture, np.column_stack([np.array(linear, float), [0.0, 0.0]]), 4)
