from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segx_core.errors import ConfigError
from segx_serve import pages
from segx_serve.cors import Cors
from segx_serve.http import RefusalError, Request, request_ids

HERE, THERE = "https://app.example.org", "http://localhost:3000"


async def _nothing() -> Any:
    raise AssertionError("nobody reads a body here")


def request(method: str = "POST", origin: str | None = None, **headers: str) -> Request:
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    pairs += [(b"origin", origin.encode())] if origin is not None else []
    return Request({"method": method, "path": "/segment", "headers": pairs}, _nothing, request_ids())


def asking(origin: str) -> Request:
    return request("OPTIONS", origin, access_control_request_method="POST", access_control_request_headers="x-api-key")


def test_off_it_says_nothing_at_all() -> None:
    cors = Cors()
    assert not cors
    assert cors.preflight(asking(HERE)) is None
    assert cors.headers(request(origin=HERE)) == ()
    assert not cors.allows(request(origin=HERE))


def test_a_named_origin_may_read_and_others_may_not() -> None:
    cors = Cors([HERE, THERE])
    for origin in (HERE, THERE):
        told = dict(cors.headers(request(origin=origin)))
        assert told[b"access-control-allow-origin"] == origin.encode()
        assert told[b"vary"] == b"Origin"
        for name in (b"X-Segx-Shape", b"X-Segx-Dtype", b"X-Request-Id", b"Server-Timing", b"Retry-After"):
            assert name in told[b"access-control-expose-headers"]
        assert b"access-control-allow-credentials" not in told
    for other in ("https://app.example.org.evil", "http://app.example.org", "https://app.example.org:444", "null", ""):
        assert cors.headers(request(origin=other)) == ((b"vary", b"Origin"),)
        assert not cors.allows(request(origin=other))
    assert cors.headers(request()) == ((b"vary", b"Origin"),)


def test_everyone_is_a_star_and_varies_with_nothing() -> None:
    cors = Cors(["*"])
    told = dict(cors.headers(request(origin="null")))
    assert told[b"access-control-allow-origin"] == b"*"
    assert b"vary" not in told
    assert cors.headers(request()) == ()


def test_a_preflight_is_answered_and_a_plain_options_left_alone() -> None:
    cors = Cors([HERE])
    reply = cors.preflight(asking(HERE))
    assert reply is not None
    assert (reply.status, reply.body) == (200, b"")
    told = dict(reply.headers)
    assert told[b"access-control-allow-methods"] == b"GET, HEAD, POST"
    assert b"X-Api-Key" in told[b"access-control-allow-headers"]
    assert b"Authorization" in told[b"access-control-allow-headers"]
    assert cors.preflight(request("OPTIONS", HERE)) is None
    assert cors.preflight(request("OPTIONS", access_control_request_method="POST")) is None
    assert cors.preflight(request("POST", HERE, access_control_request_method="POST")) is None
    with pytest.raises(RefusalError, match="--cors-origin") as refusal:
        cors.preflight(asking("http://evil.example"))
    assert refusal.value.status == 403


@pytest.mark.parametrize(
    ("origin", "cure"),
    [
        ("app.example.org", "as browsers do"), ("https://", "as browsers do"), ("", "as browsers do"),
        ("null", "as browsers do"), ("ftp://a.example", "as browsers do"), ("https://*.example.org", "as browsers do"),
        ("https://app.example.org/", "https://app.example.org?"), ("https://App.example.org", "https://app.example.org?"),
        ("https://app.example.org:443", "https://app.example.org?"), ("http://a.example:80/x", "http://a.example?"),
        (" http://a.example:81 ", "http://a.example:81?"), ("http://a.example:99999", "as browsers do"),
        ("http://a.example\r\nx: y", "http://a.example?"),
    ],
)  # fmt: skip
def test_what_is_no_origin_is_refused_with_the_nearest_that_is(origin: str, cure: str) -> None:
    with pytest.raises(ConfigError, match="--cors-origin") as refusal:
        Cors([HERE, origin])
    assert cure in refusal.value.cure


@settings(deadline=None)
@given(st.text(max_size=40))
def test_only_what_was_named_ever_comes_back(origin: str) -> None:
    headers = dict(
        Cors([HERE]).headers(
            Request(
                {"method": "GET", "path": "/", "headers": [(b"origin", origin.encode("utf-8", "replace"))]},
                _nothing,
                request_ids(),
            )
        )
    )
    assert headers.get(b"access-control-allow-origin") == (HERE.encode() if origin == HERE else None)


def test_the_resource_policy_opens_for_pages_that_may_read() -> None:
    assert dict(pages.security_headers())[b"cross-origin-resource-policy"] == b"same-origin"
    assert dict(pages.security_headers(shared=True))[b"cross-origin-resource-policy"] == b"cross-origin"
    assert len(pages.security_headers(shared=True)) == len(pages.security_headers())
