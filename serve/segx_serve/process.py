"""One child process of the supervisor: started with its end of a channel, watched, ended."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import Sequence

from segx_serve.channel import Channel, Message


class Process:
    """A running child. Start it with `Process.start`."""

    def __init__(self, child: asyncio.subprocess.Process, channel: Channel) -> None:
        self._child = child
        self.channel = channel
        self.began = time.monotonic()
        self.heard = time.monotonic()
        """When the child last said something, time.monotonic()."""

    @classmethod
    async def start(cls, module: str, start: Message, sockets: Sequence[socket.socket] = ()) -> Process:
        """Run a module of this package in a child.

        Args:
            start: the first thing it is told.
            sockets: what it inherits; their numbers follow the channel's among its arguments.

        Raises:
            OSError: the system has no room for another process.
        """
        ours, theirs = socket.socketpair()
        fds = [theirs.fileno(), *(one.fileno() for one in sockets)]
        try:
            child = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                module,
                *map(str, fds),
                pass_fds=fds,
                stdin=asyncio.subprocess.DEVNULL,
                # A group of its own: Ctrl-C at the terminal is the supervisor's to deal with.
                start_new_session=True,
            )
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        channel = await Channel.over(ours)
        await channel.send(start)
        return cls(child, channel)

    @property
    def pid(self) -> int:
        """The child's process number."""
        return self._child.pid

    @property
    def alive(self) -> bool:
        """Whether it has not ended yet."""
        return self._child.returncode is None

    async def wait(self) -> str:
        """Wait for its end; returns how it ended, in words."""
        code = await self._child.wait()
        self.channel.close()
        if code >= 0:
            return f"ended with exit code {code}"
        with contextlib.suppress(ValueError):
            return f"was ended by {signal.Signals(-code).name}"
        return f"was ended by signal {-code}"

    def kill(self) -> None:
        """End it at once."""
        with contextlib.suppress(ProcessLookupError):
            self._child.kill()

    async def end(self, patience: float) -> None:
        """Ask it to end, and insist after `patience` seconds."""
        await self.channel.send({"type": "stop"})
        try:
            await asyncio.wait_for(self._child.wait(), patience)
        except TimeoutError:
            self.kill()
            await self._child.wait()

    def usage(self) -> tuple[int, float]:
        """(resident bytes, processor seconds) so far; zeros where the system does not tell."""
        try:
            with open(f"/proc/{self.pid}/statm", "rb") as file:  # noqa: PTH123 - read at every scrape, no path to speak of
                resident = int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
            with open(f"/proc/{self.pid}/stat", "rb") as file:  # noqa: PTH123
                fields = file.read().rpartition(b")")[2].split()
        except (OSError, IndexError, ValueError):
            return 0, 0.0
        return resident, (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def wait_for(event: asyncio.Event, seconds: float) -> None:
    """Wait until something happens, at most so many seconds."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)


class Backoff:
    """How long to wait before a child that ended is started again: longer and longer while it keeps ending at once."""

    def __init__(self, least: float = 0.05, most: float = 10.0, fine: float = 10.0) -> None:
        self._least, self._most, self._fine = least, most, fine
        self._next = least

    def after(self, lived: float) -> float:
        """Seconds to wait after a child that lived so many seconds."""
        if lived >= self._fine:
            self._next = self._least
        wait = self._next
        self._next = min(self._most, self._next * 4)
        return wait
