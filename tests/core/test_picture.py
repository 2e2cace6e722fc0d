"""Every kind of picture, good and hostile, through the one decoder; masks through the one encoder."""

from __future__ import annotations

import contextlib
import io
import struct
import warnings
import zlib

import numpy as np
import pytest
import simplejpeg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from segx_core.errors import PictureError
from segx_core.palette import default_palette
from segx_core.picture import Limits, decode, encode_mask, encode_png, overlay, read, size_of

HEIGHT, WIDTH = 23, 37
SETTINGS = settings(deadline=None, derandomize=True, max_examples=150, suppress_health_check=list(HealthCheck))


def scene() -> np.ndarray:
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    return np.stack([rows * 9 % 256, columns * 6 % 256, (rows + columns) * 4 % 256], axis=2).astype(np.uint8)


def saved(image: Image.Image, form: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def files() -> dict[str, bytes]:
    """One valid file of each kind."""
    rgb = Image.fromarray(scene())
    return {
        "jpeg": saved(rgb, "JPEG"),
        "progressive": saved(rgb, "JPEG", progressive=True),
        "cmyk": saved(rgb.convert("CMYK"), "JPEG"),
        "png": saved(rgb, "PNG"),
        "webp": saved(rgb, "WEBP"),
        "webp lossless": saved(rgb, "WEBP", lossless=True),
        "bmp": saved(rgb, "BMP"),
        "tiff": saved(rgb, "TIFF"),
        "tiff lzw": saved(rgb, "TIFF", compression="tiff_lzw"),
        "gif": saved(rgb, "GIF"),
    }


FILES = files()
ALL_COLORS = default_palette(256)


@pytest.mark.parametrize("kind", FILES)
def test_each_kind_gives_rgb_of_its_header_size(kind):
    pixels = decode(FILES[kind])
    assert pixels.shape == (HEIGHT, WIDTH, 3)
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous
    assert pixels.flags.writeable
    assert size_of(FILES[kind]) == (HEIGHT, WIDTH)


@pytest.mark.parametrize("kind", ["png", "webp lossless", "bmp", "tiff", "tiff lzw"])
def test_lossless_kinds_give_the_pixels_back(kind):
    assert np.array_equal(decode(FILES[kind]), scene())


def test_jpeg_is_simplejpegs():
    assert np.array_equal(decode(FILES["jpeg"]), simplejpeg.decode_jpeg(FILES["jpeg"], "RGB"))


def test_cmyk_is_close_to_its_colours():
    solid = Image.new("RGB", (16, 16), (200, 40, 90)).convert("CMYK")
    assert np.abs(decode(saved(solid, "JPEG", quality=95)).astype(int) - [200, 40, 90]).max() <= 6


def test_alpha_keeps_the_stored_colours():
    rgba = np.dstack([scene(), np.zeros((HEIGHT, WIDTH), np.uint8)])
    assert np.array_equal(decode(saved(Image.fromarray(rgba), "PNG")), scene())
    assert np.array_equal(decode(saved(Image.fromarray(rgba), "WEBP", lossless=True, exact=True)), scene())


def test_grey_with_and_without_alpha():
    grey = scene()[..., 1]
    expected = np.repeat(grey[..., None], 3, axis=2)
    assert np.array_equal(decode(saved(Image.fromarray(grey), "PNG")), expected)
    both = Image.merge("LA", (Image.fromarray(grey), Image.new("L", (WIDTH, HEIGHT), 7)))
    assert np.array_equal(decode(saved(both, "PNG")), expected)


def test_bilevel_is_black_and_white():
    bits = Image.fromarray((scene()[..., 0] > 90).astype(np.uint8) * 255).convert("1")
    assert set(np.unique(decode(saved(bits, "PNG")))) == {0, 255}


@pytest.mark.parametrize("transparency", [None, 1, b"\x00\x80\xff"])
def test_palette_with_and_without_transparency(transparency):
    index = (np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH) % 3).astype(np.uint8)
    image = Image.fromarray(index)
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    options = {} if transparency is None else {"transparency": transparency}
    colors = np.array([[10, 20, 30], [40, 50, 60], [70, 80, 90]], np.uint8)
    assert np.array_equal(decode(saved(image, "PNG", **options)), colors[index])


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_16_bit_grey_keeps_the_upper_byte(form):
    deep = (scene()[..., 0].astype(np.uint16) << 8) + 255
    assert np.array_equal(decode(saved(Image.fromarray(deep), form))[..., 2], scene()[..., 0])


