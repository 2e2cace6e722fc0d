"""A host's side of the front-ends: one thread reads them all, engines or that thread itself run what they ask for.

What all front-ends asked for at the same moment becomes one batch, and nobody waits for anybody: the next batch is what
arrives while this one runs. A front-end's memory is mapped, so that pictures are not copied and class maps are written
where it looks for them. Knows nothing of how models are loaded.
"""

from __future__ import annotations

import contextlib
import logging
import selectors
import socket
import threading
import time
from collections.abc import Iterable, Mapping

import numpy as np

from segx_core.runner import UInt8
from segx_serve import wire
from segx_serve.arena import adjacent, attach
from segx_serve.engine import Engine
from segx_serve.job import ExpiredError, GoneError, LostError, Wait, Work
from segx_serve.wire import Asked, Told

_log = logging.getLogger("segx.serve")
# How long a front-end may take over its greeting, seconds: it sends it together with the connection.
_GREETING = 2.0


class GuestWork(Work):
    """One picture of some front-end."""

    __slots__ = ("guest", "model", "number", "room")

    def __init__(self, guest: Guest, asked: Asked, now: float) -> None:
        super().__init__(Wait(asked.deadline or None), now)
        self.guest = guest
        self.model = asked.model
        self.number = asked.number
        self.room = asked.room
        self.picture = guest.picture(asked)
        self.offset = asked.place


class Guest:
    """One front-end: its memory, and the socket to it. Read by one thread, written by whoever ran its pictures.

    Raises:
        OSError, ValueError: it does not greet as a front-end does.
    """

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        connection.settimeout(_GREETING)
        memory = wire.welcome(connection)
        connection.settimeout(None)
        self._arena = attach(memory.arena, memory.arena_size)
        self._rooms = attach(memory.rooms, memory.rooms_size)
        self._records = wire.Records(Asked)
        self._lock = threading.Lock()
        self._held: dict[int, GuestWork] = {}

    def picture(self, asked: Asked) -> UInt8:
        """(H, W, 3) uint8, the front-end's own memory."""
        size = 3 * asked.height * asked.width
        return self._arena[asked.place : asked.place + size].reshape(asked.height, asked.width, 3)

    def together(self, works: list[GuestWork]) -> UInt8 | None:
        """(N, H, W, 3) view over the pictures of a batch of this front-end's; None where they lie apart."""
        return adjacent(self._arena, works)

    def read(self) -> list[GuestWork]:
        """What it asks for now; waits until it asks for something.

        Raises:
            EOFError, OSError: it is gone.
        """
        now = time.perf_counter()
        works = []
        for asked in self._records.read(self.connection):
            assert isinstance(asked, Asked)
            if asked.what == wire.WANTED:
                work = self._held[asked.number] = GuestWork(self, asked, now)
                works.append(work)
            elif (gone := self._held.get(asked.number)) is not None:
                gone.wait.gone = True
        return works

    def leave(self) -> None:
        """It is gone: nobody waits for what it asked for."""
        for work in list(self._held.values()):
            work.wait.gone = True
        with self._lock:
            self.connection.close()

    def tell(self, works: Iterable[GuestWork]) -> None:
        """Write class maps where they belong and say so; one write for all."""
        told = b"".join([self._told(work) for work in works])
        with self._lock, contextlib.suppress(OSError):  # a front-end that is gone needs no answer
            self.connection.sendall(told)

    def _told(self, work: GuestWork) -> bytes:
        self._held.pop(work.number, None)
        how = wire.FAILED
        match work.error:
            case None:
                how = self._write(work)
            case ExpiredError():
                how = wire.EXPIRED
            case GoneError():
                how = wire.LEFT
            case MemoryError():
                how = wire.MEMORY
            case LostError():
                how = wire.UNKNOWN
        timing = work.timing
        return wire.pack_told(Told(work.number, how, work.first, work.batch, timing.queue, timing.run))

    def _write(self, work: GuestWork) -> int:
        classmap = work.classmap
        assert classmap is not None
        room = self._rooms[work.room : work.room + classmap.nbytes].view(classmap.dtype)
        np.copyto(room.reshape(classmap.shape), classmap)
        return wire.FINE_WIDE if classmap.dtype == np.uint16 else wire.FINE


class Guests:
    """All front-ends of a host.

    Args:
        listener: where they connect; it belongs to this object from now on.
        engines: by the host's number of the model; may change meanwhile.
    """

    def __init__(self, listener: socket.socket, engines: Mapping[int, Engine[GuestWork]]) -> None:
        self._listener = listener
        self._engines = engines
        self._ears = selectors.DefaultSelector()
        self._ears.register(listener, selectors.EVENT_READ, None)
        # Something to wake the reading thread with, so that it can be ended.
        self._bell, self._hand = socket.socketpair()
        self._ears.register(self._bell, selectors.EVENT_READ, None)

    def serve(self) -> None:
        """Read and run until `end`."""
        ended = False
        while not ended:
            works: list[GuestWork] = []
            for key, _ in self._ears.select():
                if key.data is not None:
                    works += self._hear(key.data)
                elif key.fileobj is self._listener:
                    self._let_in()
                else:
                    ended = True
            self._hand_on(works)
        for key in list(self._ears.get_map().values()):
            if key.data is not None:
                key.data.leave()
        self._ears.close()
        for one in (self._listener, self._bell, self._hand):
            one.close()

    def end(self) -> None:
        """Have `serve` end, from another thread; harmless once it has."""
        with contextlib.suppress(OSError):
            self._hand.send(b"!")

    def _let_in(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:
            # Out of file descriptors, perhaps: front-ends try again, and so does this.
            _log.exception("a front-end could not be let in")
            time.sleep(0.1)
            return
        try:
            guest = Guest(connection)
        except (OSError, ValueError):
            _log.warning("a front-end could not be understood")
            connection.close()
            return
        self._ears.register(connection, selectors.EVENT_READ, guest)

    def _hear(self, guest: Guest) -> list[GuestWork]:
        try:
            return guest.read()
        except (EOFError, OSError):
            pass
        except Exception:  # noqa: BLE001 - one front-end that makes no sense must not silence the others
            _log.exception("a front-end said what makes no sense")
        self._ears.unregister(guest.connection)
        guest.leave()
        return []

    def _hand_on(self, works: list[GuestWork]) -> None:
        """Run works here where that is quickly done, else leave them to their engines."""
        groups: dict[tuple[int, tuple[int, int]], list[GuestWork]] = {}
        for work in works:
            groups.setdefault((work.model, work.shape), []).append(work)
        for (model, _), group in groups.items():
            engine = self._engines.get(model)
            if engine is None:
                # Unloaded while a front-end did not know it yet.
                for work in group:
                    work.error = LostError()
                finished(group)
            elif not engine.run_here(group):
                engine.put_all(group)


def finished(works: list[GuestWork]) -> None:
    """Tell each front-end of its own pictures of one batch."""
    first = works[0].guest
    if all(work.guest is first for work in works):
        first.tell(works)
        return
    for guest in {id(work.guest): work.guest for work in works}.values():
        guest.tell([work for work in works if work.guest is guest])


def together(works: list[GuestWork]) -> UInt8 | None:
    """A view over a batch whose pictures all came from one front-end and lie one after the other."""
    first = works[0].guest
    return first.together(works) if all(work.guest is first for work in works) else None
