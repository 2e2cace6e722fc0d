"""What the first bytes of a picture say: its format, its orientation, the size of a WebP. Decodes no pixel.

Every function takes hostile bytes and answers without raising: None, or "as it is", where it cannot tell.
Orientation: EXIF 2.32, tag 0x0112.
"""

from __future__ import annotations

import struct
from typing import Literal

Format = Literal["jpeg", "png", "webp", "bmp", "tiff", "gif"]

_MAGIC: tuple[tuple[bytes, Format], ...] = (
    (b"\xff\xd8\xff", "jpeg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"RIFF", "webp"),
    (b"BM", "bmp"),
    (b"II*\0", "tiff"),
    (b"MM\0*", "tiff"),
    (b"II+\0", "tiff"),
    (b"MM\0+", "tiff"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
)
_OTHERS: tuple[tuple[bytes, str], ...] = (
    (b"%PDF", "a PDF document"),
    (b"<?xml", "XML or SVG text"),
    (b"<svg", "SVG text"),
    (b"<!doctype html", "an HTML page"),
    (b"<html", "an HTML page"),
    (b"{", "JSON text"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1aE\xdf\xa3", "a video"),
)
_FIRST = 1 << 17
"""Bytes of a JPEG in which its EXIF block begins."""


def sniff(data: bytes) -> Format | None:
    """The format by its magic bytes; also for a file cut off inside them. None: none of those segx reads."""
    if not data:
        return None
    for magic, name in _MAGIC:
        if data.startswith(magic) or (len(data) < len(magic) and magic.startswith(data)):
            if name == "webp" and len(data) >= 12 and data[8:12] != b"WEBP":
                return None
            return name
    return None


def guess(data: bytes) -> str:
    """What bytes that are no picture most likely are, for a message."""
    if not data:
        return "no bytes at all"
    if data[4:8] == b"ftyp":
        brand = data[8:12].decode("latin-1").strip()
        return f"a HEIC, AVIF or MP4 file ('{brand}')" if brand.isprintable() else "a HEIC, AVIF or MP4 file"
    start = data[:64].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for magic, name in _OTHERS:
        if start.startswith(magic.lower()):
            return name
    return f"bytes that begin with {data[:8].hex(' ')}"


def webp_size(data: bytes) -> tuple[int, int]:
    """(height, width) of a WebP's canvas, (0, 0) where the header is cut off or makes no sense."""
    match data[12:16]:
        case b"VP8X" if len(data) >= 30:
            return int.from_bytes(data[27:30], "little") + 1, int.from_bytes(data[24:27], "little") + 1
        case b"VP8L" if len(data) >= 25:
            bits = int.from_bytes(data[21:25], "little")
            return (bits >> 14 & 0x3FFF) + 1, (bits & 0x3FFF) + 1
        case b"VP8 " if len(data) >= 30:
            width, height = struct.unpack_from("<HH", data, 26)
            return height & 0x3FFF, width & 0x3FFF
    return 0, 0


def webp_orientation(data: bytes) -> int:
    """EXIF orientation 1-8 of a WebP; 1 where there is none or it makes no sense."""
    if data[12:16] != b"VP8X" or len(data) < 30 or not data[20] & 0x08:
        return 1
    offset = 12
    while offset + 8 <= len(data):
        length = int.from_bytes(data[offset + 4 : offset + 8], "little")
        if data[offset : offset + 4] == b"EXIF":
            return orientation(data[offset + 8 : offset + 8 + length])
        offset += 8 + length + length % 2
    return 1


def jpeg_orientation(data: bytes) -> int:
    """EXIF orientation 1-8 of a JPEG; 1 where there is none or it makes no sense."""
    position = data.find(b"Exif\0\0", 0, _FIRST)
    if position < 4:
        return 1
    # Walk the segments only now: the six letters could also lie inside some other one.
    offset = 2
    while offset + 4 <= min(len(data), _FIRST) and data[offset] == 0xFF and data[offset + 1] != 0xDA:
        length = int.from_bytes(data[offset + 2 : offset + 4], "big")
        if data[offset + 1] == 0xE1 and data[offset + 4 : offset + 10] == b"Exif\0\0":
            return orientation(data[offset + 10 : offset + 2 + length])
        offset += 2 + length
    return 1


def orientation(exif: bytes) -> int:
    """Orientation 1-8 in an EXIF block (a TIFF header and its first directory), with or without "Exif" before it."""
    block = exif.removeprefix(b"Exif\0\0")
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(block[:4])
    if order is None or len(block) < 8:
        return 1
    (start,) = struct.unpack_from(order + "I", block, 4)
    if start + 2 > len(block):
        return 1
    (count,) = struct.unpack_from(order + "H", block, start)
    for entry in range(start + 2, min(start + 2 + 12 * count, len(block) - 11), 12):
        tag, kind, _, value = struct.unpack_from(order + "HHIH", block, entry)
        if tag == 0x0112 and kind == 3:
            return value if 1 <= value <= 8 else 1
    return 1
