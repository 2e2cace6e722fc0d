"""Clients that stop half way, in every way: the supervised service serves the next one and keeps nothing open."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import httpx
import numpy as np
import psutil
import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = """
import json, sys
from pathlib import Path
from segx_serve import Settings
from segx_serve.run import serve
serve([Path(sys.argv[2])], Settings(**json.loads(sys.argv[1])), provider="cpu", workers=1)
"""
READ_TIMEOUT = 1.0


@contextlib.contextmanager
def serving(
    model: Path, port: int, log: Path, before: Callable[[], None] | None = None, **settings: object
) -> Iterator[subprocess.Popen[bytes]]:
    """A supervised service that is ready."""
    chosen = json.dumps({"port": port, "drain_seconds": 2, "threads": 1, "read_timeout": READ_TIMEOUT, **settings})
    paths = os.pathsep.join(str(ROOT / part) for part in (".", "core", "serve"))
    with log.open("wb") as out:
        child = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, chosen, str(model)],
            env={**os.environ, "PYTHONPATH": paths},
            stdout=out,
            stderr=out,
            preexec_fn=before,
        )
    try:
        give_up = time.monotonic() + 60
        while not ready(port):
            assert child.poll() is None, log.read_text()
            assert time.monotonic() < give_up, log.read_text()
            time.sleep(0.02)
        yield child
        child.send_signal(signal.SIGTERM)
        assert child.wait(40) == 0, log.read_text()
        assert "Traceback" not in log.read_text()
    finally:
        child.kill()
        child.wait()


def ready(port: int) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return httpx.get(f"http://127.0.0.1:{port}/v2/health/ready").status_code == 200
    return False


def tree(child: subprocess.Popen[bytes]) -> list[psutil.Process]:
    top = psutil.Process(child.pid)
    return [top, *top.children()]


def opened(child: subprocess.Popen[bytes]) -> dict[int, int]:
    """Process number -> open files and sockets."""
    return {one.pid: one.num_fds() for one in tree(child)}


def dial(port: int, window: int = 0) -> socket.socket:
    client = socket.socket()
    if window:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
    client.settimeout(30)
    client.connect(("127.0.0.1", port))
    return client


def reset(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def posted(body: bytes, accept: bytes = b"*/*") -> bytes:
    head = b"POST /segment HTTP/1.1\r\nHost: a\r\nAccept: " + accept + b"\r\nContent-Type: image/png\r\n"
    return head + b"Content-Length: %d\r\n\r\n" % len(body) + body


def test_rude_clients_leave_nothing_open(
    kit: SimpleNamespace, model_file: Path, tmp_path: Path, free_port: int
) -> None:
    pixels = kit.picture(3)
    mask = kit.Brightness().run(pixels[None])[0]
    small, large = kit.as_png(pixels), kit.as_png(kit.picture(1, 1500, 1500))
    with (
        serving(model_file, free_port, tmp_path / "log", max_connections=200) as child,
        httpx.Client(base_url=f"http://127.0.0.1:{free_port}", timeout=60) as client,
    ):

        def good() -> bool:
            answer = client.post("/segment", content=small, headers={"Content-Type": "image/png"})
            return answer.status_code == 200 and np.array_equal(kit.from_png(answer.content), mask)

        def inside() -> float:
            text = client.get("/metrics").text
            return sum(float(line.split()[1]) for line in text.splitlines() if line.startswith(HELD))

        assert good()
        before = opened(child)
        held: list[socket.socket] = []

        # Half a header, half a body, nothing at all, and then silence.
        for piece in (
            b"",
            b"POST /segm",
            b"POST /segment HTTP/1.1\r\nHost: a\r\nX-",
            posted(small)[:-20],
            posted(large)[:70_000],
        ):
            for _ in range(8):
                held.append(dial(free_port))
                held[-1].sendall(piece)
        assert good()
        # Nobody reads the answer: large ones, through a window as small as it gets.
        for _ in range(4):
            held.append(dial(free_port, window=1024))
            held[-1].sendall(posted(large, b"application/octet-stream"))
        assert good()
        # Half-closed, and torn down at every moment of an upload, a run and an answer.
        for piece in (posted(small), posted(large)[:100], posted(large)[:9000]):
            one = dial(free_port)
            one.sendall(piece)
            one.shutdown(socket.SHUT_WR)
            held.append(one)
        for pause in (0.0, 0.002, 0.01, 0.05):
            for piece in (posted(small), posted(large), posted(large)[:50_000]):
                one = dial(free_port)
                one.sendall(piece)
                time.sleep(pause)
                reset(one)
        assert good()
        # More connections than are taken: the surplus is told so, those that are in go on.
        crowd = [dial(free_port) for _ in range(300)]
        refused = [one for one in crowd[-20:] if one.recv(64).startswith(b"HTTP/1.1 503 ")]
        assert len(refused) == 20
        assert good()
        # The silent ones are closed by the service in time; the ones that never read, when they hang up.
        for one in held[:40]:
            while one.recv(1 << 16):
                pass
        for one in (*crowd, *held):
            one.close()
        kit.until(lambda: inside() == 0)
        kit.until(lambda: all(count <= before[pid] for pid, count in opened(child).items()))
        assert opened(child).keys() == before.keys()  # no process was started again
        assert good()


HELD = ("segx_requests_inside", "segx_bytes_held")


def test_three_thousand_requests_leave_it_as_it_was(
    kit: SimpleNamespace, model_file: Path, tmp_path: Path, free_port: int
) -> None:
    body = posted(kit.as_png(kit.picture(3)))
    broken = posted(b"\x89PNG\r\n\x1a\nno")
    with serving(model_file, free_port, tmp_path / "log") as child:

        def many(count: int) -> None:
            """In groups over a few connections; every tenth picture is broken."""
            with contextlib.ExitStack() as stack:
                clients = [stack.enter_context(dial(free_port)) for _ in range(4)]
                for start in range(0, count, 40):
                    for one in clients:
                        one.sendall((body * 9 + broken) if start % 80 else body * 10)
                    for one in clients:
                        received = b""
                        while received.count(b"HTTP/1.1 ") < 10 or not received.endswith((b"IEND\xaeB`\x82", b"}}")):
                            received += one.recv(1 << 16)
                        assert received.count(b"HTTP/1.1 200 ") == (9 if start % 80 else 10)

        many(400)
        files = opened(child)
        memory = {one.pid: one.memory_info().rss for one in tree(child)}
        many(3000)
        kit.until(lambda: opened(child) == files)
        grown = {one.pid: one.memory_info().rss - memory[one.pid] for one in tree(child)}
        assert max(grown.values()) < 8 * 2**20, grown


def test_it_serves_on_with_few_descriptors(
    kit: SimpleNamespace, model_file: Path, tmp_path: Path, free_port: int
) -> None:
    """A hundred clients that stay are too many for the system's limit; whoever comes when they left is served."""

    def few() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))

    with serving(model_file, free_port, tmp_path / "log", few):
        crowd = [dial(free_port) for _ in range(100)]
        time.sleep(0.2)
        for one in crowd:
            one.close()
        kit.until(lambda: ready(free_port))
        with httpx.Client(base_url=f"http://127.0.0.1:{free_port}", timeout=60) as client:
            answer = client.post("/segment", content=kit.as_png(kit.picture()), headers={"Content-Type": "image/png"})
            assert answer.status_code == 200


if sys.platform != "linux":
    pytestmark = pytest.mark.skip(reason="counts descriptors and buffers as Linux does")
