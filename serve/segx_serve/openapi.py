"""The OpenAPI 3.1 document: the one place where the routes are described for people and programs.

It describes what app.py routes; a test holds the two together.
"""

from __future__ import annotations

from typing import Any

from segx_core.version import segx_version
from segx_serve.settings import Settings

Node = dict[str, Any]


def document(models: list[str], settings: Settings) -> Node:
    """The document for a service with these models and limits."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "segx",
            "version": segx_version(),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            "description": "Semantic segmentation: a picture in, the class of every pixel out.",
        },
        "servers": [{"url": "/"}],
        "paths": {
            "/segment": {"post": _segment(models, settings)},
            "/models": {"get": _get("The models with classes, colours and measurements", "models", _ref("Models"))},
            "/metrics": {"get": _get("Metrics for Prometheus", "metrics", {"type": "string"}, media_type="text/plain")},
            "/v2": {"get": _get("Server metadata and limits", "server", _ref("Server"))},
            "/v2/health/live": {"get": _get("Whether the process answers", "live", _ref("Live"))},
            "/v2/health/ready": {"get": _readiness("Whether every model has been warmed up", "ready", "Ready")},
            "/v2/models/{name}": {"get": _of_model("A model's inputs and outputs", "modelMetadata", "ModelMetadata")},
            "/v2/models/{name}/ready": {
                "get": _of_model("Whether a model has been warmed up", "modelReady", "ModelReady")
            },
            "/openapi.json": {"get": _get("This document", "openapi", {"type": "object"})},
            "/docs": {"get": _page("This document as a page", "docs")},
            "/": {"get": _page("The web page", "page")},
        }
        | ({"/sample": {"get": _sample()}} if settings.sample else {}),
        "components": {"schemas": _schemas()},
    }


def _segment(models: list[str], settings: Settings) -> Node:
    about_model = "Which model. Optional when only one is served."
    mask_headers = {
        "X-Segx-Shape": {
            "description": "Only with application/octet-stream: height,width",
            "schema": {"type": "string"},
        },
        "X-Segx-Dtype": {
            "description": "Only with application/octet-stream: how each pixel is stored, little-endian",
            "schema": {"enum": ["uint8", "uint16"]},
        },
        "Server-Timing": {
            "description": "Milliseconds in queue, decode, run and encode",
            "schema": {"type": "string"},
        },
    }
    binary: Node = {"type": "string", "format": "binary"}
    form = {
        "type": "object",
        "required": ["image"],
        "additionalProperties": False,
        "properties": {"image": {**binary, "description": "The picture file"}},
    }
    return {
        "operationId": "segment",
        "summary": "Segment a picture",
        "description": (
            "The picture is the request's body, or the field `image` of a form. The Accept header chooses the answer: "
            "`image/png` a palette PNG of class indices (default), `image/png;overlay=1` the picture blended with the "
            "classes' colours, `application/json` areas, boxes and COCO run lengths (`;rle=0` leaves those out, "
            "`;polygons=1` adds outlines), `application/octet-stream` one number a pixel, row by row (gzip where "
            "Accept-Encoding takes it)."
        ),
        "parameters": [
            {
                "name": "model",
                "in": "query",
                "required": len(models) > 1,
                "description": about_model,
                "schema": {"type": "string", "enum": models},
            },
            _request_id(),
        ],
        "requestBody": {
            "required": True,
            "description": f"At most {settings.max_body} bytes and {settings.max_pixels} pixels.",
            "content": {
                "image/jpeg": {"schema": binary},
                "image/png": {"schema": binary},
                "image/webp": {"schema": binary},
                "multipart/form-data": {"schema": form},
            },
        },
        "responses": {
            "200": {
                "description": "The classes of every pixel",
                "headers": mask_headers | _id_header(),
                "content": {
                    "image/png": {"schema": binary},
                    "application/json": {"schema": _ref("Segmentation")},
                    "application/octet-stream": {"schema": binary},
                },
            },
            "400": _error("A broken, truncated or empty picture; a broken form; an unknown parameter"),
            "404": _error("No model of that name; the message names the nearest"),
            "406": _error("Accept takes none of the forms of answer"),
            "408": _error("The body did not arrive in time"),
            "413": _error("The body or the picture is larger than allowed"),
            "415": _error("Not a picture, or of a kind that is not read"),
            "422": _error("A form field that is missing, unknown or repeated; the message names it"),
            "500": _error("The model failed on this picture"),
            "503": _error("Too much to do; try again after Retry-After seconds", retry=True),
        },
    }


def _get(summary: str, operation: str, schema: Node, media_type: str = "application/json") -> Node:
    content = {media_type: {"schema": schema}}
    answer = {"description": summary, "headers": _id_header(), "content": content}
    return {"operationId": operation, "summary": summary, "parameters": [_request_id()], "responses": {"200": answer}}


def _page(summary: str, operation: str) -> Node:
    return _get(summary, operation, {"type": "string"}, media_type="text/html")


def _sample() -> Node:
    return _get("A picture to try", "sample", {"type": "string", "format": "binary"}, media_type="image/png")


def _readiness(summary: str, operation: str, schema: str) -> Node:
    node = _get(summary, operation, _ref(schema))
    node["responses"]["503"] = {**node["responses"]["200"], "description": "Not yet"}
    return node


def _of_model(summary: str, operation: str, schema: str) -> Node:
    node = _get(summary, operation, _ref(schema)) if schema != "ModelReady" else _readiness(summary, operation, schema)
    node["parameters"].insert(0, {"name": "name", "in": "path", "required": True, "schema": {"type": "string"}})
    content = {"application/json": {"schema": _ref("PlainError")}}
    node["responses"]["404"] = {"description": "No model of that name", "headers": _id_header(), "content": content}
    return node


def _error(description: str, *, retry: bool = False) -> Node:
    headers = _id_header()
    if retry:
        headers["Retry-After"] = {"description": "Seconds", "schema": {"type": "integer"}}
    return {"description": description, "headers": headers, "content": {"application/json": {"schema": _ref("Error")}}}


def _request_id() -> Node:
    return {
        "name": "X-Request-Id",
        "in": "header",
        "description": "Comes back with the answer and stands in the log; made up when absent or not of this form.",
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,128}$"},
    }


def _id_header() -> Node:
    return {"X-Request-Id": {"description": "The request's, or a new one", "schema": {"type": "string"}}}


def _ref(name: str) -> Node:
    return {"$ref": f"#/components/schemas/{name}"}


def _object(optional: tuple[str, ...] = (), **properties: Node) -> Node:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "required": required, "properties": properties}


def _list(items: Node) -> Node:
    return {"type": "array", "items": items}


def _schemas() -> Node:
    text: Node = {"type": "string"}
    count: Node = {"type": "integer", "minimum": 0}
    flag: Node = {"type": "boolean"}
    byte: Node = {"type": "integer", "minimum": 0, "maximum": 255}
    run_length = _object(size=_list(count), counts=text)
    run_length["description"] = "COCO's compressed run lengths, as pycocotools reads them; size is [height, width]"
    fraction = {"type": "number", "minimum": 0, "maximum": 1, "description": "Share of the picture's pixels"}
    vertices = {**_list(_list(count)), "description": "Corners [x, y] at the centres of pixels"}
    tensor = _object(name=text, datatype=text, shape=_list({"type": "integer", "minimum": -1}))
    return {
        "Error": _object(error=_object(code=text, message=text)),
        "PlainError": _object(error=text),
        "Segmentation": _object(
            model=text,
            height=count,
            width=count,
            classes=_list(
                _object(
                    ("rle", "polygons"),
                    index=count,
                    name=text,
                    pixels=count,
                    fraction=fraction,
                    bbox={
                        "type": ["array", "null"],
                        "items": count,
                        "description": "[left, top, width, height] in pixels; null for a class that is not there",
                    },
                    rle=run_length,
                    polygons=_list(_object(polygon=vertices, holes=_list(vertices))),
                )
            ),
        ),
        "Models": _object(models=_list(_ref("Model")), sample={**flag, "description": "Whether there is /sample"}),
        "Model": _object(
            name=text,
            provider=text,
            precision=text,
            size_bytes={"type": ["integer", "null"]},
            gate={"type": ["string", "null"], "description": "What the quality gate said of the file"},
            classes={"type": ["array", "null"], "items": text},
            palette=_list(_list(byte)),
            measurements=_list({"type": "object"}),
        ),
        "Server": _object(name=text, version=text, extensions=_list(text), limits={"type": "object"}),
        "Live": _object(live=flag),
        "Ready": _object(
            ("waiting",), ready=flag, waiting={"type": "object", "additionalProperties": text, "description": "Why not"}
        ),
        "ModelMetadata": _object(
            name=text, versions=_list(text), platform=text, inputs=_list(tensor), outputs=_list(tensor)
        ),
        "ModelReady": _object(name=text, ready=flag),
    }
