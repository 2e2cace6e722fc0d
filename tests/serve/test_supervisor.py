"""The service as users run it: a supervisor, front-ends, a host, and what happens when one of them goes."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
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
from onnx import TensorProto, helper

from segx_core.card import METADATA_KEY, Card
from segx_core.card_io import to_json
from segx_core.picture import decode, encode_mask, overlay
from segx_core.predictor import Predictor

ROOT = Path(__file__).parents[2]
PROGRAM = """
import json, sys
from pathlib import Path
from segx_serve import Settings
from segx_serve.run import serve
told = json.loads(sys.argv[1])
serve([Path(one) for one in told["models"]], Settings(**told["settings"]), provider="cpu", workers=told["workers"])
print("returned")
"""


@dataclass
class Service:
    """A supervised service in processes of its own."""

    supervisor: subprocess.Popen[bytes]
    port: int
    log: Path
    client: httpx.Client

    def processes(self, role: str) -> list[psutil.Process]:
        """Those of one role, "front" or "host"."""
        children = psutil.Process(self.supervisor.pid).children()
        return [one for one in children if f"segx_serve.{role}" in _command(one)]

    def segment(self, data: bytes, model: str, **more: Any) -> httpx.Response:
        headers = {"Content-Type": "image/png", "Connection": "close"}
        return self.client.post("/segment", content=data, headers=headers, params={"model": model}, **more)

    def ready(self) -> int:
        """The status of the readiness answer; 0 without one."""
        try:
            return self.client.get("/v2/health/ready", headers={"Connection": "close"}).status_code
        except httpx.TransportError:
            return 0

    def metric(self, line: str) -> float:
        """The value of one line of the metrics, 0 where it is missing."""
        found = re.search(rf"^{re.escape(line)} (\S+)$", self.client.get("/metrics").text, re.MULTILINE)
        return float(found[1]) if found else 0.0


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:  # it ended meanwhile
        return []


@contextlib.contextmanager
def started(kit: SimpleNamespace, folder: Path, models: list[Path], workers: int, **settings: Any) -> Iterator[Service]:
    """A service of these models, ready; all of its processes are gone afterwards."""
    log = folder / "log"
    with kit.socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    told = {"models": [str(one) for one in models], "settings": {"port": port, **settings}, "workers": workers}
    paths = os.pathsep.join(str(ROOT / part) for part in (".", "core", "serve"))
    (folder / "tmp").mkdir()
    with log.open("wb") as err:
        supervisor = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, json.dumps(told)],
            env={**os.environ, "PYTHONPATH": paths, "PYTHONWARNINGS": "error", "TMPDIR": str(folder / "tmp")},
            stdout=subprocess.PIPE,
            stderr=err,
        )
    family: list[psutil.Process] = []
    try:
        kit.until(lambda: "Listening on" in log.read_text() or supervisor.poll() is not None)
        assert supervisor.poll() is None, log.read_text()
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            service = Service(supervisor, port, log, client)
            kit.until(lambda: service.ready() == 200)
            family = psutil.Process(supervisor.pid).children(recursive=True)
            yield service
            if supervisor.poll() is None:
                family = psutil.Process(supervisor.pid).children(recursive=True)
    finally:
        supervisor.terminate()
        try:
            supervisor.communicate(timeout=30)
        finally:
            supervisor.kill()
            supervisor.communicate()
            for one in family:
                with contextlib.suppress(psutil.NoSuchProcess):
                    one.kill()


def slow_model(path: Path, described: Card) -> Path:
    """The brightness model, in a picture whose brightest value costs time: some 50 ms a unit, and nothing at 0."""
    float_type, int_type = TensorProto.FLOAT, TensorProto.INT64
    body = helper.make_graph(
        [helper.make_node("Tanh", ["before"], ["after"]), helper.make_node("Identity", ["go"], ["going"])],
        "body",
        [
            helper.make_tensor_value_info("number", int_type, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("before", float_type, [100_000]),
        ],
        [
            helper.make_tensor_value_info("going", TensorProto.BOOL, []),
            helper.make_tensor_value_info("after", float_type, [100_000]),
        ],
    )
    nodes = [
        helper.make_node("Cast", ["image"], ["real"], to=float_type),
        helper.make_node("ReduceMax", ["real"], ["brightest"], keepdims=0),
        helper.make_node("Mul", ["brightest", "cost"], ["costs"]),
        helper.make_node("Cast", ["costs"], ["turns"], to=int_type),
        helper.make_node("Loop", ["turns", "", "work"], ["worked"], body=body),
        helper.make_node("ReduceMax", ["worked"], ["most"], keepdims=0),
        helper.make_node("Floor", ["most"], ["nothing"]),  # below 1: the work changes no class
        helper.make_node("ReduceMean", ["real", "axes"], ["mean"], keepdims=0),
        helper.make_node("Div", ["mean", "step"], ["steps"]),
        helper.make_node("Add", ["steps", "nothing"], ["sum"]),
        helper.make_node("Floor", ["sum"], ["whole"]),
        helper.make_node("Cast", ["whole"], ["classmap"], to=TensorProto.UINT8),
    ]
    graph = helper.make_graph(
        nodes,
        "slow",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", "H", "W", 3])],
        [helper.make_tensor_value_info("classmap", TensorProto.UINT8, ["N", "H", "W"])],
        [
            helper.make_tensor("axes", int_type, [1], [3]),
            helper.make_tensor("step", float_type, [], [64.0]),
            helper.make_tensor("cost", float_type, [], [2000.0]),
            helper.make_tensor("work", float_type, [100_000], np.full(100_000, 0.9, np.float32)),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    helper.set_model_props(model, {METADATA_KEY: to_json(described)})
    onnx.save(model, path)
    return path


def plain(value: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """A picture of one brightness: what it costs the slow model is known."""
    return np.full((24, 32, 3), value, np.uint8)


@pytest.fixture(scope="module")
def service(kit: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One service for all tests that leave it in good health: two front-ends, a quick and a slow model."""
    folder = tmp_path_factory.mktemp("service")
    models = [kit.write_model(folder / "tiny.onnx", kit.card()), slow_model(folder / "slow.onnx", kit.card())]
    with started(kit, folder, models, 2, run_timeout=5, drain_seconds=10) as one:
        yield one


