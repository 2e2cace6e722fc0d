"""Requests that contradict the protocol, the model or reason are refused with a sentence, never with a failure."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from segx_serve.http import RefusalError
from segx_serve.oip import Oip

GOOD = {"name": "image", "datatype": "UINT8", "shape": [1, 1, 1, 3], "data": [1, 2, 3]}


def with_(**changes: object) -> dict[str, object]:
    """A good input with some fields changed; None takes a field out."""
    return {name: value for name, value in {**GOOD, **changes}.items() if value is not None}


@pytest.mark.parametrize(
    ("body", "part"),
    [
        (b"", "broken"),
        (b"[]", "object"),
        (b"null", "object"),
        (b"\xff\xfe", "UTF-8"),
        (b"[" * 10_000, "deeply"),
        (b'{"a":' * 3_000, "256 objects"),
        (b'{"inputs": NaN}', "NaN"),
        (b'{"inputs": [-Infinity]}', "Infinity"),
        (b'{"id": ' + b"9" * 5000 + b"}", "refused"),
        (b'{"inputs": [], "inputs": []}', "twice"),
        (b'{"inputs": ["\\ud800"]}', "object"),
        (b"{", "broken"),
        (b'{"inputs":[' + b"{}," * 300 + b"{}]}", "256 objects"),
        (b"{}" + b" " * 20_000, "20000"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_broken_json(wire_kit: SimpleNamespace, oip: Oip, body: bytes, part: str) -> None:
    refused = wire_kit.refusal(oip, body)
    assert refused.status == (413 if part == "20000" else 400)
    assert part in refused.message


@pytest.mark.parametrize(
    ("inputs", "part"),
    [
        (None, "null"),
        ({}, "an object"),
        ([], "a list of 0"),
        ([GOOD] * 9, "a list of 9"),
        ([1], "object"),
        ([with_(name=None)], "'name'"),
        ([with_(name=3)], "'name'"),
        ([with_(name="pixels")], "'image' (UINT8 pixels) or 'encoded'"),
        ([with_(name="\ud800" * 200)], "\\ud800"),
        ([GOOD, GOOD], "exactly one input"),
        ([GOOD, with_(name="encoded")], "exactly one input"),
        ([with_(datatype="FP32")], "is UINT8, got 'FP32'"),
        ([with_(datatype=8)], "'datatype'"),
        ([with_(name="encoded")], "is BYTES"),
        ([with_(shape=3)], "shape"),
        ([with_(shape=[])], "shape"),
        ([with_(shape=[1] * 9)], "shape"),
        ([with_(shape=[1, 1, 3])], "[-1,-1,-1,3], got [1,1,3]"),
        ([with_(shape=[1, 3, 1, 1])], "[-1,-1,-1,3], got [1,3,1,1]"),
        ([with_(shape=[1, 1, -1, 3])], "from 1, got -1"),
        ([with_(shape=[1, 0, 1, 3])], "from 1, got 0"),
        ([with_(shape=[1, 1, True, 3])], "got true"),
        ([with_(shape=[1, 1, 1.0, 3])], "got 1.0"),
        ([with_(shape=[1, 10**4000, 1, 3])], "got 1000"),
        ([with_(shape=[1, 2**31 - 1, 2**31 - 1, 3])], "got 3"),
        ([with_(shape=[5, 1, 1, 3])], "4 pictures, got 5"),
        ([with_(data=None)], "exactly one way"),
        ([with_(parameters={"binary_data_size": 3})], "exactly one way"),
        ([with_(data=None, parameters={"binary_data_size": 3})], "0 bytes are left"),
        ([with_(data=None, parameters={"binary_data_size": -3})], "from 0, got -3"),
        ([with_(data=None, parameters={"binary_data_size": True})], "got true"),
        ([with_(parameters=[])], "'parameters'"),
        ([with_(data="AAAA")], "must be a list"),
        ([with_(data=[1, 2])], "3 bytes, got 2"),
        ([with_(data=[1, 2, 256])], "got 256"),
        ([with_(data=[1, 2, -1])], "got -1"),
        ([with_(data=[1, 2, 10**50])], "got 1000"),
        ([with_(data=[1, 2, 3.0])], "got 3.0"),
        ([with_(data=[1, 2, True])], "got true"),
        ([with_(data=[1, 2, None])], "got null"),
        ([with_(data=[1, 2, "3"])], "got '3'"),
        ([with_(data=[[[[1, 2], [3]]]])], "nested"),
        ([with_(data=[[1, 2, 3]])], "nested"),
        ([with_(data=[[[[1, 2, [3]]]]])], "a list of 1"),
        ([with_(data=[[[[[1, 2, 3]]]]])], "nested"),
        ([with_(data=[[], 1])], "nested"),
        ([with_(data=[1, 2, 3, [[]]])], "got a list of 1"),
        ([with_(name="encoded", datatype="BYTES", shape=[1, 2])], "[-1,1] or [-1]"),
        ([with_(name="encoded", datatype="BYTES", shape=[1], data=["!"])], "base64"),
        ([with_(name="encoded", datatype="BYTES", shape=[1], data=["é"])], "base64"),
        ([with_(name="encoded", datatype="BYTES", shape=[1], data=["AAA"])], "base64"),
        ([with_(name="encoded", datatype="BYTES", shape=[1], data=[7])], "base64 texts, got 7"),
        ([with_(name="encoded", datatype="BYTES", shape=[2], data=["AAAA"])], "2 elements, got 1"),
        ([with_(name="encoded", datatype="BYTES", shape=[1], data=["AAAA"])], "picture"),
        ([with_(name="encoded", datatype="BYTES", shape=[1], data=[""])], "picture"),
        ([with_(data=None, parameters={"shared_memory_region": "none", "shared_memory_byte_size": 3})], "'none'"),
        ([with_(data=None, parameters={"shared_memory_region": 7, "shared_memory_byte_size": 3})], "a text"),
        ([with_(data=None, parameters={"shared_memory_region": "r"})], "shared_memory_byte_size"),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_bad_inputs(wire_kit: SimpleNamespace, oip: Oip, inputs: object, part: str) -> None:
    refused = wire_kit.refusal(oip, json.dumps({"inputs": inputs}).encode())
    assert refused.status in (400, 404, 413)
    assert part in refused.message


@pytest.mark.parametrize(
    ("more", "part"),
    [
        ({"id": 7}, "'id'"),
        ({"id": "x" * 2000}, "'id'"),
        ({"parameters": 7}, "'parameters'"),
        ({"parameters": {"binary_data_output": 1}}, "'binary_data_output'"),
        ({"outputs": {}}, "'outputs'"),
        ({"outputs": [7]}, "object"),
        ({"outputs": [{}]}, "no output null"),
        ({"outputs": [{"name": "probabilities"}]}, "The only one is 'classmap'"),
        ({"outputs": [{"name": "classmap"}] * 2}, "2 times"),
        ({"outputs": [{"name": "classmap", "parameters": {"binary_data": "yes"}}]}, "'binary_data'"),
        ({"outputs": [{"name": "classmap", "parameters": {"classification": 3}}]}, "classification"),
        ({"outputs": [{"name": "classmap", "parameters": {"shared_memory_region": "r"}}]}, "byte_size"),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_bad_requests(wire_kit: SimpleNamespace, oip: Oip, more: dict[str, object], part: str) -> None:
    refused = wire_kit.refusal(oip, json.dumps({"inputs": [GOOD], **more}).encode())
    assert refused.status == 400
    assert part in refused.message


@pytest.mark.parametrize("length", ["", "-1", "x", "1e3", "²", "9" * 13, "99999"])
def test_bad_header_lengths(wire_kit: SimpleNamespace, oip: Oip, length: str) -> None:
    refused = wire_kit.refusal(oip, b"{}", inference_header_content_length=length)
    assert "Inference-Header-Content-Length" in refused.message


@pytest.mark.parametrize(
    ("count", "blob", "part"),
    [
        (1, b"", "end before element 0"),
        (1, b"\0\0\0", "end before element 0"),
        (1, b"\5\0\0\0abcd", "5 bytes, 4 are there"),
        (1, b"\xff\xff\xff\xff", "4294967295 bytes, 0 are there"),
        (1, b"\1\0\0\0ab", "1 bytes past"),
        (2, b"\1\0\0\0a", "end before element 1"),
    ],
)
def test_bad_elements(wire_kit: SimpleNamespace, oip: Oip, count: int, blob: bytes, part: str) -> None:
    body, length = wire_kit.binary([("encoded", "BYTES", [count, 1], blob)])
    refused = wire_kit.refusal(oip, body, inference_header_content_length=length)
    assert part in refused.message


def test_blobs_and_sizes_must_agree(wire_kit: SimpleNamespace, oip: Oip) -> None:
    body, length = wire_kit.binary([("image", "UINT8", [1, 1, 1, 3], b"abc")])
    for changed, part in ((body + b"x", "1 bytes follow"), (body[:-1], "2 bytes are left")):
        assert part in wire_kit.refusal(oip, changed, inference_header_content_length=length).message
    short, length = wire_kit.binary([("image", "UINT8", [1, 1, 1, 3], b"ab")])
    refused = wire_kit.refusal(oip, short, inference_header_content_length=length)
    assert "has 3 bytes, got 2" in refused.message


def test_an_empty_raw_body(wire_kit: SimpleNamespace, oip: Oip) -> None:
    assert "empty" in wire_kit.refusal(oip, b"", inference_header_content_length="0").message


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["image", "encoded", "classmap", "UINT8", "BYTES", "", "\ud800", "AAAA"]),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(
        st.sampled_from(["name", "shape", "data", "parameters", "binary_data_size", "shared_memory_region"]),
        inner,
        max_size=5,
    ),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    changes=st.dictionaries(st.sampled_from([*GOOD, "parameters"]), JSON),
    outputs=JSON,
    ident=JSON,
    rest=st.binary(),
)
def test_anything_is_answered_or_refused(
    wire_kit: SimpleNamespace, oip: Oip, changes: dict[str, Any], outputs: object, ident: object, rest: bytes
) -> None:
    head = json.dumps({"id": ident, "inputs": [{**GOOD, **changes}], "outputs": outputs}).encode()
    status, message, reply = wire_kit.attempt(oip, head + rest, inference_header_content_length=str(len(head)))
    assert status in (200, 400, 404, 413)
    assert message.isascii()
    if reply is not None:
        wire_kit.read(reply)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    body=st.binary(max_size=200),
    length=st.text(alphabet="0123456789-x", max_size=4),
    coding=st.sampled_from(["", "gzip", "deflate", "br"]),
)
def test_any_bytes_are_answered_or_refused(
    wire_kit: SimpleNamespace, oip: Oip, body: bytes, length: str, coding: str
) -> None:
    headers = {"content_encoding": coding} if coding else {}
    with pytest.raises(RefusalError) as caught:
        wire_kit.post(oip, body, inference_header_content_length=length, **headers)
    assert caught.value.status in (400, 413, 415)
