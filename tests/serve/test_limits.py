"""Too large, too slow, too many: every refusal costs little, says why, and leaves the service as it was."""

from __future__ import annotations

import socket
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import httpx


def bomb(side: int) -> bytes:
    """A small PNG file whose header promises side x side pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    rows = zlib.compress(b"\0" * 10_000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def talk(port: int, sent: bytes) -> bytes:
    """Send bytes, then read until the service closes the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        client.sendall(sent)
        received = b""
        while chunk := client.recv(65536):
            received += chunk
        return received


def test_a_png_bomb_is_refused_from_its_header(serve: Any, kit: SimpleNamespace) -> None:
    running = serve({"m": kit.Brightness()}, max_pixels=10**6)
    answer = running.segment(bomb(12000))
    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "picture_too_large"
    assert "12000" in answer.json()["error"]["message"]
    assert 'segx_stage_seconds_count{stage="run"} 0.0' in running.client.get("/metrics").text


def test_a_body_over_the_limit_is_refused_by_its_announced_length(serve: Any, kit: SimpleNamespace) -> None:
    running = serve({"m": kit.Brightness()}, max_body=1000)
    # Nothing of the body is sent: the answer cannot have waited for it.
    head = b"POST /segment HTTP/1.1\r\nHost: a\r\nContent-Type: image/png\r\nContent-Length: 1001\r\n\r\n"
    with socket.create_connection(("127.0.0.1", running.port), timeout=30) as client:
        client.sendall(head)
        answer = client.recv(65536)
    assert b" 413 " in answer.splitlines()[0]
    assert b"connection: close" in answer


def test_a_body_over_the_limit_is_refused_while_it_streams(serve: Any, kit: SimpleNamespace) -> None:
    running = serve({"m": kit.Brightness()}, max_body=1000)
    head = b"POST /segment HTTP/1.1\r\nHost: a\r\nContent-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\n"
    # The stream never ends, and yet there is an answer.
    answer = talk(running.port, head + b"400\r\n" + b"x" * 1024 + b"\r\n")
    assert b" 413 " in answer.splitlines()[0]


def test_a_client_that_sends_all_of_a_refused_upload_can_read_the_answer(serve: Any, kit: SimpleNamespace) -> None:
    running = serve({"m": kit.Brightness()}, max_body=1000)
    answer = running.segment(b"x" * 20_000_000)
    assert answer.status_code == 413
    assert running.segment(kit.as_png(kit.picture())).status_code == 200


def test_half_open_uploads_end_with_408(serve: Any, kit: SimpleNamespace) -> None:
    running = serve({"m": kit.Brightness()}, read_timeout=0.3)
    head = b"POST /segment HTTP/1.1\r\nHost: a\r\nContent-Type: image/png\r\nContent-Length: 100000\r\n\r\n"
    for sent in (head, head + b"some bytes"):
        assert b" 408 " in talk(running.port, sent).splitlines()[0]
    assert "segx_bytes_held 0.0" in running.client.get("/metrics").text


def test_half_sent_headers_end_with_408(serve: Any, kit: SimpleNamespace) -> None:
    running = serve({"m": kit.Brightness()}, read_timeout=0.3)
    whole = b"GET /v2 HTTP/1.1\r\nHost: a\r\n\r\n"
    for sent in (b"", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n", b"\r\n\r\n"):
        assert b" 408 " in talk(running.port, sent).splitlines()[0]
    # A second request on a connection that was served once has the same time, no more.
    with socket.create_connection(("127.0.0.1", running.port), timeout=30) as client:
        client.sendall(whole)
        assert b" 200 " in client.recv(65536)
        client.sendall(b"GET /v2 HT")
        assert b" 408 " in client.recv(65536)
        assert client.recv(65536) == b""


def test_endless_headers_end_with_431(serve: Any, kit: SimpleNamespace) -> None:
    running = serve({"m": kit.Brightness()})
    answer = talk(running.port, b"GET / HTTP/1.1\r\n" + b"".join(b"X-%d: %s\r\n" % (i, b"y" * 90) for i in range(1000)))
    assert b" 431 " in answer.splitlines()[0]


def test_a_full_service_sheds_and_says_when_to_come_back(serve: Any, kit: SimpleNamespace) -> None:
    slow = kit.Gated()
    running = serve({"m": slow}, warm=False, engines=1, max_queue=2)
    data = kit.as_png(kit.picture())
    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(running.segment, data) for _ in range(2)]
        kit.until(lambda: running.engine("m").depth == 2)
        shed = running.segment(data)
        assert shed.status_code == 503
        assert int(shed.headers["retry-after"]) >= 1
        assert shed.json()["error"]["code"] == "overloaded"
        # The refused body was small and already there: its connection goes on.
        assert "connection" not in shed.headers
        slow.gate.set()
        assert [one.result().status_code for one in waiting] == [200, 200]
    assert running.segment(data).status_code == 200
    assert 'segx_shed_total{reason="requests"} 1.0' in running.client.get("/metrics").text


def test_pictures_that_would_hold_too_many_bytes_are_shed(serve: Any, kit: SimpleNamespace) -> None:
    slow = kit.Gated()
    limits = {"max_body": 10_000, "max_pixels": 10_000, "max_queue_bytes": 40_000}
    running = serve({"m": slow}, warm=False, engines=1, **limits)
    data = kit.as_png(kit.picture(0, 96, 96))  # 27,648 bytes of pixels
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(running.segment, data)
        kit.until(lambda: running.engine("m").depth == 1)
        assert running.segment(data).status_code == 503
        slow.gate.set()
        assert first.result().status_code == 200
    metrics = running.client.get("/metrics").text
    assert 'segx_shed_total{reason="bytes"} 1.0' in metrics
    assert "segx_bytes_held 0.0" in metrics


