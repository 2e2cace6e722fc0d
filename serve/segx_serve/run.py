"""From model files to a running server, and its end on Ctrl-C or SIGTERM. Everything HTTP is in app.py."""

from __future__ import annotations

import errno
import signal
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import uvicorn

from segx_core.errors import ConfigError, ModelError, SetupError
from segx_core.onnx_metadata import card_for
from segx_core.predictor import Predictor
from segx_core.progress import console
from segx_core.runtime import cores
from segx_serve.app import App, create_app
from segx_serve.protocol import protocol
from segx_serve.settings import Settings

_BACKLOG = 2048


def serve(
    models: Sequence[Path],
    settings: Settings | None = None,
    provider: str = "auto",
    card: Path | None = None,
    force: bool = False,
) -> None:
    """Serve model files until SIGINT or SIGTERM; requests in flight are answered before it returns.

    Args:
        models: ONNX files; each is served under its file name without `.onnx`.
        provider: as `Predictor.load` takes it.
        card: the card of third-party files, as YAML; of several files only those without a card of their own get it.
        force: serve files that the quality gate rejected, too.

    Raises:
        ConfigError: no file, or two of one name.
        ModelError: a file that cannot be used, or was rejected by its gate.
        SetupError: the port is taken or not allowed, or the provider is not there.
    """
    settings = settings or Settings()
    named = names(models)
    listener = bind(settings)
    try:
        predictors = {
            name: load(path, settings, provider, card_for(path, card, len(named)), force)
            for name, path in named.items()
        }
        app = create_app(predictors, settings)
        server = make_server(app, settings)
        _announce(predictors, settings, listener)
        with _ends_on_signals(server):
            server.run(sockets=[listener])
    finally:
        listener.close()
    console().print("Stopped.")


def names(models: Sequence[Path]) -> dict[str, Path]:
    """Name -> file.

    Raises:
        ConfigError: no file, or two of one name.
    """
    if not models:
        raise ConfigError("at least one model file", "none")
    named: dict[str, Path] = {}
    for path in models:
        if path.stem in named:
            raise ConfigError(
                "models with different file names, because the name is how callers choose",
                f"'{path.stem}' twice: {named[path.stem]} and {path}",
                "Rename one of the files.",
            )
        named[path.stem] = path
    return named


def load(path: Path, settings: Settings, provider: str, card: Path | None, force: bool) -> Predictor:
    """Open one model file, with threads that fit the number of engines.

    Raises:
        ModelError: it cannot be used, or its gate rejected it and `force` is not set.
    """
    threads = settings.threads or max(1, cores() // settings.engine_threads(on_cpu=True))
    predictor = Predictor.load(path, provider=provider, card=card, threads=threads)
    gate = predictor.card.gate
    if gate.status == "rejected" and not force:
        raise ModelError(
            "a model that passed its quality gate",
            f"{path.name}, which was rejected: {'; '.join(gate.reasons) or 'no reason recorded'}",
            "Export it anew with other settings, or serve it all the same with --force.",
        )
    return predictor


def bind(settings: Settings) -> socket.socket:
    """A listening address, taken before any model is loaded so that a clash shows at once.

    Raises:
        SetupError: the address is taken, not allowed or not of this machine.
    """
    listener: socket.socket | None = None
    try:
        family, _, _, _, address = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
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
        http=protocol(settings.read_timeout),
        ws="none",
        lifespan="on",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=_BACKLOG,
        timeout_graceful_shutdown=max(1, round(settings.drain_seconds)),
    )
    return uvicorn.Server(config)


def url(settings: Settings, listener: socket.socket) -> str:
    """The address a browser on this machine can open."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)
    return f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"


def _announce(predictors: dict[str, Predictor], settings: Settings, listener: socket.socket) -> None:
    out = console()
    lines = []
    for name, predictor in predictors.items():
        lines.append(predictor.describe())
        if predictor.card.gate.status == "rejected":
            lines.append(f"{name} was rejected by its quality gate and is served because of --force.")
    lines.append(f"Listening on {url(settings, listener)} (page /, API /docs, metrics /metrics). Ctrl-C ends.")
    for line in lines:
        out.print(line, highlight=False, markup=False, soft_wrap=True)


@contextmanager
def _ends_on_signals(server: uvicorn.Server) -> Iterator[None]:
    """uvicorn raises the signals it was ended by once more when it is done; here they have been dealt with by then."""

    def end(number: int, frame: FrameType | None) -> None:
        server.should_exit = True

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _why(error: OSError) -> str:
    return "the port already in use" if error.errno == errno.EADDRINUSE else str(error.strerror or error)


def _cure(error: OSError, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"End the other program, or choose another port: --port {min(port + 1, 65535)} (0 takes any free one)."
    if error.errno == errno.EACCES:
        return "Ports below 1024 need a privilege; choose another with --port."
    return "Choose an address of this machine with --host: 127.0.0.1 for this machine only, 0.0.0.0 for all."
