"""The listening address and the HTTP server on it. Everything HTTP is in app.py, everything of models elsewhere."""

from __future__ import annotations

import errno
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import uvicorn

from segx_core.errors import SetupError
from segx_serve.app import App
from segx_serve.protocol import protocol
from segx_serve.settings import Settings
from segx_serve.surroundings import end_signals

_BACKLOG = 2048


def bind(settings: Settings, *, shared: bool = False, first: bool = True) -> socket.socket:
    """The service's address, taken before any model is loaded so that a clash shows at once.

    Args:
        shared: whether further sockets of this service are to have the same address, each with connections of its own.
        first: whether it is the first of them; only then a clash with another service can be told.

    Raises:
        SetupError: the address is taken, not allowed or not of this machine.
    """
    listener: socket.socket | None = None
    try:
        family, _, _, _, address = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            if first:
                _alone(family, address)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        if listener is not None:
            listener.close()
        where = f"{settings.host}:{settings.port}"
        raise SetupError(f"to listen on {where}", _why(error), _cure(error, settings.port)) from None
    return listener


def make_server(app: App, settings: Settings) -> uvicorn.Server:
    """The HTTP server around an application; `run(sockets=[...])` runs it."""
    config = uvicorn.Config(
        app,
        http=protocol(app, settings.read_timeout, settings.write_timeout, settings.max_connections),
        ws="none",
        lifespan="on",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=_BACKLOG,
        timeout_graceful_shutdown=max(1, round(settings.drain_seconds)),
        **(settings.tls.options() if settings.tls else {}),
    )
    app.tls_context = lambda: config.ssl if config.loaded else None
    return uvicorn.Server(config)


def url(settings: Settings, listener: socket.socket) -> str:
    """The address a browser on this machine can open."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)
    scheme = "https" if settings.tls else "http"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"


@contextmanager
def ends_on_signals(server: uvicorn.Server) -> Iterator[None]:
    """uvicorn raises the signals it was ended by once more when it is done; here they have been dealt with by then."""

    def end(number: int, frame: FrameType | None) -> None:
        server.should_exit = True

    before = {number: signal.signal(number, end) for number in end_signals()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _alone(family: int, address: object) -> None:
    """Another service of this user with shared sockets would silently take half of the connections: refuse it."""
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)  # type: ignore[arg-type]  # whatever form getaddrinfo gave this family


def _why(error: OSError) -> str:
    return "the port already in use" if error.errno == errno.EADDRINUSE else str(error.strerror or error)


def _cure(error: OSError, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"End the other program, or choose another port: --port {min(port + 1, 65535)} (0 takes any free one)."
    if error.errno == errno.EACCES:
        return "Ports below 1024 need a privilege; choose another with --port."
    return "Choose an address of this machine with --host: 127.0.0.1 for this machine only, 0.0.0.0 for all."
