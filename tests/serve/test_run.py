"""From files to a server process, and its end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from segx_core.card import Gate
from segx_core.errors import ModelError, SetupError
from segx_serve import Settings
from segx_serve.listen import bind, url
from segx_serve.loading import load
from segx_serve.run import serve

ROOT = Path(__file__).parents[2]


def test_a_taken_port_is_told_with_a_cure() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(SetupError, match=r"already in use.*--port") as error:
            bind(Settings(port=other.getsockname()[1]))
    assert error.value.exit_code == 2


def test_an_address_of_another_machine_is_told_with_a_cure() -> None:
    with pytest.raises(SetupError, match="--host"):
        bind(Settings(host="192.0.2.1", port=0))


def test_the_announced_address_can_be_opened() -> None:
    with bind(Settings(host="0.0.0.0", port=0)) as listener:
        port = listener.getsockname()[1]
        assert url(Settings(host="0.0.0.0"), listener) == f"http://127.0.0.1:{port}"
        assert url(Settings(host="::1"), listener) == f"http://[::1]:{port}"


def test_a_rejected_model_needs_force(kit: SimpleNamespace, tmp_path: Path) -> None:
    gate = Gate(status="rejected", max_drop=0.5, reasons=("mIoU fell by 3.1 points",))
    path = kit.write_model(tmp_path / "bad.onnx", kit.card().model_copy(update={"gate": gate}))
    with pytest.raises(ModelError, match=r"mIoU fell by 3\.1 points.*--force"):
        load(path, Settings(), "cpu", None, force=False)
    assert load(path, Settings(), "cpu", None, force=True).card.gate == gate


def test_sockets_of_one_service_share_a_port_that_no_other_service_gets() -> None:
    with bind(Settings(port=0), shared=True) as first:
        settings = Settings(port=first.getsockname()[1])
        with bind(settings, shared=True, first=False) as second:
            assert second.getsockname() == first.getsockname()
        with pytest.raises(SetupError, match="already in use"):
            bind(settings, shared=True)
        with pytest.raises(SetupError, match="already in use"):
            bind(settings)


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_while_loading_frees_the_port(tmp_path: Path, free_port: int, workers: int) -> None:
    (tmp_path / "no.onnx").write_bytes(b"rubbish")
    with pytest.raises(ModelError, match=r"no\.onnx"):
        serve([tmp_path / "no.onnx"], Settings(port=free_port), provider="cpu", workers=workers)
    bind(Settings(port=free_port)).close()


PROGRAM = """
import sys
from pathlib import Path
from segx_serve import Settings
from segx_serve.run import serve
serve([Path(sys.argv[1])], Settings(port=int(sys.argv[2])), provider="cpu", workers=int(sys.argv[3]))
print("returned")
"""


@contextmanager
def process(model: Path, port: int, workers: int) -> Iterator[tuple[subprocess.Popen[str], httpx.Client]]:
    """A service in a process of its own, ready."""
    paths = os.pathsep.join(str(ROOT / part) for part in (".", "core", "serve"))
    child = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(model), str(port), str(workers)],
        env={**os.environ, "PYTHONPATH": paths, "PYTHONWARNINGS": "error"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert child.stderr is not None
        said = ""
        while "Listening on" not in said:
            line = child.stderr.readline()
            assert line, said
            said += line
        assert "tiny.onnx: 4 classes, fp32" in said
        assert "CPUExecutionProvider" in said
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            yield child, client
    finally:
        child.kill()
        child.communicate()


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_end_it_well_with_work_in_flight(
    kit: SimpleNamespace, model_file: Path, free_port: int, number: signal.Signals, workers: int
) -> None:
    data = kit.as_png(kit.picture(1, 256, 256))
    with process(model_file, free_port, workers) as (child, client):
        kit.until(lambda: _ready(client))
        started = threading.Barrier(5)

        def keep_asking() -> list[Any]:
            answers: list[Any] = []
            started.wait(30)
            with httpx.Client(base_url=client.base_url, timeout=30) as own:
                while True:
                    try:
                        answer = own.post("/segment", content=data, headers={"Content-Type": "image/png"})
                    except httpx.TransportError as error:
                        answers.append(error)
                        return answers
                    answers.append(answer.status_code)

        with ThreadPoolExecutor(4) as pool:
            askers = [pool.submit(keep_asking) for _ in range(4)]
            started.wait(30)
            kit.until(lambda: b'segx_requests_total{route="/segment",status="200"}' in client.get("/metrics").content)
            client.close()
            child.send_signal(number)
            out, err = child.communicate(timeout=30)
            answers = [one.result() for one in askers]
    assert child.returncode == 0, err
    assert out == "returned\n"
    assert "Traceback" not in err
    for seen in answers:
        # Answered, or refused at the door: no answer was cut off half way.
        assert set(seen[:-1]) <= {200, 503}
        assert isinstance(seen[-1], httpx.ConnectError | httpx.RemoteProtocolError | httpx.ReadError), seen[-1]


def _ready(client: httpx.Client) -> bool:
    try:
        return client.get("/v2/health/ready").status_code == 200
    except httpx.TransportError:
        return False


def test_importing_the_service_needs_no_torch() -> None:
    program = "import sys; sys.modules['torch'] = None; import segx_serve.run; print('fine')"
    paths = os.pathsep.join(str(ROOT / part) for part in (".", "core", "serve"))
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "fine\n"
