"""A small real service behind the protocol: real decoding, a real runner, a real socket; and the protocol spelt out
naively once more, as an oracle."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import httpx
import numpy as np
import pytest
import uvicorn

from segx_core.errors import PictureError
from segx_core.picture import decode
from segx_core.runner import ClassMap, Runner, UInt8
from segx_serve.http import Receive, RefusalError, Reply, Request, Scope, Send, as_json, request_ids
from segx_serve.oip import Duration, IndexEntry, ModelInfo, ModelStatistics, Oip, OipLimits, Regions
from segx_serve.oip.paths import match
from segx_serve.oip.service import BatchStatistics

T = TypeVar("T")
GREY = ModelInfo("grey", ("1", "2"), "UINT8", ready=True, classes=4, max_batch=16, parameters={"precision": "fp32"})


class Small:
    """Service over one runner; decodes and runs on the spot."""

    def __init__(self, runner: Runner, info: ModelInfo = GREY) -> None:
        self.runner = runner
        self.info = info
        self.seen: list[Sequence[bytes | UInt8]] = []
        self.ids: list[str] = []
        self.cancelled = asyncio.Event()
        self.hang = False

    async def classmaps(
        self, request_id: str, model: str, version: str, pictures: Sequence[bytes | UInt8]
    ) -> list[ClassMap]:
        self.metadata(model, version)
        self.seen.append(pictures)
        self.ids.append(request_id)
        if self.hang:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                self.cancelled.set()
                raise
        try:
            pixels = [decode(one) if isinstance(one, bytes) else one for one in pictures]
        except PictureError as error:
            raise RefusalError(400, "picture_broken", str(error)) from None
        return [self.runner.run(one[None])[0] for one in pixels]

    def metadata(self, model: str, version: str) -> ModelInfo:
        if model != self.info.name or version not in ("", *self.info.versions):
            raise RefusalError(404, "unknown_model", "There is no such model.")
        return self.info

    def models(self) -> list[IndexEntry]:
        return [
            IndexEntry(self.info.name, "2", "READY" if self.info.ready else "UNAVAILABLE"),
            IndexEntry("broken", "1", "UNAVAILABLE", "its file is gone"),
        ]

    async def load(self, model: str) -> None:
        self.metadata(model, "")
        self.info = replace(self.info, ready=True)

    async def unload(self, model: str) -> None:
        self.metadata(model, "")
        self.info = replace(self.info, ready=False)

    async def statistics(self, model: str, version: str) -> list[ModelStatistics]:
        if model:
            self.metadata(model, version)
        batch = BatchStatistics(2, Duration(3, 10), Duration(3, 20), Duration(3, 30))
        return [
            ModelStatistics(
                self.info.name, version or "2", 1_700_000_000_123, 6, 3, success=Duration(5, 2**60), batches=(batch,)
            )
        ]

    def is_ready(self) -> bool:
        return self.info.ready


class Wide:
    """16-bit class indices: brightness times 100."""

    def run(self, batch: UInt8) -> ClassMap:
        return (batch.astype(np.uint32).sum(axis=-1) * 80).astype(np.uint16)


class Front:
    """The protocol alone as an ASGI application, as a server around it would wire it."""

    def __init__(self, oip: Oip) -> None:
        self.oip = oip

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = made(scope, receive)
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        reply = await self._reply(request, body)
        headers = [(b"content-type", reply.media_type.encode()), (b"content-length", b"%d" % len(reply.body))]
        await send({"type": "http.response.start", "status": reply.status, "headers": [*headers, *reply.headers]})
        await send({"type": "http.response.body", "body": reply.body})

    async def _reply(self, request: Request, body: bytes) -> Reply:
        found = match(request.path)
        if found is None or found.method != request.method:
            return as_json({"error": "There is nothing here."}, 404)
        try:
            return await self.oip.call(found, request, body)
        except RefusalError as refusal:
            return as_json({"error": refusal.message}, refusal.status, refusal.headers)


@contextmanager
def listening(oip: Oip) -> Iterator[httpx.Client]:
    """A client of a server on a real socket."""
    server = uvicorn.Server(uvicorn.Config(Front(oip), lifespan="off", log_level="warning"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="segx-test-oip")
        thread.start()
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{listener.getsockname()[1]}", timeout=30) as client:
                yield client
        finally:
            server.should_exit = True
            thread.join(30)
            assert not thread.is_alive()


def made(scope: Scope, receive: Receive) -> Request:
    """A request as the server makes it."""
    return Request(scope, receive, request_ids())


def request(**headers: str) -> Request:
    """A request with these headers, underscores as dashes."""
    pairs = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]

    async def nothing() -> dict[str, Any]:
        raise AssertionError("the body is handed in")

    return made({"method": "POST", "path": "/", "headers": pairs, "query_string": b""}, nothing)


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end."""
    return asyncio.run(work)