def test_16_bit_rgb_png_keeps_the_upper_byte():
    deep = (scene().astype(">u2") << 8) + 255
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in deep)
    data = png(struct.pack(">IIBBBBB", WIDTH, HEIGHT, 16, 2, 0, 0, 0), rows)
    assert np.array_equal(decode(data), scene())


def png(header: bytes, rows: bytes) -> bytes:
    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    packed = zlib.compress(rows, 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def test_float_and_32_bit_are_refused_with_a_cure():
    for mode in ("F", "I"):
        with pytest.raises(PictureError, match="Convert") as caught:
            decode(saved(Image.new(mode, (4, 4)), "TIFF"))
        assert caught.value.kind == "unsupported"


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("value", range(1, 9))
def test_exif_orientation_is_applied(form, value):
    exif = Image.Exif()
    exif[0x0112] = value
    options = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}}.get(form, {})
    pixels = decode(data := saved(Image.fromarray(scene()), form, exif=exif, **options))
    source = scene()
    across = source.transpose(1, 0, 2)
    # Row 0 and column 0 of the stored picture lie, by EXIF's table, at: top left, top right, bottom right, ...
    expected = {
        1: source,
        2: source[:, ::-1],
        3: source[::-1, ::-1],
        4: source[::-1],
        5: across,
        6: across[:, ::-1],
        7: across[::-1, ::-1],
        8: across[::-1],
    }[value]
    assert pixels.shape == expected.shape
    assert size_of(data) == expected.shape[:2]
    assert np.abs(pixels.astype(int) - expected).mean() < 12
    if form != "JPEG":
        assert np.array_equal(pixels, expected)


def test_exif_inside_another_segment_is_no_orientation():
    data = FILES["jpeg"]
    comment = b"\xff\xfe" + struct.pack(">H", 2 + 26) + b"Exif\0\0" + b"MM\0*" + b"\0" * 16
    assert decode(data[:2] + comment + data[2:]).shape == (HEIGHT, WIDTH, 3)


def test_first_frame_of_an_animation():
    second = Image.new("RGB", (WIDTH, HEIGHT), (9, 9, 9))
    first = Image.new("RGB", (WIDTH, HEIGHT), (200, 100, 50))
    for form in ("GIF", "WEBP"):
        data = saved(first, form, save_all=True, append_images=[second])
        assert np.abs(decode(data).astype(int) - [200, 100, 50]).max() <= 8


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<!DOCTYPE html><html></html>",
        b"%PDF-1.7\n",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b'{"a": 1}',
        b"\0\0\0\x18ftypheic\0\0\0\0",
        b"RIFF\x10\0\0\0WAVEfmt ",
    ],
)
def test_what_is_no_picture_is_unsupported(data):
    for function in (decode, size_of):
        with pytest.raises(PictureError) as caught:
            function(data)
        assert caught.value.kind == "unsupported"


def test_a_bomb_is_refused_by_its_header():
    side = 12_000
    bomb = png(struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0), bytes(1 + 3 * side) * 4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert size_of(bomb) == (side, side)
        with pytest.raises(PictureError, match="144000000") as caught:
            decode(bomb)
    assert caught.value.kind == "too_large"


@pytest.mark.parametrize("kind", FILES)
def test_the_limit_counts_pixels(kind):
    assert decode(FILES[kind], Limits(max_pixels=HEIGHT * WIDTH)).shape[0] == HEIGHT
    with pytest.raises(PictureError) as caught:
        decode(FILES[kind], Limits(max_pixels=HEIGHT * WIDTH - 1))
    assert caught.value.kind == "too_large"


def test_zero_size_is_broken():
    with pytest.raises(PictureError) as caught:
        decode(png(struct.pack(">IIBBBBB", 0, 5, 8, 2, 0, 0, 0), b""))
    assert caught.value.kind == "broken"


