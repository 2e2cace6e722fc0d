"""Whatever arrives on a connection, the service answers the next one rightly and keeps nothing of the last."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
import select
import socket
import struct
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

BOUNDED = settings(
    deadline=None, derandomize=True, max_examples=300, suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate],
)  # fmt: skip
WINDOW = 0.03  # how long an answer may take to be looked at, where nothing says that one must come

METHODS = [b"GET", b"HEAD", b"OPTIONS", b"PUT", b"CONNECT", b"TRACE", b"PRI", b"post", b""]
TARGETS = [
    b"/segment?model=grey", b"/segment?model=no", b"/segm%65nt", b"//segment",
    b"/segment/", b"/./segment", b"/../segment", b"http://a/segment", b"*", b"/%00", b"/%ff%fe", b"/\xff\xfe", b"a:443",
    b"/segment?" + b"a=" * 3000, b"/" + b"x" * 9000, b"/segment#top", b"/segment?model=%ff", b"/v2/models/grey/infer",
    b"/v2/models/grey/infer", b"/v2/models/%2e%2e/ready", b"/v2/repository/index", b"/models", b"/metrics", b"/", b"",
]  # fmt: skip
VERSIONS = [b"HTTP/1.0", b"HTTP/0.9", b"HTTP/2.0", b"HTTP/9.9", b"http/1.1", b""]
HEADERS = [
    b"Host: a", b"Host: a\r\nHost: b", b"Content-Type: image/png", b"Content-Type: application/json",
    b"Content-Type: multipart/form-data; boundary=b", b"Content-Type: multipart/form-data", b"Content-Type: \xff\xfe",
    b"Accept: */*", b"Accept: image/png;q=nan, */*;q=1e999", b"Accept: application/json", b"Accept: \xe2\x98\xba",
    b"Accept: " + b"a/b," * 500, b"Accept-Encoding: gzip;q=-1", b"Content-Encoding: gzip", b"Connection: close",
    b"Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: a",
    b"Connection: Upgrade\r\nUpgrade: h2c", b"Expect: 100-continue", b"Expect: the worst", b"X-Request-Id: \x01",
    b"X-Request-Id: fine-1", b"X-Folded: a\r\n b", b"X-Null: a\0b", b"No colon", b": no name", b"Spaced : a",
    b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip, chunked", b"Transfer-Encoding: chunked, identity",
    b"Transfer-Encoding: \x0bchunked", b"Content-Length: 0", b"Content-Length: -1", b"Content-Length: +5",
    b"Content-Length: 5, 5", b"Content-Length: 5\r\nContent-Length: 6", b"Content-Length: 99999999999999999999999",
    b"Content-Length: 1e3", b"Inference-Header-Content-Length: 0", b"Inference-Header-Content-Length: 99999999999999",
    b"X-Long: " + b"x" * 20_000, b"Authorization: Bearer \xff", b"Origin: null", b"Cookie: " + b"a=b;" * 900, b"",
]  # fmt: skip
JSONS = [
    b"{}", b"[]", b'{"inputs": [{"name": "\\ud800", "shape": [1], "datatype": "UINT8", "data": [1]}]}',
    b'{"id": "\\udfff", "inputs": 3}', b"[" * 5000, b'{"a":' * 5000, b"1" * 5000, b"\xff\xfe{}", b'{"inputs": [{}]}',
    b'{"inputs": [{"name": "image", "shape": [1, 2, 2, 3], "datatype": "\\ud800", "data": [[[]]]}]}',
    b'{"inputs": [{"name": "image", "shape": [1, -2, 99999999999999, 3], "datatype": "UINT8", "data": []}]}',
    b'{"\\ud800": 1, "\\ud800": 2}',
]  # fmt: skip


@dataclass(frozen=True)
class Rude:
    """What one client does."""

    stream: bytes
    cuts: tuple[int, ...]
    end: str
    """"reads", "closes" or "resets"."""


def mostly(draw: Any, usual: bytes, others: list[bytes], one_in: int) -> bytes:
    """The usual thing, and one time in so many another: a request wrong everywhere gets no further than the parser."""
    return draw(st.sampled_from(others)) if draw(st.integers(1, one_in)) == 1 else usual


@st.composite
def requests(draw: Any, body: bytes) -> bytes:
    """One request with a few things wrong, or none."""
    method = mostly(draw, b"POST", METHODS, 4)
    target = mostly(draw, b"/segment", TARGETS, 2)
    line = b" ".join([method, target, mostly(draw, b"HTTP/1.1", VERSIONS, 8)])
    headers = [b"Host: a", *draw(st.lists(st.sampled_from(HEADERS), max_size=draw(st.integers(0, 2))))]
    content = mostly(draw, body, [b"", body[:40], b"--b\r\n\r\n--b--", bytes(300), *JSONS], 3)
    match draw(st.integers(0, 9)):
        case 0:
            headers.append(b"Content-Length: %d" % (len(content) + draw(st.sampled_from([-1, 1, 1000, 40_000_000]))))
        case 1 | 2:
            headers.append(b"Transfer-Encoding: chunked")
            size = b"%x" % len(content)
            size = mostly(draw, size, [size + b";a=b", b"-1", b"zz", b"f" * 17, b"0", b"", b"0x5"], 2)
            end = mostly(draw, b"0\r\n\r\n", [b"0\r\nX: a\r\n\r\n", b"", b"0\r\n", b"\r\n\r\n"], 3)
            content = size + b"\r\n" + content + b"\r\n" + end
        case 3:
            pass
        case _:
            headers.append(b"Content-Length: %d" % len(content))
    ends = mostly(draw, b"\r\n", [b"\n", b"\r", b"\r\r\n"], 12)
    return ends.join([line, *headers, b"", b""]) + content


@st.composite
def clients(draw: Any, body: bytes) -> Rude:
    """What one client sends, in which pieces, and how it ends."""
    stream = b"".join(draw(st.lists(requests(body), min_size=1, max_size=3)))
    if draw(st.integers(0, 4)) == 0:
        changed = bytearray(stream)
        for _ in range(draw(st.integers(1, 4))):
            changed[draw(st.integers(0, len(changed) - 1))] = draw(st.integers(0, 255))
        stream = bytes(changed)
    cuts = draw(st.lists(st.integers(0, len(stream)), max_size=3))
    return Rude(stream, tuple(sorted(cuts)), draw(st.sampled_from(["reads", "reads", "closes", "resets"])))


def answers(received: bytes) -> list[int]:
    """The statuses of the answers in what was received; of one to HEAD there is no body, which is allowed for."""
    statuses = []
    while found := re.match(rb"HTTP/1\.1 (\d{3}) [^\r\n]*\r\n((?:[^\r\n]+\r\n)*)\r\n", received):
        statuses.append(int(found[1]))
        length = re.search(rb"(?i)^content-length: (\d+)", found[2], re.MULTILINE)
        received = received[found.end() :]
        if not received.startswith(b"HTTP/1.1 "):
            received = received[int(length[1]) if length else 0 :]
    return statuses


def descriptors() -> int:
    """How many files and sockets this process has open; 0 where the system does not tell."""
    opened = Path("/proc/self/fd")
    return len(list(opened.iterdir())) if opened.is_dir() else 0


def meet(port: int, rude: Rude) -> list[int]:
    """Be that client: the statuses it was answered with."""
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client, contextlib.suppress(ConnectionError):
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for begin, end in zip((0, *rude.cuts), (*rude.cuts, len(rude.stream)), strict=True):
            client.sendall(rude.stream[begin:end])
        if rude.end == "resets":
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        while rude.end == "reads" and select.select([client], [], [], WINDOW)[0] and (more := client.recv(1 << 20)):
            received += more
    return answers(received)


class Watch:
    """A running service and all that must be as it was after every client."""

    def __init__(self, running: Any, kit: SimpleNamespace, caplog: pytest.LogCaptureFixture) -> None:
        self.running, self.kit, self.caplog = running, kit, caplog
        self.pixels = kit.picture(5)
        self.body = kit.as_png(self.pixels)
        self.mask = kit.Brightness().run(self.pixels[None])[0]
        self.good()
        self.threads = set(threading.enumerate())
        self.loop = running.app.service.pipeline._mailbox._loop
        kit.until(lambda: self._tasks() == 0 or time.sleep(0.01))
        self.before = self._others()

    def good(self) -> None:
        answer = self.running.segment(self.body)
        assert answer.status_code == 200
        np.testing.assert_array_equal(self.kit.from_png(answer.content), self.mask)

    def clean(self) -> None:
        """A good request is answered rightly, and nothing is left of what came before it."""
        self.good()
        service = self.running.app.service
        arena = service.arena
        self.kit.until(lambda: service.desk.admission.requests == service.desk.admission.bytes == 0)
        self.kit.until(lambda: (arena._starts, arena._ends) == ([0], [arena.size]))
        assert not service.desk._open
        self.kit.until(lambda: self._others() <= self.before)
        assert set(threading.enumerate()) == self.threads
        errors = [record for record in self.caplog.records if record.levelno >= logging.ERROR]
        assert not [record for record in errors if not record.name.startswith("PIL")]

    def _tasks(self) -> int:
        return sum("run_asgi" in repr(task.get_coro()) for task in asyncio.all_tasks(self.loop))

    def _others(self) -> int:
        try:
            return len(asyncio.all_tasks(self.loop))
        except RuntimeError:  # the set of tasks changed while it was copied
            return 1 << 30


@pytest.fixture
def watch(serve: Any, kit: SimpleNamespace, caplog: pytest.LogCaptureFixture) -> Watch:
    """A service with little room, so that all of it would soon be used up if it were not given back."""
    return Watch(serve({"grey": kit.Brightness()}, max_pixels=10**6, max_queue=4, read_timeout=2.0), kit, caplog)


def test_no_client_leaves_a_trace_or_gets_an_error_of_ours(watch: Watch) -> None:
    opened = descriptors()
    told: set[int] = set()

    @BOUNDED
    @given(clients(watch.body))
    def rude_clients(rude: Rude) -> None:
        statuses = meet(watch.running.port, rude)
        assert not [status for status in statuses if status >= 500 and status != 503]
        told.update(statuses)
        watch.clean()

    rude_clients()
    assert {200, 400, 404, 405} <= told  # else the clients above are not worth much
    watch.kit.until(lambda: descriptors() <= opened + 2)


@pytest.mark.parametrize("first", ["/segment", "/segm%65nt"])
def test_garbage_behind_a_good_request_ends_both_quietly(watch: Watch, first: str) -> None:
    head = f"POST {first} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(watch.body)}\r\n\r\n".encode()
    good = head + watch.body
    for stream in (good + b"\0\0\r\n\r\n", good * 3 + b"\0\0\r\n\r\n", good + good[:-9], good * 2 + head):
        for end in ("reads", "closes", "resets"):
            statuses = meet(watch.running.port, Rude(stream, (), end))
            assert not statuses or statuses[0] in (200, 400)
            watch.clean()


@pytest.mark.parametrize("path", ["/v2/models/grey/infer", "/v2/repository/index", "/v2/models/%ED%A0%80/infer"])
def test_hostile_json_is_answered_in_json(watch: Watch, path: str) -> None:
    for content in JSONS:
        answer = watch.running.client.post(path, content=content)
        assert answer.status_code < 500
        json.loads(answer.content)
    watch.clean()


FORMS = ["*/*", "image/png", "application/json", "application/octet-stream", "a/b", "image/png;q=0", "\xe9", ""]
TYPES = ["image/png", "image/jpeg", "", "text/plain", "application/octet-stream", "image/x; charset=\xff"]


def test_the_fast_lane_answers_as_the_long_way_does(watch: Watch) -> None:
    """An escaped letter in the path is all that sends a request the long way."""
    bodies = [watch.body, watch.kit.as_jpeg(watch.pixels), watch.body[:60], b"", b"hello", b"\xff\xd8\xff" + bytes(50)]

    @BOUNDED
    @given(
        st.sampled_from(bodies),
        st.sampled_from(FORMS),
        st.sampled_from(TYPES),
        st.sampled_from(["", "?model=grey", "?model=", "?version=1", "?model=no", "?modle=grey", "?a#b", "?%ff=%00"]),
        st.sampled_from([b"", b"X-Request-Id: abc\r\n", b"Connection: close\r\n", b"Accept-Encoding: gzip\r\n"]),
        st.sampled_from([b"HTTP/1.1", b"HTTP/1.0"]),
    )
    def both_ways(body: bytes, form: str, kind: str, query: str, more: bytes, version: bytes) -> None:
        def ask(path: str) -> tuple[int, bytes, set[bytes]]:
            head = f"POST {path}{query} ".encode() + version + b"\r\nHost: a\r\n" + more
            head += f"Accept: {form}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n".encode("latin-1")
            with socket.create_connection(("127.0.0.1", watch.running.port), timeout=20) as client:
                client.sendall(head + body)
                received = b""
                while not (found := re.search(rb"(?i)content-length: (\d+)\r\n(?:.+\r\n)*\r\n", received)):
                    piece = client.recv(1 << 16)
                    assert piece, received
                    received += piece
                while len(received) < found.end() + int(found[1]):
                    received += client.recv(1 << 16)
            lines = received[: found.end()].splitlines()
            names = {line.split(b":")[0].lower() for line in lines[1:] if line}
            return int(lines[0].split()[1]), received[found.end() :], names - {b"date"}

        assert ask("/segment") == ask("/segm%65nt")

    both_ways()
    watch.clean()
