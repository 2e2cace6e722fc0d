from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segx_serve import wire
from segx_serve.arena import Arena, attach
from segx_serve.wire import Asked, Memory, Records, Told

ASKED = [
    Asked(0, 0, wire.WANTED, 1, 1, 0, 0, 0.0),
    Asked(2**32 - 1, 2**16 - 1, wire.GONE, 2**32 - 1, 2**32 - 1, 2**64 - 1, 2**64 - 1, 12345.678),
    Asked(7, 3, wire.WANTED, 1080, 1920, 2**31, 2**40, 0.001),
]
TOLD = [Told(1, wire.FINE, 1, 16, 0.5, 0.25), Told(2**32 - 1, wire.UNKNOWN, 0, 2**16 - 1, 0.0, 4.0)]


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    left, right = socket.socketpair()
    with left, right:
        yield left, right


@pytest.mark.parametrize("split", range(1, 3 * len(wire.pack_asked(ASKED[0]))))
def test_records_split_anywhere_come_out_whole(pair: tuple[socket.socket, socket.socket], split: int) -> None:
    left, right = pair
    data = b"".join(map(wire.pack_asked, ASKED))
    records = Records(Asked)
    left.sendall(data[:split])
    found = list(records.read(right))
    assert found == ASKED[: len(found)]
    left.sendall(data[split:])
    assert found + list(records.read(right)) == ASKED


@given(st.lists(st.integers(1, 30)))
@settings(deadline=None, derandomize=True)
def test_records_in_many_pieces_come_out_whole(cuts: list[int]) -> None:
    data = b"".join(map(wire.pack_told, TOLD * 5))
    records, found = Records(Told), []
    left, right = socket.socketpair()
    with left, right:
        start = 0
        for size in [*cuts, len(data)]:
            piece = data[start : start + size]
            start += size
            if piece:
                left.sendall(piece)
                found += list(records.read(right))
    assert found == TOLD * 5


def test_nothing_there_and_the_end_are_told_apart(pair: tuple[socket.socket, socket.socket]) -> None:
    left, right = pair
    right.setblocking(False)
    with pytest.raises(BlockingIOError):
        Records(Told).read(right)
    left.close()
    with pytest.raises(EOFError):
        Records(Told).read(right)


def test_a_front_ends_memory_reaches_the_host(pair: tuple[socket.socket, socket.socket]) -> None:
    left, right = pair
    arena, rooms = Arena(8192, shared=True), Arena(4096, shared=True)
    arena.array(0, (3,))[:] = (1, 2, 3)
    wire.greet(left, Memory(arena.fd, rooms.fd, arena.size, rooms.size))
    memory = wire.welcome(right)
    assert (memory.arena_size, memory.rooms_size) == (8192, 4096)
    seen, written = attach(memory.arena, memory.arena_size), attach(memory.rooms, memory.rooms_size)
    np.testing.assert_array_equal(seen[:3], (1, 2, 3))
    written[5] = 9
    assert rooms.array(5, (1,))[0] == 9
    arena.close()
    rooms.close()


@pytest.mark.parametrize(
    "words", [b"", b"segx-1", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", b"segx-0\0\0" + bytes(16)]
)
def test_anybody_else_is_not_welcome(pair: tuple[socket.socket, socket.socket], words: bytes) -> None:
    left, right = pair
    left.sendall(words)
    left.shutdown(socket.SHUT_WR)
    with pytest.raises(ConnectionError):
        wire.welcome(right)


@pytest.mark.parametrize("count", [0, 1])
def test_words_without_their_descriptors_are_refused_and_what_came_is_closed(
    pair: tuple[socket.socket, socket.socket], count: int
) -> None:
    left, right = pair
    hello = wire.MAGIC + bytes(16)
    with Path(os.devnull).open() as file:
        socket.send_fds(left, [hello], [file.fileno()] * count)
        before = _open_files()
        with pytest.raises(ConnectionError):
            wire.welcome(right)
        assert _open_files() == before


def _open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_element_types() -> None:
    assert wire.index_type(wire.FINE) == np.uint8
    assert wire.index_type(wire.FINE_WIDE) == np.uint16
