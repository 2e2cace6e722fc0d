"""The document is held against the routes and against real answers."""

from __future__ import annotations

import json
import re
from types import SimpleNamespace
from typing import Any

import pytest

from segx_core.predictor import Predictor
from segx_serve import Settings, docs, openapi


def refs(node: Any) -> list[str]:
    """Every $ref in a document."""
    if isinstance(node, dict):
        return [node["$ref"]] if "$ref" in node else [ref for value in node.values() for ref in refs(value)]
    return [ref for value in node for ref in refs(value)] if isinstance(node, list) else []


def test_every_route_is_described_and_every_description_is_routed(kit: SimpleNamespace, serve: Any) -> None:
    running = serve({"m": kit.Brightness()})
    document = running.client.get("/openapi.json").json()
    described = {(path, method.upper()) for path, methods in document["paths"].items() for method in methods}
    routed = {(path, method) for path, methods in running.app._routes.items() for method in methods}
    assert described == {pair for pair in routed if not pair[0].startswith("/page/")}


def test_references_resolve_and_operations_have_names_of_their_own() -> None:
    document = openapi.document(["a", "b"], Settings())
    known = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert set(refs(document)) <= known
    assert known <= set(refs(document))
    names = [one["operationId"] for methods in document["paths"].values() for one in methods.values()]
    assert len(set(names)) == len(names)


def test_real_answers_are_described_with_status_type_and_fields(
    kit: SimpleNamespace, serve: Any, model_file: Any
) -> None:
    running = serve({"tiny": Predictor.load(model_file, provider="cpu")}, max_body=5000)
    document = running.client.get("/openapi.json").json()
    schemas = document["components"]["schemas"]
    good = kit.as_png(kit.picture())
    answers = [
        running.segment(good, accept=accept) for accept in ("*/*", "application/json", "application/octet-stream")
    ]
    answers += [running.segment(b"x"), running.segment(good, accept="a/b"), running.segment(b"x" * 6000)]
    answers += [running.segment(good, media_type="a/b"), running.segment(good, params={"model": "x"})]
    answers += [running.client.post("/segment", files={"x": b"y"})]
    paths = ["/", "/docs", "/openapi.json", "/metrics", "/models", "/v2", "/v2/health/live", "/v2/health/ready"]
    answers += [running.client.get(path) for path in paths]
    answers += [running.client.get(f"/v2/models/{name}") for name in ("tiny", "tiny/ready", "x", "x/ready")]
    for answer in answers:
        path = re.sub(r"/v2/models/[^/]+", "/v2/models/{name}", answer.request.url.path)
        told = document["paths"][path][answer.request.method.lower()]["responses"][str(answer.status_code)]
        media_type = answer.headers["content-type"].split(";")[0]
        assert media_type in told["content"], path
        schema = told["content"][media_type]["schema"]
        if media_type == "application/json":
            conforms(answer.json(), schema, schemas)
        assert set(told["headers"]) >= {"X-Request-Id"}


def conforms(value: Any, schema: Any, schemas: Any) -> None:
    """A small reading of JSON Schema: types, required and undeclared properties, items, ranges."""
    if "$ref" in schema:
        schema = schemas[schema["$ref"].rpartition("/")[2]]
    python = {"object": dict, "array": list, "string": str, "integer": int, "number": (int, float), "boolean": bool}
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    assert any(value is None if kind == "null" else isinstance(value, python[kind]) for kind in kinds), (value, schema)
    if isinstance(value, dict) and "properties" in schema:
        assert set(schema["required"]) <= set(value) <= set(schema["properties"]), (value, schema)
        for name, item in value.items():
            conforms(item, schema["properties"][name], schemas)
    if isinstance(value, list) and "items" in schema:
        for item in value:
            conforms(item, schema["items"], schemas)
    if isinstance(value, int | float):
        assert schema.get("minimum", value) <= value <= schema.get("maximum", value)


def test_the_docs_page_shows_every_route_and_loads_nothing_from_elsewhere() -> None:
    document = openapi.document(["<b>"], Settings())
    page = docs.render(document)
    for path in document["paths"]:
        assert f"<code>{path}</code>" in page
    assert "<b>" not in page
    assert not re.search(r"""(src|href)=["'](https?:)?//""", page)
    assert "<script" not in page


@pytest.mark.parametrize(("models", "required"), [(["a"], False), (["a", "b"], True)])
def test_the_model_parameter_is_required_only_when_there_is_a_choice(models: list[str], required: bool) -> None:
    (model, _) = openapi.document(models, Settings())["paths"]["/segment"]["post"]["parameters"]
    assert model["required"] is required
    assert model["schema"]["enum"] == models


def test_the_document_is_plain_json() -> None:
    document = openapi.document(["a"], Settings())
    assert json.loads(json.dumps(document)) == document
