"""Content codings against the standard library's own."""

from __future__ import annotations

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segx_serve.http import RefusalError
from segx_serve.oip.coding import accepted, decoded, encoded


@given(data=st.binary(max_size=3000), level=st.integers(0, 9))
def test_what_others_compressed(data: bytes, level: int) -> None:
    assert decoded(gzip.compress(data, level), "gzip", len(data)) == data
    assert decoded(zlib.compress(data, level), "Deflate", len(data)) == data
    assert decoded(data, "", 0) == data
    assert decoded(data, "identity", 0) == data


@given(parts=st.lists(st.binary(max_size=500)))
def test_what_others_decompress(parts: list[bytes]) -> None:
    assert gzip.decompress(encoded(parts, "gzip")) == b"".join(parts)
    assert zlib.decompress(encoded(parts, "deflate")) == b"".join(parts)


def test_the_limit_counts_decompressed_bytes() -> None:
    data = bytes(3 * 2**20)
    packed = gzip.compress(data)
    assert decoded(packed, "gzip", len(data)) == data
    with pytest.raises(RefusalError) as caught:
        decoded(packed, "gzip", len(data) - 1)
    assert caught.value.status == 413


@pytest.mark.parametrize(
    ("body", "coding", "status"),
    [
        (b"", "gzip", 400),
        (b"no gzip", "gzip", 400),
        (gzip.compress(b"abc")[:-1], "gzip", 400),
        (gzip.compress(b"abc") + b"x", "gzip", 400),
        (gzip.compress(b"abc"), "deflate", 400),
        (zlib.compress(b"abc")[:-5], "deflate", 400),
        (b"abc", "br", 415),
        (b"abc", "gzip, gzip", 415),
    ],
)
def test_damaged_or_unknown(body: bytes, coding: str, status: int) -> None:
    with pytest.raises(RefusalError) as caught:
        decoded(body, coding, 1000)
    assert caught.value.status == status


@pytest.mark.parametrize(
    ("header", "chosen"),
    [
        ("", ""),
        ("gzip", "gzip"),
        ("deflate", "deflate"),
        ("deflate, gzip", "gzip"),
        ("gzip;q=0.5, deflate;q=0.8", "deflate"),
        ("gzip;q=0", ""),
        ("gzip; q = 0, deflate", "deflate"),
        ("br", ""),
        ("*", ""),
        ("identity", ""),
        ("GZIP;q=1.0", "gzip"),
        ("gzip;q=nonsense", ""),
        ("gzip;q=nan", ""),
    ],
)
def test_negotiation(header: str, chosen: str) -> None:
    assert accepted(header) == chosen
