"""Hard conditions: a model that wants all memory, the smallest queue, no time, a log nobody reads, a taken port."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import httpx
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

ROOT = Path(__file__).parents[2]
PROGRAM = """
import json, sys
from pathlib import Path
from segx_core.errors import SegxError
from segx_serve import Settings
from segx_serve.run import serve
try:
    serve([Path(sys.argv[3])], Settings(**json.loads(sys.argv[1])), provider="cpu", workers=int(sys.argv[2]))
except SegxError as error:
    sys.exit(f"refused: {error}")
"""


def start(
    model: Path, port: int, workers: int, before: Callable[[], None] | None = None, **settings: object
) -> subprocess.Popen[bytes]:
    chosen = json.dumps({"port": port, "drain_seconds": 2, "threads": 1, **settings})
    paths = os.pathsep.join(str(ROOT / part) for part in (".", "core", "serve"))
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, chosen, str(workers), str(model)],
        env={**os.environ, "PYTHONPATH": paths},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        preexec_fn=before,
    )


@contextlib.contextmanager
def serving(
    model: Path, port: int, workers: int = 1, before: Callable[[], None] | None = None, **settings: object
) -> Iterator[tuple[subprocess.Popen[bytes], httpx.Client]]:
    """A service that is ready, whose stderr nobody reads."""
    child = start(model, port, workers, before, **settings)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            give_up = time.monotonic() + 60
            while not ready(client):
                assert child.poll() is None
                assert time.monotonic() < give_up
                time.sleep(0.02)
            yield child, client
    finally:
        child.kill()
        child.communicate()


def ready(client: httpx.Client) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return client.get("/v2/health/ready").status_code == 200
    return False


def ask(client: httpx.Client, body: bytes) -> httpx.Response:
    headers = {"Content-Type": "image/png", "Accept": "application/octet-stream"}
    return client.post("/segment", content=body, headers=headers)


def greedy(path: Path, source: Path) -> None:
    """The brightness model, which wants a terabyte for a picture with a white pixel in it."""
    model = onnx.load(source)
    graph = model.graph
    graph.node[-1].output[0] = "fine"
    graph.initializer.extend(
        [
            helper.make_tensor("white", TensorProto.FLOAT, [], [255.0]),
            helper.make_tensor("much", TensorProto.INT64, [1], [2**38]),
            helper.make_tensor("one", TensorProto.INT64, [1], [1]),
            helper.make_tensor("none", TensorProto.FLOAT, [], [0.0]),
        ]
    )
    graph.node.extend(
        [
            helper.make_node("ReduceMax", ["mean"], ["highest"], keepdims=0),
            helper.make_node("GreaterOrEqual", ["highest", "white"], ["too"]),
            helper.make_node("Where", ["too", "much", "one"], ["size"]),
            helper.make_node("ConstantOfShape", ["size"], ["space"]),
            helper.make_node("ReduceMax", ["space"], ["nothing"], keepdims=0),
            helper.make_node("Cast", ["nothing"], ["zero"], to=TensorProto.UINT8),
            helper.make_node("Add", ["fine", "zero"], ["classmap"]),
        ]
    )
    onnx.save(model, path)


def test_a_picture_that_makes_the_model_want_all_memory_fails_alone(
    kit: SimpleNamespace, model_file: Path, tmp_path: Path, free_port: int
) -> None:
    def bounded() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (16 * 2**30, 16 * 2**30))

    greedy(tmp_path / "tiny.onnx", model_file)
    pixels = kit.picture(3)
    pixels[..., 0] //= 2
    fatal = pixels.copy()
    fatal[0, 0] = 255
    good = kit.Brightness().run(pixels[None]).tobytes()
    with serving(tmp_path / "tiny.onnx", free_port, 1, bounded) as (_, client), ThreadPoolExecutor(8) as pool:
        bodies = [kit.as_png(fatal if number % 4 == 0 else pixels) for number in range(40)]
        answers = list(pool.map(lambda body: ask(client, body), bodies))
        for number, answer in enumerate(answers):
            if number % 4 == 0:
                assert answer.status_code in (500, 503), number
            else:
                assert answer.status_code == 503 or answer.content == good, number
        assert ask(client, bodies[1]).content == good


def test_the_smallest_queue_and_hardly_any_time(kit: SimpleNamespace, model_file: Path, free_port: int) -> None:
    pixels = kit.picture(3, 600, 600)
    body, good = kit.as_png(pixels), kit.Brightness().run(pixels[None]).tobytes()
    with serving(model_file, free_port, 1, max_queue=1, deadline_ms=0.01) as (_, client), ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: ask(client, body), range(60)))
        assert {one.status_code for one in answers} <= {200, 503}
        assert all(one.content == good for one in answers if one.status_code == 200)
        assert all(one.headers["retry-after"] in ("1", "2") for one in answers if one.status_code == 503)
        assert 503 in {one.status_code for one in answers}
        text = client.get("/metrics").text
        assert "segx_requests_inside 0.0" in text
        assert "segx_bytes_held 0.0" in text


@pytest.mark.parametrize("workers", [0, 1])
def test_a_log_that_nobody_reads_stops_nothing(
    kit: SimpleNamespace, model_file: Path, free_port: int, workers: int
) -> None:
    body = kit.as_png(kit.picture())
    with serving(model_file, free_port, workers, access_log=True) as (child, client):
        # A pipe holds 64 KiB; every line has about 100 bytes.
        for _ in range(1500):
            assert client.get("/v2/health/live", headers={"X-Request-Id": "x" * 100}).status_code == 200
        assert ask(client, body).status_code == 200
        child.send_signal(signal.SIGHUP)
        assert child.wait(40) == 0


@pytest.mark.parametrize("workers", [0, 2])
def test_a_second_service_on_the_same_port_is_refused(
    kit: SimpleNamespace, model_file: Path, free_port: int, workers: int
) -> None:
    with serving(model_file, free_port, 1) as (_, client):
        second = start(model_file, free_port, workers)
        said = second.communicate(timeout=60)[1].decode()
        assert second.returncode == 1
        assert "refused: " in said
        assert "already in use" in said
        assert ask(client, kit.as_png(kit.picture())).status_code == 200


def test_five_front_ends_share_one_model(kit: SimpleNamespace, model_file: Path, free_port: int) -> None:
    pixels = [kit.picture(seed) for seed in range(20)]
    with serving(model_file, free_port, 5, max_queue=64) as (child, client):

        def one(picture: np.ndarray) -> bool:
            with httpx.Client(base_url=client.base_url, timeout=60) as own:
                answer = ask(own, kit.as_png(picture))
            return bool(answer.content == kit.Brightness().run(picture[None]).tobytes())

        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(one, pixels))
        child.send_signal(signal.SIGTERM)
        assert child.wait(40) == 0


if sys.platform == "win32":
    pytestmark = pytest.mark.skip(reason="services of several processes need Unix sockets")
