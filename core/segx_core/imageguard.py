"""What a picture file would make its decoder do besides decoding: found out first, and refused beyond any real need.

A few hundred bytes can ask for a tile of a gigabyte, for ten thousand passes over all pixels or for a million steps of
an interpreted loop, whatever size the header states. Every count here is far above what programs that save pictures
write. It decodes nothing, and leaves to the decoders what is merely broken.
"""

from __future__ import annotations

import re
import struct

from segx_core.errors import PictureError
from segx_core.imageheader import Format

_MOST_SCANS = 100
_MOST_PIECES = 1 << 16
"""Chunks, segments, blocks or strips."""
_MOST_TAGS = 4096
_LARGE_TILE = 1 << 21
"""Pixels. A tile may be larger than its picture, up to this."""
_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
# Compressed texts and profiles: none is looked at, and each may unfold to a megabyte.
_FOLDED = frozenset({b"zTXt", b"iTXt", b"iCCP"})
_WHOLE = {1: "B", 3: "H", 4: "I", 6: "B", 8: "H", 9: "I", 16: "Q", 17: "Q"}  # TIFF's kinds of whole numbers
_BYTES = frozenset({1, 2, 6, 7})


def checked(data: bytes, kind: Format) -> bytes:
    """The file as it may be handed to its decoder: itself, a PNG without its compressed texts and profile.

    Raises:
        PictureError: "too_large" or "unsupported", decoding it would cost much more than its size says.
    """
    match kind:
        case "jpeg":
            _jpeg(data)
        case "png":
            return _png(data)
        case "gif":
            _gif(data)
        case "webp":
            _webp(data)
        case "tiff":
            _tiff(data)
        case "bmp":
            _bmp(data)
    return data


def _jpeg(data: bytes) -> None:
    # Every scan of a progressive file costs a pass over all pixels, and a pass that changes nothing takes few bytes.
    if data.count(b"\xff\xda") <= _MOST_SCANS:
        return
    position, scans, markers = 2, 0, 0
    while (found := _MARKER.search(data, position)) is not None:
        marker, position = data[found.start() + 1], found.end()
        markers += 1
        if marker == 0xD9:
            return
        scans += marker == 0xDA
        if scans > _MOST_SCANS:
            raise _dear("scans", _MOST_SCANS)
        if markers > _MOST_PIECES:
            raise _dear("segments", _MOST_PIECES)
        if marker not in (0x01, 0xD8):
            position += int.from_bytes(data[position : position + 2], "big")


def _png(data: bytes) -> bytes:
    position, pieces, kept, begin = 8, 0, [], 0
    while position + 8 <= len(data):
        pieces += 1
        if pieces > _MOST_PIECES:
            raise _dear("chunks", _MOST_PIECES)
        end = position + 12 + int.from_bytes(data[position : position + 4], "big")
        if data[position + 4 : position + 8] in _FOLDED:
            kept.append(data[begin:position])
            begin = end
        position = end
    if not kept:
        return data
    kept.append(data[begin:])
    return b"".join(kept)


def _gif(data: bytes) -> None:
    position = 13 + (3 << (data[10] & 7) + 1 if len(data) > 10 and data[10] & 0x80 else 0)
    for _ in range(_MOST_PIECES):
        if position >= len(data) or data[position] in b",;":
            return
        if data[position] == 0x21:
            # An extension: its label, then blocks of up to 255 bytes until an empty one.
            position += 2
            while position < len(data) and data[position]:
                position += 1 + data[position]
        position += 1
    raise _dear("blocks", _MOST_PIECES)


def _webp(data: bytes) -> None:
    position = 12
    for _ in range(_MOST_PIECES):
        if position + 8 > len(data):
            return
        length = int.from_bytes(data[position + 4 : position + 8], "little")
        position += 8 + length + length % 2
    raise _dear("chunks", _MOST_PIECES)


def _bmp(data: bytes) -> None:
    # Run lengths are decoded by an interpreted loop in which one jump of four bytes may be worth 255 rows.
    if int.from_bytes(data[14:18], "little") >= 16 and data[30:34] in (b"\1\0\0\0", b"\2\0\0\0"):
        raise PictureError("a BMP without compression", "run lengths", "Convert it to 8-bit PNG.", kind="unsupported")


def _tiff(data: bytes) -> None:
    order = "<" if data[:2] == b"II" else ">"
    big = data[2:4] in (b"+\0", b"\0+")
    counts, entry, inline = ("Q", "HHQ", 8) if big else ("H", "HHI", 4)
    step = 20 if big else 12
    try:
        (start,) = struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)
        (tags,) = struct.unpack_from(order + counts, data, start)
    except (struct.error, OverflowError):
        return  # cut off: the decoder says so
    if tags > _MOST_TAGS:
        raise _dear("tags", _MOST_TAGS)
    start += struct.calcsize(order + counts)
    sides: dict[int, list[int]] = {}
    for offset in range(start, min(start + tags * step, len(data) - step + 1), step):
        tag, kind, count = struct.unpack_from(order + entry, data, offset)
        if count > _MOST_PIECES and kind not in _BYTES:
            raise _dear("strips, tiles or values of one tag", _MOST_PIECES)
        if tag in (256, 257, 322, 323) and kind in _WHOLE:
            value = order + _WHOLE[kind]
            if struct.calcsize(value) <= inline:
                sides.setdefault(tag, []).append(struct.unpack_from(value, data, offset + step - inline)[0])
    _tiles(sides)


def _tiles(sides: dict[int, list[int]]) -> None:
    """Hold tiles against their picture; of tags that stand there twice, the worst."""
    picture = min(sides.get(256, [0])) * min(sides.get(257, [0]))
    tile = max(sides.get(322, [0])) * max(sides.get(323, [0]))
    if tile > max(2 * picture, _LARGE_TILE):
        raise PictureError(
            "tiles about as large as their picture",
            f"tiles of {tile} pixels in a picture of {picture}",
            "Save it again.",
            kind="too_large",
        )


def _dear(what: str, most: int) -> PictureError:
    return PictureError(f"a picture of at most {most} {what}", "more", "Save it again.", kind="too_large")
