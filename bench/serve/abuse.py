"""What a server does when it is treated badly. One JSON line a contestant.

    python -m bench.serve.abuse segx fastapi triton_py

Each probe is a function below, named as in the result. All of it is bounded and on loopback. A probe never fails the
run; the figures are the result.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import socket
import struct
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import cv2
import numpy as np

from bench.serve import client, places, processes
from bench.serve.contestants import chosen
from bench.serve.make_models import scene
from bench.serve.running import Answer, Server, quit_on_sigterm, start, stop

Result = dict[str, Any]
SLOW, SLOW_WAIT = 200, 12.0
FEW, MANY, LOAD_SECONDS = 32, 256, 4.0
BOMB_SIDE = 12000
HANG = 10.0
"""Seconds after which a request counts as hung."""
IN_FLIGHT = 12


def main() -> None:
    """Probe the contestants one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+")
    parser.add_argument("--workload", choices=("tiny", "real", "real256"), default="tiny")
    parser.add_argument("--port", type=int, default=9320)
    given = parser.parse_args()
    quit_on_sigterm()
    for name in given.names:
        print(json.dumps(abuse(name, given.workload, given.port)), flush=True)


def abuse(name: str, workload: str = "tiny", port: int = 9320) -> Result:
    """All probes of one contestant, started for the purpose; SIGTERM is for a fresh one that nobody has hurt."""
    turns: tuple[tuple[Callable[[Server], Any], ...], ...] = (
        (bodies, bomb, large_body, half_open, crowd, kills),
        (sigterm,),
    )
    result: Result = {"name": name}
    for probes in turns:
        server = start(name, chosen(name)[name], workload, port)
        if server is None:
            return result | {"error": "did not start"}
        result.setdefault("processes", len(processes.tree(server.pid)))
        try:
            for probe in probes:
                result[probe.__name__] = probe(server)
        finally:
            stop(server)
    return result


def good(server: Server) -> bytes:
    """A picture that must be answered."""
    return places.pictures(server.workload)[0].read_bytes()


