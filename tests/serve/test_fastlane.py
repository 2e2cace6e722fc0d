"""The fast lane against ASGI, and both against clients that are slow, greedy, broken or gone. Raw sockets."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from segx_serve.fastlane import FastCycle


@dataclass
class Answer:
    """One answer as it came over the wire."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        """The value of a header that may come once."""
        found = [value for key, value in self.headers if key == name]
        assert len(found) < 2, found
        return found[0] if found else None


class Wire:
    """A connection on which every byte is under the test's control."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._rest = b""

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def answer(self) -> Answer:
        """Read one answer, by its Content-Length."""
        while b"\r\n\r\n" not in self._rest:
            self._more()
        head, _, self._rest = self._rest.partition(b"\r\n\r\n")
        status, *lines = head.decode("latin-1").split("\r\n")
        headers = [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
        size = int(dict(headers)["content-length"])
        while len(self._rest) < size:
            self._more()
        body, self._rest = self._rest[:size], self._rest[size:]
        assert status.startswith("HTTP/1.1 ")
        return Answer(int(status.split(" ")[1]), headers, body)

    def closed(self) -> bool:
        """Whether nothing more comes: waits for the service's end of it."""
        assert self._rest == b""
        try:
            return self._socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def _more(self) -> None:
        data = self._socket.recv(65536)
        assert data, f"closed after {self._rest!r}"
        self._rest += data

    def close(self) -> None:
        self._socket.close()


@contextmanager
def wire(port: int) -> Iterator[Wire]:
    one = Wire(port)
    try:
        yield one
    finally:
        one.close()


def request(body: bytes, *more: str, target: str = "/segment", version: str = "1.1", kind: str = "image/png") -> bytes:
    """A request that takes the fast lane."""
    lines = [f"POST {target} HTTP/{version}", "Host: a", f"Content-Type: {kind}", f"Content-Length: {len(body)}", *more]
    return "\r\n".join([*lines, "", ""]).encode() + body


def chunked(body: bytes, *more: str, target: str = "/segment", kind: str = "image/png") -> bytes:
    """The same, but it goes through ASGI."""
    lines = [f"POST {target} HTTP/1.1", "Host: a", f"Content-Type: {kind}", "Transfer-Encoding: chunked", *more]
    data = b"%x\r\n%s\r\n" % (len(body), body) if body else b""
    return "\r\n".join([*lines, "", ""]).encode() + data + b"0\r\n\r\n"


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Of every request offered to the fast lane, whether it took it; the real one decides, and is only watched."""
    seen: list[bool] = []
    real: Callable[..., FastCycle | None] = FastCycle.begin

    def begin(protocol: Any, hot: Any) -> FastCycle | None:
        cycle = real(protocol, hot)
        seen.append(cycle is not None)
        return cycle

    monkeypatch.setattr(FastCycle, "begin", begin)
    return seen


def same(one: Answer, other: Answer) -> None:
    """Equal but for the request id, the times, and the order of headers."""

    def told(answer: Answer) -> list[tuple[str, str]]:
        return sorted(
            (name, "" if name == "date" else re.sub(r"dur=[\d.]+", "dur=0", value))
            for name, value in answer.headers
            if name != "x-request-id"
        )

    assert one.status == other.status
    assert told(one) == told(other)
    assert one.body == other.body
    assert one.header("x-request-id")
    assert one.header("x-request-id") != other.header("x-request-id")


CASES: dict[str, tuple[str, tuple[str, ...], str]] = {
    "mask": ("/segment", (), "image/png"),
    "named": ("/segment?model=grey", (), "image/png"),
    "json": ("/segment", ("Accept: application/json",), "image/png"),
    "raw": ("/segment", ("Accept: application/octet-stream",), "image/png"),
    "gzip": ("/segment", ("Accept: application/octet-stream", "Accept-Encoding: gzip"), "image/png"),
    "overlay": ("/segment", ("Accept: image/png;overlay=1",), "image/png"),
    "undeclared": ("/segment", (), "application/octet-stream"),
}


@pytest.mark.parametrize("case", CASES)
def test_both_lanes_give_the_same_answer(kit: SimpleNamespace, brightness: Any, fast: list[bool], case: str) -> None:
    target, headers, kind = CASES[case]
    for body in (kit.as_png(kit.picture(1)), kit.as_jpeg(kit.picture(2)), kit.as_png(kit.picture(3, 150, 200))):
        with wire(brightness.port) as one:
            one.send(request(body, *headers, target=target, kind=kind))
            first = one.answer()
            one.send(chunked(body, *headers, target=target, kind=kind))
            same(first, one.answer())
            assert first.status == 200
    assert fast == [True, False] * 3


@pytest.mark.parametrize("body", [b"", b"rubbish", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0 broken"])
def test_both_lanes_refuse_alike(brightness: Any, fast: list[bool], body: bytes) -> None:
    with wire(brightness.port) as one:
        one.send(request(body))
        first = one.answer()
        one.send(chunked(body))
        same(first, one.answer())
        assert first.status == 400
    assert fast == [True, False]


@pytest.mark.parametrize(
    ("target", "headers", "status"),
    [
        ("/segment?model=other", (), 404),
        ("/segment?modle=grey", (), 400),
        ("/segment", ("Accept: text/html",), 406),
        ("/segment", ("Content-Encoding: br",), 415),
        ("/segmen%74", (), 404),
    ],
)
def test_what_the_headers_already_forbid_is_left_to_asgi(
    kit: SimpleNamespace, brightness: Any, fast: list[bool], target: str, headers: tuple[str, ...], status: int
) -> None:
    body = kit.as_png(kit.picture())
    with wire(brightness.port) as one:
        one.send(request(body, *headers, target=target))
        first = one.answer()
        one.send(chunked(body, *headers, target=target))
        same(first, one.answer())
        if status != 404 or "?" in target:
            assert first.status == status
        one.send(request(body))
        assert one.answer().status == 200  # the connection goes on
    assert fast == [False, False, True]


def test_request_ids_are_echoed_and_the_query_is_read(kit: SimpleNamespace, brightness: Any) -> None:
    with wire(brightness.port) as one:
        one.send(request(kit.as_png(kit.picture()), "X-Request-Id: mine-1", target="/segment?model=gr%65y&version=1"))
        answer = one.answer()
    assert (answer.status, answer.header("x-request-id")) == (200, "mine-1")
    assert answer.header("x-content-type-options") == "nosniff"
    assert answer.header("content-security-policy")


def test_pipelined_requests_are_answered_in_order(kit: SimpleNamespace, brightness: Any, fast: list[bool]) -> None:
    pictures = [kit.picture(seed, 24 + 4 * seed, 32) for seed in range(6)]
    asked = [(request, chunked)[seed % 2](kit.as_png(pixels)) for seed, pixels in enumerate(pictures)]
    with wire(brightness.port) as one:
        one.send(b"".join(asked) + b"GET /v2/health/live HTTP/1.1\r\nHost: a\r\n\r\n" + request(b"x"))
        for pixels in pictures:
            np.testing.assert_array_equal(kit.from_png(one.answer().body), kit.Brightness().run(pixels[None])[0])
        assert one.answer().body == b'{"live":true}'
        assert one.answer().status == 400
    assert fast[0] is True


def test_the_next_request_may_come_while_the_first_one_runs(kit: SimpleNamespace, serve: Any) -> None:
    slow = kit.Gated()
    running = serve({"m": slow}, warm=False, engines=1)
    first, second = kit.picture(1), kit.picture(2)
    with wire(running.port) as one:
        one.send(request(kit.as_png(first)))
        kit.until(lambda: running.engine("m").depth == 1)
        data = request(kit.as_png(second))
        one.send(data[:40])
        time.sleep(0.01)
        one.send(data[40:])
        slow.gate.set()
        for pixels in (first, second):
            np.testing.assert_array_equal(kit.from_png(one.answer().body), kit.Brightness().run(pixels[None])[0])


def test_connections_are_kept_or_closed_as_asked(kit: SimpleNamespace, brightness: Any, fast: list[bool]) -> None:
    body = kit.as_png(kit.picture())
    with wire(brightness.port) as one:
        for _ in range(3):
            one.send(request(body))
            answer = one.answer()
            assert (answer.status, answer.header("connection")) == (200, None)
        one.send(request(body, "Connection: close"))
        answer = one.answer()
        assert (answer.status, answer.header("connection")) == (200, "close")
        assert one.closed()
    for more in ((), ("Connection: keep-alive",)):
        with wire(brightness.port) as one:
            one.send(request(body, *more, version="1.0"))
            answer = one.answer()
            assert (answer.status, answer.header("connection")) == (200, "close")
            assert one.closed()
    assert all(fast)


def test_a_body_may_come_in_any_pieces(kit: SimpleNamespace, brightness: Any, fast: list[bool]) -> None:
    pixels = kit.picture(4, 60, 80)
    data = request(kit.as_png(pixels))
    rng = np.random.default_rng(0)
    with wire(brightness.port) as one:
        for count in (1, 2, 5, 40):
            cuts = sorted(rng.choice(len(data), count, replace=False).tolist())
            for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
                one.send(data[start:end])
                time.sleep(0.0005)
            np.testing.assert_array_equal(kit.from_png(one.answer().body), kit.Brightness().run(pixels[None])[0])
    assert fast == [True] * 4


def test_empty_lines_between_requests_are_passed_over(kit: SimpleNamespace, brightness: Any) -> None:
    data = request(kit.as_png(kit.picture()))
    with wire(brightness.port) as one:
        one.send(b"\r\n" + data)
        assert one.answer().status == 200
        one.send(b"\r\n\r\n" + data + b"\r\n")
        assert one.answer().status == 200
        one.send(data)
        assert one.answer().status == 200


def test_a_client_that_hangs_up_in_its_body_leaves_nothing_behind(
    kit: SimpleNamespace, brightness: Any, fast: list[bool]
) -> None:
    data = request(kit.as_png(kit.picture(1, 100, 100)))
    for part in (len(data) - 1, len(data) - 500):
        with wire(brightness.port) as one:
            one.send(data[:part])
            kit.until(lambda: "segx_bytes_held 0.0" not in brightness.client.get("/metrics").text)
        kit.until(lambda: "segx_bytes_held 0.0" in brightness.client.get("/metrics").text)
    line = 'segx_requests_total{route="/segment",status="499"} 2.0'
    kit.until(lambda: line in brightness.client.get("/metrics").text)
    assert fast.count(True) == 2


def test_a_body_that_stalls_is_given_up_wherever_it_does(kit: SimpleNamespace, serve: Any, fast: list[bool]) -> None:
    running = serve({"grey": kit.Brightness()}, read_timeout=0.3)
    data = request(kit.as_png(kit.picture(1, 100, 100)))
    head = data.index(b"\r\n\r\n") + 4
    with ExitStack() as stack:
        wires = []
        for part in (head, head + 1, len(data) - 1):
            wires.append(stack.enter_context(wire(running.port)))
            wires[-1].send(data[:part])
        for one in wires:
            answer = one.answer()
            assert (answer.status, answer.header("connection")) == (408, "close")
            assert b'"code":"timeout"' in answer.body
            assert one.closed()
    assert fast == [True] * 3
    assert "segx_bytes_held 0.0" in running.client.get("/metrics").text


def test_a_body_that_trickles_is_given_up_on_the_whole(kit: SimpleNamespace, serve: Any) -> None:
    running = serve({"grey": kit.Brightness()}, read_timeout=0.3)
    data = request(b"x" * 100_000)
    head = data.index(b"\r\n\r\n") + 4
    with wire(running.port) as one:
        one.send(data[:head])
        # Never silent for long, but far too slow.
        for place in range(head, head + 200):
            try:
                one.send(data[place : place + 1])
            except ConnectionError:
                break
            time.sleep(0.02)
        else:
            raise AssertionError("four seconds of single bytes, and the service still listens")


def test_a_client_that_reads_nothing_is_let_go(kit: SimpleNamespace, serve: Any) -> None:
    running = serve({"grey": kit.Brightness()}, write_timeout=0.3)
    data = request(kit.as_png(kit.picture(1, 400, 400)), "Accept: application/octet-stream")
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(30)
        client.connect(("127.0.0.1", running.port))
        # Asks and asks, and takes no answer: the service stops reading, and then gives it up.
        with pytest.raises(ConnectionError):
            client.sendall(data * 2000)
    kit.until(lambda: "segx_requests_inside 0.0" in running.client.get("/metrics").text)
    assert running.segment(kit.as_png(kit.picture())).status_code == 200


def test_one_connection_too_many_is_told_so_and_closed(kit: SimpleNamespace, serve: Any) -> None:
    running = serve({"grey": kit.Brightness()}, max_connections=3, warm=True)
    data = request(kit.as_png(kit.picture()))
    with ExitStack() as stack:
        wires = [stack.enter_context(wire(running.port)) for _ in range(3)]
        for one in wires:
            one.send(data)
            assert one.answer().status == 200
        with wire(running.port) as fourth:
            answer = fourth.answer()
            assert (answer.status, answer.header("retry-after"), answer.header("connection")) == (503, "1", "close")
            assert fourth.closed()
        for one in wires:
            one.send(data)
            assert one.answer().status == 200
    kit.until(lambda: _accepted(running.port, data))


def _accepted(port: int, data: bytes) -> bool:
    with wire(port) as one:
        try:
            one.send(data)
            return one.answer().status == 200
        except ConnectionError:
            return False


def test_no_body_at_all_is_an_empty_picture(brightness: Any, fast: list[bool]) -> None:
    with wire(brightness.port) as one:
        one.send(request(b""))
        assert (one.answer().status, fast) == (400, [True])
        one.send(b"POST /segment HTTP/1.1\r\nHost: a\r\nContent-Type: image/png\r\n\r\n")
        assert (one.answer().status, fast) == (400, [True, False])


GARBAGE = {
    "two lengths": "Content-Length: 5\r\nContent-Length: 5",
    "two different lengths": "Content-Length: 5\r\nContent-Length: 6",
    "a list of lengths": "Content-Length: 5, 5",
    "negative": "Content-Length: -5",
    "signed": "Content-Length: +5",
    "hexadecimal": "Content-Length: 0x5",
    "words": "Content-Length: five",
    "spaces inside": "Content-Length: 5 5",
    "empty": "Content-Length:",
    "beyond 64 bits": "Content-Length: 99999999999999999999999",
    "length and chunks": "Content-Length: 5\r\nTransfer-Encoding: chunked",
    "chunks and length": "Transfer-Encoding: chunked\r\nContent-Length: 5",
    "unknown coding": "Transfer-Encoding: chonked",
    "chunked not last": "Transfer-Encoding: chunked, identity",
    "space before colon": "Content-Length : 5",
    "folded": "X-A: b\r\n Content-Length: 5",
    "bare carriage return": "X-A: b\rContent-Length: 5",
    "zero byte": "X-A: b\0c\r\nContent-Length: 5",
    "no name": ": 5",
    "bare line feed in a name": "X-\nA: b",
}


@pytest.mark.parametrize("case", GARBAGE)
def test_ambiguous_requests_are_refused_and_their_connection_closed(
    kit: SimpleNamespace, brightness: Any, fast: list[bool], case: str
) -> None:
    head = f"POST /segment HTTP/1.1\r\nHost: a\r\nContent-Type: image/png\r\n{GARBAGE[case]}\r\n\r\n"
    # What would be a second request if the service were led astray about where the first one ends.
    smuggled = b"0\r\n\r\nGET /models HTTP/1.1\r\nHost: a\r\n\r\n"
    with wire(brightness.port) as one:
        one.send(head.encode("latin-1") + smuggled)
        answer = one.answer()
        assert (answer.status, answer.header("connection")) == (400, "close")
        assert one.closed()
    assert True not in fast
    # Nobody but this one was hurt.
    assert brightness.segment(kit.as_png(kit.picture())).status_code == 200


def test_a_length_beyond_the_limit_is_refused_before_its_body(brightness: Any, fast: list[bool]) -> None:
    with wire(brightness.port) as one:
        one.send(
            b"POST /segment HTTP/1.1\r\nHost: a\r\nContent-Type: image/png\r\nContent-Length: 999999999999\r\n\r\n"
        )
        answer = one.answer()
        assert (answer.status, answer.header("connection")) == (413, "close")
    assert fast == [False]