@pytest.mark.parametrize("kind", FILES)
def test_half_a_file_is_broken(kind):
    with pytest.raises(PictureError) as caught:
        decode(FILES[kind][: len(FILES[kind]) // 2])
    assert caught.value.kind == "broken"


def test_a_jpeg_without_its_last_byte_is_broken():
    for kind in ("jpeg", "progressive", "cmyk"):
        with pytest.raises(PictureError) as caught:
            decode(FILES[kind][:-1])
        assert caught.value.kind == "broken"


def test_bytes_after_the_end_of_a_jpeg_do_not_matter():
    assert np.array_equal(decode(FILES["jpeg"] + b"\0" * 100), decode(FILES["jpeg"]))


def only_picture_errors(data: bytes) -> None:
    # A decoder's warning is nothing a caller could act on; as an error it would count as broken.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with contextlib.suppress(PictureError):
            assert decode(data, Limits(max_pixels=1_000_000)).ndim == 3


@SETTINGS
@given(st.binary(max_size=200), st.sampled_from([b"", *(data[:12] for data in FILES.values())]))
def test_random_bytes_raise_only_picture_errors(tail, start):
    only_picture_errors(start + tail)


@SETTINGS
@given(st.sampled_from(sorted(FILES)), st.floats(0, 1))
def test_truncated_files_raise_only_picture_errors(kind, share):
    only_picture_errors(FILES[kind][: int(len(FILES[kind]) * share)])


@SETTINGS
@given(st.sampled_from(sorted(FILES)), st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=8))
def test_damaged_files_raise_only_picture_errors(kind, changes):
    data = bytearray(FILES[kind])
    for position, value in changes:
        data[position % len(data)] = value
    only_picture_errors(bytes(data))


def test_read_names_the_file(tmp_path):
    path = tmp_path / "half.jpg"
    path.write_bytes(FILES["jpeg"][:300])
    with pytest.raises(PictureError, match=r"half\.jpg"):
        read(path)
    with pytest.raises(PictureError, match=r"none\.png"):
        read(tmp_path / "none.png")


@SETTINGS
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 256), st.integers(0, 2**31))
def test_mask_png_carries_the_indices(height, width, count, seed):
    classmap = np.random.default_rng(seed).integers(0, count, (height, width)).astype(np.uint8)
    classmap[0, 0] = 255
    palette = ALL_COLORS[:count]
    data = encode_mask(classmap, palette)
    assert data == encode_mask(np.asfortranarray(classmap), palette)
    image = Image.open(io.BytesIO(data))
    assert image.mode == "P"
    assert np.array_equal(np.asarray(image), classmap)
    if count < 256:
        assert image.convert("RGB").getpixel((0, 0)) == (255, 255, 255)
        shown = np.asarray(image.convert("RGB"))
        assert tuple(shown[-1, -1]) == (*palette, *[(255, 255, 255)] * 256)[classmap[-1, -1]]


def test_many_classes_are_16_bit_grey():
    classmap = np.arange(600, dtype=np.uint16).reshape(20, 30)
    image = Image.open(io.BytesIO(encode_mask(classmap, default_palette(600))))
    assert image.mode == "I;16"
    assert np.array_equal(np.asarray(image), classmap)


def test_rgb_png_comes_back():
    assert np.array_equal(decode(encode_png(scene())), scene())


@pytest.mark.parametrize("opacity", [0.0, 0.3, 0.5, 1.0])
def test_overlay_is_the_rounded_blend(opacity):
    classmap = (np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH) % 4).astype(np.uint8)
    palette = default_palette(3)
    weight = round(opacity * 256) / 256
    colors = np.array([*palette, (0, 0, 0)], float)[classmap]
    expected = np.floor(scene() * (1 - weight) + colors * weight + 0.5)
    blended = overlay(scene(), classmap, palette, opacity)
    assert np.array_equal(blended[classmap < 3], expected[classmap < 3].astype(np.uint8))
    assert np.array_equal(blended[classmap == 3], scene()[classmap == 3])
