"""Real servers on loopback, real runners, pictures made on the spot."""

from __future__ import annotations

import io
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import httpx
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from PIL import Image

from segx_core.card import METADATA_KEY, Card, InputSpec, OutputSpec
from segx_core.card_io import to_json
from segx_core.runner import ClassMap, Runner, UInt8
from segx_serve import Settings, create_app
from segx_serve.admission import Admission
from segx_serve.app import App
from segx_serve.engine import Engine
from segx_serve.job import Call, Job, Payload
from segx_serve.listen import bind, make_server, url
from segx_serve.service import LocalService

CLASSES = ("dark", "dim", "light", "bright")
PALETTE = ((10, 20, 30), (200, 0, 0), (0, 200, 0), (0, 0, 200))


class Brightness:
    """Classes by brightness, in four steps; without a card."""

    def run(self, batch: UInt8) -> ClassMap:
        return (batch.mean(axis=-1) // 64).astype(np.uint8)


class Gated:
    """As Brightness, but every run waits until the gate is open: a slow device under the test's control."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.entered = threading.Semaphore(0)
        self.batches: list[int] = []

    def run(self, batch: UInt8) -> ClassMap:
        self.batches.append(len(batch))
        self.entered.release()
        assert self.gate.wait(10)
        return Brightness().run(batch)


class Picky:
    """As Brightness, but fails on any batch with a picture whose first pixel is pure magenta."""

    def run(self, batch: UInt8) -> ClassMap:
        if (batch[:, 0, 0] == (255, 0, 255)).all(axis=-1).any():
            raise RuntimeError("cannot digest this, says /secret/path/of/model.onnx")
        return Brightness().run(batch)


def card(name: str = "tiny") -> Card:
    """A card for the brightness model."""
    return Card(
        name=name,
        classes=CLASSES,
        palette=PALETTE,
        inputs=(InputSpec(name="image"),),
        outputs=(OutputSpec(name="classmap"),),
    )


@dataclass
class Running:
    """A server that is up."""

    app: App
    url: str
    port: int
    stop: Callable[[], None]
    client: httpx.Client
    settings: Settings = field(default_factory=Settings)

    def segment(
        self, data: bytes, accept: str = "*/*", media_type: str = "image/png", **more: object
    ) -> httpx.Response:
        headers = {"Accept": accept, "Content-Type": media_type}
        return self.client.post("/segment", content=data, headers=headers, **more)  # type: ignore[arg-type]

    def ready(self) -> None:
        """Wait for warm-up."""
        until(lambda: all(model.lane.ready for model in self.app.catalog))

    def engine(self, name: str) -> Engine[Job]:
        """The engine of a model."""
        assert isinstance(self.app.service, LocalService)
        (found,) = [part.engine for part in self.app.service.parts if part.model.name == name]
        return found

    def held(self, name: str) -> Job:
        """The picture that has waited longest for a model."""
        return next(iter(self.engine(name)._batcher._groups.values()))[0][1]


Serve = Callable[..., Running]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """A factory of running servers; all are stopped at the end, and no thread of theirs may remain."""
    running: list[Running] = []

    def start(runners: Mapping[str, Runner], *, warm: bool = True, **settings: object) -> Running:
        chosen = Settings(**{"port": 0, "codecs": 2, "drain_seconds": 5, **settings})  # type: ignore[arg-type]
        app = create_app(runners, chosen)
        listener = bind(chosen)
        server = make_server(app, chosen)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="segx-test-server")
        thread.start()
        address = url(chosen, listener)

        def stop() -> None:
            server.should_exit = True
            thread.join(30)
            assert not thread.is_alive()

        client = httpx.Client(base_url=address, timeout=30)
        one = Running(app, address, listener.getsockname()[1], stop, client, chosen)
        running.append(one)
        if warm:
            one.ready()
        return one

    before = set(threading.enumerate())
    yield start
    for one in running:
        one.client.close()
        one.stop()
    left = [thread.name for thread in set(threading.enumerate()) - before if thread.name.startswith("segx-")]
    assert not left


@pytest.fixture
def brightness(serve: Serve) -> Running:
    """A server with the brightness model."""
    return serve({"grey": Brightness()})


@pytest.fixture(scope="session")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real ONNX file with its card: the brightness model, uint8 (N, H, W, 3) -> uint8 (N, H, W)."""
    return write_model(tmp_path_factory.mktemp("model") / "tiny.onnx", card())


def write_model(path: Path, described: Card | None, step: float = 64.0) -> Path:
    """Write the brightness model, with a card inside or as a third party would; `step` brightnesses are one class."""
    nodes = [
        helper.make_node("Cast", ["image"], ["real"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["real", "axes"], ["mean"], keepdims=0),
        helper.make_node("Div", ["mean", "step"], ["steps"]),
        helper.make_node("Floor", ["steps"], ["whole"]),
        helper.make_node("Cast", ["whole"], ["classmap"], to=TensorProto.UINT8),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", "H", "W", 3])],
        [helper.make_tensor_value_info("classmap", TensorProto.UINT8, ["N", "H", "W"])],
        [
            helper.make_tensor("axes", TensorProto.INT64, [1], [3]),
            helper.make_tensor("step", TensorProto.FLOAT, [], [step]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    if described is not None:
        helper.set_model_props(model, {METADATA_KEY: to_json(described)})
    onnx.save(model, path)
    return path


def write_failing_model(path: Path, described: Card) -> Path:
    """A model that can be opened and described, and fails in every run: it looks up a table far beyond its end."""
    nodes = [
        helper.make_node("Shape", ["image"], ["shape"]),
        helper.make_node("Gather", ["shape", "second"], ["height"]),
        helper.make_node("Gather", ["table", "height"], ["step"]),
        helper.make_node("Cast", ["image"], ["real"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["real", "axes"], ["mean"], keepdims=0),
        helper.make_node("Div", ["mean", "step"], ["steps"]),
        helper.make_node("Cast", ["steps"], ["classmap"], to=TensorProto.UINT8),
    ]
    graph = helper.make_graph(
        nodes,
        "failing",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", "H", "W", 3])],
        [helper.make_tensor_value_info("classmap", TensorProto.UINT8, ["N", "H", "W"])],
        [
            helper.make_tensor("axes", TensorProto.INT64, [1], [3]),
            helper.make_tensor("second", TensorProto.INT64, [], [1]),
            helper.make_tensor("table", TensorProto.FLOAT, [1], [64.0]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    helper.set_model_props(model, {METADATA_KEY: to_json(described)})
    onnx.save(model, path)
    return path


def picture(seed: int = 0, height: int = 24, width: int = 32) -> UInt8:
    """(H, W, 3) uint8 noise in large blocks."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 256, (-(-height // 4), -(-width // 4), 3), np.uint8)
    return np.ascontiguousarray(blocks.repeat(4, 0).repeat(4, 1)[:height, :width])


def poisoned(height: int = 24, width: int = 32) -> UInt8:
    """A picture that Picky cannot digest."""
    pixels = picture(99, height, width)
    pixels[0, 0] = (255, 0, 255)
    return pixels


def as_png(pixels: UInt8) -> bytes:
    """Pixels as a PNG file."""
    return _encoded(pixels, "PNG")


def as_jpeg(pixels: UInt8) -> bytes:
    """Pixels as a JPEG file."""
    return _encoded(pixels, "JPEG")


def _encoded(pixels: UInt8, kind: str) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, kind)
    return out.getvalue()


def from_png(data: bytes) -> ClassMap:
    """A palette PNG as indices."""
    return np.asarray(Image.open(io.BytesIO(data)))


def until(holds: Callable[[], bool]) -> None:
    """Wait for something that other threads bring about."""
    give_up = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < give_up
        time.sleep(0.002)


def make_job(pixels: UInt8 | None = None, deadline: float | None = None, done: Callable[[Call], None] = id) -> Job:
    """The one job of a call, decoded where there are pixels."""
    call = Call([b""], Admission(9, 9).ticket(), lambda job: Payload(b"", ""), 0, deadline, done)
    (job,) = call.jobs
    job.picture = pixels
    return job


@pytest.fixture
def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def kit() -> SimpleNamespace:
    """The runners, pictures and helpers of this file by name: test modules cannot import a conftest."""
    return SimpleNamespace(**globals())
