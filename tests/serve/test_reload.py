"""Models changed, spoilt and taken away under load: every mask right, and new once a change is done."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import onnx
import psutil
import pytest
from onnx import numpy_helper

ROOT = Path(__file__).parents[2]
PROGRAM = """
import json, sys
from pathlib import Path
from segx_serve import Settings
from segx_serve.run import serve
settings = Settings(**json.loads(sys.argv[1]))
serve([Path(one) for one in sys.argv[3:]], settings, provider="cpu", workers=int(sys.argv[2]))
"""


@dataclass
class Service:
    """One in processes of its own."""

    child: subprocess.Popen[bytes]
    port: int
    log: Path

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=60)

    def ready(self) -> bool:
        with self.client() as client:
            try:
                return client.get("/v2/health/ready").status_code == 200
            except httpx.TransportError:
                assert self.child.poll() is None, self.log.read_text()
                return False

    def children(self, module: str) -> list[psutil.Process]:
        found = psutil.Process(self.child.pid).children()
        return [one for one in found if f"segx_serve.{module}" in one.cmdline()]

    def end(self) -> str:
        """SIGTERM, and what it logged."""
        self.child.send_signal(signal.SIGTERM)
        assert self.child.wait(40) == 0, self.log.read_text()
        return self.log.read_text()


@contextlib.contextmanager
def serving(tmp_path: Path, port: int, *models: Path, workers: int = 1, **settings: object) -> Iterator[Service]:
    chosen = json.dumps({"port": port, "admin": True, "drain_seconds": 5, "threads": 1, **settings})
    paths = os.pathsep.join(str(ROOT / part) for part in (".", "core", "serve"))
    log = tmp_path / "log"
    with log.open("wb") as out:
        child = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, chosen, str(workers), *map(str, models)],
            env={**os.environ, "PYTHONPATH": paths},
            stdout=out,
            stderr=out,
        )
    tree: list[psutil.Process] = []
    try:
        yield Service(child, port, log)
        if child.poll() is None:
            tree = psutil.Process(child.pid).children(recursive=True)
    finally:
        child.kill()
        child.wait()
        # Without their supervisor the others end by themselves.
        assert not psutil.wait_procs(tree, 30)[1]


def variant(path: Path, source: Path, step: float) -> None:
    """The brightness model with classes of another width; put in place at once."""
    model = onnx.load(source)
    (found,) = [one for one in model.graph.initializer if one.name == "step"]
    found.CopyFrom(numpy_helper.from_array(np.array(step, np.float32), "step"))
    onnx.save(model, path.with_suffix(".new"))
    path.with_suffix(".new").rename(path)


def expected(pixels: Any, step: int) -> bytes:
    return bytes((pixels.mean(axis=-1) // step).astype(np.uint8).tobytes())


class Load:
    """Clients that ask without pause, and what they were answered."""

    def __init__(self, service: Service, kit: SimpleNamespace, clients: int = 3) -> None:
        self.pixels = kit.picture(7)
        self.body = kit.as_png(self.pixels)
        self.service = service
        self.seen: Counter[object] = Counter()
        self._enough = threading.Event()
        self._pool = ThreadPoolExecutor(clients)
        self._asking = [self._pool.submit(self._ask) for _ in range(clients)]

    def one(self, client: httpx.Client, model: str = "") -> object:
        """A mask, or a status that is none."""
        answer = client.post(
            "/segment" + model,
            content=self.body,
            headers={"Accept": "application/octet-stream", "Content-Type": "image/png"},
        )
        return answer.content if answer.status_code == 200 else answer.status_code

    def _ask(self) -> None:
        with self.service.client() as client:
            while not self._enough.is_set():
                try:
                    self.seen[self.one(client, "?model=tiny")] += 1
                except httpx.TransportError as error:
                    self.seen[type(error).__name__] += 1

    def end(self) -> Counter[object]:
        self._enough.set()
        for asking in self._asking:
            asking.result(60)
        self._pool.shutdown()
        return self.seen


@pytest.mark.parametrize("workers", [0, 1])
def test_models_change_under_load_without_a_wrong_mask(
    kit: SimpleNamespace, model_file: Path, tmp_path: Path, free_port: int, workers: int
) -> None:
    path = tmp_path / "tiny.onnx"
    variant(path, model_file, 64)
    with serving(tmp_path, free_port, path, workers=workers) as service, service.client() as client:
        kit.until(service.ready)
        load = Load(service, kit)
        old, new = expected(load.pixels, 64), expected(load.pixels, 128)
        kit.until(lambda: load.seen[old] > 20)

        # Rubbish, a file cut off, one that is gone: refused, and the old one serves on.
        whole = path.read_bytes()
        for content in (b"rubbish", whole[: len(whole) // 2], b"")[: 1 if workers else 3]:
            path.write_bytes(content)
            assert client.post("/v2/repository/models/tiny/load").status_code == 400
        path.unlink()
        assert client.post("/v2/repository/models/tiny/load").status_code in (400, 404)
        assert client.post("/v2/repository/models/none/load").status_code == 404
        assert set(load.seen) == {old}

        # Twice at once; from then on only new masks.
        variant(path, model_file, 128)
        with ThreadPoolExecutor(2) as pool:
            asked = [pool.submit(client.post, "/v2/repository/models/tiny/load") for _ in range(2)]
            assert [one.result().status_code for one in asked] == [200, 200]
        assert {load.one(client) for _ in range(10)} == {new}
        kit.until(lambda: load.seen[new] > 20)

        # A body that comes slowly, from before a change to after it, meets the new one.
        variant(path, model_file, 64)
        with socket.create_connection(("127.0.0.1", free_port), timeout=30) as slow:
            head = b"POST /segment HTTP/1.1\r\nHost: a\r\nAccept: application/octet-stream\r\nContent-Length: "
            slow.sendall(head + b"%d\r\n\r\n" % len(load.body) + load.body[:50])
            kit.until(lambda: "segx_bytes_held 0.0" not in client.get("/metrics").text)
            assert client.post("/v2/repository/models/tiny/load").status_code == 200
            slow.sendall(load.body[50:])
            answer = b""
            while not answer.endswith(old):
                more = slow.recv(65536)
                assert more, answer
                answer += more

        # Away with it, while clients ask: everyone is answered.
        assert client.post("/v2/repository/models/tiny/unload").status_code == 200
        assert load.one(client, "?model=tiny") == 404
        kit.until(lambda: load.seen[404] > 20)
        assert client.post("/v2/repository/models/tiny/load").status_code == 200
        before = load.seen[old]
        kit.until(lambda: load.seen[old] > before + 20)
        seen = load.end()
        assert set(seen) <= {old, new, 404, 503}, seen
        assert "Traceback" not in service.end()


def test_a_spoilt_file_takes_no_other_model_along_when_a_process_is_started_again(
    kit: SimpleNamespace, model_file: Path, tmp_path: Path, free_port: int
) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    for name in ("tiny", "other"):
        shutil.copy(model_file, folder / f"{name}.onnx")
    with serving(tmp_path, free_port, folder) as service, service.client() as client:
        kit.until(service.ready)
        load = Load(service, kit, 1)
        (folder / "other.onnx").write_bytes(b"rubbish")
        kit.until(lambda: "is not taken" in service.log.read_text())
        assert load.one(client, "?model=other") == expected(load.pixels, 64)
        (host,) = service.children("host")
        before = load.seen[expected(load.pixels, 64)]
        host.kill()
        kit.until(lambda: load.seen[expected(load.pixels, 64)] > before + 5 and service.children("host") != [host])
        assert load.one(client, "?model=other") == 503
        # Mended, it is back.
        shutil.copy(model_file, folder / "other.onnx")
        kit.until(lambda: load.one(client, "?model=other") == expected(load.pixels, 64))
        assert set(load.end()) <= {expected(load.pixels, 64), 503}


def test_a_change_while_a_front_end_is_killed_and_an_end_during_a_change(
    kit: SimpleNamespace, model_file: Path, tmp_path: Path, free_port: int
) -> None:
    path = tmp_path / "tiny.onnx"
    variant(path, model_file, 64)
    with serving(tmp_path, free_port, path, workers=2) as service, service.client() as client:
        kit.until(lambda: service.ready() and len(service.children("front")) == 2)
        load = Load(service, kit, 1)
        variant(path, model_file, 128)
        with ThreadPoolExecutor(1) as pool, service.client() as own:
            asked = pool.submit(own.post, "/v2/repository/models/tiny/load")
            service.children("front")[0].kill()
            with contextlib.suppress(httpx.TransportError):  # the client of the one that was killed
                assert asked.result().status_code == 200

        def now() -> object:
            try:
                return load.one(client)
            except httpx.TransportError:
                return None

        kit.until(lambda: [now() for _ in range(3)] == [expected(load.pixels, 128)] * 3)
        load.end()
        with ThreadPoolExecutor(1) as pool, service.client() as own:
            asked = pool.submit(own.post, "/v2/repository/models/tiny/load")
            log = service.end()
            with contextlib.suppress(httpx.TransportError):
                assert asked.result().status_code in (200, 503)
        assert "Traceback" not in log
