"""What headers say, against Pillow, and on bytes that lie."""

from __future__ import annotations

import io
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from segx_core import imageheader


def saved(form: str, **options: object) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (37, 23), (90, 20, 200)).save(out, form, **options)
    return out.getvalue()


@pytest.mark.parametrize(
    ("form", "name"),
    [("JPEG", "jpeg"), ("PNG", "png"), ("WEBP", "webp"), ("BMP", "bmp"), ("TIFF", "tiff"), ("GIF", "gif")],
)
def test_every_format_is_known_by_its_first_bytes_even_when_cut(form, name):
    data = saved(form)
    assert imageheader.sniff(data) == name
    assert imageheader.sniff(data[:2]) == name
    assert imageheader.sniff(b" " + data) is None


def test_riff_is_webp_only_where_it_says_so():
    assert imageheader.sniff(b"RIFF\0\0\0\0WAVE") is None
    assert imageheader.sniff(b"") is None


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "no bytes"),
        (b"\n <html>", "HTML"),
        (b"%PDF-1.4", "PDF"),
        (b"\0\0\0\x1cftypavif", "'avif'"),
        (b"\x01\x02", "01 02"),
    ],
)
def test_what_is_no_picture_is_guessed(data, told):
    assert told in imageheader.guess(data)


@pytest.mark.parametrize("options", [{}, {"lossless": True}, {"exif": b"Exif\0\0II*\0\x08\0\0\0\0\0"}])
def test_webp_sizes_of_all_three_kinds(options):
    assert imageheader.webp_size(saved("WEBP", **options)) == (23, 37)
    assert imageheader.webp_size(saved("WEBP", **options)[:19]) == (0, 0)


@pytest.mark.parametrize("order", ["<", ">"])
def test_orientation_in_either_byte_order(order):
    magic = b"II*\0" if order == "<" else b"MM\0*"
    entries = struct.pack(order + "HHIHH", 0x0100, 3, 1, 5, 0) + struct.pack(order + "HHIHH", 0x0112, 3, 1, 6, 0)
    block = magic + struct.pack(order + "IH", 8, 2) + entries
    assert imageheader.orientation(block) == 6
    assert imageheader.orientation(b"Exif\0\0" + block) == 6
    assert imageheader.orientation(block[:-12]) == 1
    assert imageheader.orientation(block.replace(struct.pack(order + "H", 6), struct.pack(order + "H", 9))) == 1


@settings(deadline=None, derandomize=True, max_examples=300)
@given(st.binary(max_size=80), st.sampled_from([b"", b"II*\0", b"MM\0*", b"\xff\xd8\xff\xe1\0\x40Exif\0\0II*\0"]))
def test_any_bytes_have_an_orientation_and_a_size(tail, start):
    data = start + tail
    assert 1 <= imageheader.orientation(data) <= 8
    assert 1 <= imageheader.jpeg_orientation(data) <= 8
    riff = b"RIFF\0\0\0\0WEBP" + data
    assert 1 <= imageheader.webp_orientation(riff) <= 8
    assert min(imageheader.webp_size(riff)) >= 0
    assert isinstance(imageheader.guess(data), str)
