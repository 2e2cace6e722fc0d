"""The whole document, put together from the descriptions of the routes.

A function of the models served and the settings, so it is true of the moment it is asked for. It knows no route itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from segx_core.version import segx_version
from segx_serve.openapi import management, parts, protocol, protocol_schemas, schemas, segment, service
from segx_serve.openapi.parts import Node
from segx_serve.settings import Settings

_ABOUT = (
    "Semantic segmentation: a picture in, the class of every pixel out. Every GET answers HEAD too. Query parameters "
    "that an operation does not name are refused by /segment and ignored elsewhere, as are bodies of GET. A trailing "
    "slash makes no difference under /v2. What is no operation is 404, or 405 with the header Allow. Before a request "
    "is understood, its connection may be closed with 400 (not HTTP), 408 (headers too slow), 431 (headers too long) "
    "or 503 (too many connections), without a body in JSON."
)
_CORS = " Browsers' preflights (OPTIONS) are answered for every path, without a key."


def document(models: Mapping[str, Sequence[str]], settings: Settings) -> Node:
    """The document for a service with these models and limits.

    Args:
        models: name -> its versions.
    """
    keys = settings.api_key_file is not None
    paths = {
        **segment.paths(models, settings),
        **service.paths(settings),
        **protocol.paths(models, settings),
        **management.paths(settings),
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "segx",
            "version": segx_version(),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            "description": _ABOUT + (_CORS if settings.cors_origins else ""),
        },
        "servers": [{"url": "/"}],
        "tags": [*segment.TAGS, *service.TAGS, *protocol.TAGS, *management.TAGS],
        "paths": paths,
        "components": {
            "schemas": {**schemas.schemas(), **protocol_schemas.schemas(settings)},
            "headers": parts.common_headers(),
            "parameters": parts.common_parameters(),
            **({"securitySchemes": _schemes()} if keys else {}),
        },
    }


def _schemes() -> Node:
    about = "A key of scope use, or of scope admin where models or shared memory are changed."
    return {
        "bearer": {"type": "http", "scheme": "bearer", "description": about},
        "apiKey": {"type": "apiKey", "in": "header", "name": "X-Api-Key", "description": about},
    }
