"""The service: pictures in over HTTP, class maps out. Knows ONNX Runtime only through core's Runner protocol."""

from __future__ import annotations

from collections.abc import Mapping

from segx_core.errors import ConfigError
from segx_core.runner import Runner
from segx_serve.app import App
from segx_serve.service import LocalService
from segx_serve.settings import Settings

__all__ = ["Settings", "create_app"]


def create_app(runners: Mapping[str, Runner], settings: Settings | None = None) -> App:
    """An ASGI application that serves `runners` under their names.

    Each runner belongs to this application from now on. Its `card`, `provider` and `size_bytes` are used where it
    has them, as core's Predictor does.

    Raises:
        ConfigError: no runner, or a name that cannot stand in an address.
        PictureError: `settings.sample` is no picture.
    """
    if not runners:
        raise ConfigError("at least one model to serve", "none")
    return App(LocalService(settings or Settings(), runners))
