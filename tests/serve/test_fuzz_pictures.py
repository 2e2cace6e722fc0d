"""Torn, forged and odd picture files through the whole service: a mask of the right size, or a reason; never more."""

from __future__ import annotations

import io
import json
import logging
import struct
import warnings
import zlib
from collections import Counter
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from PIL import Image

from segx_core.errors import PictureError
from segx_core.picture import decode, size_of

BOUNDED = settings(
    deadline=None, derandomize=True, max_examples=1200, suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate],
)  # fmt: skip
HEIGHT, WIDTH = 19, 26
TYPES = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp", "GIF": "image/gif", "TIFF": "image/tiff",
         "BMP": "image/bmp"}  # fmt: skip
TURNED = b"Exif\0\0II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\6\0\0\0\0\0\0\0"
KINDS: list[tuple[str, str, dict[str, Any]]] = [
    *[("JPEG", mode, {}) for mode in ("RGB", "L", "CMYK")],
    ("JPEG", "RGB", {"progressive": True}), ("JPEG", "RGB", {"exif": TURNED}), ("JPEG", "RGB", {"subsampling": 0}),
    *[("PNG", mode, {}) for mode in ("RGB", "L", "P", "RGBA", "LA", "1", "I;16")],
    ("PNG", "RGB", {"exif": TURNED}),
    ("WEBP", "RGB", {}), ("WEBP", "RGBA", {"lossless": True}), ("WEBP", "RGB", {"exif": TURNED}),
    ("GIF", "P", {}), ("GIF", "L", {"interlace": 1}), ("GIF", "P", {"comment": b"remark"}),
    *[("BMP", mode, {}) for mode in ("RGB", "L", "P", "1", "RGBA")],
    *[("TIFF", mode, {}) for mode in ("RGB", "L", "P", "RGBA", "CMYK", "1", "I;16", "F")],
    *[("TIFF", "RGB", {"compression": kind}) for kind in ("tiff_lzw", "tiff_deflate", "packbits", "jpeg", "zstd")],
    ("TIFF", "1", {"compression": "group4"}),
]  # fmt: skip


def saved(form: str, mode: str, options: dict[str, Any]) -> bytes:
    pixels = np.random.default_rng(1).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    image = Image.fromarray(pixels)
    image = image.convert("L").convert("I").convert("I;16") if mode == "I;16" else image.convert(mode)
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


WHOLE = [(form, saved(form, mode, options)) for form, mode, options in KINDS]
# What a field of a header becomes when somebody forges it.
FORGED = [
    b"\0\0", b"\xff\xff", b"\x80\0", b"\0\x80", b"\0\0\0\0", b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\1\0\0\0",
    b"\0\0\0\1", b"\x10\x27\0\0", b"\0\0\x27\x10", b"\xff\xda", b"\x21\xf9", b"\x2c", b"\x3b",
    b"IDAT", b"IEND", b"acTL", b"fcTL", b"ANMF", b"VP8L",
]  # fmt: skip


@st.composite
def torn(draw: Any) -> tuple[str, bytes]:
    """A file with a few things wrong, more of them near its begin, where the headers are."""
    form, data = draw(st.sampled_from(WHOLE))
    broken = bytearray(data)

    def somewhere() -> int:
        last = min(len(broken), draw(st.sampled_from([40, 200, len(broken)])))
        return draw(st.integers(0, max(0, last - 1)))

    for _ in range(draw(st.integers(1, 3))):
        match draw(st.integers(0, 5)):
            case 0:
                place = somewhere()
                broken[place : place + 1] = bytes([draw(st.integers(0, 255))])
            case 1:
                value = draw(st.sampled_from(FORGED))
                place = somewhere()
                broken[place : place + len(value)] = value
            case 2:
                del broken[somewhere() + 4 :]
            case 3:
                begin = somewhere()
                del broken[begin : begin + draw(st.integers(1, 40))]
            case 4:
                begin, place = somewhere(), somewhere()
                broken[place:place] = broken[begin : begin + draw(st.integers(1, 200))] * draw(st.integers(1, 20))
            case 5:
                _, other = draw(st.sampled_from(WHOLE))
                begin = draw(st.integers(0, len(other) - 1))
                place = somewhere()
                broken[place : place + draw(st.integers(0, 60))] = other[begin : begin + draw(st.integers(1, 200))]
    return form, bytes(broken)


def test_a_torn_picture_gets_a_mask_of_its_size_or_a_reason(
    serve: Any, kit: SimpleNamespace, caplog: pytest.LogCaptureFixture
) -> None:
    running = serve({"grey": kit.Brightness()}, max_pixels=10**6, max_body=2 * 2**20, max_queue=4)
    service = running.app.service
    seen: Counter[int] = Counter()

    @BOUNDED
    @given(torn())
    def one(file: tuple[str, bytes]) -> None:
        form, data = file
        if not data:
            return
        answer = running.segment(data, "application/octet-stream", TYPES[form])
        seen[answer.status_code] += 1
        if answer.status_code == 200:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                size = size_of(data)
            assert len(answer.content) == size[0] * size[1]
            assert answer.headers["x-segx-shape"] == f"{size[0]},{size[1]}"
        else:
            assert answer.status_code in (400, 413, 415)
            assert len(json.loads(answer.content)["error"]["message"]) > 10
        assert (service.arena._starts, service.arena._ends) == ([0], [service.arena.size])
        assert service.desk.admission.requests == service.desk.admission.bytes == 0

    one()
    assert {200, 400, 413} <= set(seen)
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert not [record for record in errors if not record.name.startswith("PIL")]


def test_every_kind_that_is_whole_gets_its_mask(serve: Any, kit: SimpleNamespace) -> None:
    running = serve({"grey": kit.Brightness()})
    for (form, data), (_, mode, _) in zip(WHOLE, KINDS, strict=True):
        answer = running.segment(data, "application/octet-stream", TYPES[form])
        # Floats have no known range; all others are read.
        assert answer.status_code == (400 if mode == "F" else 200), (form, mode)


def huge(form: str) -> bytes:
    """A small file that says it has 16000 x 16000 pixels."""
    data = bytearray(saved(form, "P" if form == "GIF" else "L" if form in ("BMP", "TIFF") else "RGB", {}))
    match form:
        case "JPEG":
            struct.pack_into(">HH", data, data.index(b"\xff\xc0") + 5, 16000, 16000)
        case "PNG":
            struct.pack_into(">II", data, 16, 16000, 16000)
            struct.pack_into(">I", data, 29, zlib.crc32(data[12:29]))
        case "WEBP":
            struct.pack_into("<HH", data, 26, 16000, 16000)
        case "GIF":
            struct.pack_into("<HH", data, 6, 16000, 16000)
        case "BMP":
            struct.pack_into("<ii", data, 18, 16000, 16000)
        case "TIFF":
            for tag in (256, 257):
                place = data.index(struct.pack("<H", tag), 4)
                struct.pack_into("<HII", data, place + 2, 4, 1, 16000)
    return bytes(data)


@pytest.mark.parametrize("form", TYPES)
def test_a_file_that_promises_too_much_is_refused_from_its_header(serve: Any, kit: SimpleNamespace, form: str) -> None:
    with pytest.raises(PictureError) as error:
        decode(huge(form))
    assert error.value.kind == "too_large"
    running = serve({"grey": kit.Brightness()})
    answer = running.segment(huge(form), media_type=TYPES[form])
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "picture_too_large")
    assert running.segment(kit.as_png(kit.picture())).status_code == 200
