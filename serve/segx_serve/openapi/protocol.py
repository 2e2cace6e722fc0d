"""Descriptions of the Open Inference Protocol's routes that use the service. What manages it: management.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

from segx_serve.openapi.parts import (
    BINARY,
    Node,
    Scope,
    answer,
    json_answer,
    one_of,
    operation,
    path_parameter,
    plain_failure,
    ref,
)
from segx_serve.settings import Settings

_SERVER = "Protocol: server"
_MODELS = "Protocol: models"
TAGS: list[Node] = [
    {"name": _SERVER, "description": "The Open Inference Protocol's server metadata and health."},
    {"name": _MODELS, "description": "The Open Inference Protocol's models and inference."},
]
_LENGTH = "Inference-Header-Content-Length"
_ABOUT_INFER = (
    "Without the header `Inference-Header-Content-Length` the body is JSON. With it, that many bytes are JSON, and "
    "the bytes of the inputs that give a `binary_data_size` follow in their order; 0 means that the whole body is one "
    "picture file and that the answer is binary too. Content-Type is not looked at. gzip and deflate are taken "
    "(Content-Encoding) and answered with (Accept-Encoding)."
)

_EXAMPLE: Node = {
    "inputs": [{"name": "image", "datatype": "UINT8", "shape": [1, 1, 2, 3], "data": [250, 250, 250, 0, 90, 180]}]
}


def paths(models: Mapping[str, Sequence[str]], settings: Settings) -> Node:
    """The routes."""
    return {
        "/v2": {
            "get": _get(
                settings, "server", "Server metadata and limits", _SERVER, json_answer("The server", ref("Server"))
            )
        },
        "/v2/health/live": {
            "get": _get(
                settings,
                "live",
                "Whether the process answers",
                _SERVER,
                json_answer("It does", ref("Live")),
                scope="none",
            )
        },
        "/v2/health/ready": {"get": _ready(settings)},
        "/v2/models/stats": {
            "get": _get(
                settings, "statistics", "Statistics of all models", _MODELS, json_answer("Since loaded", ref("Stats"))
            )
        },
        **_of_model(settings, "/v2/models/{model}", "", [_model(models)]),
        **_of_model(settings, "/v2/models/{model}/versions/{version}", "OfVersion", [_model(models), _version(models)]),
    }


def posted(settings: Settings) -> Node:
    """The refusals of every operation that takes a body."""
    return {
        "400": plain_failure("The body contradicts the protocol or the model; the message says how"),
        "408": plain_failure("The body did not arrive in time"),
        "413": plain_failure(f"More than {settings.max_body} bytes, too much JSON, or too many or too large pictures"),
    }


def _of_model(settings: Settings, path: str, suffix: str, parameters: list[Node]) -> Node:
    """The operations on one model; its newest version, or one of its versions."""
    which = "one version of a model" if suffix else "a model"
    missing = {"404": plain_failure("No model of that name or version; the message names the nearest")}
    more: dict[str, Any] = {"parameters": parameters}

    def get(name: str, summary: str, answers: Node, schema: str) -> Node:
        told = {**missing, "200": json_answer(summary, ref(schema)), **answers}
        return {"get": operation(settings, name + suffix, summary, _MODELS, told, plain=True, **more)}

    not_yet = json_answer("Not yet, or the service is busy", {"anyOf": [ref("ModelReady"), ref("PlainError")]})
    not_yet["headers"]["Retry-After"] = {"description": "Seconds", "schema": {"type": "integer"}}
    return {
        path: get("modelMetadata", f"Inputs and outputs of {which}", {}, "ModelMetadata"),
        f"{path}/ready": get("modelReady", f"Whether {which} has been warmed up", {"503": not_yet}, "ModelReady"),
        f"{path}/config": get("modelConfig", f"Configuration of {which}", {}, "ModelConfig"),
        f"{path}/stats": get("modelStatistics", f"Statistics of {which}", {}, "Stats"),
        f"{path}/infer": {
            "post": operation(
                settings,
                "infer" + suffix,
                f"Class maps by {which}",
                _MODELS,
                {**posted(settings), **_inferred()},
                plain=True,
                parameters=[*parameters, _length()],
                body={
                    "required": True,
                    "description": "Either pictures of one size (`image`) or picture files (`encoded`).",
                    "content": {
                        "application/json": {"schema": ref("InferRequest"), "example": _EXAMPLE},
                        "application/octet-stream": {"schema": BINARY},
                    },
                },
                description=_ABOUT_INFER,
            )
        },
    }


def _inferred() -> Node:
    headers = {
        _LENGTH: {"description": "Only with application/octet-stream: bytes of JSON", "schema": {"type": "integer"}},
        "Content-Encoding": {"description": "Where it was compressed", "schema": {"enum": ["gzip", "deflate"]}},
    }
    content = {"application/json": ref("InferResponse"), "application/octet-stream": BINARY}
    return {
        "200": answer("The class maps: JSON, or JSON and the maps' bytes behind it", content, headers),
        "404": plain_failure("No model of that name or version, or no such region of shared memory"),
        "415": plain_failure("A picture of a kind that is not read, or a Content-Encoding that is not taken"),
        "507": plain_failure("The system has no memory left for the output's region"),
    }


def _length() -> Node:
    return {
        "name": _LENGTH,
        "in": "header",
        "description": "Bytes of JSON at the begin of the body; 0: the body is a picture file.",
        "schema": {"type": "integer", "minimum": 0, "maximum": 999_999_999_999},
    }


def _ready(settings: Settings) -> Node:
    node = _get(
        settings,
        "ready",
        "Whether every model has been warmed up",
        _SERVER,
        json_answer("Every one", ref("Ready")),
        scope="none",
    )
    node["responses"]["503"] = {
        **node["responses"]["503"],
        "description": "Not yet, or the service is starting or stopping",
        "content": {"application/json": {"schema": {"anyOf": [ref("Ready"), ref("PlainError")]}}},
    }
    return node


def _get(settings: Settings, name: str, summary: str, tag: str, good: Node, scope: Scope = "use") -> Node:
    return operation(settings, name, summary, tag, {"200": good}, plain=True, scope=scope)


def _model(models: Mapping[str, Sequence[str]]) -> Node:
    return path_parameter("model", "The model's name.", one_of(models))


def _version(models: Mapping[str, Sequence[str]]) -> Node:
    return path_parameter("version", "The model's version.", one_of(set(chain.from_iterable(models.values()))))
