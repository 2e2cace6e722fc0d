"""From model files to a running service, and its end on Ctrl-C or SIGTERM: in one process, or supervised in several."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from segx_core.errors import SetupError
from segx_core.onnx_metadata import card_for
from segx_core.progress import console
from segx_serve.listen import bind, ends_on_signals, make_server, url
from segx_serve.repository import Repository
from segx_serve.settings import Settings


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
    settings = settings or Settings()
    files = [path for path in models if not path.is_dir()]
    shared = {path: card_for(path, card, len(files)) for path in files} if card else {}
    repository = Repository(models, shared)
    if workers and sys.platform == "win32":
        raise SetupError("a system with Unix sockets for several processes", "Windows", "Use --workers 0.")
    if workers:
        _supervised(repository, settings, provider, force, workers)
    else:
        _alone(repository, settings, provider, force)
    console().print("Stopped.")


def _alone(repository: Repository, settings: Settings, provider: str, force: bool) -> None:
    """Everything in this process."""
    from segx_serve.app import App
    from segx_serve.local import FileService

    with bind(settings) as listener:
        service = FileService(repository, settings, provider, force)
        server = make_server(App(service), settings)
        _announce(service.describe(), url(settings, listener))
        with ends_on_signals(server):
            server.run(sockets=[listener])


def _supervised(repository: Repository, settings: Settings, provider: str, force: bool, workers: int) -> None:
    from segx_serve.supervisor import Supervisor

    logging.basicConfig(level=logging.INFO, format="%(message)s")
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


def _announce(models: list[str], address: str) -> None:
    out = console()
    for line in [*models, f"Listening on {address} (page /, API /docs, metrics /metrics). Ctrl-C ends."]:
        out.print(line, highlight=False, markup=False, soft_wrap=True)
