"""One picture file in memory: opened by its header, its pixels decoded when asked for.

JPEG goes through simplejpeg (libjpeg-turbo, strict), everything else through Pillow. What is done with alpha, 16 bits
and the like is told in picture.py; limits are held there, between opening and decoding.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import numpy as np
import simplejpeg
from PIL import BmpImagePlugin, GifImagePlugin, JpegImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin
from PIL.Image import Image

from segx_core import imageguard, imageheader
from segx_core.errors import PictureError
from segx_core.runner import UInt8

_CONVERT = "Convert it to JPEG or 8-bit PNG."
_BAND = 1 << 17
"""Pixels that are brought from Pillow to NumPy at once."""


@dataclass(frozen=True)
class ImageFile:
    """A picture file whose header has been read."""

    stored: tuple[int, int]
    """(height, width) before the orientation is applied."""
    orientation: int
    """EXIF orientation still to be applied, 1-8."""
    decode: Callable[[UInt8 | None], UInt8]
    """Gives (height, width, 3) uint8 RGB as stored, in the array it is handed if it can; may raise anything."""
    kind: imageheader.Format

    @classmethod
    def opened(cls, data: bytes) -> ImageFile:
        """Reads the header.

        Raises:
            PictureError: kind "unsupported" or "broken".
        """
        kind = imageheader.sniff(data)
        if kind is None:
            raise PictureError(
                "a JPEG, PNG, WebP, BMP, TIFF or GIF picture", imageheader.guess(data), _CONVERT, kind="unsupported"
            )
        try:
            file = cls._read(imageguard.checked(data, kind), kind)
        except PictureError:
            raise
        # Decoders raise whatever they please on hostile bytes; all of it means the same here.
        except Exception as error:
            raise _broken(kind, error) from error
        if min(file.stored) < 1:
            raise PictureError("a picture with pixels", f"a {kind.upper()} header of size 0")
        return file

    @classmethod
    def _read(cls, data: bytes, kind: imageheader.Format) -> ImageFile:
        match kind:
            case "jpeg":
                height, width, colors, _ = simplejpeg.decode_jpeg_header(data, strict=True)
                # libjpeg-turbo turns CMYK into CMYK only; Pillow knows Adobe's inverted form of it too.
                cmyk = colors in ("CMYK", "YCCK")
                turned = imageheader.jpeg_orientation(data)
                return cls((height, width), turned, lambda out: _slow_jpeg(data) if cmyk else _jpeg(data, out), kind)
            case "webp":
                # Pillow allocates the canvas on opening, so its size is read here first.
                size, turned = imageheader.webp_size(data), imageheader.webp_orientation(data)
                return cls(size, turned, lambda out: _rgb(WebPImagePlugin.WebPImageFile(io.BytesIO(data)), out), kind)
            case _:
                image = _open(data, kind)
                # Pillow turns a TIFF upright by itself and states its upright size.
                exif = b"" if kind == "tiff" else image.info.get("exif", b"")
                return cls(
                    (image.height, image.width), imageheader.orientation(exif), lambda out: _rgb(image, out), kind
                )

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) upright."""
        return self.stored if self.orientation < 5 else (self.stored[1], self.stored[0])

    def pixels(self, out: UInt8 | None = None) -> UInt8:
        """Decodes: (H, W, 3) uint8 RGB, upright, C-contiguous, writable.

        Args:
            out: where to put them, C-contiguous and of `size`; an upright picture is decoded right into it.

        Raises:
            PictureError: kind "unsupported" or "broken".
        """
        direct = out if self.orientation < 2 else None
        try:
            stored = self.decode(direct)
        except PictureError:
            raise
        except Exception as error:
            raise _broken(self.kind, error) from error
        if stored.shape[:2] != self.stored:
            raise PictureError(f"{self.stored} pixels, as the header says", f"{stored.shape[:2]}", "Save it again.")
        if out is None:
            return _upright(stored, self.orientation)
        if stored is not direct:
            out[...] = _turned(stored, self.orientation)
        return out


