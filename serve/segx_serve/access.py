"""One log line for every answered request, where it is wanted. How lines are written stands in logs.py."""

from __future__ import annotations

import logging
from collections.abc import Callable

from segx_serve.http import Request

_log = logging.getLogger("segx.access")
_LONGEST = 500  # characters of a path

Access = Callable[[Request, int, float, int, str | None, str | None], None]
"""(request, status, seconds, bytes of the answer's body, model or None, name of the key or None)"""


def access_log(on: bool) -> Access | None:
    """What writes access lines, None where none are wanted: the caller asks once, and it costs nothing when off."""
    return _write if on else None


def _write(request: Request, status: int, seconds: float, size: int, model: str | None, key: str | None) -> None:
    client = request.scope.get("client")
    told: dict[str, object] = {
        "request_id": request.id,
        "method": request.method,
        "path": _path(request),
        "status": status,
        "seconds": round(seconds, 6),
        "bytes": size,
        "client": client[0] if client else None,
    }
    if model is not None:
        told["model"] = model
    if key is not None:
        told["key"] = key
    _log.info("request", extra={"fields": told})


def _path(request: Request) -> str:
    """The path and the names in the query; their values may be private."""
    names = "&".join(name for name, _ in request.query)
    return (f"{request.path}?{names}" if names else request.path)[:_LONGEST]
