"""Descriptions of the routes by which the service tells of itself: models, metrics, pages, this document."""

from __future__ import annotations

from segx_serve.openapi.parts import BINARY, TEXT, Node, Scope, answer, failure, json_answer, operation, ref
from segx_serve.settings import Settings

_TAG = "Service"
TAGS: list[Node] = [{"name": _TAG, "description": "What the service tells of itself, and its pages."}]
_FILES = ("app.js", "style.css", "view.js")


def paths(settings: Settings) -> Node:
    """The routes."""
    cache = {"Cache-Control": {"description": "Never taken from a stale cache", "schema": {"const": "no-cache"}}}
    page = answer("A page", {"text/html": TEXT}, cache)
    files = answer("The file", {"text/javascript": TEXT, "text/css": TEXT}, cache)
    file = {"name": "file", "in": "path", "required": True, "description": "Its name", "schema": {"enum": _FILES}}
    sample = {
        "/sample": _get(settings, "sample", "A picture to try", {"200": answer("A picture", {"image/png": BINARY})}),
    }
    return {
        "/models": _get(
            settings,
            "models",
            "The models with classes, colours and measurements",
            {"200": json_answer("The newest version of each model", ref("Models"))},
        ),
        "/metrics": _get(
            settings,
            "metrics",
            "Metrics for Prometheus",
            {"200": answer("Prometheus' text format", {"text/plain": TEXT})},
        ),
        **(sample if settings.sample else {}),
        "/openapi.json": _get(
            settings,
            "openapi",
            "This document",
            {"200": json_answer("As true as the models served at this moment", {"type": "object"})},
        ),
        "/docs": _get(settings, "docs", "This document as a page", {"200": page}),
        "/": _get(settings, "page", "The web page", {"200": page}, scope="none"),
        "/page/{file}": {
            "get": operation(
                settings,
                "pageFile",
                "A script or style of the pages",
                _TAG,
                {"200": files, "404": failure("No file of that name")},
                scope="none",
                parameters=[file],
            )
        },
    }


def _get(settings: Settings, name: str, summary: str, answers: Node, scope: Scope = "use") -> Node:
    return {"get": operation(settings, name, summary, _TAG, answers, scope=scope)}