def bodies(server: Server) -> Result:
    """Good, garbage, truncated, empty: the statuses, and the beginning of what is said of garbage."""
    fine = good(server)
    garbage = server.post(b"not an image at all" * 10)
    return {
        "good": server.post(fine).status,
        "garbage": garbage.status,
        "garbage_says": garbage.body[:100].decode(errors="replace"),
        "truncated": server.post(fine[: len(fine) // 2]).status,
        "empty": server.post(b"").status,
        "good_afterwards": server.post(fine).status,
    }


def bomb(server: Server) -> Result:
    """A PNG of a few hundred KB that unpacks to 12000 x 12000."""
    picture = png_bomb(BOMB_SIDE)
    with processes.Peak(server.pid) as peak:
        answer = server.post(picture, 60)
    return {"body_kib": len(picture) >> 10, **_told(answer), "growth_mib": peak.growth_mib}


def large_body(server: Server) -> Result:
    """64 MiB of noise."""
    with processes.Peak(server.pid) as peak:
        answer = server.post(os.urandom(64 << 20), 60)
    return {**_told(answer), "growth_mib": peak.growth_mib}


def _told(answer: Answer) -> Result:
    return {"status": answer.status or answer.error, "seconds": round(answer.seconds, 2)}


def png_bomb(side: int) -> bytes:
    """A grey PNG of zeros, side x side."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer = zlib.compressobj(9)
    rows = b"".join(packer.compress(bytes(side + 1)) for _ in range(side)) + packer.flush()
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def half_open(server: Server) -> Result:
    """200 uploads that stop, half of them within the headers and half within the body; a good request meanwhile."""
    _, headers = server.contestant.wire.body(b"")
    lines = [f"POST {server.contestant.wire.path} HTTP/1.1", "Host: a", "Content-Length: 100000"]
    lines += [f"{name}: {value}" for name, value in headers.items() if name != "Inference-Header-Content-Length"]
    head = "\r\n".join(lines) + "\r\n"
    slow = []
    for index in range(SLOW):
        one = socket.create_connection(("127.0.0.1", server.port), timeout=5)
        one.sendall(head.encode() if index % 2 else f"{head}\r\nabc".encode())
        slow.append(one)
    during = server.post(good(server))
    time.sleep(SLOW_WAIT)
    still = sum(_is_open(one) for one in slow)
    for one in slow:
        one.close()
    return {
        "opened": SLOW,
        "good_meanwhile": during.status or during.error,
        "good_meanwhile_ms": round(during.seconds * 1e3),
        f"open_after_{SLOW_WAIT:.0f}_s": still,
        "good_afterwards": server.post(good(server)).status,
    }


def _is_open(connection: socket.socket) -> bool:
    """Whether the other side has not closed it; an answer that waits to be read is read first."""
    connection.settimeout(0.01)
    try:
        while connection.recv(65536):
            pass
    except TimeoutError:
        return True
    except OSError:
        return False
    return False


def crowd(server: Server) -> Result:
    """256 clients against 32: what is answered, how long the accepted wait, whether refusals say when to come back.

    `insistent` clients ask again at once after a 503, `patient` ones after a quarter of a second.
    """
    asks = [
        client.wire_format(server.contestant.wire.path, *server.contestant.wire.body(path.read_bytes()))
        for path in places.pictures(server.workload)
    ]
    result: Result = {}
    for name, count, pause in (("few", FEW, 0.0), ("insistent", MANY, 0.0), ("patient", MANY, 0.25)):
        seen = client.load(server.port, asks, count, LOAD_SECONDS, pause)
        refused = seen.with_status(503)
        result[name] = {
            "connections": count,
            "statuses": seen.statuses(),
            "accepted_per_second": round(len(seen.with_status(200)) / LOAD_SECONDS),
            "p50_ms": seen.latency_ms(50),
            "p99_ms": seen.latency_ms(99),
            "refusals_with_retry_after": sum(one.retry_after for one in refused),
        }
    return result


def kills(server: Server) -> list[Result]:
    """kill -9 of each process below the root in turn, under light load."""
    return [_kill(server, pid) for pid in processes.tree(server.pid)[1:] if processes.is_alive(pid)]


def _kill(server: Server, victim: int) -> Result:
    picture, ended = good(server), threading.Event()
    counts: Counter[str] = Counter()

    def visitor() -> None:
        while not ended.is_set():
            answer = server.post(picture, HANG)
            counts[str(answer.status or answer.error)] += 1
            time.sleep(0.01)

    name = processes.command(victim)[-80:]
    visitors = [threading.Thread(target=visitor) for _ in range(4)]
    for one in visitors:
        one.start()
    time.sleep(0.3)
    with contextlib.suppress(ProcessLookupError):
        os.kill(victim, signal.SIGKILL)
    recovered = seconds_to_recover(server, picture, patience=25)
    ended.set()
    for one in visitors:
        one.join()
    return {
        "killed": name,
        "recovered_seconds": recovered,
        "meanwhile": dict(sorted(counts.items())),
        "hung": sum(count for status, count in counts.items() if status in ("TimeoutError", "timeout")),
        "root_alive": server.process.poll() is None,
        "processes_afterwards": len(processes.tree(server.pid)),
    }


def seconds_to_recover(server: Server, picture: bytes, patience: float) -> float | None:
    """Until the first of three good answers in a row; None where that never came."""
    began, since, row = time.monotonic(), 0.0, 0
    while time.monotonic() - began < patience:
        if server.post(picture, 5).status == 200:
            since = since if row else time.monotonic() - began
            row += 1
            if row == 3:
                return round(since, 2)
        else:
            row = 0
        time.sleep(0.02)
    return None


def sigterm(server: Server) -> Result:
    """SIGTERM while requests are being worked on: how many of them are answered, and how long the end takes."""
    large = scene(np.random.default_rng(1), 1500, 2000)
    written, data = cv2.imencode(".jpg", large)
    assert written
    with ThreadPoolExecutor(IN_FLIGHT) as pool:
        asked = [pool.submit(server.post, data.tobytes(), HANG) for _ in range(IN_FLIGHT)]
        time.sleep(0.05)
        began = time.monotonic()
        os.kill(server.pid, signal.SIGTERM)
        answers = [one.result() for one in asked]
    until = time.monotonic() + 40
    while processes.is_alive(server.pid) and server.process.poll() is None and time.monotonic() < until:
        time.sleep(0.02)
    counts = Counter(str(answer.status or answer.error) for answer in answers)
    return {
        "in_flight": IN_FLIGHT,
        "answers": dict(sorted(counts.items())),
        "ended_after_seconds": round(time.monotonic() - began, 2) if server.process.poll() is not None else None,
        "exit_code": server.process.poll(),
    }


if __name__ == "__main__":
    main()
