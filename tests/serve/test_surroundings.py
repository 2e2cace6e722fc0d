"""Odd places to be started in: long paths, closed streams, terminals that end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from segx_core.errors import SetupError
from segx_serve import surroundings
from segx_serve.surroundings import end_signals, socket_folder


def binds(folder: Path) -> None:
    """A socket of the longest name that is used can be had there."""
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(folder / f"host-{1 << 63:x}-1000000.sock"))


def test_sockets_go_where_the_user_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket_folder() as short:
        monkeypatch.setenv("TMPDIR", str(short))
        with socket_folder() as inside:
            assert inside.parent == short
            assert inside.stat().st_mode & 0o777 == 0o700
            binds(inside)
        assert not inside.exists()


def test_a_path_too_long_for_sockets_and_one_that_is_not_there_are_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("x" * 120)
    long.mkdir()
    for place in (long, tmp_path / "missing"):
        monkeypatch.setenv("TMPDIR", str(place))
        with socket_folder() as folder:
            assert place not in folder.parents
            binds(folder)
    assert not list(long.iterdir())


def test_no_place_at_all_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "missing"))
    monkeypatch.setattr(surroundings, "_PLACES", (str(tmp_path / "gone"),))
    with pytest.raises(SetupError, match=r"gone: No such file.*TMPDIR"), socket_folder():
        pass


def test_a_terminals_end_ends_a_service_unless_it_was_told_to_stay() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert end_signals() == [signal.SIGINT, signal.SIGTERM]
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        assert signal.SIGHUP in end_signals()
    finally:
        signal.signal(signal.SIGHUP, before)


PROGRAM = """
import os, socket
from segx_serve.surroundings import open_standard_streams
open_standard_streams()
with socket.socket() as one:
    assert one.fileno() > 2
    assert all(os.get_inheritable(number) for number in range(3))
    assert os.write(2, b"nobody hears this") == 17
"""


def test_closed_streams_are_replaced_before_a_socket_gets_their_numbers() -> None:
    closing = f'exec "{sys.executable}" -c "$1" <&- >&- 2>&-'
    paths = os.pathsep.join(sys.path)
    done = subprocess.run(
        ["/bin/sh", "-c", closing, "sh", PROGRAM], env={**os.environ, "PYTHONPATH": paths}, check=False
    )
    assert done.returncode == 0