@pytest.fixture(scope="module")
def predictor(kit: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    """The quick model, as predict runs it."""
    path = kit.write_model(tmp_path_factory.mktemp("predictor") / "tiny.onnx", kit.card())
    return Predictor.load(path, provider="cpu", threads=1)


class Askers:
    """Clients that ask without a pause, and check every mask, until told to end."""

    def __init__(self, service: Service, data: bytes, expected: list[bytes], model: str, count: int = 4) -> None:
        self._service = service
        self._data, self._expected, self._model = data, expected, model
        self._over = threading.Event()
        self._pool = ThreadPoolExecutor(count)
        self.seen: list[int | Exception] = []
        self._asking = [self._pool.submit(self._ask) for _ in range(count)]

    def _ask(self) -> None:
        while not self._over.is_set():
            try:
                answer = self._service.segment(self._data, self._model)
            except httpx.TransportError as error:
                self.seen.append(error)
                continue
            if answer.status_code == 200:
                assert answer.content in self._expected
            self.seen.append(answer.status_code)

    def end(self) -> list[int | Exception]:
        """All statuses and failures seen; a client that hangs fails here."""
        self._over.set()
        for one in self._asking:
            one.result(60)
        self._pool.shutdown()
        return self.seen


def test_masks_are_those_of_predict_from_every_front_end(
    kit: SimpleNamespace, service: Service, predictor: Predictor
) -> None:
    pictures = [kit.picture(seed, *((24, 32), (32, 24), (40, 40), (300, 200))[seed % 4]) for seed in range(48)]
    files = [(kit.as_jpeg if seed % 3 else kit.as_png)(pixels) for seed, pixels in enumerate(pictures)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda data: service.segment(data, "tiny"), files))
    for data, answer in zip(files, answers, strict=True):
        assert answer.status_code == 200
        assert answer.content == encode_mask(predictor.predict(decode(data)), predictor.card.palette)
    # Connections of their own reached both front-ends: each has a word of its own in its request ids.
    assert len({answer.headers["x-request-id"][:8] for answer in answers}) == 2
    assert len(service.processes("front")) == 2
    assert len(service.processes("host")) == 1