def post(oip: Oip, body: bytes, model: str = "grey", version: str = "", **headers: str) -> Reply:
    """An inference."""
    return run(oip.infer(request(**headers), body, model, version))


def post_json(oip: Oip, value: object) -> Reply:
    """An inference in JSON alone."""
    return post(oip, json.dumps(value).encode())


def refusal(oip: Oip, body: bytes, **headers: str) -> RefusalError:
    """What an inference is refused with."""
    with pytest.raises(RefusalError) as caught:
        post(oip, body, **headers)
    message = caught.value.message
    assert message
    assert message.isascii()
    assert len(message) < 600
    return caught.value


def attempt(oip: Oip, body: bytes, **headers: str) -> tuple[int, str, Reply | None]:
    """Status, message and reply of an inference that may be refused."""
    try:
        return 200, "", post(oip, body, **headers)
    except RefusalError as refused:
        return refused.status, refused.message, None


def elements(files: Sequence[bytes]) -> bytes:
    """BYTES elements."""
    return b"".join(struct.pack("<I", len(one)) + one for one in files)


def binary(inputs: Sequence[tuple[str, str, list[int], bytes]], **more: object) -> tuple[bytes, str]:
    """A body with blobs, and its header length."""
    listed = [
        {"name": name, "datatype": kind, "shape": shape, "parameters": {"binary_data_size": len(blob)}}
        for name, kind, shape, blob in inputs
    ]
    head = json.dumps({"inputs": listed, **more}).encode()
    return head + b"".join(blob for *_, blob in inputs), str(len(head))


def read(reply: Reply) -> tuple[dict[str, Any], np.ndarray[Any, Any]]:
    """A reply's JSON and its class maps, whichever form it has."""
    length = dict(reply.headers).get(b"inference-header-content-length")
    head = json.loads(reply.body[: int(length)] if length else reply.body)
    (output,) = head["outputs"]
    kind = {"UINT8": "u1", "UINT16": "<u2"}[output["datatype"]]
    if length:
        assert output["parameters"]["binary_data_size"] == len(reply.body) - int(length)
        flat = np.frombuffer(reply.body[int(length) :], kind)
    else:
        flat = np.array(output["data"], kind)
    return head, flat.reshape(output["shape"])


@pytest.fixture
def small(kit: SimpleNamespace) -> Small:
    """The brightness model."""
    return Small(kit.Brightness())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where shared memory objects are."""
    made = tmp_path / "shm"
    made.mkdir()
    return made


@pytest.fixture
def regions(folder: Path) -> Iterator[Regions]:
    """Regions in a folder of the test's own."""
    made = Regions(most=3, reserved=("own-",), folder=folder)
    yield made
    made.close()


@pytest.fixture
def oip(small: Small, regions: Regions) -> Oip:
    """The operations over the brightness model; at most 4 pictures, 100,000 bytes, 20,000 bytes of JSON."""
    return Oip(small, regions, OipLimits(max_pictures=4, max_body=100_000, max_json=20_000))


@pytest.fixture(scope="session")
def wire_kit() -> SimpleNamespace:
    """This file's helpers by name: test modules cannot import a conftest."""
    return SimpleNamespace(**globals())


Call = Callable[..., Any]
