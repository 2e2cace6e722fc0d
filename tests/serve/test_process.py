"""Real children of the supervisor, without a supervisor."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segx_serve.process import Backoff, Process

ROOT = Path(__file__).parents[2]
# What a child is told decides what it does. It speaks JSON lines by itself: importing the service takes its time.
CHILD = """
import json, os, socket, sys, time

channel = socket.socket(fileno=int(sys.argv[1]))
heard = channel.makefile("rb")

def say(**message):
    channel.sendall(json.dumps(message).encode() + b"\\n")

start = json.loads(heard.readline())
inherited = [socket.socket(fileno=int(fd)).getsockname()[1] for fd in sys.argv[2:]]
say(type="here", ports=inherited, group=os.getpgrp() == os.getpid())
match start["do"]:
    case "exit":
        os._exit(start["code"])
    case "kill":
        os.kill(os.getpid(), start["signal"])
        time.sleep(3600)
    case "refuse":
        time.sleep(3600)
    case "obey":
        while json.loads(heard.readline())["type"] != "stop":
            pass
        say(type="bye")
        os._exit(0)
"""


@pytest.fixture(autouse=True)
def child_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module named `obedient` that children find."""
    (tmp_path / "obedient.py").write_text(CHILD)
    paths = [tmp_path, ROOT, ROOT / "core", ROOT / "serve"]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, paths)))
    monkeypatch.setenv("PYTHONWARNINGS", "error")


def with_child(
    what: Callable[[Process], Awaitable[Any]], listeners: list[socket.socket] | None = None, **start: Any
) -> Any:
    """Start a child, hear its first word, and do something with it."""

    async def main() -> Any:
        process = await Process.start("obedient", {"type": "start", **start}, listeners or [])
        try:
            return await asyncio.wait_for(what(process), 60)
        finally:
            process.kill()
            await process.wait()

    return asyncio.run(main())


@pytest.mark.parametrize("code", [0, 3])
def test_an_end_by_itself_is_told_with_its_code(code: int) -> None:
    async def what(process: Process) -> str:
        assert process.alive
        await process.channel.first()
        told = await process.wait()
        assert not process.alive
        process.kill()  # harmless
        assert process.usage() == (0, 0.0)
        return told

    assert with_child(what, do="exit", code=code) == f"ended with exit code {code}"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
def test_an_end_by_a_signal_is_told_by_its_name(number: signal.Signals) -> None:
    async def what(process: Process) -> str:
        return await process.wait()

    assert with_child(what, do="kill", signal=int(number)) == f"was ended by {number.name}"


def test_a_signal_without_a_name_is_told_by_its_number() -> None:
    async def what(process: Process) -> str:
        return await process.wait()

    number = signal.SIGRTMIN + 5
    assert with_child(what, do="kill", signal=int(number)) == f"was ended by signal {int(number)}"


def test_a_child_that_is_asked_to_end_may_say_a_last_word() -> None:
    async def what(process: Process) -> list[str]:
        await process.channel.first()
        ending = asyncio.create_task(process.end(60))
        said = [message["type"] async for message in process.channel]
        await ending
        assert not process.alive
        assert await process.wait() == "ended with exit code 0"
        return said

    assert with_child(what, do="obey") == ["bye"]


def test_a_child_that_refuses_to_end_is_ended() -> None:
    async def what(process: Process) -> str:
        await process.channel.first()
        await process.end(0.2)
        assert not process.alive
        return await process.wait()

    assert with_child(what, do="refuse") == "was ended by SIGKILL"


def test_a_child_inherits_its_sockets_and_has_a_group_of_its_own() -> None:
    async def what(process: Process) -> Any:
        assert psutil.Process(process.pid).ppid() == os.getpid()
        told = await process.channel.first()
        memory, seconds = process.usage()  # now that it is a Python that has said something
        assert memory > 10**6
        assert seconds >= 0
        await process.end(60)
        return told

    with socket.socket() as first, socket.socket() as second:
        for one in (first, second):
            one.bind(("127.0.0.1", 0))
        told = with_child(what, [first.fileno(), second.fileno()], do="obey")
        assert told["ports"] == [first.getsockname()[1], second.getsockname()[1]]
    assert told["group"] is True


def test_a_child_that_keeps_ending_at_once_waits_longer_and_longer() -> None:
    backoff = Backoff(least=0.5, most=20.0, fine=10.0)
    assert [backoff.after(0.1) for _ in range(5)] == [0.5, 2.0, 8.0, 20.0, 20.0]
    assert [backoff.after(lived) for lived in (9.9, 10.0, 0.1, 100.0)] == [20.0, 0.5, 2.0, 0.5]


@given(st.lists(st.floats(0, 100)))
@settings(deadline=None, derandomize=True)
def test_no_wait_is_out_of_bounds(lives: list[float]) -> None:
    backoff = Backoff(least=0.05, most=10.0, fine=10.0)
    for lived in lives:
        wait = backoff.after(lived)
        assert 0.05 <= wait <= 10.0
        if lived >= 10.0:
            assert wait == 0.05
