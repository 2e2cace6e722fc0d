"""Cross-origin requests: which web pages of other addresses may use the service from a browser. Off by default.

Pages never get cookies or stored passwords along (the service has none); a key travels in a header that the page sets
itself. It knows nothing of routes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from segx_core.errors import ConfigError
from segx_serve.http import Headers, RefusalError, Reply, Request

_ANY = "*"
# As browsers write it: no path, no user, a lower-case host. The port is checked apart.
_ORIGIN = re.compile(r"(https?)://([a-z0-9.-]+|\[[0-9a-f:.]+\])(?::(\d{1,5}))?")
_USUAL = {"http": "80", "https": "443"}
_METHODS = b"GET, HEAD, POST"
_TAKEN = (
    b"Accept, Authorization, Content-Type, Content-Encoding, Inference-Header-Content-Length, Traceparent, "
    b"X-Api-Key, X-Request-Id"
)
_SHOWN = (
    b"X-Segx-Shape, X-Segx-Dtype, X-Request-Id, Server-Timing, Inference-Header-Content-Length, Retry-After, "
    b"Content-Disposition"
)
_REMEMBERED = b"600"  # seconds


class Cors:
    """What to tell browsers about pages from elsewhere.

    Args:
        origins: exact origins such as `https://app.example.org` or `http://localhost:3000`; `*` for all; none: off.

    Raises:
        ConfigError: an entry that no browser would ever send as an Origin.
    """

    def __init__(self, origins: Sequence[str] = ()) -> None:
        self._all = _ANY in origins
        self._origins = frozenset(_checked(origin).encode() for origin in origins if origin != _ANY)

    def __bool__(self) -> bool:
        return self._all or bool(self._origins)

    def allows(self, request: Request) -> bool:
        """Whether a page of another origin sent this and may read the answer.

        Its answer then needs `Cross-Origin-Resource-Policy: cross-origin` (pages.security_headers).
        """
        origin = request.headers.get(b"origin")
        return origin is not None and (self._all or origin in self._origins)

    def headers(self, request: Request) -> Headers:
        """What every answer to this request carries besides its own; empty when off."""
        if not self:
            return ()
        if not self.allows(request):
            # A cache must not give this answer to an origin that is allowed, nor the other way round.
            return () if self._all else ((b"vary", b"Origin"),)
        shown = (b"access-control-expose-headers", _SHOWN)
        if self._all:
            return ((b"access-control-allow-origin", b"*"), shown)
        return ((b"access-control-allow-origin", request.headers[b"origin"]), shown, (b"vary", b"Origin"))

    def preflight(self, request: Request) -> Reply | None:
        """The answer to a browser that asks whether it may send a request; None for any other request, or when off.

        The answer lacks `headers`, which go with every answer alike. No key is needed for it: browsers send none.

        Raises:
            RefusalError: 403, the page's origin is not allowed.
        """
        if not self or request.method != "OPTIONS":
            return None
        if b"origin" not in request.headers or b"access-control-request-method" not in request.headers:
            return None
        if not self.allows(request):
            text = (
                f"Pages from '{request.header(b'origin')[:100]}' may not use this service; --cors-origin names those "
                "that may."
            )
            raise RefusalError(403, "origin_not_allowed", text)
        allowed = (
            (b"access-control-allow-methods", _METHODS),
            (b"access-control-allow-headers", _TAKEN),
            (b"access-control-max-age", _REMEMBERED),
        )
        # 200, not 204: every answer of the service carries a Content-Length, which 204 must not.
        return Reply(200, b"", "text/plain", allowed)


def _checked(origin: str) -> str:
    """An origin as browsers send it.

    Raises:
        ConfigError: it is none; the cure gives the nearest that is.
    """
    match = _ORIGIN.fullmatch(origin)
    if match and match[3] != _USUAL[match[1]] and (match[3] is None or 0 < int(match[3]) <= 65535):
        return origin
    near = re.match(_ORIGIN, origin.strip().lower())
    cure = "Write it as browsers do: scheme, host and, where it is not the usual one, port; or * for every page."
    if near and (near[3] is None or 0 < int(near[3]) <= 65535):
        port = "" if near[3] in (None, _USUAL[near[1]]) else f":{near[3]}"
        cure = f"Perhaps {near[1]}://{near[2]}{port}?"
    raise ConfigError("--cors-origin to be an origin such as https://app.example.org", f"'{origin}'", cure)
