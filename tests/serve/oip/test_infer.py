"""POST .../infer: every form of request and answer gives the same class maps."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from segx_serve.oip import Oip, OipLimits

quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
PIXELS = hnp.arrays(
    np.uint8, st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 6), st.just(3))
)  # (N, H, W, 3)


def expected(kit: SimpleNamespace, pixels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """(N, H, W) classes, one pixel at a time."""
    return kit.Brightness().run(pixels)  # type: ignore[no-any-return]


@quick
@given(pixels=PIXELS, ident=st.none() | st.text(max_size=20), binary_out=st.booleans())
def test_pixels_in_binary(
    kit: SimpleNamespace, wire_kit: SimpleNamespace, oip: Oip, pixels: Any, ident: str | None, binary_out: bool
) -> None:
    more: dict[str, object] = {"parameters": {"binary_data_output": binary_out}}
    if ident is not None:
        more["id"] = ident
    body, length = wire_kit.binary([("image", "UINT8", list(pixels.shape), pixels.tobytes())], **more)
    reply = wire_kit.post(oip, body, inference_header_content_length=length)
    head, maps = wire_kit.read(reply)
    np.testing.assert_array_equal(maps, expected(kit, pixels))
    assert head.get("id") == ident
    assert (head["model_name"], head["model_version"]) == ("grey", "2")
    assert reply.media_type == ("application/octet-stream" if binary_out else "application/json")


@quick
@given(pixels=PIXELS, nested=st.booleans())
def test_pixels_in_json(kit: SimpleNamespace, wire_kit: SimpleNamespace, oip: Oip, pixels: Any, nested: bool) -> None:
    data = pixels.tolist() if nested else pixels.ravel().tolist()
    tensor = {"name": "image", "datatype": "UINT8", "shape": list(pixels.shape), "data": data}
    head, maps = wire_kit.read(wire_kit.post_json(oip, {"inputs": [tensor]}))
    np.testing.assert_array_equal(maps, expected(kit, pixels))
    assert "id" not in head


@pytest.mark.parametrize("shape", [[2], [2, 1]])
@pytest.mark.parametrize("form", ["binary", "base64", "nested base64"])
def test_files(kit: SimpleNamespace, wire_kit: SimpleNamespace, oip: Oip, shape: list[int], form: str) -> None:
    pixels = np.stack([kit.picture(0), kit.picture(1)])
    files = [kit.as_png(one) for one in pixels]
    if form == "binary":
        body, length = wire_kit.binary([("encoded", "BYTES", shape, wire_kit.elements(files))])
        reply = wire_kit.post(oip, body, inference_header_content_length=length)
    else:
        texts: list[Any] = [base64.b64encode(one).decode() for one in files]
        data = [[one] for one in texts] if form.startswith("nested") and len(shape) == 2 else texts
        reply = wire_kit.post_json(
            oip, {"inputs": [{"name": "encoded", "datatype": "BYTES", "shape": shape, "data": data}]}
        )
    np.testing.assert_array_equal(wire_kit.read(reply)[1], expected(kit, pixels))


def test_a_body_that_is_one_picture(kit: SimpleNamespace, wire_kit: SimpleNamespace, oip: Oip) -> None:
    pixels = kit.picture(3)
    reply = wire_kit.post(oip, kit.as_png(pixels), inference_header_content_length="0")
    head, maps = wire_kit.read(reply)
    np.testing.assert_array_equal(maps, expected(kit, pixels[None]))
    assert "binary_data_size" in head["outputs"][0]["parameters"]


def test_binary_pixels_are_not_copied(kit: SimpleNamespace, wire_kit: SimpleNamespace, oip: Oip, small: Any) -> None:
    pixels = np.stack([kit.picture(0, 4, 4), kit.picture(1, 4, 4)])
    body, length = wire_kit.binary([("image", "UINT8", [2, 4, 4, 3], pixels.tobytes())])
    wire_kit.post(oip, body, inference_header_content_length=length)
    whole = np.frombuffer(body, np.uint8)
    assert all(np.shares_memory(one, whole) for one in small.seen[0])


def test_sixteen_bits(kit: SimpleNamespace, wire_kit: SimpleNamespace) -> None:
    oip = Oip(wire_kit.Small(wire_kit.Wide(), replace(wire_kit.GREY, datatype="UINT16")))
    pixels = kit.picture(5)[None]
    for binary in (True, False):
        body, length = wire_kit.binary(
            [("image", "UINT8", [1, 24, 32, 3], pixels.tobytes())], parameters={"binary_data_output": binary}
        )
        head, maps = wire_kit.read(wire_kit.post(oip, body, inference_header_content_length=length))
        assert head["outputs"][0]["datatype"] == "UINT16"
        np.testing.assert_array_equal(maps, wire_kit.Wide().run(pixels))
        assert maps.max() > 255


def test_an_output_is_chosen(kit: SimpleNamespace, wire_kit: SimpleNamespace, oip: Oip) -> None:
    blob = kit.picture(0, 2, 2).tobytes()
    for outputs, by_default, binary in (
        (None, False, False),
        (None, True, True),
        ([], True, True),
        ([{"name": "classmap"}], False, False),
        ([{"name": "classmap"}], True, True),
        ([{"name": "classmap", "parameters": {"binary_data": True}}], False, True),
        ([{"name": "classmap", "parameters": {"binary_data": False}}], True, False),
    ):
        more: dict[str, object] = {"parameters": {"binary_data_output": by_default}}
        if outputs is not None:
            more["outputs"] = outputs
        body, length = wire_kit.binary([("image", "UINT8", [1, 2, 2, 3], blob)], **more)
        reply = wire_kit.post(oip, body, inference_header_content_length=length)
        assert (b"inference-header-content-length" in dict(reply.headers)) is binary


def test_a_version_is_echoed_and_an_unknown_one_refused(
    kit: SimpleNamespace, wire_kit: SimpleNamespace, oip: Oip
) -> None:
    body = kit.as_png(kit.picture())
    reply = wire_kit.post(oip, body, version="1", inference_header_content_length="0")
    assert wire_kit.read(reply)[0]["model_version"] == "1"
    refused = wire_kit.refusal(oip, body, version="7", inference_header_content_length="0")
    assert refused.status == 404


def test_the_request_id_reaches_the_service(
    kit: SimpleNamespace, wire_kit: SimpleNamespace, oip: Oip, small: Any
) -> None:
    wire_kit.post(oip, kit.as_png(kit.picture()), inference_header_content_length="0", x_request_id="from-the-client")
    assert small.ids == ["from-the-client"]


def test_pictures_of_two_sizes_are_refused_with_their_sizes(
    kit: SimpleNamespace, wire_kit: SimpleNamespace, oip: Oip
) -> None:
    files = [kit.as_png(kit.picture(0, 8, 12)), kit.as_png(kit.picture(0, 8, 16))]
    body, length = wire_kit.binary([("encoded", "BYTES", [2, 1], wire_kit.elements(files))])
    refused = wire_kit.refusal(oip, body, inference_header_content_length=length)
    assert refused.status == 400
    assert "12x8, 16x8" in refused.message


def test_a_fixed_size_is_held(kit: SimpleNamespace, wire_kit: SimpleNamespace) -> None:
    fixed = Oip(wire_kit.Small(kit.Brightness(), replace(wire_kit.GREY, size=(4, 8))))
    for height, width, status in ((4, 8, 200), (8, 4, 400)):
        body, length = wire_kit.binary([("image", "UINT8", [1, height, width, 3], bytes(96))])
        if status == 200:
            assert wire_kit.post(fixed, body, inference_header_content_length=length).status == 200
        else:
            refused = wire_kit.refusal(fixed, body, inference_header_content_length=length)
            assert "[-1,4,8,3], got [1,8,4,3]" in refused.message


def test_compression_both_ways(kit: SimpleNamespace, wire_kit: SimpleNamespace, oip: Oip) -> None:
    import gzip
    import zlib

    # One small and one that is decompressed and compressed on other threads.
    for side in (16, 180):
        pixels = kit.picture(2, side, side)
        body, length = wire_kit.binary(
            [("image", "UINT8", [1, side, side, 3], pixels.tobytes())], parameters={"binary_data_output": True}
        )
        big = Oip(oip.service, None, OipLimits())
        for name, pack, unpack in (
            ("gzip", gzip.compress, gzip.decompress),
            ("deflate", zlib.compress, zlib.decompress),
        ):
            reply = wire_kit.post(
                big,
                pack(body),
                inference_header_content_length=length,
                content_encoding=name,
                accept_encoding=name,
            )
            assert dict(reply.headers)[b"content-encoding"] == name.encode()
            plain = replace(reply, body=unpack(reply.body))
            np.testing.assert_array_equal(wire_kit.read(plain)[1], expected(kit, pixels[None]))


def test_a_small_gzip_that_becomes_large_is_refused(wire_kit: SimpleNamespace, oip: Oip) -> None:
    import gzip

    refused = wire_kit.refusal(oip, gzip.compress(bytes(100_001)), content_encoding="gzip")
    assert refused.status == 413
    fits = wire_kit.refusal(oip, gzip.compress(b" " * 20_000), content_encoding="gzip")
    assert fits.status == 400


def test_class_maps_too_large_for_json_are_refused_with_the_cure(wire_kit: SimpleNamespace, oip: Oip) -> None:
    for side, binary, status in ((70, False, 200), (71, False, 413), (71, True, 200)):
        blob = bytes(side * side * 3)
        body, length = wire_kit.binary(
            [("image", "UINT8", [1, side, side, 3], blob)], parameters={"binary_data_output": binary}
        )
        if status == 200:
            wire_kit.read(wire_kit.post(oip, body, inference_header_content_length=length))
        else:
            refused = wire_kit.refusal(oip, body, inference_header_content_length=length)
            assert refused.status == 413
            assert "binary_data" in refused.message


def test_what_a_client_library_sends(kit: SimpleNamespace, wire_kit: SimpleNamespace, oip: Oip) -> None:
    # The body that tritonclient.http 2.73 builds for one encoded picture.
    file = kit.as_png(kit.picture(4))
    blob = wire_kit.elements([file])
    head = (
        b'{"id":"abc","inputs":[{"name":"encoded","shape":[1,1],"datatype":"BYTES","parameters":{"binary_data_size":'
        + str(len(blob)).encode()
        + b'}}],"outputs":[{"name":"classmap","parameters":{"binary_data":true}}],'
        b'"parameters":{"priority":1,"timeout":9}}'
    )
    reply = wire_kit.post(oip, head + blob, inference_header_content_length=str(len(head)))
    answered, maps = wire_kit.read(reply)
    assert answered["id"] == "abc"
    np.testing.assert_array_equal(maps, expected(kit, kit.picture(4)[None]))


def test_json_answers_are_json_of_whole_numbers(wire_kit: SimpleNamespace, oip: Oip) -> None:
    pixels = np.arange(0, 12, dtype=np.uint8).reshape(1, 2, 2, 3) * 20
    body = {"inputs": [{"name": "image", "datatype": "UINT8", "shape": [1, 2, 2, 3], "data": pixels.ravel().tolist()}]}
    reply = wire_kit.post_json(oip, body)
    (output,) = json.loads(reply.body)["outputs"]
    assert output == {"name": "classmap", "datatype": "UINT8", "shape": [1, 2, 2], "data": [0, 1, 2, 3]}
