"""`segx serve`: options as typed to settings, and the making of keys. The service itself is segx_serve's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from segx_core.errors import ConfigError
from segx_serve.keys import new_key
from segx_serve.run import serve
from segx_serve.settings import build_settings, parse_shape, parse_size

_SIZES = ("max_body", "max_pixels", "gpu_mem_limit")


def run_service(
    models: Sequence[Path], options: dict[str, Any], *, provider: str, card: Path | None, force: bool, workers: int
) -> None:
    """Serve until Ctrl-C.

    Args:
        options: fields of segx_serve's Settings, sizes as text.

    Raises:
        SegxError: something cannot be used.
    """
    sizes = {name: parse_size(options[name]) for name in _SIZES if options[name] is not None}
    shapes = tuple(parse_shape(text) for text in options["cuda_graphs"])
    settings = build_settings(**options | sizes | {"cuda_graphs": shapes})
    serve(models, settings, provider=provider, card=card, force=force, workers=workers)


def make_key(path: Path | None, wanted: str) -> None:
    """Make an API key, print it once, and keep only its hash in the file.

    Args:
        wanted: NAME, or NAME:admin for a key that may manage the service.

    Raises:
        ConfigError: no file, or another scope.
    """
    if path is None:
        raise ConfigError("--api-key-file with --new-key", "none", "It is where the key's hash is kept.")
    name, _, scope = wanted.partition(":")
    match scope:
        case "" | "use":
            key = new_key(path, name, "use")
        case "admin":
            key = new_key(path, name, "admin")
        case _:
            raise ConfigError("--new-key NAME or NAME:admin", f"'{wanted}'")
    typer.echo(key)
