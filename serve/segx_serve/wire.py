"""What a front-end and a host say to each other of pictures: fixed records over a Unix stream socket.

Pictures and class maps themselves lie in the front-end's memory, which the host maps; a record only says where.
Times are time.perf_counter(), one clock for all processes of a machine. Knows nothing of models or HTTP.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

MAGIC = b"segx-1\0\0"
_HELLO = struct.Struct("<8sQQ")
_ASK = struct.Struct("<IIHIIQQd")
_TOLD = struct.Struct("<IBBHff")
_RECEIVE = 64 * 1024
WANTED, GONE = 0, 1
"""What a front-end may say of a picture: run it; nobody waits for it any more."""
FINE, FINE_WIDE, EXPIRED, LEFT, FAILED, MEMORY, UNKNOWN = range(7)
"""How a picture ended: a map of uint8, one of uint16, too late, given up, model failed, no memory, no such model."""


class Asked(NamedTuple):
    """A picture to run, or to forget."""

    number: int
    """The front-end's own; free again once the host has answered it."""
    model: int
    """The host's number of the model."""
    what: int
    """WANTED or GONE."""
    height: int
    width: int
    place: int
    """Offset of the (H, W, 3) uint8 picture in the arena."""
    room: int
    """Offset of the room for its class map among the rooms."""
    deadline: float
    """0 for never."""


class Told(NamedTuple):
    """How a picture ended."""

    number: int
    how: int
    first: int
    """1 for the first of its batch."""
    batch: int
    queue: float
    """Seconds it waited in the host."""
    run: float
    """Seconds it ran."""


@dataclass(frozen=True)
class Memory:
    """What a front-end shares with a host."""

    arena: int
    """File descriptor of the pictures."""
    rooms: int
    """File descriptor of the class maps."""
    arena_size: int
    rooms_size: int


def pack_asked(asked: Asked) -> bytes:
    """One record."""
    return _ASK.pack(*asked)


def pack_told(told: Told) -> bytes:
    """One record."""
    return _TOLD.pack(*told)


def greet(connection: socket.socket, memory: Memory) -> None:
    """A front-end's first words: its memory."""
    hello = _HELLO.pack(MAGIC, memory.arena_size, memory.rooms_size)
    socket.send_fds(connection, [hello], [memory.arena, memory.rooms])


def welcome(connection: socket.socket) -> Memory:
    """A host's reading of those words.

    Raises:
        ConnectionError: they never came, or are not of this version.
    """
    hello, fds, _, _ = socket.recv_fds(connection, _HELLO.size, 2)
    if len(hello) != _HELLO.size or len(fds) != 2 or not hello.startswith(MAGIC):
        for fd in fds:
            os.close(fd)
        raise ConnectionError("a front-end of another version, or none")
    _, arena_size, rooms_size = _HELLO.unpack(hello)
    return Memory(fds[0], fds[1], arena_size, rooms_size)


class Records:
    """Cuts what arrives into records; a record split by the stream waits for its rest."""

    def __init__(self, kind: type[Asked] | type[Told]) -> None:
        self._kind = kind
        self._shape = _ASK if kind is Asked else _TOLD
        self._rest = b""

    def read(self, connection: socket.socket) -> Iterator[Asked | Told]:
        """The records that are there now, or, on a blocking socket, the next ones.

        Raises:
            EOFError: the other side is gone.
            BlockingIOError: nothing is there, on a socket that does not wait.
        """
        data = connection.recv(_RECEIVE)
        if not data:
            raise EOFError
        data = self._rest + data
        whole = len(data) - len(data) % self._shape.size
        self._rest = data[whole:]
        return (self._kind(*fields) for fields in self._shape.iter_unpack(data[:whole]))


def index_type(how: int) -> np.dtype[np.uint8] | np.dtype[np.uint16]:
    """The element type of the map that `how` announces."""
    return np.dtype(np.uint16) if how == FINE_WIDE else np.dtype(np.uint8)
