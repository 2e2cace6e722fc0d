from __future__ import annotations

import gzip
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from segx_core import rle
from segx_core.picture import encode_png, overlay
from segx_core.polygons import polygons
from segx_core.predictor import Predictor
from segx_serve.answers import choose, forms
from segx_serve.http import RefusalError

PNG, JSON, RAW, OVERLAY, POLYGONS, AREAS, OUTLINES = range(7)


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", PNG), ("*/*", PNG), ("image/*", PNG), ("image/png", PNG), ("IMAGE/PNG", PNG), ("application/json", JSON),
        ("application/octet-stream", RAW), ("image/png;overlay=1", OVERLAY), ("image/png; overlay=1; q=0.5", OVERLAY),
        ("image/png;overlay=0", PNG), ("text/html, application/json", JSON),
        ("image/png;q=0.5, application/json", JSON),
        ("application/json;q=0.2,image/png;q=0.9", PNG), ("image/webp,*/*;q=0.8", PNG),
        ("image/png;q=0,*/*;q=0.1", PNG), ("application/json;charset=utf-8", JSON), ("application/json;rle=1", JSON),
        ("application/json;polygons=1", POLYGONS), ("application/json; rle=0", AREAS),
        ("application/json;rle=0;polygons=1", OUTLINES), ("application/json; polygons=1; rle=0; q=0.3", OUTLINES),
        ("application/json;polygons=0;rle=1;overlay=0", JSON), ("*/*;polygons=1", POLYGONS),
        ("*/*; overlay=1", OVERLAY),
    ],
)  # fmt: skip
def test_accept_chooses_the_form(accept: str, expected: int) -> None:
    assert choose(accept) == forms()[expected]


STRANGE = ["image/png;polygons=1", "application/json;overlay=1", "image/png;overlay=2", "application/json;rle="]


@pytest.mark.parametrize(
    "accept", ["text/html", "image/webp", "application/json;q=0", ",", "q", "image/png;q=x", *STRANGE]
)
def test_nothing_acceptable_is_406_with_what_there_is(accept: str) -> None:
    with pytest.raises(RefusalError) as refusal:
        choose(accept)
    assert refusal.value.status == 406
    assert "image/png;overlay=1" in refusal.value.message
    assert "application/json;polygons=1;rle=0" in refusal.value.message


@pytest.fixture
def tiny(serve: Any, model_file: Any) -> Any:
    return serve({"tiny": Predictor.load(model_file, provider="cpu", threads=1)})


def test_json_describes_every_class_of_the_card(kit: SimpleNamespace, tiny: Any) -> None:
    pixels = kit.picture(8)
    pixels[pixels.mean(axis=-1) >= 192] = 0  # nothing bright
    expected = kit.Brightness().run(pixels[None])[0]
    answer = tiny.segment(kit.as_png(pixels), accept="application/json").json()
    assert (answer["model"], answer["height"], answer["width"]) == ("tiny", 24, 32)
    assert [one["name"] for one in answer["classes"]] == list(kit.CLASSES)
    for one in answer["classes"]:
        mask = expected == one["index"]
        assert one["pixels"] == mask.sum()
        assert one["fraction"] == mask.mean()
        assert one["rle"]["size"] == [24, 32]
        np.testing.assert_array_equal(rle.decode(one["rle"]), mask)
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        if rows.size:
            height, width = int(rows[-1] - rows[0]) + 1, int(columns[-1] - columns[0]) + 1
            assert one["bbox"] == [columns[0], rows[0], width, height]
        assert "polygons" not in one
    assert answer["classes"][3]["bbox"] is None
    assert answer["classes"][3]["pixels"] == 0


