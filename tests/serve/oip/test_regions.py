"""Shared memory through files: what is read and written, what is refused, and clients that pull the file away."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from segx_serve.http import RefusalError
from segx_serve.oip.regions import Region, Regions, Slot


def refused(call: object, *arguments: object) -> RefusalError:
    with pytest.raises(RefusalError) as caught:
        call(*arguments)  # type: ignore[operator]
    return caught.value


def files() -> int:
    """Open files of this process."""
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - an iterator would be counted too


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.binary(min_size=1, max_size=200),
    begin=st.integers(0, 50),
    offset=st.integers(0, 60),
    size=st.integers(-1, 60),
)
def test_reading_is_slicing(folder: Path, data: bytes, begin: int, offset: int, size: int) -> None:
    (folder / "a").write_bytes(data)
    regions = Regions(folder=folder)
    length = len(data) - begin
    if length < 1:
        assert refused(regions.register, Region("r", "a", begin, max(1, length))).status == 400
        return
    regions.register(Region("r", "/a", begin, length))
    if size >= 1 and offset + size <= length:
        assert regions.read(Slot("r", offset, size)) == data[begin:][offset : offset + size]
    else:
        assert refused(regions.read, Slot("r", offset, size)).status == 400
    regions.close()


def test_writing(folder: Path, regions: Regions) -> None:
    (folder / "a").write_bytes(b"0123456789")
    regions.register(Region("r", "a", 2, 6))
    regions.write(Slot("r", 1, 4), [memoryview(b"ab"), memoryview(b"c")])
    assert (folder / "a").read_bytes() == b"012abc6789"
    assert "needs 5 bytes" in refused(regions.write, Slot("r", 1, 4), [memoryview(b"abcde")]).message
    assert refused(regions.write, Slot("r", 3, 4), [memoryview(b"a")]).status == 400
    assert (folder / "a").read_bytes() == b"012abc6789"


def test_operations_may_be_repeated(folder: Path, regions: Regions) -> None:
    (folder / "a").write_bytes(b"old")
    region = Region("r", "a", 0, 3)
    before = files()
    regions.register(region)
    regions.register(region)
    assert files() == before + 1
    assert regions.status() == regions.status("r") == [region]
    # An object made anew under the same key is the one meant.
    (folder / "a").unlink()
    (folder / "a").write_bytes(b"new")
    regions.register(region)
    assert regions.read(Slot("r", 0, 3)) == b"new"
    assert "otherwise" in refused(regions.register, Region("r", "a", 0, 2)).message
    regions.unregister("r")
    regions.unregister("r")
    regions.unregister()
    assert files() == before
    assert regions.status() == []
    assert refused(regions.status, "r").status == 404
    assert refused(regions.read, Slot("r", 0, 1)).status == 404


def test_a_file_cut_short_is_a_refusal_not_a_crash(folder: Path, regions: Regions) -> None:
    (folder / "a").write_bytes(bytes(100_000))
    regions.register(Region("r", "a", 0, 100_000))
    os.truncate(folder / "a", 10)
    assert "shorter" in refused(regions.read, Slot("r", 0, 100_000)).message
    assert regions.read(Slot("r", 0, 10)) == bytes(10)


@pytest.mark.parametrize(
    "key",
    [
        "",
        "/",
        ".",
        "..",
        "/..",
        "../secret",
        "a/b",
        "//a",
        "/etc/passwd",
        "a\0",
        "a\n",
        "ä",
        "x" * 201,
        "own-frames",
        "/own-x",
    ],
)
def test_keys_that_lead_elsewhere(folder: Path, regions: Regions, key: str) -> None:
    (folder / "own-frames").write_bytes(b"abc")
    (folder.parent / "secret").write_bytes(b"abc")
    before = files()
    assert refused(regions.register, Region("r", key, 0, 1)).status == 400
    assert files() == before


def test_what_is_no_plain_object(folder: Path, regions: Regions) -> None:
    (folder.parent / "secret").write_bytes(b"abc")
    (folder / "link").symlink_to(folder.parent / "secret")
    (folder / "dir").mkdir()
    os.mkfifo(folder / "pipe")
    before = files()
    for key in ("link", "dir", "pipe"):
        assert refused(regions.register, Region("r", key, 0, 1)).status == 400
    assert refused(regions.register, Region("r", "none", 0, 1)).status == 404
    assert files() == before
    assert regions.status() == []


@pytest.mark.parametrize(
    ("offset", "size"), [(0, 4), (3, 1), (-1, 1), (0, 0), (0, -1), (2**70, 1), (0, 2**70), (10**4000, 1)]
)
def test_extents(folder: Path, regions: Regions, offset: int, size: int) -> None:
    (folder / "a").write_bytes(b"abc")
    assert refused(regions.register, Region("r", "a", offset, size)).status == 400


def test_names_and_numbers_are_bounded(folder: Path, regions: Regions) -> None:
    (folder / "a").write_bytes(b"abc")
    for name in ("", "x" * 201):
        assert refused(regions.register, Region(name, "a", 0, 1)).status == 400
    for index in range(3):
        regions.register(Region(str(index), "a", 0, 1))
    assert "3 shared memory regions" in refused(regions.register, Region("3", "a", 0, 1)).message
    regions.register(Region("1", "a", 0, 1))
    regions.unregister("0")
    regions.register(Region("3", "a", 0, 1))
