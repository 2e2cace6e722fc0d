"""Picture bytes to RGB pixels and class maps to PNG: the one decoder and the one encoder of training, serving and eval.

Knows nothing of models or HTTP. Bytes may be hostile: the size is read from the header before memory is spent, and
whatever goes wrong is a PictureError. What is done with the odd ones, always the same so training and serving agree:

- EXIF orientation is applied.
- Alpha is ignored: the stored colours are kept, also under transparent pixels. Any background would be an invention.
- 16-bit pictures keep the upper byte (value >> 8). Grey and palettes become RGB. Animations give their first frame.
- CMYK is converted without a colour profile. Float and 32-bit pictures are refused: their range is not known.
- BMP with run lengths is refused, and so is whatever would cost far more to decode than its size says (imageguard.py).
- A JPEG that libjpeg finds damaged is refused; decoders that fill the rest with grey would make masks of nothing.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segx_core.errors import PictureError
from segx_core.imagefile import ImageFile
from segx_core.runner import ClassMap, UInt8

Palette = Sequence[tuple[int, int, int]] | NDArray[np.uint8]
"""RGB of each value a map can have."""

PICTURE_SUFFIXES: frozenset[str] = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif"})
"""File name endings, lower case, of what `decode` reads."""

BEYOND = (255, 255, 255)
"""Colour in a mask PNG of every index that is no class, the ignored one included: white, the usual colour of void."""


@dataclass(frozen=True)
class Limits:
    """What a picture may cost."""

    max_pixels: int = 64_000_000
    """Height x width, judged by the header before anything is decoded."""


def size_of(data: bytes) -> tuple[int, int]:
    """(height, width) that `decode` will give, from the header, without decoding.

    Raises:
        PictureError: "unsupported" format, or "broken" header.
    """
    return ImageFile.opened(data).size


def decode(data: bytes, limits: Limits = Limits()) -> UInt8:
    """Picture bytes -> (H, W, 3) uint8 RGB, C-contiguous.

    Args:
        data: JPEG, PNG, WebP, BMP, TIFF or GIF.
        limits: the header is held against these before decoding.

    Raises:
        PictureError: kind "unsupported", "too_large" or "broken".
    """
    return opened(data, limits).pixels()


def opened(data: bytes, limits: Limits) -> ImageFile:
    """A picture file whose header has been read and held against the limits; nothing is decoded yet.

    Raises:
        PictureError: as `decode`.
    """
    file = ImageFile.opened(data)
    height, width = file.size
    if height * width > limits.max_pixels:
        raise PictureError(
            f"a picture of at most {limits.max_pixels} pixels",
            f"{width}x{height} = {height * width} pixels",
            "Send it smaller, or raise the limit (--max-pixels).",
            kind="too_large",
        )
    return file


def read(path: Path, limits: Limits = Limits()) -> UInt8:
    """A picture file -> (H, W, 3) uint8 RGB.

    Raises:
        PictureError: as `decode`, and where the file cannot be read; names the file.
    """
    try:
        return decode(path.read_bytes(), limits)
    except OSError as error:
        raise PictureError(f"a readable picture at {path}", str(error.strerror or error), "Check the path.") from error
    except PictureError as error:
        raise PictureError(error.expected, f"{error.got} in {path}", error.cure, kind=error.kind) from error


def encode_mask(classmap: ClassMap, palette: Palette) -> bytes:
    """Class indices -> PNG. The same class map and palette always give the same bytes.

    Args:
        classmap: (H, W) uint8 -> 8-bit palette PNG whose pixel values are the indices; indices past the palette are
            shown in `BEYOND`. (H, W) uint16 -> 16-bit grey PNG, for PNG palettes end at 256.
        palette: RGB of each class.
    """
    out = io.BytesIO()
    if classmap.dtype == np.uint16:
        image = Image.fromarray(np.ascontiguousarray(classmap))
    else:
        image = Image.fromarray(np.ascontiguousarray(classmap))
        # All 256 entries: with fewer Pillow would pack pixels into fewer bits and cut the ignored index 255 off.
        image.putpalette(_table(palette).tobytes())
    # Run-length matching suits label maps: at 360x480 1.2 ms and 11 KB, zlib level 1 2.1 ms and 15 KB.
    image.save(out, "PNG", compress_level=1, compress_type=3)
    return out.getvalue()


def encode_png(rgb: UInt8) -> bytes:
    """(H, W, 3) uint8 RGB, or (H, W) grey -> PNG bytes."""
    out = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(rgb)).save(out, "PNG", compress_level=1)
    return out.getvalue()


def overlay(picture: UInt8, classmap: ClassMap, palette: Palette, opacity: float = 0.5) -> UInt8:
    """The picture with its class colours laid over it, in whole numbers: equal on every machine.

    Args:
        picture: (H, W, 3) uint8 RGB.
        classmap: (H, W) class indices; pixels past the palette (ignored ones) show the bare picture.
        palette: RGB of each class.
        opacity: 0 the picture, 1 the colours; rounded to 1/256.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    weight = round(min(max(opacity, 0.0), 1.0) * 256)
    colors = np.array(palette, dtype=np.uint16).reshape(-1, 3)
    # 255 * 256 + 128 still fits 16 bits.
    tinted = np.take(colors * np.uint16(weight) + np.uint16(128), classmap, axis=0, mode="clip")
    tinted += picture * np.uint16(256 - weight)
    tinted >>= 8
    blended = tinted.astype(np.uint8)
    past = classmap >= len(colors)
    if past.any():
        blended[past] = picture[past]
    return blended


def _table(palette: Palette) -> NDArray[np.uint8]:
    table = np.full((256, 3), BEYOND, dtype=np.uint8)
    table[: len(palette)] = palette[:256]
    return table
