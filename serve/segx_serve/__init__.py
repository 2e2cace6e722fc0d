"""The service: pictures in over HTTP, class maps out. Knows ONNX Runtime only through core's Runner protocol."""

from __future__ import annotations

from segx_serve.app import create_app
from segx_serve.settings import Settings

__all__ = ["Settings", "create_app"]
