from __future__ import annotations

import hashlib
from typing import Any

import pytest

from segx_serve.guard import Guard, Scope, scope_of
from segx_serve.http import RefusalError, Request, request_ids
from segx_serve.keys import Identity, Keys


async def _nothing() -> Any:
    raise AssertionError("nobody reads a body here")


def request(client: str | None = "127.0.0.1", scheme: str = "http", **headers: str) -> Request:
    named = {"host": "127.0.0.1:8000", **headers}
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/",
        "scheme": scheme,
        "client": (client, 40000) if client else None,
        "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in named.items() if value],
    }
    return Request(scope, _nothing, request_ids())


@pytest.fixture
def keys(tmp_path: Any) -> Keys:
    path = tmp_path / "keys"
    digests = {name: hashlib.sha256(name.encode()).hexdigest() for name in ("lens", "root")}
    path.write_text(f"camera use sha256:{digests['lens']}\nops admin sha256:{digests['root']}\n")
    return Keys.load(path)


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("GET", "/", "none"), ("HEAD", "/", "none"), ("GET", "/page/app.js", "none"), ("GET", "/favicon.ico", "none"),
        ("GET", "/v2/health/live", "none"), ("GET", "/v2/health/ready", "none"), ("POST", "/v2/health/live", "use"),
        ("GET", "/models", "use"), ("POST", "/segment", "use"), ("GET", "/metrics", "use"), ("GET", "/sample", "use"),
        ("GET", "/docs", "use"), ("GET", "/openapi.json", "use"), ("GET", "/v2", "use"), ("GET", "/nothing", "use"),
        ("GET", "/page/a/b", "use"), ("GET", "/v2/models/m", "use"), ("GET", "/v2/models/m/ready", "use"),
        ("POST", "/v2/models/m/infer", "use"), ("GET", "/v2/models/m/stats", "use"),
        ("POST", "/v2/models/load/infer", "use"), ("POST", "/v2/repository/index", "use"),
        ("POST", "/v2/repository/models/m/load", "admin"), ("POST", "/v2/repository/models/m/unload", "admin"),
        ("POST", "/v2/repository/models/a/b/unload", "admin"), ("POST", "/v2/repository//models/m/load/", "admin"),
        ("POST", "/v2/systemsharedmemory/region/r/register", "admin"),
        ("POST", "/v2/systemsharedmemory/unregister", "admin"),
        ("POST", "/v2/cudasharedmemory/region/r/unregister", "admin"),
        ("GET", "/v2/systemsharedmemory/status", "use"), ("GET", "/v2/systemsharedmemory/region/r/status", "use"),
        ("POST", "/v2/logging", "admin"), ("GET", "/v2/logging", "use"), ("POST", "/v2/trace/setting", "admin"),
        ("POST", "/v2/models/m/trace/setting", "admin"),
    ],
)  # fmt: skip
def test_what_each_path_needs(method: str, path: str, scope: Scope) -> None:
    assert scope_of(method, path) == scope


def test_no_route_of_the_service_is_open_by_accident(brightness: Any) -> None:
    paths = brightness.client.get("/openapi.json").json()["paths"]
    opened = {path for path in paths if scope_of("GET", path) == "none"}
    assert opened == {"/", "/v2/health/live", "/v2/health/ready"}


@pytest.mark.parametrize(
    ("headers", "scope", "outcome"),
    [
        ({}, "none", None),
        ({"x_api_key": "wrong"}, "none", None),
        ({}, "use", 401),
        ({"x_api_key": "wrong"}, "use", 401),
        ({"x_api_key": "lens"}, "use", Identity("camera", "use")),
        ({"authorization": "Bearer root"}, "use", Identity("ops", "admin")),
        ({"authorization": "Bearer root"}, "admin", Identity("ops", "admin")),
        ({"x_api_key": "lens"}, "admin", 403),
        ({}, "admin", 401),
    ],
)
def test_keys_decide(keys: Keys, headers: dict[str, str], scope: Scope, outcome: Identity | int | None) -> None:
    # --admin opens nothing once there are keys, not even on this machine.
    failures: list[str] = []
    guard = Guard(keys, admin_open=True, failed=failures.append)
    if not isinstance(outcome, int):
        assert guard.allow(request(client="203.0.113.9", **headers), scope) == outcome
        assert failures == []
        return
    with pytest.raises(RefusalError) as refusal:
        guard.allow(request(**headers), scope)
    assert refusal.value.status == outcome
    assert (refusal.value.code, dict(refusal.value.headers)) == (
        ("unauthorized", {b"www-authenticate": b'Bearer realm="segx"'}) if outcome == 401 else ("forbidden", {})
    )
    assert failures == [{401: "wrong" if "x_api_key" in headers else "missing", 403: "forbidden"}[outcome]]


def test_without_keys_use_is_free_and_management_closed() -> None:
    guard = Guard(None)
    assert guard.allow(request(client="203.0.113.9"), "use") is None
    with pytest.raises(RefusalError, match="--api-key-file") as refusal:
        guard.allow(request(), "admin")
    assert refusal.value.status == 403


@pytest.mark.parametrize(
    "made",
    [
        {}, {"client": "::1", "host": "[::1]:8000"}, {"client": "::ffff:127.0.0.1", "host": "localhost:8000"},
        {"host": "LOCALHOST"}, {"client": "127.8.8.8", "host": "127.0.0.1"},
        {"origin": "http://127.0.0.1:8000", "sec_fetch_site": "same-origin"}, {"sec_fetch_site": "none"},
        {"host": "localhost", "origin": "http://localhost:80"},
        {"scheme": "https", "host": "localhost:443", "origin": "https://localhost"},
        {"host": "[::1]:8000", "origin": "http://[::1]:8000"},
    ],
)  # fmt: skip
def test_opened_management_takes_programs_on_this_machine(made: dict[str, str]) -> None:
    assert Guard(None, admin_open=True).allow(request(**made), "admin") is None


@pytest.mark.parametrize(
    "made",
    [
        {"client": "203.0.113.9"}, {"client": "10.0.0.7"}, {"client": None}, {"client": "::ffff:10.0.0.7"},
        {"x_forwarded_for": "127.0.0.1"}, {"forwarded": "for=127.0.0.1"}, {"via": "1.1 proxy"},
        # a page whose name was made to point here
        {"host": "evil.example:8000"}, {"host": "evil.example:8000", "origin": "http://evil.example:8000"},
        {"host": ""},
        {"host": "127.0.0.1.evil.example"}, {"host": "localhost.evil.example"}, {"host": "10.0.0.7:8000"},
        # a page from elsewhere, also from another port of this machine
        {"origin": "http://evil.example"}, {"origin": "null"}, {"origin": "http://127.0.0.1:9000"},
        {"origin": "http://localhost:8000"}, {"origin": "https://127.0.0.1:8000"}, {"origin": "file://"},
        {"sec_fetch_site": "cross-site"}, {"sec_fetch_site": "same-site"},
    ],
)  # fmt: skip
def test_opened_management_refuses_other_machines_and_foreign_pages(made: dict[str, Any]) -> None:
    with pytest.raises(RefusalError) as refusal:
        Guard(None, admin_open=True).allow(request(**made), "admin")
    assert refusal.value.status == 403
    # Using the service is not managing it.
    assert Guard(None, admin_open=True).allow(request(**made), "use") is None
