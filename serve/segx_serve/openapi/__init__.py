"""The OpenAPI 3.1 document: the one place where the routes are described for people and programs.

It describes what app.py routes; tests hold the two together, with the routes one by one and with generated requests.
"""

from __future__ import annotations

from segx_serve.openapi.document import document
from segx_serve.openapi.parts import Node

__all__ = ["Node", "document"]
