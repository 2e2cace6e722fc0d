"""The document is held against the routes, one by one in both directions, and against real answers of each."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import jsonschema_rs
import pytest

from segx_core.predictor import Predictor
from segx_serve import Settings, docs, openapi
from segx_serve.http import RefusalError, Request
from segx_serve.oip.paths import match

VALUES = {"model": "tiny", "version": "1", "region": "r", "file": "app.js"}
WORDS = sorted(
    {"v2", "health", "live", "ready", "models", "tiny", "versions", "1", "infer", "config", "stats", "repository"}
    | {"index", "load", "unload", "systemsharedmemory", "region", "r", "status", "register", "unregister"}
)
UNLIKE = ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"]


def refs(node: Any) -> list[str]:
    """Every $ref in a document."""
    if isinstance(node, dict):
        return [node["$ref"]] if "$ref" in node else [ref for value in node.values() for ref in refs(value)]
    return [ref for value in node for ref in refs(value)] if isinstance(node, list) else []


def operations(document: Any) -> list[tuple[str, str, Any]]:
    """(path, method, operation) of a document."""
    return [(path, name.upper(), one) for path, methods in document["paths"].items() for name, one in methods.items()]


def described(document: Any, path: str) -> str | None:
    """The path of the document that an address falls under; one without variables goes first."""
    if path in document["paths"]:
        return path
    patterns = {known: re.sub(r"\{\w+\}", "[^/]+", known) for known in document["paths"]}
    return next((known for known, pattern in patterns.items() if re.fullmatch(pattern, path)), None)


def finds(app: Any, method: str, path: str) -> bool:
    scope = {"method": method, "path": path, "query_string": b"", "headers": []}
    try:
        app._find(Request(scope, lambda: None, lambda: "id"))
    except RefusalError:
        return False
    return True


def test_every_description_is_routed_and_no_other_method_is(kit: SimpleNamespace, serve: Any, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(kit.as_png(kit.picture()))
    running = serve({"tiny": kit.Brightness()}, sample=tmp_path / "a.png")
    document = running.client.get("/openapi.json").json()
    assert "/sample" in document["paths"]
    for path, methods in document["paths"].items():
        address = path.format(**VALUES)
        assert {method for method in UNLIKE if finds(running.app, method, address)} == {*map(str.upper, methods)}, path


def test_every_route_is_described(brightness: Any) -> None:
    document = brightness.client.get("/openapi.json").json()
    routed = {(path, method) for path, methods in brightness.app._routes.items() for method in methods}
    starts = ["", "/models/tiny/versions/1", "/repository/models/tiny", "/systemsharedmemory/region/r"]
    for start, length in itertools.product(starts, range(4)):
        for words in itertools.product(WORDS, repeat=length if start == "" else min(length, 2)):
            address = "/".join([f"/v2{start}", *words])
            found = match(address)
            if found is not None:
                routed.add((address, found.method))
    assert len(routed) > 100
    for address, method in routed:
        path = described(document, address)
        assert path is not None, address
        assert method.lower() in document["paths"][path], address


@pytest.mark.parametrize("more", [{}, {"api_key_file": Path("keys")}, {"admin": True}, {"sample": Path("a.png")}])
def test_references_resolve_and_operations_have_names_of_their_own(more: Any) -> None:
    document = openapi.document({"a": ["1"], "b": ["2", "1"]}, Settings(**more))
    parts = document["components"]
    known = {f"#/components/{kind}/{name}" for kind in ("schemas", "headers", "parameters") for name in parts[kind]}
    assert set(refs(document)) == known
    names = [one["operationId"] for _, _, one in operations(document)]
    assert len(set(names)) == len(names)
    tags = {tag["name"] for tag in document["tags"]}
    assert {tag for _, _, one in operations(document) for tag in one["tags"]} == tags
    for schema in parts["schemas"].values():
        jsonschema_rs.meta.validate({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema})


def conforms(document: Any, answer: httpx.Response) -> None:
    """An answer is described: its status, its media type, its headers, and nothing in it goes without saying."""
    path = described(document, answer.request.url.path)
    assert path is not None
    told = document["paths"][path][answer.request.method.lower()]["responses"][str(answer.status_code)]
    media_type = answer.headers["content-type"].split(";")[0]
    assert media_type in told["content"], path
    assert {name for name in told["headers"] if name.startswith("X-Request")} == {"X-Request-Id"}
    own = {name for name in answer.headers if name.startswith(("x-segx", "inference", "server-t", "www", "retry"))}
    assert own <= {name.lower() for name in told["headers"]}, path
    if media_type == "application/json":
        schema = {**told["content"][media_type]["schema"], "components": closed(document["components"])}
        jsonschema_rs.validator_for(schema).validate(answer.json())


def closed(node: Any) -> Any:
    """Schemas that take nothing undeclared."""
    if isinstance(node, list):
        return [closed(one) for one in node]
    if not isinstance(node, dict):
        return node
    own = {name: closed(value) for name, value in node.items()}
    return {"additionalProperties": False, **own} if isinstance(own.get("properties"), dict) else own


def test_an_undeclared_field_is_no_conforming_answer(brightness: Any) -> None:
    document = brightness.client.get("/openapi.json").json()
    request = brightness.client.build_request("GET", "/v2/health/live")
    conforms(document, httpx.Response(200, json={"live": True}, request=request))
    with pytest.raises(jsonschema_rs.ValidationError):
        conforms(document, httpx.Response(200, json={"live": True, "since": 1}, request=request))


def test_real_answers_are_described_with_status_type_and_fields(
    kit: SimpleNamespace, serve: Any, model_file: Any
) -> None:
    running = serve({"tiny": Predictor.load(model_file, provider="cpu")}, max_body=5000, admin=True)
    client, segment = running.client, running.segment
    document = client.get("/openapi.json").json()
    good = kit.as_png(kit.picture())
    forms = ["*/*", "image/png;overlay=1", "application/json", "application/json;rle=0", "application/octet-stream"]
    answers = [segment(good, accept=accept) for accept in (*forms, "application/json;polygons=1")]
    answers += [segment(b"x"), segment(good, accept="a/b"), segment(b"x" * 6000), segment(good, media_type="a/b")]
    answers += [segment(good, params={"model": "x"}), segment(good, params={"version": "x"})]
    answers += [client.post("/segment", files={"x": b"y"}), segment(good, params={"x": "y"})]
    several = [("image", ("a.png", good)), ("image", ("b.png", good[:40]))]
    answers += [
        client.post("/segment", files=several, headers={"Accept": accept})
        for accept in ("application/json", "application/json;polygons=1;rle=0", "application/zip")
    ]
    answers += [client.get(path) for path in ("/", "/page/app.js", "/page/style.css", "/page/x", "/docs", "/metrics")]
    answers += [client.get(path) for path in ("/openapi.json", "/models", "/v2", "/v2/health/live", "/v2/health/ready")]
    for model in ("tiny", "tiny/versions/1", "x", "tiny/versions/x"):
        answers += [client.get(f"/v2/models/{model}{what}") for what in ("", "/ready", "/config", "/stats")]
        answers += infers(client, f"/v2/models/{model}/infer", good)
    answers += [client.get("/v2/models/stats"), client.post("/v2/repository/index", json={"ready": True})]
    answers += [client.post("/v2/repository/index"), client.post("/v2/repository/index", json={"ready": 1})]
    answers += [
        client.post(f"/v2/repository/models/{model}/{verb}") for model in ("tiny", "x") for verb in ("load", "unload")
    ]
    memory = "/v2/systemsharedmemory"
    answers += [client.get(f"{memory}/status"), client.get(f"{memory}/region/r/status")]
    answers += [client.post(f"{memory}/region/r/register", json={"key": "/nothing-of-that-name", "byte_size": 1})]
    answers += [client.post(f"{memory}{which}/unregister") for which in ("", "/region/r")]
    for answer in answers:
        conforms(document, answer)
    assert {answer.status_code for answer in answers} >= {200, 400, 404, 406, 409, 413, 415, 422}


def infers(client: httpx.Client, path: str, good: bytes) -> list[httpx.Response]:
    pixels = {"name": "image", "datatype": "UINT8", "shape": [1, 1, 2, 3], "data": [0, 1, 2, 3, 4, 5]}
    bodies = [
        {"inputs": [pixels]},
        {"id": "7", "inputs": [pixels], "parameters": {"binary_data_output": True}},
        {"inputs": []},
    ]
    raw = {"Inference-Header-Content-Length": "0"}
    return [client.post(path, json=body) for body in bodies] + [
        client.post(path, content=body, headers=raw) for body in (good, b"x", b"x" * 6000)
    ]


def test_a_service_with_keys_says_what_needs_one(kit: SimpleNamespace, serve: Any, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(f"camera use sha256:{hashlib.sha256(b'lens').hexdigest()}\n")
    (tmp_path / "keys").chmod(0o600)
    running = serve({"tiny": kit.Brightness()}, api_key_file=tmp_path / "keys")
    document = running.client.get("/openapi.json", headers={"X-Api-Key": "lens"}).json()
    for path, method, operation in operations(document):
        address = path.format(**VALUES)
        without = running.client.request(method, address)
        assert (operation["security"] != []) is (without.status_code == 401), path
        with_use = running.client.request(method, address, headers={"Authorization": "Bearer lens"})
        assert ("403" in operation["responses"]) is (with_use.status_code == 403), path
        for answer in (without, with_use):
            conforms(document, answer)
    assert set(document["components"]["securitySchemes"]) == {"bearer", "apiKey"}


def test_without_keys_the_document_speaks_of_none_and_management_is_closed(brightness: Any) -> None:
    document = brightness.client.get("/openapi.json").json()
    assert "securitySchemes" not in document["components"]
    for path, method, operation in operations(document):
        assert "security" not in operation
        answer = brightness.client.request(method, path.format(**VALUES))
        conforms(document, answer)
        assert ("403" in operation["responses"]) is (answer.status_code == 403), path


def test_the_document_follows_the_models(kit: SimpleNamespace, brightness: Any) -> None:
    def models() -> Any:
        return brightness.client.get("/openapi.json").json()["paths"]["/segment"]["post"]["parameters"][0]

    before = models()
    assert (before["schema"]["enum"], before["required"]) == (["grey"], False)
    catalog = brightness.app.catalog
    (grey,) = list(catalog)
    catalog.replace([grey, type(grey)(**{**vars(grey), "name": "other", "version": "3"})])
    after = models()
    assert (after["schema"]["enum"], after["required"]) == (["grey", "other"], True)
    page = brightness.client.get("/docs").text
    assert "<code>other</code>" in page
    assert "<code>3</code>" in page
    catalog.replace([])
    assert "enum" not in models()["schema"]
    catalog.replace([grey])
    assert models() == before


def test_the_docs_page_shows_every_route_and_loads_nothing_from_elsewhere() -> None:
    document = openapi.document({"<b>": ["1"]}, Settings(api_key_file=Path("keys")))
    page = docs.render(document)
    for path in document["paths"]:
        assert f"<code>{path}</code>" in page
    for tag in document["tags"]:
        assert f"<h2>{tag['name']}</h2>" in page
    assert "X-Api-Key" in page
    assert "<b>" not in page
    assert not re.search(r"""(src|href)=["'](https?:)?//""", page)
    assert "<script" not in page
    targets = set(re.findall(r"href='#(\w+)'", page))
    assert targets <= set(re.findall(r"id=[\"'](\w+)[\"']", page))


def test_the_document_is_plain_json() -> None:
    document = openapi.document({"a": ["1"]}, Settings())
    assert json.loads(json.dumps(document)) == json.loads(json.dumps(document, sort_keys=True))


def test_the_document_says_how_many_pictures_one_inference_takes(kit: SimpleNamespace, serve: Any) -> None:
    running = serve({"tiny": kit.Brightness()}, max_queue=3)
    shape = running.client.get("/openapi.json").json()["components"]["schemas"]["ImageInput"]["properties"]["shape"]
    most = shape["prefixItems"][0]["maximum"]
    for count, status in ((most, 200), (most + 1, 413)):
        tensor = {"name": "image", "datatype": "UINT8", "shape": [count, 1, 1, 3], "data": [0] * 3 * count}
        answer = running.client.post("/v2/models/tiny/infer", json={"inputs": [tensor]})
        assert answer.status_code == status, count
