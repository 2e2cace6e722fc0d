"""All REST operations over a real socket."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import pytest

from segx_core.version import segx_version
from segx_serve.oip import Oip, OipLimits


@pytest.fixture
def client(wire_kit: SimpleNamespace, oip: Oip) -> Iterator[httpx.Client]:
    with wire_kit.listening(oip) as made:
        yield made


def test_health_follows_the_service(client: httpx.Client) -> None:
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").json() == {"ready": True}
    assert client.get("/v2/models/grey/ready").json() == {"name": "grey", "ready": True}
    assert (
        client.post("/v2/repository/models/grey/unload", json={"parameters": {"unload_dependents": False}}).json() == {}
    )
    assert client.get("/v2/health/ready").status_code == 503
    assert client.get("/v2/models/grey/versions/1/ready").status_code == 503
    assert client.post("/v2/repository/models/grey/load").json() == {}
    assert client.get("/v2/models/grey/versions/1/ready").status_code == 200


def test_server_metadata_names_what_there_is(client: httpx.Client, wire_kit: SimpleNamespace, small: Any) -> None:
    told = client.get("/v2").json()
    assert (told["name"], told["version"]) == ("segx", segx_version())
    assert "system_shared_memory" in told["extensions"]
    bare = Oip(small)
    told = json.loads(bare.server({"limits": {"max_body": 1}}).body)
    assert "system_shared_memory" not in told["extensions"]
    assert told["limits"] == {"max_body": 1}
    with wire_kit.listening(bare) as other:
        assert other.get("/v2/systemsharedmemory/status").status_code == 404


def test_model_metadata(client: httpx.Client, kit: SimpleNamespace, wire_kit: SimpleNamespace) -> None:
    assert client.get("/v2/models/grey/versions/1").json() == {
        "name": "grey",
        "versions": ["1", "2"],
        "platform": "onnx_onnxv1",
        "inputs": [
            {"name": "image", "datatype": "UINT8", "shape": [-1, -1, -1, 3]},
            {"name": "encoded", "datatype": "BYTES", "shape": [-1, 1]},
        ],
        "outputs": [{"name": "classmap", "datatype": "UINT8", "shape": [-1, -1, -1]}],
    }
    fixed = Oip(wire_kit.Small(kit.Brightness(), replace(wire_kit.GREY, size=(8, 4), datatype="UINT16")))
    told = json.loads(fixed.metadata("grey").body)
    assert told["inputs"][0]["shape"] == [-1, 8, 4, 3]
    assert told["outputs"][0]["datatype"] == "UINT16"


def test_config(client: httpx.Client) -> None:
    told = client.get("/v2/models/grey/config").json()
    assert told["name"] == "grey"
    assert told["max_batch_size"] == 4
    assert [(one["name"], one["data_type"], one["dims"]) for one in told["input"] + told["output"]] == [
        ("image", "TYPE_UINT8", [-1, -1, 3]),
        ("encoded", "TYPE_STRING", [1]),
        ("classmap", "TYPE_UINT8", [-1, -1]),
    ]
    assert told["parameters"] == {"classes": {"string_value": "4"}, "precision": {"string_value": "fp32"}}


def test_statistics(client: httpx.Client) -> None:
    for path, version in (
        ("/v2/models/stats", "2"),
        ("/v2/models/grey/stats", "2"),
        ("/v2/models/grey/versions/1/stats", "1"),
    ):
        (told,) = client.get(path).json()["model_stats"]
        assert (told["name"], told["version"]) == ("grey", version)
        assert told["inference_stats"]["success"] == {"count": 5, "ns": 2**60}
        assert told["inference_stats"]["cache_hit"] == {"count": 0, "ns": 0}
        assert told["batch_stats"][0]["compute_infer"] == {"count": 3, "ns": 20}


def test_index(client: httpx.Client) -> None:
    everything = [
        {"name": "grey", "version": "2", "state": "READY", "reason": ""},
        {"name": "broken", "version": "1", "state": "UNAVAILABLE", "reason": "its file is gone"},
    ]
    assert client.post("/v2/repository/index").json() == everything
    assert client.post("/v2/repository/index", json={"ready": False}).json() == everything
    assert client.post("/v2/repository/index", json={"ready": True}).json() == everything[:1]
    assert client.post("/v2/repository/index", json={"ready": 1}).status_code == 400
    assert client.post("/v2/repository/index", content=b"[").status_code == 400


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v2/models/none"),
        ("GET", "/v2/models/grey/versions/9"),
        ("GET", "/v2/models/none/ready"),
        ("GET", "/v2/models/none/config"),
        ("GET", "/v2/models/none/stats"),
        ("POST", "/v2/repository/models/none/load"),
        ("POST", "/v2/repository/models/none/unload"),
        ("GET", "/v2/systemsharedmemory/region/none/status"),
    ],
)
def test_unknown_things(client: httpx.Client, method: str, path: str) -> None:
    answer = client.request(method, path)
    assert answer.status_code == 404
    assert list(answer.json()) == ["error"]
    assert isinstance(answer.json()["error"], str)


def test_models_cannot_be_sent(client: httpx.Client) -> None:
    for parameters in ({"config": "{}"}, [], "", 0, False):
        answer = client.post("/v2/repository/models/grey/load", json={"parameters": parameters})
        assert answer.status_code == 400, parameters
    for parameters in ({}, None):
        assert client.post("/v2/repository/models/grey/load", json={"parameters": parameters}).json() == {}


def test_inference_through_a_socket(client: httpx.Client, kit: SimpleNamespace) -> None:
    pixels = kit.picture(7)
    text = base64.b64encode(kit.as_jpeg(pixels)).decode()
    body = {"inputs": [{"name": "encoded", "datatype": "BYTES", "shape": [1], "data": [text]}]}
    answer = client.post("/v2/models/grey/versions/2/infer", json=body)  # httpx accepts gzip: it is used
    assert answer.headers["content-encoding"] == "gzip"
    told = answer.json()["outputs"][0]
    seen = np.asarray(told["data"]).reshape(told["shape"])
    assert seen.shape == (1, 24, 32)
    # JPEG is lossy: compare with the decoded picture.
    from segx_core.picture import decode

    np.testing.assert_array_equal(seen, kit.Brightness().run(decode(kit.as_jpeg(pixels))[None]))


def test_shared_memory_both_ways(
    client: httpx.Client, folder: Path, kit: SimpleNamespace, wire_kit: SimpleNamespace
) -> None:
    pixels = kit.picture(8)
    file = kit.as_png(pixels)
    blob = wire_kit.elements([file])
    (folder / "in").write_bytes(b"??" + pixels.tobytes() + blob)
    (folder / "out").write_bytes(bytes(1000))
    at = 2 + pixels.nbytes
    for name, key, offset, size in (("p", "/in", 2, pixels.nbytes), ("e", "in", at, len(blob)), ("o", "out", 0, 1000)):
        body = {"key": key, "offset": offset, "byte_size": size}
        assert client.post(f"/v2/systemsharedmemory/region/{name}/register", json=body).json() == {}
    assert client.get("/v2/systemsharedmemory/region/p/status").json() == [
        {"name": "p", "key": "/in", "offset": 2, "byte_size": pixels.nbytes}
    ]
    want = kit.Brightness().run(pixels[None])
    for name, region, kind, shape, size in (
        ("image", "p", "UINT8", [1, *pixels.shape], pixels.nbytes),
        ("encoded", "e", "BYTES", [1, 1], len(blob)),
    ):
        place = {"shared_memory_region": region, "shared_memory_byte_size": size}
        output = {"shared_memory_region": "o", "shared_memory_byte_size": want.nbytes, "shared_memory_offset": 100}
        body = {
            "inputs": [{"name": name, "datatype": kind, "shape": shape, "parameters": place}],
            "outputs": [{"name": "classmap", "parameters": output}],
        }
        (told,) = client.post("/v2/models/grey/infer", json=body).json()["outputs"]
        assert told == {"name": "classmap", "datatype": "UINT8", "shape": [1, 24, 32], "parameters": output}
        written = (folder / "out").read_bytes()
        assert written == bytes(100) + want.tobytes() + bytes(1000 - 100 - want.nbytes)
        (folder / "out").write_bytes(bytes(1000))
    body["outputs"][0]["parameters"]["shared_memory_byte_size"] = want.nbytes - 1  # type: ignore[index]
    assert client.post("/v2/models/grey/infer", json=body).status_code == 400
    assert client.post("/v2/systemsharedmemory/unregister").json() == {}
    assert client.get("/v2/systemsharedmemory/status").json() == []
    assert client.post("/v2/models/grey/infer", json=body).status_code == 404


def test_an_output_without_a_place_is_refused_before_the_work(small: Any, oip: Oip, wire_kit: SimpleNamespace) -> None:
    place = {"shared_memory_region": "none", "shared_memory_byte_size": 1}
    body = {
        "inputs": [{"name": "image", "datatype": "UINT8", "shape": [1, 1, 1, 3], "data": [1, 2, 3]}],
        "outputs": [{"name": "classmap", "parameters": place}],
    }
    assert wire_kit.refusal(oip, json.dumps(body).encode()).status == 404
    assert small.seen == []


def test_shared_memory_inputs_count_as_a_body(folder: Path, small: Any, oip: Oip, wire_kit: SimpleNamespace) -> None:
    (folder / "in").write_bytes(bytes(300))
    tight = Oip(small, oip.regions, OipLimits(max_body=299))
    tight.shm_register("r", b'{"key": "in", "byte_size": 300}')
    place = {"shared_memory_region": "r", "shared_memory_byte_size": 300}
    tensor = {"name": "image", "datatype": "UINT8", "shape": [1, 10, 10, 3], "parameters": place}
    refused = wire_kit.refusal(tight, json.dumps({"inputs": [tensor]}).encode())
    assert refused.status == 413
    assert wire_kit.refusal(Oip(small), json.dumps({"inputs": [tensor]}).encode()).status == 400


def test_whole_numbers_of_a_registration_may_be_written_with_a_point(client: httpx.Client, folder: Path) -> None:
    (folder / "in").write_bytes(b"abcd")
    body = b'{"key": "in", "byte_size": 3.0, "offset": 1e0}'
    assert client.post("/v2/systemsharedmemory/region/r/register", content=body).json() == {}
    told = client.get("/v2/systemsharedmemory/region/r/status").text
    assert told == '[{"name":"r","key":"in","offset":1,"byte_size":3}]'


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"7",
        b'{"key": "in", "byte_size": 1e400}',
        b'{"key": 1, "byte_size": 3}',
        b'{"key": "in", "byte_size": "3"}',
        b'{"key": "in", "byte_size": 3, "offset": 1.5}',
    ],
)
def test_broken_registrations(client: httpx.Client, folder: Path, body: bytes) -> None:
    (folder / "in").write_bytes(b"abc")
    assert client.post("/v2/systemsharedmemory/region/r/register", content=body).status_code == 400