def test_forms_of_answers_that_need_the_picture_have_it(
    kit: SimpleNamespace, service: Service, predictor: Predictor
) -> None:
    pixels = kit.picture(5, 200, 300)
    raw = service.client.post(
        "/segment?model=tiny",
        content=kit.as_png(pixels),
        headers={"Content-Type": "image/png", "Accept": "application/octet-stream", "Accept-Encoding": "identity"},
    )
    expected = predictor.predict(pixels)
    np.testing.assert_array_equal(np.frombuffer(raw.content, np.uint8).reshape(200, 300), expected)
    blended = service.client.post(
        "/segment?model=tiny",
        content=kit.as_png(pixels),
        headers={"Content-Type": "image/png", "Accept": "image/png;overlay=1"},
    )
    np.testing.assert_array_equal(
        kit.np.asarray(kit.Image.open(kit.io.BytesIO(blended.content))),
        overlay(pixels, expected, predictor.card.palette),
    )


def test_the_models_are_told_as_in_one_process(kit: SimpleNamespace, service: Service) -> None:
    slow, tiny = service.client.get("/models").json()["models"]
    assert (slow["name"], tiny["name"]) == ("slow", "tiny")
    assert tiny["classes"] == list(kit.CLASSES)
    assert tiny["provider"] == "CPUExecutionProvider"
    assert tiny["size_bytes"] > 0
    assert service.client.get("/v2/models/tiny/ready").json() == {"name": "tiny", "ready": True}


def test_metrics_are_those_of_all_processes_whoever_answers(kit: SimpleNamespace, service: Service) -> None:
    line = 'segx_requests_total{route="/segment",status="406"}'  # no other test is answered so
    for _ in range(10):
        with httpx.Client(base_url=service.client.base_url) as fresh:
            assert fresh.post("/segment?model=tiny", content=b"x", headers={"Accept": "text/html"}).status_code == 406
    with connections(service) as fronts:
        for front in fronts:
            kit.until(lambda front=front: _value(front, line) == 10)
    assert service.metric('segx_processes{role="front"}') == 2
    assert service.metric('segx_processes{role="host"}') == 1
    assert service.metric('segx_process_resident_bytes{role="host"}') > 10**6


@contextlib.contextmanager
def connections(service: Service) -> Iterator[list[http.client.HTTPConnection]]:
    """An open connection to each of two front-ends."""
    found: dict[int, http.client.HTTPConnection] = {}
    with contextlib.ExitStack() as stack:
        for _ in range(200):
            one = stack.enter_context(
                contextlib.closing(http.client.HTTPConnection("127.0.0.1", service.port, timeout=30))
            )
            one.request("GET", "/v2/health/live")
            one.getresponse().read()
            found.setdefault(_owner(service, one), one)
            if len(found) == 2:
                break
        assert len(found) == 2
        yield list(found.values())


def _owner(service: Service, connection: http.client.HTTPConnection) -> int:
    """The process at the other end."""
    ours = connection.sock.getsockname()[1]
    for front in service.processes("front"):
        if any(one.raddr and one.raddr.port == ours for one in front.net_connections("tcp")):
            return front.pid
    raise AssertionError("nobody has this connection")


