"""What happens to every request and answer, whatever its route: keys, other origins, headers, counts, logs, traces.

One for each process; knows nothing of what routes do.
"""

from __future__ import annotations

import time

from segx_serve import pages, tracing
from segx_serve.access import access_log
from segx_serve.cors import Cors
from segx_serve.guard import Guard, scope_of
from segx_serve.http import Headers, Reply, Request
from segx_serve.keys import Keys
from segx_serve.settings import Settings
from segx_serve.tally import Tally


class Door:
    """The way in and out.

    Raises:
        SegxError: a key file, an origin or a collector's address that cannot be used.
    """

    def __init__(self, settings: Settings, tally: Tally) -> None:
        self.keys = Keys.load(settings.api_key_file) if settings.api_key_file else None
        self._failures = dict.fromkeys(("missing", "wrong", "forbidden"), 0)
        for reason in self._failures:
            tally.gauge("segx_auth_failures", {"reason": reason}, lambda reason=reason: self._failures[reason])  # type: ignore[misc]
        self.guard = Guard(self.keys, settings.admin, self._failed)
        self.manageable = self.keys is not None or settings.admin
        """Whether anybody at all may manage the service."""
        self._cors = Cors(settings.cors_origins)
        self._tally = tally
        self._access = access_log(settings.access_log)
        self._tracer = tracing.make(settings.otel_endpoint, "front")
        self._own = pages.security_headers()
        self._shared = pages.security_headers(shared=True)
        self._block = _block(self._own)
        self.open = self.keys is None and not self._cors
        """Whether whoever wants to use the service may, and nothing depends on where a request comes from."""

    def enter(self, request: Request) -> Reply | None:
        """Let a request in; a reply where it is answered at the door.

        Raises:
            RefusalError: it may not come in.
        """
        if (preflight := self._cors.preflight(request)) is not None:
            return preflight
        identity = self.guard.allow(request, scope_of(request.method, request.path))
        request.key = identity.name if identity else None
        return None

    def headers(self, request: Request) -> Headers:
        """What every answer to this request carries besides its own."""
        if not self._cors:
            return self._own
        return (*self._cors.headers(request), *(self._shared if self._cors.allows(request) else self._own))

    def block(self, request: Request) -> bytes:
        """The same, as it goes over the wire."""
        return self._block if not self._cors else _block(self.headers(request))

    def left(self, request: Request, route: str, status: int, reply: Reply | None) -> None:
        """Count and tell of a request that is over; without a reply its client hung up."""
        self._tally.request(route, status)
        seen = reply.seen if reply else None
        if self._access is not None:
            seconds = time.perf_counter() - request.started
            size = len(reply.body) if reply else 0
            self._access(request, status, seconds, size, seen.model if seen else None, request.key)
        if self._tracer.on:
            ended = time.time_ns()
            began = ended - int((time.perf_counter() - request.started) * 1e9)
            stages = tracing.stages(seen.timing, ended) if seen else ()
            self._tracer.record(
                request, route, status, began, ended, stages, seen.model if seen else None, seen.batch if seen else None
            )

    def close(self) -> None:
        """Send what is still to be sent."""
        self._tracer.close()

    def _failed(self, reason: str) -> None:
        self._failures[reason] += 1


def _block(headers: Headers) -> bytes:
    return b"".join(name + b": " + value + b"\r\n" for name, value in headers)
