"""Pictures: reading them upright, cutting windows out of them, writing them.

A picture is ``(H, W, 3)`` uint8 RGB, rows from the top. A position on it is that of ``geometry``: integers are the
centres of pixels.
"""

import io
import math
import threading
import uuid
import warnings
from pathlib import Path
from typing import BinaryIO, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from .errors import ImageError, in_one_line
from .geometry import Floats, apply, compose, invert, resample, whole_image

Pixels: TypeAlias = NDArray[np.uint8]
Source: TypeAlias = str | Path | bytes | Image.Image | NDArray[np.generic]

MAX_PIXELS = 100_000_000
"""The largest picture, in width x height, that is read unless the caller says otherwise."""

FORMATS = "JPEG, PNG, WEBP, BMP, TIFF or GIF"

_BACKGROUND = (255, 255, 255)  # what most viewers put behind a transparent picture
_SAVE = {
    ".jpg": ("JPEG", {"quality": 95}),
    ".jpeg": ("JPEG", {"quality": 95}),
    ".png": ("PNG", {}),
    ".webp": ("WEBP", {"quality": 95}),
    ".bmp": ("BMP", {}),
    ".tif": ("TIFF", {}),
    ".tiff": ("TIFF", {}),
    ".gif": ("GIF", {}),
}
_LARGE = threading.Lock()
_ORIENTATION_TAG = 0x0112
_UPRIGHT: dict[object, Image.Transpose] = {  # what undoes each orientation of EXIF; 1 is upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def read_image(source: Source, *, max_pixels: int = MAX_PIXELS) -> Pixels:
    """A picture, upright: the orientation that a camera noted in EXIF is applied.

    Transparency is laid over white, 16-bit grey is scaled to 8 bits, an animation gives its first frame.

    Args:
        source: A file (JPEG, PNG, WEBP, BMP, TIFF or GIF), its bytes, a Pillow image of any mode, or an array
            ``(H, W)`` grey, ``(H, W, 3)`` RGB or ``(H, W, 4)`` RGBA of uint8 or of floats in [0, 1].
        max_pixels: Width x height above which a picture is refused before its pixels are decoded.

    Returns:
        A new array ``(H, W, 3)`` uint8 RGB.

    Raises:
        ImageError: It is missing, empty, damaged, truncated, too large or of another kind.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source, max_pixels)
    if isinstance(source, Image.Image):
        return _from_pillow(source, "the Pillow image", max_pixels)
    if isinstance(source, bytes):
        return _from_stream(io.BytesIO(source), f"the picture of {len(source)} bytes", max_pixels)
    if not isinstance(source, (str, Path)):
        raise ImageError(f"cannot read a picture from {type(source).__name__}: give a path, bytes or an array")
    path = Path(source)
    try:
        with path.open("rb") as stream:
            return _from_stream(stream, str(path), max_pixels)
    except FileNotFoundError:
        raise ImageError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise ImageError(f"{path}: this is a folder; name the picture in it") from None
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        raise ImageError(f"{path}: cannot be opened ({error})") from error


def write_image(image: Pixels, path: str | Path) -> None:
    """Write ``image`` ``(H, W, 3)`` RGB or ``(H, W)`` grey, uint8, in the format that the suffix of ``path`` names.

    The file appears under its name only when it is complete, and replaces an older one of that name.

    Raises:
        ImageError: The suffix is of no known format, the array is no picture, or the disk refuses.
    """
    path = Path(path)
    if path.suffix.lower() not in _SAVE:
        raise ImageError(f"{path}: cannot tell the format; end the name in one of {', '.join(_SAVE)}")
    if (
        image.dtype != np.uint8
        or image.ndim not in (2, 3)
        or (image.ndim == 3 and image.shape[2] != 3)
        or 0 in image.shape
    ):
        raise ImageError(f"{path}: not a picture: {_describe(image)}; give uint8 (H, W, 3) or (H, W)")
    name, options = _SAVE[path.suffix.lower()]
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with temporary.open("xb") as stream:
            Image.fromarray(image).save(stream, name, **options)
        temporary.replace(path)
    except (OSError, ValueError) as error:
        raise ImageError(f"{path}: cannot be written ({error})") from error
    finally:
        temporary.unlink(missing_ok=True)


def warp(image: Pixels, image_to_out: Floats, size: int | tuple[int, int]) -> Pixels:
    """``image`` seen through the affine map ``image_to_out``, black where it looks past the border.

    Bilinear. A map that shrinks by 2 or more first averages blocks of whole pixels, so that nothing aliases.

    Args:
        image: ``(H, W, 3)`` uint8.
        image_to_out: ``(2, 3)``, pixels of ``image`` to pixels of the result.
        size: Width and height of the result [px], or the side of a square.

    Returns:
        ``(h, w, 3)`` uint8.

    Raises:
        ImageError: The map has no inverse.
    """
    width, height = (size, size) if isinstance(size, int) else size
    if not np.isfinite(image_to_out).all() or math.isclose(np.linalg.det(image_to_out[:, :2]), 0.0, abs_tol=1e-15):
        raise ImageError(f"cannot warp by {image_to_out.tolist()}: the map has no inverse")
    # The direction that shrinks least decides, so that averaging never costs detail that the result could show.
    factor = max(1, int(1 / np.linalg.svd(image_to_out[:, :2], compute_uv=False)[0] + 1e-9))
    left, top, right, bottom = _seen(image, image_to_out, (width, height), factor)
    if left >= right or top >= bottom:
        return np.zeros((height, width, 3), np.uint8)

    part = Image.fromarray(image[top:bottom, left:right])
    part_to_image = np.array([[1.0, 0.0, left], [0.0, 1.0, top]])
    if factor > 1:
        part = part.reduce(factor)
        part_to_image = compose(resample(factor), part_to_image)
    out_to_part = invert(compose(part_to_image, image_to_out))
    # Pillow counts from the corner of the first pixel, half a pixel before its centre.
    corner = out_to_part[:, 2] + 0.5 - out_to_part[:, :2].sum(1) / 2
    a, b, d, e = out_to_part[:, :2].ravel().tolist()
    c, f = corner.tolist()
    out = part.transform(
        (width, height), Image.Transform.AFFINE, (a, b, c, d, e, f), resample=Image.Resampling.BILINEAR
    )
    return np.array(out, np.uint8)


def _seen(image: Pixels, image_to_out: Floats, size: tuple[int, int], factor: int) -> tuple[int, int, int, int]:
    """The part of ``image`` (slices: left, top, right, bottom) that the result shows, in whole blocks of ``factor``."""
    left, top, right, bottom = whole_image(*size)
    corners = apply(invert(image_to_out), [(left, top), (right, top), (left, bottom), (right, bottom)])
    limit = np.array([image.shape[1], image.shape[0]])
    # Two blocks to spare on every side: bilinear looks at the neighbour, and block borders lie at multiples of factor.
    low = np.clip(np.floor(corners.min(0) / factor - 2) * factor, 0, limit).astype(int)
    high = np.clip(np.ceil(corners.max(0) / factor + 3) * factor, 0, limit).astype(int)
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])


def _from_stream(stream: BinaryIO, name: str, max_pixels: int) -> Pixels:
    start = stream.read(16)
    stream.seek(0)
    if not start:
        raise ImageError(f"{name}: the file is empty")
    plugin = _plugin(start)
    if plugin is None:
        raise ImageError(f"{name}: not a picture that can be read; convert it to {FORMATS}")
    # The plugin itself rather than Image.open, whose limit on pixels is one for the whole process and warns.
    try:
        image = plugin(stream)
    except Exception as error:  # on damaged files decoders raise whatever they stumble over
        raise ImageError(f"{name}: cannot be decoded, perhaps damaged or cut short ({in_one_line(error)})") from error
    return _from_pillow(image, name, max_pixels)


def _plugin(start: bytes) -> type[ImageFile.ImageFile] | None:
    """The decoder for a file that begins with ``start``."""
    if start.startswith(b"\xff\xd8\xff"):
        return JpegImagePlugin.JpegImageFile
    if start.startswith(b"\x89PNG\r\n\x1a\n"):
        return PngImagePlugin.PngImageFile
    if start.startswith(b"RIFF") and start[8:12] == b"WEBP":
        return WebPImagePlugin.WebPImageFile
    if start.startswith(b"BM"):
        return BmpImagePlugin.BmpImageFile
    if start.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return TiffImagePlugin.TiffImageFile
    if start.startswith((b"GIF87a", b"GIF89a")):
        return GifImagePlugin.GifImageFile
    return None


def _from_pillow(image: Image.Image, name: str, max_pixels: int) -> Pixels:
    _check_size(*image.size, name, max_pixels)
    try:
        _load(image)
        rgb = _to_rgb(image, name)
        turn = _UPRIGHT.get(_orientation(image))  # asked after load, in which TIFF turns itself
        return np.array(rgb if turn is None else rgb.transpose(turn), np.uint8)
    except ImageError:
        raise
    except Exception as error:  # on damaged files decoders raise whatever they stumble over
        raise ImageError(f"{name}: cannot be decoded, perhaps damaged or cut short ({in_one_line(error)})") from error


def _load(image: Image.Image) -> None:
    """Decode the pixels, without the warning of Pillow's own limit, which large TIFF files meet here."""
    if image.width * image.height <= (Image.MAX_IMAGE_PIXELS or math.inf):
        image.load()
        return
    with _LARGE, warnings.catch_warnings():  # filters belong to the whole process, so one large picture at a time
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        image.load()


def _orientation(image: Image.Image) -> object:
    try:
        return image.getexif().get(_ORIENTATION_TAG)
    except Exception:  # noqa: BLE001 - damaged notes of the camera are no reason to refuse its picture
        return None


def _to_rgb(image: Image.Image, name: str) -> Image.Image:
    if image.mode in ("F", "I") or image.mode.startswith("I;16"):
        values = np.asarray(image).astype(np.float64)
        most = 1.0 if image.mode == "F" else 65535.0
        if not (values.min() >= 0 and values.max() <= most):
            raise ImageError(f"{name}: grey values beyond [0, {most:g}]; scale it to 8 or 16 bits")
        return Image.fromarray(np.rint(values * (255 / most)).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        if image.mode == "La":
            image = image.convert("LA")
        behind = Image.new("RGBA", image.size, (*_BACKGROUND, 255))
        return Image.alpha_composite(behind, image.convert("RGBA")).convert("RGB")
    return image.convert("RGB")


def _from_array(array: NDArray[np.generic], max_pixels: int) -> Pixels:
    wanted = "give (H, W), (H, W, 3) or (H, W, 4) of uint8 or of floats in [0, 1]"
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)):
        raise ImageError(f"not a picture: {_describe(array)}; {wanted}")
    _check_size(array.shape[1], array.shape[0], "the array", max_pixels)
    if np.issubdtype(array.dtype, np.floating):
        if not (array.min() >= 0 and array.max() <= 1):  # written so that NaN fails
            raise ImageError(f"not a picture: floats beyond [0, 1] or NaN in {_describe(array)}; {wanted}")
        array = np.rint(array * 255).astype(np.uint8)
    if array.dtype != np.uint8:
        raise ImageError(f"not a picture: {_describe(array)}; {wanted}")
    return np.array(_to_rgb(Image.fromarray(np.ascontiguousarray(array)), "the array"), np.uint8)


def _check_size(width: int, height: int, name: str, max_pixels: int) -> None:
    if width * height == 0:
        raise ImageError(f"{name}: has no pixels ({width} x {height})")
    if width * height > max_pixels:
        raise ImageError(
            f"{name}: {width} x {height} is more than {max_pixels} pixels; "
            "make it smaller, or raise max_pixels if you trust it"
        )


def _describe(array: NDArray[np.generic]) -> str:
    return f"an array {array.shape} of {array.dtype}"
