"""Who may do what: every route's scope, and the check of a request against it.

Without a key file everybody may use the service, and nobody may manage it unless the service was told so (`--admin`):
then only programs on this machine may, and no web page in a browser on it, whatever address that page came from. It
knows nothing of what routes do.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Literal

from segx_serve.http import Headers, RefusalError, Request
from segx_serve.keys import Identity, Keys, presented

Scope = Literal["none", "use", "admin"]

_CHALLENGE: Headers = ((b"www-authenticate", b'Bearer realm="segx"'),)
_OPEN = frozenset({"/", "/favicon.ico", "/v2/health/live", "/v2/health/ready"})
# What a proxy adds for the client behind it: the address of the connection is then not the client's.
_FORWARDED = (b"forwarded", b"x-forwarded-for", b"x-real-ip", b"via")
_PORTS = {"http": "80", "https": "443"}


def scope_of(method: str, path: str) -> Scope:
    """What a request to this path needs. A path that means nothing needs `use`: what is there is nobody's business.

    Whatever changes the service for others needs `admin`: models, shared memory, settings of logs and traces.
    """
    pieces = [piece for piece in path.split("/") if piece]
    match pieces:
        case ["page", _] if method in ("GET", "HEAD"):
            return "none"
        case ["v2", "repository", "index"] | ["v2", "systemsharedmemory" | "cudasharedmemory", *_, "status"]:
            return "use"
        case ["v2", "repository" | "systemsharedmemory" | "cudasharedmemory", *_]:
            return "admin"
        case ["v2", "logging" | "trace", *_] | ["v2", "models", *_, "trace", "setting"]:
            return "use" if method in ("GET", "HEAD") else "admin"
        case _:
            return "none" if path in _OPEN and method in ("GET", "HEAD") else "use"


class Guard:
    """Lets requests through or refuses them.

    Args:
        keys: None: no key file was given.
        admin_open: whether programs on this machine may manage the service without a key; counts only without keys.
        failed: called with "missing", "wrong" or "forbidden" for every refusal, for metrics.
    """

    def __init__(
        self, keys: Keys | None, admin_open: bool = False, failed: Callable[[str], object] = lambda reason: None
    ) -> None:
        self._keys = keys
        self._admin_open = admin_open
        self._failed = failed

    def allow(self, request: Request, scope: Scope) -> Identity | None:
        """Whose request this is, None where no key says so.

        Raises:
            RefusalError: 401 without a good key, 403 with one that is not enough, or where management is closed.
        """
        if scope == "none":
            return None
        if self._keys is None:
            if scope == "admin":
                self._local(request)
            return None
        key = presented(request.headers)
        identity = self._keys.check(key)
        if identity is None:
            self._failed("wrong" if key else "missing")
            text = (
                "This key is unknown or has run out."
                if key
                else "This service needs a key: send 'Authorization: Bearer KEY' or 'X-Api-Key: KEY'."
            )
            raise RefusalError(401, "unauthorized", text, headers=_CHALLENGE)
        if scope == "admin" and identity.scope != "admin":
            raise self._forbidden(f"The key '{identity.name}' may use the service; this needs a key of scope 'admin'.")
        return identity

    def _local(self, request: Request) -> None:
        """Management without keys: only a program on this machine, never a page in a browser."""
        if not self._admin_open:
            raise self._forbidden(
                "Management is closed. Start the service with --api-key-file and use a key of scope 'admin', or with "
                "--admin to open it to programs on the service's own machine."
            )
        client = request.scope.get("client")
        if client is None or not _loopback(client[0]) or any(name in request.headers for name in _FORWARDED):
            raise self._forbidden(
                "Without keys only programs on the service's own machine may manage it, and not through a proxy. "
                "Start the service with --api-key-file to manage it from elsewhere."
            )
        # A page's own name may be made to point at 127.0.0.1; the browser then takes this service for the page's.
        if not _loopback(_host(request.header(b"host"))[0]):
            raise self._forbidden(
                "Without keys the service is managed under the name 'localhost' or a loopback address only; the Host "
                f"header says '{request.header(b'host')[:100]}'."
            )
        if _foreign(request):
            raise self._forbidden("A web page from elsewhere may not manage this service.")

    def _forbidden(self, text: str) -> RefusalError:
        self._failed("forbidden")
        return RefusalError(403, "forbidden", text)


def _loopback(host: str) -> bool:
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def _host(authority: str) -> tuple[str, str]:
    """`name:port` or `[address]:port` -> (name, port), the port empty where there is none."""
    if authority.startswith("["):
        host, _, rest = authority[1:].partition("]")
        return host, rest.removeprefix(":")
    host, _, port = authority.partition(":")
    return host, port


def _foreign(request: Request) -> bool:
    """Whether a browser sent this for a page of another origin; Sec-Fetch-Site also covers requests without Origin."""
    if request.header(b"sec-fetch-site").lower() not in ("", "same-origin", "none"):
        return True
    if b"origin" not in request.headers:
        return False
    scheme, _, authority = request.header(b"origin").lower().partition("://")
    host, port = _host(authority)
    own_host, own_port = _host(request.header(b"host").lower())
    own_scheme = str(request.scope.get("scheme", "http"))
    return scheme != own_scheme or (host, port or _PORTS.get(scheme)) != (own_host, own_port or _PORTS.get(own_scheme))