def test_a_request_past_its_deadline_is_not_run(serve: Any, kit: SimpleNamespace) -> None:
    slow = kit.Gated()
    running = serve({"m": slow}, warm=False, engines=1, deadline_ms=50)
    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(running.segment, kit.as_png(kit.picture()))
        kit.until(lambda: running.engine("m").depth == 1)
        oldest = running.held("m")
        kit.until(lambda: kit.time.perf_counter() > oldest.call.deadline)
        slow.gate.set()
        answer = late.result()
    assert answer.status_code == 503
    assert "deadline" in answer.json()["error"]["message"]
    assert slow.batches == [1]  # the warm-up alone


def test_the_picture_of_a_client_that_hung_up_is_not_run(serve: Any, kit: SimpleNamespace) -> None:
    slow = kit.Gated()
    running = serve({"m": slow}, warm=False, engines=1)
    data = kit.as_png(kit.picture())
    head = f"POST /segment HTTP/1.1\r\nHost: a\r\nContent-Type: image/png\r\nContent-Length: {len(data)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", running.port)) as client:
        client.sendall(head.encode() + data)
        kit.until(lambda: running.engine("m").depth == 1)
        oldest = running.held("m")
    kit.until(lambda: oldest.call.gone)
    slow.gate.set()
    assert running.segment(data).status_code == 200
    assert slow.batches == [1, 1]  # the warm-up and the second client
    kit.until(lambda: 'segx_shed_total{reason="gone"} 1.0' in running.client.get("/metrics").text)


def test_many_half_open_uploads_do_not_keep_others_out(serve: Any, kit: SimpleNamespace) -> None:
    running = serve({"m": kit.Brightness()}, max_queue=4)
    head = b"POST /segment HTTP/1.1\r\nHost: a\r\nContent-Type: image/png\r\nContent-Length: 100000\r\n\r\nabc"
    clients = []
    try:
        for _ in range(50):
            clients.append(socket.create_connection(("127.0.0.1", running.port)))
            clients[-1].sendall(head)
        with httpx.Client(base_url=running.url) as fresh:
            answer = fresh.post("/segment", content=kit.as_png(kit.picture()), headers={"Content-Type": "image/png"})
        assert answer.status_code == 200
    finally:
        for client in clients:
            client.close()


def test_a_hung_model_does_not_hold_up_the_end(serve: Any, kit: SimpleNamespace, caplog: Any) -> None:
    slow = kit.Gated()
    running = serve({"m": slow}, warm=False, engines=1, drain_seconds=0)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(running.segment, kit.as_png(kit.picture()))
        kit.until(lambda: running.engine("m").depth == 1)
        running.stop()
        answer = waiting.result()
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "stopping")
    assert "left behind" in caplog.text
    slow.gate.set()
    kit.until(lambda: not [one for one in kit.threading.enumerate() if one.name.startswith("segx-engine")])
    assert slow.batches == [1]  # the warm-up alone: nobody waits for the picture any more


def test_a_run_that_hangs_holds_no_client_and_is_told_by_readiness(
    serve: Any, kit: SimpleNamespace, caplog: Any
) -> None:
    slow = kit.Gated()
    slow.gate.set()
    running = serve({"m": slow, "other": kit.Brightness()}, engines=1, max_batch=1, run_timeout=0.3)
    slow.gate.clear()
    data = kit.as_png(kit.picture())
    with ThreadPoolExecutor(3) as pool:
        # One hangs in its run, two wait behind it.
        answers = list(pool.map(lambda _: running.segment(data, params={"model": "m"}), range(3)))
    for answer in answers:
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "overloaded")
        assert "retry-after" in answer.headers
    assert "a run has not ended within 0.3 s" in caplog.text
    ready = running.client.get("/v2/health/ready")
    assert (ready.status_code, set(ready.json()["waiting"])) == (503, {"m"})
    late = running.segment(data, params={"model": "m"})
    assert (late.status_code, late.json()["error"]["code"]) == (503, "not_ready")
    assert running.segment(data, params={"model": "other"}).status_code == 200
    metrics = running.client.get("/metrics").text
    assert 'segx_shed_total{reason="lost"} 3.0' in metrics
    assert "segx_bytes_held 0.0" in metrics
    assert "segx_requests_inside 0.0" in metrics
    slow.gate.set()  # what comes back now is late, and answers nobody


def test_the_memory_of_a_hung_run_is_not_given_to_others_before_it_ends(serve: Any, kit: SimpleNamespace) -> None:
    seen: list[Any] = []

    class Late(kit.Gated):  # type: ignore[misc, name-defined]
        def run(self, batch: Any) -> Any:
            result = super().run(batch)
            seen.append(batch.copy())
            return result

    slow = Late()
    slow.gate.set()
    running = serve({"m": slow, "other": kit.Brightness()}, engines=1, max_batch=1, run_timeout=0.3)
    slow.gate.clear()
    assert running.segment(kit.as_png(kit.picture(1)), params={"model": "m"}).status_code == 503
    # Pictures of the same size that come meanwhile must lie elsewhere.
    for seed in range(2, 6):
        assert running.segment(kit.as_png(kit.picture(seed)), params={"model": "other"}).status_code == 200
    slow.gate.set()
    kit.until(lambda: len(seen) == 2)
    assert (seen[1][0] == kit.picture(1)).all()
    # Once it has ended, its place is free again.
    kit.until(lambda: running.app.service.arena.take(1) == 0)