def _value(connection: http.client.HTTPConnection, line: str) -> float:
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    found = re.search(rf"^{re.escape(line)} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def test_a_front_end_that_is_killed_costs_its_own_connections_only(
    kit: SimpleNamespace, service: Service, predictor: Predictor
) -> None:
    pixels = kit.picture(7, 100, 100)
    expected = [encode_mask(predictor.predict(pixels), predictor.card.palette)]
    line = 'segx_pictures_total{model="tiny",version="1"}'
    with connections(service) as (first, second):
        assert service.segment(kit.as_png(pixels), "tiny").content in expected
        kit.until(lambda: _value(second, line) > 0)
        askers = Askers(service, kit.as_png(pixels), expected, "tiny")
        kit.until(lambda: len(askers.seen) > 20)
        before = service.metric('segx_process_restarts_total{role="front"}')
        last = _value(second, line)
        os.kill(_owner(service, first), signal.SIGKILL)
        restarts = before
        while restarts == before:
            restarts = _value(second, 'segx_process_restarts_total{role="front"}')
            now = _value(second, line)
            assert now >= last
            last = now
    kit.until(lambda: len(service.processes("front")) == 2)
    enough = len(askers.seen) + 50
    kit.until(lambda: len(askers.seen) > enough)
    seen = askers.end()
    # Cut off with the one that died, or answered; the port was never closed, so nobody was turned away.
    broken = [one for one in seen if isinstance(one, Exception)]
    assert {one for one in seen if isinstance(one, int)} == {200}
    assert all(isinstance(one, httpx.RemoteProtocolError | httpx.ReadError | httpx.WriteError) for one in broken)
    assert len(broken) <= 4
    assert seen[-1] == 200
    assert "a front-end was ended by SIGKILL and is started again" in service.log.read_text()


def test_connections_wait_while_there_is_no_front_end_at_all(kit: SimpleNamespace, service: Service) -> None:
    kit.until(lambda: len(service.processes("front")) == 2)
    for front in service.processes("front"):
        front.kill()
    # Sent while nobody is there to accept: every one of them is answered.
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(httpx.get, f"{service.client.base_url}/v2/health/live", timeout=60) for _ in range(16)]
        assert [one.result().status_code for one in asked] == [200] * 16
    kit.until(lambda: service.ready() == 200)
    kit.until(lambda: len(service.processes("front")) == 2)
    assert service.segment(kit.as_png(kit.picture()), "tiny").status_code == 200


def test_a_host_that_is_killed_is_replaced_and_no_connection_breaks(
    kit: SimpleNamespace, service: Service, predictor: Predictor
) -> None:
    pixels = kit.picture(8, 100, 100)
    expected = [encode_mask(predictor.predict(pixels), predictor.card.palette)]
    before = service.metric('segx_process_restarts_total{role="host"}')
    (host,) = service.processes("host")
    with ThreadPoolExecutor(2) as pool:
        # In the host's hands when it dies.
        held = [pool.submit(service.segment, kit.as_png(plain(40)), "slow") for _ in range(2)]
        kit.until(lambda: service.metric("segx_requests_inside") == 2)
        askers = Askers(service, kit.as_png(pixels), expected, "tiny")
        kit.until(lambda: len(askers.seen) > 20)
        host.kill()
        kit.until(lambda: service.ready() == 503)
        for one in held:
            answer = one.result(60)
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "overloaded")
            assert "started again" in answer.json()["error"]["message"]
            assert int(answer.headers["retry-after"]) >= 1
    kit.until(lambda: service.ready() == 200)
    enough = len(askers.seen) + 50
    kit.until(lambda: len(askers.seen) > enough)
    seen = askers.end()
    assert set(seen) == {200, 503}
    assert seen[-1] == 200
    kit.until(lambda: service.metric("segx_requests_inside") == service.metric("segx_bytes_held") == 0)
    assert service.metric('segx_process_restarts_total{role="host"}') == before + 1
    (fresh,) = service.processes("host")
    assert fresh.pid != host.pid


def test_a_request_while_no_host_is_there_is_told_to_come_back(kit: SimpleNamespace, service: Service) -> None:
    kit.until(lambda: service.ready() == 200)
    (host,) = service.processes("host")
    host.kill()
    kit.until(lambda: service.ready() == 503)
    waiting = service.client.get("/v2/health/ready").json()
    answer = service.segment(kit.as_png(kit.picture()), "tiny")
    if waiting["ready"] is False:
        assert set(waiting["waiting"]) == {"slow", "tiny"}
    if answer.status_code != 200:  # it may be back already
        assert answer.status_code == 503
        assert answer.json()["error"]["code"] in ("not_ready", "overloaded")
        assert "retry-after" in answer.headers
    kit.until(lambda: service.ready() == 200)
    assert service.segment(kit.as_png(kit.picture()), "tiny").status_code == 200


