"""The Open Inference Protocol as this service offers it: its limits, what it may share, and its server over gRPC."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from segx_serve.door import Door
from segx_serve.http import Request, request_ids
from segx_serve.oip.regions import Regions
from segx_serve.oip.routes import Oip
from segx_serve.oip.service import OipLimits
from segx_serve.served import Served
from segx_serve.service import Service

# Calls over gRPC that need no key, as health over HTTP needs none.
_OPEN = frozenset({"ServerLive", "ServerReady"})


def make_oip(service: Service, door: Door) -> Oip:
    """The Open Inference Protocol; shared memory only where somebody may manage the service."""
    settings = service.settings
    limits = OipLimits(max_pictures=settings.max_pictures, max_body=settings.max_body)
    return Oip(Served(service), Regions() if door.manageable else None, limits)


def make_grpc(service: Service, oip: Oip, door: Door) -> Any:
    """The same over gRPC, None where it is not asked for."""
    settings = service.settings
    if settings.grpc_port is None:
        return None
    from segx_serve.oip.calls import ADMIN
    from segx_serve.oip.grpc_server import GrpcServer, GrpcSettings

    chosen = GrpcSettings(
        host=settings.host,
        port=settings.grpc_port,
        max_message=settings.max_body,
        # Calls count from their headers to their end, streams as long as they are open: admission sheds, not this.
        max_calls=max(128, 4 * settings.max_queue),
        reuse_port=service.shared,
    )

    def authorize(call: str, metadata: Mapping[str, str]) -> None:
        headers = [(name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in metadata.items()]
        # Without keys management is for this machine's programs: then nobody else may reach the port either.
        scope = {
            "method": "POST", "path": f"/{call}", "query_string": b"", "client": (settings.host, 0),
            "headers": [*headers, (b"host", settings.host.encode())],
        }  # fmt: skip
        request = Request(scope, _never, request_ids())
        door.guard.allow(request, "admin" if call in ADMIN else "none" if call in _OPEN else "use")

    return GrpcServer(oip, chosen, authorize)


async def _never() -> dict[str, Any]:
    raise AssertionError("a call over gRPC has no body of its own")