def _broken(kind: str, error: Exception) -> PictureError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return PictureError(f"a whole {kind.upper()} picture", f"a broken one ({reason[:160]})", "Save or send it again.")


def _open(data: bytes, kind: imageheader.Format) -> Image:
    # By class rather than Image.open: no other decoder can be reached, and no size warning is printed.
    match kind:
        case "png":
            return PngImagePlugin.PngImageFile(io.BytesIO(data))
        case "bmp":
            return BmpImagePlugin.BmpImageFile(io.BytesIO(data))
        case "tiff":
            return TiffImagePlugin.TiffImageFile(io.BytesIO(data))
        case _:
            return GifImagePlugin.GifImageFile(io.BytesIO(data))


def _jpeg(data: bytes, out: UInt8 | None) -> UInt8:
    if out is None:
        return cast(UInt8, simplejpeg.decode_jpeg(data, "RGB", strict=True))
    decoded = simplejpeg.decode_jpeg(data, "RGB", strict=True, buffer=out.reshape(-1))
    # What came back is a view of `out` in its own shape: one that differs betrays a header that lied.
    return out if decoded.shape == out.shape else cast(UInt8, decoded)


def _slow_jpeg(data: bytes) -> UInt8:
    # Decoded once more, for libjpeg's opinion alone: Pillow lets some damaged files pass.
    simplejpeg.decode_jpeg(data, "CMYK", strict=True)
    return _rgb(JpegImagePlugin.JpegImageFile(io.BytesIO(data)))


def _rgb(image: Image, out: UInt8 | None = None) -> UInt8:
    """Decodes a picture opened by Pillow: (H, W, 3) uint8 RGB as stored; in `out` if its shape fits."""
    image.load()
    # Transparency is ignored; with the key in place Pillow would warn about it.
    image.info.pop("transparency", None)
    if out is None or out.shape[:2] != (image.height, image.width):
        out = np.empty((image.height, image.width, 3), dtype=np.uint8)
    # In bands: Pillow and NumPy share no memory, and copies of a whole picture would be alive beside it.
    rows = max(1, _BAND // image.width)
    for top in range(0, image.height, rows):
        bottom = min(image.height, top + rows)
        band = image.crop((0, top, image.width, bottom)) if rows < image.height else image
        out[top:bottom] = _pixels(band)
    return out


def _pixels(image: Image) -> UInt8:
    """(H, W, 3), or (H, W, 1) of grey ones."""
    match image.mode:
        case "RGB" | "RGBA" | "RGBX":
            return np.asarray(image)[..., :3]
        case "L" | "LA":
            return np.asarray(image).reshape(image.height, image.width, -1)[..., :1]
        case "I;16" | "I;16L" | "I;16B" | "I;16N":
            return (np.asarray(image) >> 8).astype(np.uint8)[..., None]
        case "1" | "P" | "PA" | "CMYK" | "YCbCr" | "La" | "RGBa":
            straight = {"La": "LA", "RGBa": "RGBA", "PA": "RGBA"}.get(image.mode)
            return _pixels(image.convert(straight)) if straight else np.asarray(image.convert("RGB"))
        case other:
            raise PictureError(
                "8-bit or 16-bit pixels", f"pixels of kind '{other}'", "Convert it to 8-bit PNG.", kind="unsupported"
            )


def _upright(pixels: UInt8, orientation: int) -> UInt8:
    # A copy where Pillow's memory is borrowed: callers write into their pictures.
    return np.require(_turned(pixels, orientation), requirements=["C", "W", "O"])


def _turned(pixels: UInt8, orientation: int) -> UInt8:
    match orientation:
        case 2:
            return pixels[:, ::-1]
        case 3:
            return pixels[::-1, ::-1]
        case 4:
            return pixels[::-1]
        case 5:
            return pixels.transpose(1, 0, 2)
        case 6:
            return pixels.transpose(1, 0, 2)[:, ::-1]
        case 7:
            return pixels[::-1, ::-1].transpose(1, 0, 2)
        case 8:
            return pixels.transpose(1, 0, 2)[::-1]
        case _:
            return pixels