def test_a_run_that_hangs_ends_with_its_host_not_with_the_service(kit: SimpleNamespace, service: Service) -> None:
    kit.until(lambda: service.ready() == 200)
    (host,) = service.processes("host")
    answer = service.segment(kit.as_png(plain(255)), "slow")  # longer than the 5 s that a run may take
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "overloaded"
    assert "a run has not ended within 5 s" in service.log.read_text()
    kit.until(lambda: not host.is_running() or host.status() == psutil.STATUS_ZOMBIE)
    kit.until(lambda: service.ready() == 200)
    assert service.segment(kit.as_png(plain(2)), "slow").status_code == 200


def test_the_picture_of_a_client_that_hung_up_is_not_run_by_the_host(kit: SimpleNamespace, service: Service) -> None:
    kit.until(lambda: service.ready() == 200)
    line, ran = 'segx_shed_total{reason="gone"}', 'segx_pictures_total{model="slow",version="1"}'
    count = 12
    data = kit.as_png(plain(12))
    assert service.segment(data, "slow").is_success  # the engines know what one costs, and run one after the other
    kit.until(lambda: service.metric(ran) >= 1 and service.metric("segx_requests_inside") == 0)
    before, ran_before = service.metric(line), service.metric(ran)
    head = "POST /segment?model=slow HTTP/1.1\r\nHost: a\r\nContent-Type: image/png\r\n"
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            one = stack.enter_context(kit.socket.create_connection(("127.0.0.1", service.port)))
            one.sendall(f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data)
        # Front-ends hear of each other once a second; the engines have finished some meanwhile.
        kit.until(lambda: service.metric("segx_requests_inside") >= count // 2)
    kit.until(lambda: service.metric(line) > before)
    kit.until(lambda: service.metric("segx_requests_inside") == 0)
    assert service.metric(ran) - ran_before < count
    kit.until(lambda: service.metric("segx_bytes_held") == 0)


def test_a_host_that_stands_still_holds_nobody_for_ever(
    kit: SimpleNamespace, tmp_path: Path, predictor: Predictor
) -> None:
    model = kit.write_model(tmp_path / "tiny.onnx", kit.card())
    data = kit.as_png(kit.picture(3))
    with started(kit, tmp_path, [model], 1, run_timeout=0.5, drain_seconds=5) as service:
        (host,) = service.processes("host")
        host.suspend()
        with ThreadPoolExecutor(3) as pool:
            held = [pool.submit(service.segment, data, "tiny") for _ in range(3)]
            answers = [one.result(60) for one in held]
        assert [one.status_code for one in answers] == [503] * 3
        assert service.client.get("/v2/health/live").status_code == 200
        host.resume()
        # What the host says of those three now is late, and their memory is free again.
        kit.until(lambda: service.segment(data, "tiny").status_code == 200)
        assert service.segment(data, "tiny").content == encode_mask(
            predictor.predict(kit.picture(3)), predictor.card.palette
        )
        assert service.metric("segx_bytes_held") == 0


def test_changed_files_are_followed_while_requests_are_answered(kit: SimpleNamespace, tmp_path: Path) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    for name in ("changing", "breaking", "failing", "going"):
        kit.write_model(folder / f"{name}.onnx", kit.card())
    pixels = kit.picture(9)
    old = Predictor.load(folder / "changing.onnx", provider="cpu", threads=1)
    other = kit.card("other").model_copy(update={"classes": ("dark", "light"), "palette": ((1, 2, 3), (250, 0, 0))})
    new = Predictor.load(kit.write_model(tmp_path / "other.onnx", other, step=128.0), provider="cpu", threads=1)
    before, after = (encode_mask(one.predict(pixels), one.card.palette) for one in (old, new))
    assert before != after
    data = kit.as_png(pixels)
    with started(kit, tmp_path, [folder], 2, drain_seconds=10) as service:
        askers = Askers(service, data, [before, after], "changing")
        steady = Askers(service, data, [before], "breaking", count=1)
        (tmp_path / "other.onnx").replace(folder / "changing.onnx")
        (folder / "breaking.onnx").write_bytes(b"rubbish")
        kit.write_failing_model(folder / "failing.onnx", kit.card())
        (folder / "going.onnx").unlink()
        kit.write_model(folder / "coming.onnx", kit.card())
        kit.until(lambda: service.segment(data, "changing").content == after)
        kit.until(lambda: service.segment(data, "coming").status_code == 200)
        kit.until(lambda: service.segment(data, "going").status_code == 404)
        for name in ("breaking", "failing"):
            kit.until(lambda name=name: f"model '{name}' changed on disk and is not taken" in service.log.read_text())
        with connections(service) as fronts:
            for front in fronts:  # both of them have switched
                front.request("POST", "/segment?model=changing", data, {"Content-Type": "image/png"})
                assert front.getresponse().read() == after
        assert set(askers.end()) == {200}
        assert set(steady.end()) == {200}
        for name in ("breaking", "failing"):
            assert service.segment(data, name).content == before
        told = {one["name"]: one["classes"] for one in service.client.get("/models").json()["models"]}
        assert set(told) == {"changing", "breaking", "failing", "coming"}
        assert told["changing"] == ["dark", "light"]
        assert service.ready() == 200
        # One host for what came from the start, one for each model that was loaded later.
        kit.until(lambda: len(service.processes("host")) == 3)


def test_children_end_with_a_supervisor_that_was_killed(kit: SimpleNamespace, tmp_path: Path) -> None:
    model = kit.write_model(tmp_path / "tiny.onnx", kit.card())
    with started(kit, tmp_path, [model], 2, drain_seconds=2) as service:
        children = psutil.Process(service.supervisor.pid).children(recursive=True)
        assert len(children) == 3
        service.supervisor.kill()
        gone, alive = psutil.wait_procs(children, timeout=30)
        assert not alive
        assert len(gone) == 3


@pytest.mark.parametrize("pause", [0.0, 0.1, 0.4])
def test_the_end_may_come_in_the_middle_of_a_new_beginning(kit: SimpleNamespace, tmp_path: Path, pause: float) -> None:
    model = kit.write_model(tmp_path / "tiny.onnx", kit.card())
    with started(kit, tmp_path, [model], 1, drain_seconds=2) as service:
        supervisor = psutil.Process(service.supervisor.pid)
        for one in supervisor.children():
            one.kill()
        time.sleep(pause)  # whatever is being started again by then
        service.supervisor.terminate()
        family: set[psutil.Process] = set()
        while service.supervisor.poll() is None:
            with contextlib.suppress(psutil.NoSuchProcess):
                family |= set(supervisor.children(recursive=True))
            time.sleep(0.005)
        out, _ = service.supervisor.communicate(timeout=30)
        assert (service.supervisor.returncode, out) == (0, b"returned\n"), service.log.read_text()
        assert not psutil.wait_procs(list(family), timeout=30)[1]
        assert "Traceback" not in service.log.read_text()


def test_what_was_accepted_before_the_end_is_answered(kit: SimpleNamespace, tmp_path: Path) -> None:
    model = slow_model(tmp_path / "slow.onnx", kit.card())
    with started(kit, tmp_path, [model], 2, drain_seconds=20) as service:
        with ThreadPoolExecutor(6) as pool:
            held = [pool.submit(service.segment, kit.as_png(plain(8)), "slow") for _ in range(6)]
            kit.until(lambda: service.metric("segx_requests_inside") >= 4)
            inside = service.metric("segx_requests_inside")
            children = psutil.Process(service.supervisor.pid).children()
            service.supervisor.terminate()
            answers = [_outcome(lambda one=one: one.result(60)) for one in held]
        out, _ = service.supervisor.communicate(timeout=30)
        assert service.supervisor.returncode == 0, service.log.read_text()
        assert out == b"returned\n"
        fine = [one for one in answers if isinstance(one, httpx.Response) and one.status_code == 200]
        assert len(fine) >= inside
        assert not psutil.wait_procs(children, timeout=30)[1]
        assert "Traceback" not in service.log.read_text()
        assert not list((tmp_path / "tmp").glob("segx-*"))


def _outcome(ask: Callable[[], httpx.Response]) -> httpx.Response | httpx.TransportError:
    try:
        return ask()
    except httpx.TransportError as error:
        return error
