"""The protocol's REST operations, one method each. Which address leads to which method stands in paths.py.

Bodies are handed in whole; reading them within limits, and who may call what, are matters of the server around it.
Whatever a client did wrong is raised as RefusalError, to be answered in the protocol's plain form.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from segx_serve.http import RefusalError, Reply, Request, as_json
from segx_serve.oip import coding, describe, wire
from segx_serve.oip.answer import answer
from segx_serve.oip.inference import infer
from segx_serve.oip.paths import Match
from segx_serve.oip.refusals import bad, quoted
from segx_serve.oip.regions import Region, Regions
from segx_serve.oip.service import OipLimits, Service

# From here on decompressing takes longer than a change of threads, bytes.
_SMALL = 2**14


class Oip:
    """All operations of one service.

    Args:
        regions: None where shared memory is not offered.
    """

    def __init__(self, service: Service, regions: Regions | None = None, limits: OipLimits | None = None) -> None:
        self.service = service
        self.regions = regions
        self.limits = limits or OipLimits()
        self._decoder = wire.strict_decoder()

    async def call(self, match: Match, request: Request, body: bytes) -> Reply:
        """The operation that `paths.match` found. Methods and rights have been checked; `body` is the whole body."""
        model, version = match.model, match.version
        match match.operation:
            case "infer":
                return await self.infer(request, body, model, version)
            case "server":
                return self.server()
            case "live":
                return self.live()
            case "ready":
                return self.ready()
            case "metadata":
                return self.metadata(model, version)
            case "model_ready":
                return self.model_ready(model, version)
            case "config":
                return self.config(model, version)
            case "stats":
                return await self.stats(model, version)
            case "index":
                return self.index(body)
            case "load":
                return await self.load(model, body)
            case "unload":
                return await self.unload(model, body)
            case "shm_status":
                return self.shm_status(match.region)
            case "shm_register":
                return self.shm_register(match.region, body)
            case "shm_unregister":
                return self.shm_unregister(match.region)

    def server(self, extra: Mapping[str, Any] | None = None) -> Reply:
        """Server metadata. `extra` is added to it."""
        return as_json({**describe.server(self.regions is not None), **(extra or {})})

    def live(self) -> Reply:
        """The process answers."""
        return as_json({"live": True})

    def ready(self) -> Reply:
        """200 once everything can be used, else 503."""
        fine = self.service.is_ready()
        return as_json({"ready": fine}, 200 if fine else 503)

    def metadata(self, model: str, version: str = "") -> Reply:
        """Model metadata."""
        return as_json(describe.metadata(self.service.metadata(model, version)))

    def model_ready(self, model: str, version: str = "") -> Reply:
        """200 once the model can be used, else 503."""
        fine = self.service.metadata(model, version).ready
        return as_json({"name": model, "ready": fine}, 200 if fine else 503)

    async def infer(self, request: Request, body: bytes, model: str, version: str = "") -> Reply:
        """Class maps of the pictures in `body`, which may be compressed still.

        Raises:
            RefusalError: 400, 413, 415, and whatever the service refuses.
        """
        headers = request.headers
        if b"content-encoding" in headers:
            body = await self._decoded(body, request.header(b"content-encoding"))
        length = request.header(wire.LENGTH) if wire.LENGTH in headers else None
        inference = wire.parse(body, length, self.limits, self._decoder)
        result = await infer(self.service, self.regions, self.limits, request.id, model, version, inference)
        return await answer(inference, result, request.header(b"accept-encoding"), self.limits)

    def config(self, model: str, version: str = "") -> Reply:
        """Model configuration."""
        return as_json(describe.config(self.service.metadata(model, version), self.limits))

    async def stats(self, model: str = "", version: str = "") -> Reply:
        """Statistics of one model, or of all."""
        return as_json(describe.statistics(await self.service.statistics(model, version)))

    def index(self, body: bytes = b"") -> Reply:
        """The model repository; with {"ready": true} only what is ready."""
        ready = wire.json_object(body, self.limits, self._decoder).get("ready", False)
        if type(ready) is not bool:
            raise bad(f"'ready' must be true or false, got {quoted(ready)}.")
        return as_json(describe.index(self.service.models(), ready))

    async def load(self, model: str, body: bytes = b"") -> Reply:
        """Load a model. Its file and configuration are the service's own: none can be sent."""
        if wire.json_object(body, self.limits, self._decoder).get("parameters") not in (None, {}):
            raise bad("Models are loaded as they stand in the repository: 'parameters' such as 'config' are not taken.")
        await self.service.load(model)
        return as_json({})

    async def unload(self, model: str, body: bytes = b"") -> Reply:
        """Unload a model. No model depends on another, so unload_dependents changes nothing."""
        wire.json_object(body, self.limits, self._decoder)
        await self.service.unload(model)
        return as_json({})

    def shm_status(self, name: str = "") -> Reply:
        """One shared memory region, or all."""
        return as_json([describe.region(one) for one in self.shared().status(name)])

    def shm_register(self, name: str, body: bytes) -> Reply:
        """Register the region that `body` describes: {"key", "offset", "byte_size"}."""
        self.shared().register(self.region(name, body))
        return as_json({})

    def shm_unregister(self, name: str = "") -> Reply:
        """Forget one region, or all."""
        self.shared().unregister(name)
        return as_json({})

    def region(self, name: str, body: bytes) -> Region:
        """What a registration asks for.

        Raises:
            RefusalError: 400.
        """
        given = wire.json_object(body, self.limits, self._decoder)
        key, offset, size = given.get("key"), wire.whole(given.get("offset", 0)), wire.whole(given.get("byte_size"))
        if type(key) is not str or type(offset) is not int or type(size) is not int:
            raise bad(
                "A registration needs 'key' (a text), 'byte_size' (a whole number) and at most 'offset' (a whole "
                f"number), got {quoted(key)}, {quoted(size)}, {quoted(offset)}."
            )
        return Region(name, key, offset, size)

    def shared(self) -> Regions:
        """The regions.

        Raises:
            RefusalError: 404 where shared memory is not offered.
        """
        if self.regions is None:
            raise RefusalError(404, "no_shared_memory", "This service takes no shared memory.")
        return self.regions

    async def _decoded(self, body: bytes, content_encoding: str) -> bytes:
        if len(body) < _SMALL:
            return coding.decoded(body, content_encoding, self.limits.max_body)
        return await asyncio.to_thread(coding.decoded, body, content_encoding, self.limits.max_body)
