"""What descriptions are made of: operations, answers, headers and small schemas. Knows no route."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

from segx_serve.settings import Settings

Node = dict[str, Any]
Scope = Literal["none", "use", "admin"]

TEXT: Node = {"type": "string"}
COUNT: Node = {"type": "integer", "minimum": 0}
FLAG: Node = {"type": "boolean"}
NAME: Node = {"type": "string", "pattern": "^[^/]+$"}
"""What fits between two slashes of a path."""
BINARY: Node = {"type": "string", "format": "binary"}
_CHALLENGE = 'Bearer realm="segx"'


def ref(name: str) -> Node:
    """One of the document's schemas."""
    return {"$ref": f"#/components/schemas/{name}"}


def record(optional: Sequence[str] = (), /, **properties: Node) -> Node:
    """An object; all but the optional properties are always there."""
    required = [name for name in properties if name not in optional]
    return {"type": "object", "required": required, "properties": properties}


def array(items: Node, **more: Any) -> Node:
    """A list."""
    return {"type": "array", "items": items, **more}


def operation(
    settings: Settings,
    name: str,
    summary: str,
    tag: str,
    answers: Node,
    *,
    scope: Scope = "use",
    plain: bool = False,
    parameters: Sequence[Node] = (),
    body: Node | None = None,
    description: str = "",
) -> Node:
    """One operation. Every one takes X-Request-Id, needs a key where its scope and the settings say so, and may fail.

    Args:
        plain: whether its refusals are the Open Inference Protocol's.
    """
    failed = plain_failure if plain else failure
    busy = failed("Too much to do, starting or stopping; try again")
    busy["headers"]["Retry-After"] = {"description": "Seconds", "schema": COUNT}
    common = {"500": failed("The service failed; its log says why, under the answer's X-Request-Id"), "503": busy}
    keys = settings.api_key_file is not None
    if keys and scope != "none":
        common["401"] = failed("No key, or one that is unknown or has run out")
        common["401"]["headers"]["WWW-Authenticate"] = required_header("How to show a key", {"const": _CHALLENGE})
    if scope == "admin":
        common["403"] = failed(
            "The key may use the service but not manage it"
            if keys
            else "Management is closed, or this is not a program on the service's own machine"
        )
    return {
        "operationId": name,
        "summary": summary,
        **({"description": description} if description else {}),
        "tags": [tag],
        **({"security": [] if scope == "none" else [{"bearer": []}, {"apiKey": []}]} if keys else {}),
        "parameters": [*parameters, {"$ref": "#/components/parameters/RequestId"}],
        **({"requestBody": body} if body else {}),
        "responses": dict(sorted({**common, **answers}.items())),
    }


def path_parameter(name: str, description: str, schema: Node) -> Node:
    """A piece of the path."""
    return {"name": name, "in": "path", "required": True, "description": description, "schema": schema}


def answer(description: str, content: Node, more: Node | None = None) -> Node:
    """An answer with a body.

    Args:
        content: media type -> schema.
        more: further headers.
    """
    told = {media_type: {"schema": schema} for media_type, schema in content.items()}
    return {"description": description, "headers": {"X-Request-Id": _ID, **(more or {})}, "content": told}


def json_answer(description: str, schema: Node) -> Node:
    """An answer in JSON."""
    return answer(description, {"application/json": schema})


def failure(description: str) -> Node:
    """A refusal as everything outside the Open Inference Protocol writes it."""
    return json_answer(description, ref("Error"))


def plain_failure(description: str) -> Node:
    """A refusal as the Open Inference Protocol writes it."""
    return json_answer(description, ref("PlainError"))


def one_of(known: Iterable[str]) -> Node:
    """A text that is one of these, any text where there are none."""
    words = sorted(known)
    return {**TEXT, "enum": words} if words else TEXT


def required_header(description: str, schema: Node) -> Node:
    """A header that is always there."""
    return {"description": description, "required": True, "schema": schema}


_ID: Node = {"$ref": "#/components/headers/RequestId"}


def common_headers() -> Node:
    """What every answer has."""
    return {"RequestId": required_header("The request's, or a new one", {**TEXT, "pattern": "^[A-Za-z0-9._-]{1,128}$"})}


def common_parameters() -> Node:
    """What every request may have."""
    about = (
        "Comes back with the answer and stands in the log, where it is made of at most 128 letters, digits, '.', '_' "
        "and '-'; any other is passed over and a new one made up."
    )
    return {"RequestId": {"name": "X-Request-Id", "in": "header", "description": about, "schema": TEXT}}
