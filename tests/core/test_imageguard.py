"""Files that ask for far more work than their size says are refused; what programs really write is not."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from segx_core.errors import PictureError
from segx_core.imageguard import checked
from segx_core.picture import decode

MANY = (1 << 16) + 1
Tag = tuple[int, int, int, "int | bytes"]


def saved(form: str, mode: str = "RGB", size: tuple[int, int] = (8, 8), **options: object) -> bytes:
    out = io.BytesIO()
    pixels = np.random.default_rng(3).integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(pixels).convert(mode).save(out, form, **options)
    return out.getvalue()


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(extra: bytes) -> bytes:
    """A small PNG with chunks before its pixels."""
    plain = saved("PNG")
    return plain[:33] + extra + plain[33:]


def folded(text: bytes, count: int) -> bytes:
    """Chunks that unfold to almost a megabyte each."""
    text = zlib.compress(text + b"a" * (2**20 - 64))
    return b"".join(chunk(b"iTXt", b"k%d\0\1\0\0\0" % number + text) for number in range(count))


def gif(extra: bytes) -> bytes:
    """A small GIF with blocks before its frame."""
    plain = saved("GIF", "P")
    begin = 13 + (3 << (plain[10] & 7) + 1)
    return plain[:begin] + extra + plain[begin:]


def webp(extra: bytes) -> bytes:
    """A small WebP with chunks before its pixels."""
    plain = saved("WEBP", exif=b"Exif\0\0II*\0\x08\0\0\0\0\0")
    body = plain[12:30] + extra + plain[30:]
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def tiff(tags: Sequence[Tag], order: str = "<") -> bytes:
    """A TIFF of one directory; values given as bytes lie behind it."""
    behind = 8 + 2 + 12 * len(tags) + 4
    entries, values = b"", b""
    for tag, kind, count, value in tags:
        if isinstance(value, bytes):
            number, values = behind + len(values), values + value
        else:
            # A short stands at the front of its field, which matters only where the first byte is the highest.
            number = value << 16 if kind == 3 and order == ">" else value
        entries += struct.pack(order + "HHII", tag, kind, count, number)
    magic = b"II*\0" if order == "<" else b"MM\0*"
    return magic + struct.pack(order + "IH", 8, len(tags)) + entries + bytes(4) + values


def tiled(tile: int, compression: int, order: str = "<") -> bytes:
    """16 x 16 pixels in a tile of `tile` x 16384."""
    tags: list[Tag] = [
        (256, 4, 1, 16), (257, 4, 1, 16), (258, 3, 1, 8), (259, 3, 1, compression), (262, 3, 1, 1), (277, 3, 1, 1),
        (322, 4, 1, tile), (323, 4, 1, 16384), (324, 4, 1, 8), (325, 4, 1, 200),
    ]  # fmt: skip
    return tiff(tags, order) + bytes(400)


def strips(count: int) -> bytes:
    """One column of pixels, each a strip of its own, all of them the same byte."""
    tags: list[Tag] = [
        (256, 4, 1, 1), (257, 4, 1, count), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1),
        (273, 4, count, struct.pack("<I", 8) * count), (277, 3, 1, 1), (278, 4, 1, 1),
        (279, 4, count, struct.pack("<I", 1) * count),
    ]  # fmt: skip
    return tiff(tags)


def runs(width: int, height: int, content: bytes) -> bytes:
    """A BMP of run lengths, 8 bits a pixel."""
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(content), 0, 0, 256, 0)
    return struct.pack("<2sIHHI", b"BM", 0, 0, 0, 14 + 40 + 1024) + header + bytes(1024) + content


def scans(count: int, baseline: bool = False) -> bytes:
    """A JPEG whose last scan comes `count` times."""
    plain = saved("JPEG", "L", progressive=not baseline)
    last = plain.rindex(b"\xff\xda")
    return plain[:last] + plain[last:-2] * count + plain[-2:]


HOSTILE = {
    "png chunks": png(chunk(b"prVt", b"") * MANY),
    "png pixel chunks": png(chunk(b"IDAT", b"") * MANY),
    "gif extensions": gif(b"\x21\xaa\x00" * MANY),
    "gif bytes of nothing": gif(b"\0" * MANY),
    "webp chunks": webp(b"ABCD\0\0\0\0" * MANY),
    "jpeg scans": scans(120),
    "jpeg scans of a baseline file": scans(120, baseline=True),
    "jpeg segments": scans(1)[:2] + b"\xff\xfe\0\2" * MANY + b"\xff\xfe\0\xf2" + b"\xff\xda" * 120 + scans(1)[2:],
    "tiff strips": strips(MANY),
    "tiff values": tiff([(282, 5, MANY, struct.pack("<II", 1, 3) * MANY), (256, 4, 1, 4), (257, 4, 1, 4)]),
    "tiff tags": tiff([(60000 + number % 5000, 3, 1, 0) for number in range(5000)]),
    **{f"tiff tile {code}": tiled(65520, code) for code in (1, 5, 7, 8, 32773)},
    "tiff tile, other order": tiled(65520, 8, ">"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_costs_more_than_any_picture_should_is_refused(name: str) -> None:
    with pytest.raises(PictureError, match="Save it again") as error:
        decode(HOSTILE[name])
    assert error.value.kind == "too_large"


@pytest.mark.parametrize("data", [runs(60_000_000, 1, b"\0\2\0\xff"), runs(4, 4, b"\4\1" * 4)])
def test_a_bmp_of_run_lengths_is_not_taken(data: bytes) -> None:
    with pytest.raises(PictureError, match="run lengths") as error:
        decode(data)
    assert error.value.kind == "unsupported"


REAL = {
    "progressive": saved("JPEG", progressive=True, size=(64, 64)),
    "cmyk": saved("JPEG", "CMYK"),
    "png in pieces": png(chunk(b"prVt", b"") * 1000),
    "gif with remarks": saved("GIF", "P", comment=b"remark " * 500),
    "webp": saved("WEBP", exif=b"Exif\0\0II*\0\x08\0\0\0\0\0"),
    "tiff of rows": strips(5000),
    "tiff": saved("TIFF", compression="tiff_lzw"),
    "bmp": saved("BMP"),
}


@pytest.mark.parametrize("name", REAL)
def test_what_programs_write_is_left_as_it_is(name: str) -> None:
    data = REAL[name]
    kind = name.split()[0].replace("progressive", "jpeg").replace("cmyk", "jpeg")
    assert checked(data, kind) is data
    decode(data)


def test_a_small_tiff_may_lie_in_one_ordinary_tile() -> None:
    tags: list[Tag] = [
        (256, 4, 1, 5), (257, 4, 1, 3), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (277, 3, 1, 1),
        (322, 4, 1, 512), (323, 4, 1, 512), (324, 4, 1, 8 + 2 + 120 + 4), (325, 4, 1, 512 * 512),
    ]  # fmt: skip
    pixels = np.arange(512 * 512, dtype=np.uint32).astype(np.uint8).reshape(512, 512)
    np.testing.assert_array_equal(decode(tiff(tags) + pixels.tobytes())[..., 0], pixels[:3, :5])


def test_scans_are_counted_where_they_are_not_where_bytes_look_like_them() -> None:
    plain = saved("JPEG")
    remark = b"\xff\xfe\x04\x02" + b"\xff\xda" * 512
    np.testing.assert_array_equal(decode(plain[:2] + remark + plain[2:]), decode(plain))
    np.testing.assert_array_equal(decode(plain + b"\xff\xda" * 512), decode(plain))


def test_compressed_texts_and_profiles_of_a_png_are_never_unfolded() -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("Software", "made here", zip=True)
    info.add_itxt("Title", "Straße", zip=True)
    data = saved("PNG", size=(31, 17), pnginfo=info, icc_profile=b"profile" * 100)
    assert data.count(b"iTXt") == data.count(b"zTXt") == data.count(b"iCCP") == 1
    kept = checked(data, "png")
    assert not any(name in kept for name in (b"iTXt", b"zTXt", b"iCCP"))
    np.testing.assert_array_equal(decode(data), decode(saved("PNG", size=(31, 17))))


MEASURE = """
import sys
from pathlib import Path
from segx_core.errors import PictureError
from segx_core.picture import decode
for path in sorted(Path(sys.argv[1]).iterdir()):
    if path.name == "first":
        continue
    data = path.read_bytes()
    decode(Path(sys.argv[1], "first").read_bytes())
    Path("/proc/self/clear_refs").write_text("5")
    before = int(Path("/proc/self/statm").read_text().split()[1]) * 4096
    try:
        decode(data)
    except PictureError:
        pass
    (peak,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    print(path.name.replace(" ", "_"), int(peak.split()[1]) * 1024 - before)
"""


def huge(form: str) -> bytes:
    """A small file of 20000 x 20000 pixels that says so."""
    if form == "PNG":
        rows = zlib.compress(bytes(20001), 9) * 10
        return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 20000, 20000, 8, 0, 0, 0, 0)) + chunk(
            b"IDAT", rows
        )  # fmt: skip
    if form == "WEBP":
        data = bytearray(saved("WEBP", exif=b"Exif\0\0II*\0\x08\0\0\0\0\0"))
        data[24:30] = (16000 - 1).to_bytes(3, "little") * 2
        return bytes(data)
    data = bytearray(saved(form, "P" if form == "GIF" else "L"))
    where = {"GIF": (6, "<HH"), "BMP": (18, "<ii"), "JPEG": (data.find(b"\xff\xc0") + 5, ">HH")}[form]
    struct.pack_into(where[1], data, where[0], 20000, 20000)
    return bytes(data)


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's own figures of a process's memory")
def test_no_hostile_file_makes_the_process_grow(tmp_path: Path) -> None:
    files = {
        **HOSTILE,
        "png folded": png(folded(b"", 63)),
        "png folded wide": png(folded("\N{GRINNING FACE}".encode(), 63)),
        **{f"huge {form}": huge(form) for form in ("PNG", "WEBP", "GIF", "BMP", "JPEG")},
        "huge TIFF": tiff([(256, 4, 1, 20000), (257, 4, 1, 20000), (258, 3, 1, 8), (259, 3, 1, 5), (262, 3, 1, 1),
                           (273, 4, 1, 8), (277, 3, 1, 1), (278, 4, 1, 20000), (279, 4, 1, 90)]),
        "first": saved("PNG"),
    }  # fmt: skip
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    done = subprocess.run([sys.executable, "-c", MEASURE, str(tmp_path)], capture_output=True, text=True, check=True)
    grown = {name: int(size) for name, size in (line.split() for line in done.stdout.splitlines())}
    assert len(grown) == len(files) - 1
    assert {name: size for name, size in grown.items() if size > 20 * 2**20} == {}
