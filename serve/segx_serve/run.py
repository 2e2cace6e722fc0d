"""From model files to a running service, and its end on Ctrl-C or SIGTERM: in one process, or supervised in several."""

from __future__ import annotations

import asyncio
import select
import sys
from collections.abc import Sequence
from pathlib import Path

from segx_core.errors import ConfigError, SetupError
from segx_core.onnx_metadata import card_for
from segx_core.progress import console
from segx_core.quiet import silence_decoders
from segx_serve import logs
from segx_serve.door import Door
from segx_serve.listen import bind, ends_on_signals, make_server, url
from segx_serve.repository import Repository
from segx_serve.settings import Settings
from segx_serve.surroundings import open_standard_streams
from segx_serve.tally import Tally


def serve(
    models: Sequence[Path],
    settings: Settings | None = None,
    provider: str = "auto",
    card: Path | None = None,
    force: bool = False,
    workers: int = 1,
) -> None:
    """Serve model files until SIGINT or SIGTERM; requests in flight are answered before it returns.

    Args:
        models: ONNX files, each served under its file name without `.onnx`, and folders (see repository.py).
        provider: as `Predictor.load` takes it.
        card: the card of third-party files, as YAML; of several files only those without a card of their own get it.
        force: serve files that the quality gate rejected, too.
        workers: front-end processes under a supervisor; 0 serves from this process alone.

    Raises:
        ConfigError: no file, or two of one name.
        ModelError: a file that cannot be used, or was rejected by its gate.
        SetupError: the port is taken or not allowed, or the provider is not there.
    """
    open_standard_streams()
    settings = settings or Settings()
    files = [path for path in models if not path.is_dir()]
    shared = {path: card_for(path, card, len(files)) for path in files} if card else {}
    repository = Repository(models, shared)
    if workers and sys.platform == "win32":
        raise SetupError("a system with Unix sockets for several processes", "Windows", "Use --workers 0.")
    checked(settings)
    _more_files()
    log = logs.configure(settings.log_format, "info", "supervisor" if workers else "service")
    try:
        if workers:
            _supervised(repository, settings, provider, force, workers)
        else:
            _single(repository, settings, provider, force)
    finally:
        log.close()
    if _somebody_reads():
        console().print("Stopped.")


def _single(repository: Repository, settings: Settings, provider: str, force: bool) -> None:
    """Everything in this process."""
    from segx_serve.app import App
    from segx_serve.local import FileService

    silence_decoders()
    with bind(settings) as listener:
        service = FileService(repository, settings, provider, force)
        server = make_server(App(service), settings)
        _announce(service.describe(), url(settings, listener))
        with ends_on_signals(server):
            server.run(sockets=[listener])


def _supervised(repository: Repository, settings: Settings, provider: str, force: bool, workers: int) -> None:
    from segx_serve.supervisor import Supervisor

    first = bind(settings, shared=True)
    listeners = [first]
    try:
        settings = settings.model_copy(update={"port": first.getsockname()[1]})
        listeners += [bind(settings, shared=True, first=False) for _ in range(workers - 1)]
        supervisor = Supervisor(settings, repository, provider, force, listeners)
        address = url(settings, first)
        asyncio.run(supervisor.run(lambda lines: _announce(lines, address)))
    finally:
        for listener in listeners:
            listener.close()


def _more_files() -> None:
    """Let this process and its children open as many files as the system allows them: a connection is one."""
    if sys.platform != "win32":
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _somebody_reads() -> bool:
    """Whether a line to the terminal would go out now: a last word must not keep the process from ending."""
    if sys.platform == "win32":
        return True
    try:
        return bool(select.select([], [console().file.fileno()], [], 0)[1])
    except (OSError, ValueError):
        return True  # no real file, as under test: nothing there can block


def checked(settings: Settings) -> None:
    """Hold against the machine what can be: keys, certificate, collector, extras. Warnings are printed.

    Raises:
        SegxError: something that would keep the service from working.
    """
    door = Door(settings, Tally())
    door.close()
    if settings.grpc_port is not None:
        if settings.tls is not None:
            raise ConfigError(
                "--grpc-port without --tls-cert",
                "both",
                "gRPC is served without TLS only: put it behind a proxy that adds it.",
            )
        import segx_serve.oip.grpc_server  # noqa: F401 - says what is missing

        bind(settings.model_copy(update={"port": settings.grpc_port})).close()
    warnings = [*(door.keys.warnings() if door.keys else ()), *(settings.tls.check() if settings.tls else ())]
    for warning in warnings:
        console().print(warning, style="yellow", markup=False, highlight=False, soft_wrap=True)


def _announce(models: list[str], address: str) -> None:
    out = console()
    for line in [*models, f"Listening on {address} (page /, API /docs, metrics /metrics). Ctrl-C ends."]:
        out.print(line, highlight=False, markup=False, soft_wrap=True)