def test_json_gives_outlines_and_leaves_run_lengths_out_as_asked(kit: SimpleNamespace, tiny: Any) -> None:
    pixels = kit.picture(11)
    expected = kit.Brightness().run(pixels[None])[0]
    whole = tiny.segment(kit.as_png(pixels), accept="application/json;polygons=1").json()
    bare = tiny.segment(kit.as_png(pixels), accept="application/json;polygons=1;rle=0").json()
    shapes = polygons(expected, kit.CLASSES)
    for one, two in zip(whole["classes"], bare["classes"], strict=True):
        wanted = [shape for shape in shapes if shape["index"] == one["index"]]
        assert [{**shape, "class": one["name"], "index": one["index"]} for shape in one["polygons"]] == wanted
        assert {**two, "rle": one["rle"]} == one
        assert "rle" not in two
    areas = tiny.segment(kit.as_png(pixels), accept="application/json;rle=0").json()
    assert [set(one) for one in areas["classes"]] == [{"index", "name", "pixels", "fraction", "bbox"}] * 4


def test_json_of_a_runner_without_a_card_lists_what_was_found(kit: SimpleNamespace, brightness: Any) -> None:
    black = np.zeros((6, 5, 3), np.uint8)
    (only,) = brightness.segment(kit.as_png(black), accept="application/json").json()["classes"]
    assert (only["index"], only["name"], only["pixels"], only["fraction"]) == (0, "class_0", 30, 1.0)


def test_the_raw_map_says_its_shape_and_is_gzipped_on_request(kit: SimpleNamespace, brightness: Any) -> None:
    pixels = kit.picture(9, 20, 36)
    expected = kit.Brightness().run(pixels[None])[0]
    for coding in ("identity", "gzip"):
        headers = {"Accept": "application/octet-stream", "Content-Type": "image/png", "Accept-Encoding": coding}
        request = brightness.client.build_request("POST", "/segment", content=kit.as_png(pixels), headers=headers)
        answer = brightness.client.send(request, stream=True)
        data = b"".join(answer.iter_raw())
        answer.close()
        assert answer.headers.get("content-encoding", "identity") == coding
        assert (answer.headers["x-segx-shape"], answer.headers["x-segx-dtype"]) == ("20,36", "uint8")
        data = gzip.decompress(data) if coding == "gzip" else data
        np.testing.assert_array_equal(np.frombuffer(data, np.uint8).reshape(20, 36), expected)


def test_more_than_256_classes_travel_as_uint16(kit: SimpleNamespace, serve: Any) -> None:
    class Many:
        def run(self, batch: Any) -> Any:
            return batch.sum(axis=-1).astype(np.uint16)

    pixels = kit.picture(3)
    running = serve({"many": Many()})
    raw = running.segment(kit.as_png(pixels), accept="application/octet-stream")
    assert raw.headers["x-segx-dtype"] == "uint16"
    expected = pixels.sum(axis=-1)
    np.testing.assert_array_equal(np.frombuffer(raw.content, "<u2").reshape(24, 32), expected)
    np.testing.assert_array_equal(kit.from_png(running.segment(kit.as_png(pixels)).content), expected)
    assert running.segment(kit.as_png(pixels), accept="image/png;overlay=1").status_code == 200
    described = running.segment(kit.as_png(pixels), accept="application/json").json()
    assert [one["index"] for one in described["classes"]] == sorted(set(expected.ravel().tolist()))


def test_the_overlay_is_cores_overlay(kit: SimpleNamespace, tiny: Any) -> None:
    pixels = kit.picture(10)
    answer = tiny.segment(kit.as_png(pixels), accept="image/png;overlay=1")
    assert answer.content == encode_png(overlay(pixels, kit.Brightness().run(pixels[None])[0], kit.PALETTE))


def test_polygons_of_a_map_without_regions_worth_the_name_are_refused(kit: SimpleNamespace, brightness: Any) -> None:
    board = np.indices((1100, 1100)).sum(axis=0) % 2 * 255
    data = kit.as_png(board.astype(np.uint8)[..., None].repeat(3, axis=-1))
    answer = brightness.segment(data, accept="application/json;polygons=1")
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "picture_too_large")
    assert "without polygons=1" in answer.json()["error"]["message"]
    assert brightness.segment(data, accept="application/json").status_code == 200
