from __future__ import annotations

import os
import stat
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from segx_core.atomic import remove_leftovers, replacing, write_bytes, write_text
from segx_core.errors import ConfigError, SetupError

ROOT = Path(__file__).parents[2]


def entries(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def half_written(path: Path, error, data: bytes = b"half") -> None:
    """Write as much of `data` as there is room for, then fail."""
    with replacing(path) as temporary:
        with suppress(OSError):
            temporary.write_bytes(data)
        raise error


def test_writes_and_replaces_leaving_nothing_else(tmp_path):
    path = tmp_path / "card.json"
    write_text(path, "eins\n")
    write_bytes(path, "zwölf\n".encode())
    assert path.read_bytes() == "zwölf\n".encode()
    assert entries(tmp_path) == ["card.json"]


def test_makes_missing_folders(tmp_path):
    write_text(tmp_path / "a" / "b" / "c.txt", "x")
    assert (tmp_path / "a" / "b" / "c.txt").read_text() == "x"


def test_the_temporary_file_stands_beside_hidden_and_keeps_the_suffix(tmp_path):
    with replacing(tmp_path / "model.onnx") as temporary:
        assert temporary.parent == tmp_path
        assert temporary.name.startswith(".")
        assert temporary.suffix == ".onnx"
        temporary.write_bytes(b"new")
        assert not (tmp_path / "model.onnx").exists()
    assert entries(tmp_path) == ["model.onnx"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, ConfigError("a", "b")])
def test_whatever_goes_wrong_the_old_file_stays(tmp_path, error):
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(b"old")
    with pytest.raises(error if isinstance(error, type) else ConfigError):
        half_written(path, error)
    assert path.read_bytes() == b"old"
    assert entries(tmp_path) == ["checkpoint.pt"]


def test_an_error_about_another_file_stays_what_it_is(tmp_path):
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "out") as temporary:
        temporary.write_bytes((tmp_path / "elsewhere" / "absent").read_bytes())
    assert entries(tmp_path) == []


def test_mode_of_the_old_file_is_kept_and_links_are_followed(tmp_path):
    real = tmp_path / "real.txt"
    real.write_text("old")
    real.chmod(0o640)
    link = tmp_path / "link.txt"
    link.symlink_to(real)
    write_text(link, "new")
    assert link.is_symlink()
    assert real.read_text() == "new"
    assert stat.S_IMODE(real.stat().st_mode) == 0o640


def test_a_new_file_has_ordinary_permissions(tmp_path):
    (tmp_path / "plain").write_text("x")
    write_text(tmp_path / "ours", "x")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_folder_in_the_way(tmp_path):
    with pytest.raises(SetupError, match="Name a file, not a folder"):
        write_text(tmp_path, "x")


def test_a_file_where_a_folder_should_be(tmp_path):
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "file" / "card.json", tmp_path / "file" / "deeper" / "card.json"):
        with pytest.raises(SetupError, match="is a file, not a folder"):
            write_text(path, "x")
    assert (tmp_path / "file").read_text() == "x"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(SetupError, match="write permission"):
        write_text(tmp_path / "card.json", "x")
    tmp_path.chmod(0o700)


@pytest.fixture
def small_disk(tmp_path):
    """A real file system of 256 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)]
    try:
        done = subprocess.run(command, capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("no mount command here")
    if done.returncode:
        pytest.skip(f"cannot mount a small disk here: {done.stderr.decode().strip()}")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk(small_disk):
    path = small_disk / "checkpoint.pt"
    write_bytes(path, b"old")
    with pytest.raises(SetupError, match="No space left") as caught:
        write_bytes(path, bytes(1 << 20))
    assert "Free some space" in str(caught.value)
    assert path.read_bytes() == b"old"
    assert entries(small_disk) == ["checkpoint.pt"]


def test_a_full_disk_that_a_native_writer_reports_in_its_own_way(small_disk):
    path = small_disk / "checkpoint.pt"
    write_bytes(path, b"old")
    with pytest.raises(SetupError, match="Free some space"):
        half_written(path, RuntimeError("file write failed"), bytes(1 << 20))
    assert path.read_bytes() == b"old"


def test_a_file_size_limit(tmp_path):
    """RLIMIT_FSIZE makes the kernel refuse large files, which needs no special rights."""
    pytest.importorskip("resource")
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))\n"
        "from segx_core.atomic import write_bytes\n"
        "from segx_core.errors import SetupError\n"
        "try: write_bytes(sys.argv[1], bytes(1 << 20))\n"
        "except SetupError as error: print(error)\n"
    )
    path = tmp_path / "big.bin"
    path.write_bytes(b"old")
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "core"), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", code, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert "File too large" in done.stdout
    assert path.read_bytes() == b"old"
    assert entries(tmp_path) == ["big.bin"]


def test_what_killed_writers_left_goes_and_nothing_else(tmp_path):
    kept = ["card.json", ".lock", ".notes.tmp", "a.12345678.tmp", ".mine.1234567g.tmp.pt"]
    for name in [*kept, ".last.0a1b2c3d.tmp.pt", ".config.00000000.tmp"]:
        (tmp_path / name).write_bytes(b"")
    remove_leftovers(tmp_path)
    assert entries(tmp_path) == sorted(kept)
