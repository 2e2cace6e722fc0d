"""Starts a contestant, waits until it answers a picture, and ends it with everything below it."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from bench.serve import places, processes
from bench.serve.contestants import Contestant

PATIENCE = 60.0


@dataclass(frozen=True)
class Answer:
    """Of one request."""

    status: int
    """0: no answer."""
    seconds: float
    body: bytes = b""
    error: str = ""
    retry_after: str = ""


@dataclass(frozen=True)
class Server:
    """A contestant that is up."""

    name: str
    contestant: Contestant
    workload: str
    port: int
    process: subprocess.Popen[bytes]
    start_seconds: float

    @property
    def pid(self) -> int:
        """The root of its tree."""
        return self.process.pid

    def post(self, picture: bytes, timeout: float = 30) -> Answer:
        """One picture, on a connection of its own."""
        body, headers = self.contestant.wire.body(picture)
        return request(self.port, "POST", self.contestant.wire.path, body, headers, timeout)


def request(
    port: int, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None, timeout: float = 30
) -> Answer:
    """One request; what goes wrong on the way is an Answer too."""
    began = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request(method, path, body or None, headers or {})
        reply = connection.getresponse()
        data = reply.read()
        retry = reply.headers.get("Retry-After", "")
        return Answer(reply.status, time.perf_counter() - began, data, retry_after=retry)
    except (OSError, http.client.HTTPException) as error:
        return Answer(0, time.perf_counter() - began, error=type(error).__name__)
    finally:
        connection.close()


def start(name: str, contestant: Contestant, workload: str, port: int, picture: bytes = b"") -> Server | None:
    """A server that has answered one picture; None where it did not, its output is in the log then.

    Args:
        picture: the one to be answered; the workload's first where empty.
    """
    if workload == "sim" and not contestant.simulates:
        return None
    log_path = places.logs() / f"{workload}_{name}.txt"
    model = str(places.twin(workload))
    settings = {"BENCH_MODEL": workload, "PORT": str(port), **contestant.environment}
    paths = [str(places.ROOT)]
    if contestant.is_segx and os.environ.get("PYTHONPATH"):
        paths.append(os.environ["PYTHONPATH"])
    if "triton" in name:  # its Python backend must load the libpython that the environment was made with
        settings["LD_LIBRARY_PATH"] = f"{sys.base_prefix}/lib:{os.environ.get('LD_LIBRARY_PATH', '')}"
    began = time.monotonic()
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [part.format(port=port, model=model) for part in contestant.command],
            env={**os.environ, **settings, "PYTHONPATH": ":".join(paths)},
            cwd=places.ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    server = Server(name, contestant, workload, port, process, 0.0)
    picture = picture or places.pictures(workload)[0].read_bytes()
    while time.monotonic() - began < PATIENCE and process.poll() is None:
        is_up = not contestant.ready or request(port, "GET", contestant.ready, timeout=5).status == 200
        if is_up and server.post(picture, 10).status == 200:
            return Server(name, contestant, workload, port, process, round(time.monotonic() - began, 1))
        time.sleep(0.1)
    stop(server)
    return None


def stop(server: Server) -> None:
    """End it and all below it."""
    processes.end(server.pid)
    server.process.wait()


def offers(option: str) -> bool:
    """Whether this segx's `serve` knows an option."""
    command = (places.segx_python(), "-m", "segx", "serve", "--help")
    environment = {**os.environ, "COLUMNS": "200"}
    said = subprocess.run(command, capture_output=True, text=True, check=True, cwd=places.ROOT, env=environment)
    return option in said.stdout


def quit_on_sigterm() -> None:
    """Have SIGTERM end this program as an error does, so that what it started is ended too."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))


@contextmanager
def servers(chosen: dict[str, Contestant], workload: str, port: int) -> Iterator[dict[str, Server]]:
    """Start them all, one after the other; those that do not start are reported on stderr and left out."""
    up: dict[str, Server] = {}
    try:
        for index, (name, contestant) in enumerate(chosen.items()):
            server = start(name, contestant, workload, port + 5 * index)
            if server is None:
                print(f"{name} did not start on {workload}; see {places.logs()}", file=sys.stderr)
            else:
                up[name] = server
        yield up
    finally:
        for server in up.values():
            stop(server)
