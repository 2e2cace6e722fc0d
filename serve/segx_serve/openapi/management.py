"""Descriptions of the Open Inference Protocol's routes that manage the service: models and shared memory."""

from __future__ import annotations

from segx_serve.openapi.parts import (
    NAME,
    Node,
    array,
    json_answer,
    operation,
    path_parameter,
    plain_failure,
    record,
    ref,
)
from segx_serve.openapi.protocol import posted
from segx_serve.settings import Settings

_MODELS = "Protocol: repository"
_MEMORY = "Protocol: shared memory"
TAGS: list[Node] = [
    {"name": _MODELS, "description": "Which models there are; loading and unloading them."},
    {"name": _MEMORY, "description": "Tensors that programs on the service's machine pass through shared memory."},
]
_LONGEST = 200
_DONE = json_answer("Done", {"type": "object", "maxProperties": 0})


def paths(settings: Settings) -> Node:
    """The routes."""
    return {
        "/v2/repository/index": {
            "post": operation(
                settings,
                "repositoryIndex",
                "All models that are known",
                _MODELS,
                {**posted(settings), "200": json_answer("The models", array(ref("IndexEntry")))},
                plain=True,
                body=_optional(
                    "With `ready` true only models that can be used.",
                    record(("ready",), ready={"type": "boolean"}),
                ),
            )
        },
        "/v2/repository/models/{model}/load": {"post": _change(settings, "Load", "Load a model, or load it anew")},
        "/v2/repository/models/{model}/unload": {"post": _change(settings, "Unload", "Serve a model no longer")},
        **_memory(settings),
    }


def _change(settings: Settings, verb: str, summary: str) -> Node:
    nothing = {"type": ["object", "null"], "maxProperties": 0}
    body = {
        "Load": _optional(
            "No `parameters`: files and configuration are the service's own.",
            record(("parameters",), parameters=nothing),
        ),
        "Unload": _optional("Nothing in it changes anything.", {"type": "object"}),
    }
    return operation(
        settings,
        f"repositoryModel{verb}",
        summary,
        _MODELS,
        {
            **posted(settings),
            "200": _DONE,
            "404": plain_failure("No model of that name"),
            "409": plain_failure("The model does not come from a file"),
        },
        scope="admin",
        plain=True,
        parameters=[path_parameter("model", "The model's name; it need not be served now.", NAME)],
        body=body[verb],
    )


def _optional(description: str, schema: Node) -> Node:
    """A body in JSON that may be left out."""
    return {"required": False, "description": description, "content": {"application/json": {"schema": schema}}}


def _memory(settings: Settings) -> Node:
    offered = settings.api_key_file is not None or settings.admin
    missing = "No such region" if offered else "This service takes no shared memory"
    listed = {"200": json_answer("The regions", array(ref("Region")))}
    listed_one = {**listed, "404": plain_failure(missing)}
    told = {"404": plain_failure("No such object" if offered else missing)}
    region = path_parameter("region", "The region's name.", NAME)
    new_region = path_parameter("region", "The region's new name.", {**NAME, "maxLength": _LONGEST})
    register = {
        "required": True,
        "description": "Where the region lies.",
        "content": {"application/json": {"schema": ref("Registration")}},
    }

    def one(name: str, summary: str, answers: Node, **more: object) -> Node:
        return operation(settings, name, summary, _MEMORY, answers, plain=True, **more)  # type: ignore[arg-type]

    changed = {"200": _DONE, **posted(settings), **told}
    base = "/v2/systemsharedmemory"
    return {
        f"{base}/status": {"get": one("regions", "All regions of shared memory", listed if offered else listed_one)},
        f"{base}/unregister": {"post": one("unregisterAll", "Forget all regions", changed, scope="admin")},
        f"{base}/region/{{region}}/status": {
            "get": one("region", "One region of shared memory", listed_one, parameters=[region])
        },
        f"{base}/region/{{region}}/register": {
            "post": one(
                "register",
                "Take a region of shared memory into use",
                changed,
                scope="admin",
                parameters=[new_region],
                body=register,
            )
        },
        f"{base}/region/{{region}}/unregister": {
            "post": one("unregister", "Forget a region", changed, scope="admin", parameters=[region])
        },
    }
