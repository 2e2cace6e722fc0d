"""Answers about a model of which a pixel may have several classes: in every form, of 8 bits and of 16."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from segx_core import rle
from segx_core.card import Card, InputSpec, OutputSpec
from segx_core.meaning import Labels
from segx_core.picture import encode_png
from segx_core.polygons import polygons


class Bits:
    """Class k is where bit k of red, or for k of 8 and above bit k - 8 of green, is set."""

    def __init__(self, count: int) -> None:
        self.card = Card(
            name="bits",
            task="multilabel",
            thresholds=(0.5,) * count,
            classes=tuple(f"c{index}" for index in range(count)),
            palette=tuple((20 * index, 255 - 20 * index, 100) for index in range(count)),
            ignore_index=1 << count,
            inputs=(InputSpec(name="image"),),
            outputs=(OutputSpec(name="labels", kind="labels", dtype="uint8" if count <= 8 else "uint16"),),
        )
        self.count = count

    def run(self, batch: Any) -> Any:
        wide = batch[..., 0] | (batch[..., 1].astype(np.uint16) << 8)
        return (wide & ((1 << self.count) - 1)).astype(np.uint8 if self.count <= 8 else np.uint16)


@pytest.fixture(params=[3, 10])
def model(request: Any) -> Bits:
    return Bits(request.param)


@pytest.fixture
def running(serve: Any, model: Bits) -> Any:
    return serve({"bits": model})


def test_every_form_tells_the_same_bits(kit: SimpleNamespace, running: Any, model: Bits) -> None:
    pixels = kit.picture(4, 20, 30)
    fields, sent = model.run(pixels[None])[0], kit.as_png(pixels)
    np.testing.assert_array_equal(kit.from_png(running.segment(sent).content), fields)
    raw = running.segment(sent, accept="application/octet-stream")
    assert raw.headers["x-segx-dtype"] == ("uint8" if model.count == 3 else "uint16")
    assert raw.content == fields.tobytes()
    laid = Labels().overlay(pixels, fields, model.card.palette)
    assert running.segment(sent, accept="image/png;overlay=1").content == encode_png(laid)
    answer = running.segment(sent, accept="application/json;polygons=1").json()
    shapes = polygons(fields, model.card.classes, Labels())
    assert [one["name"] for one in answer["classes"]] == list(model.card.classes)
    for index, one in enumerate(answer["classes"]):
        there = (fields >> index) & 1 == 1
        np.testing.assert_array_equal(rle.decode(one["rle"]), there)
        assert (one["pixels"], one["fraction"]) == (there.sum(), there.mean())
        wanted = [{"polygon": shape["polygon"], "holes": shape["holes"]} for shape in shapes if shape["index"] == index]
        assert one["polygons"] == wanted


def test_a_picture_of_no_class_is_an_answer_too(kit: SimpleNamespace, running: Any) -> None:
    black = np.zeros((6, 5, 3), np.uint8)
    classes = running.segment(kit.as_png(black), accept="application/json").json()["classes"]
    assert {(one["pixels"], one["bbox"]) for one in classes} == {(0, None)}
    assert running.segment(kit.as_png(black), accept="image/png;overlay=1").content == encode_png(black)


def test_the_protocol_says_the_type_and_the_task(kit: SimpleNamespace, running: Any, model: Bits) -> None:
    (output,) = running.client.get("/v2/models/bits").json()["outputs"]
    assert output["datatype"] == ("UINT8" if model.count == 3 else "UINT16")
    config = running.client.get("/v2/models/bits/config").json()
    assert config["parameters"]["task"] == {"string_value": "multilabel"}
    (listed,) = running.client.get("/models").json()["models"]
    assert listed["task"] == "multilabel"
    pixels = kit.picture(5, 4, 6)
    tensor = {"name": "image", "datatype": "UINT8", "shape": [1, 4, 6, 3], "data": pixels.ravel().tolist()}
    (found,) = running.client.post("/v2/models/bits/infer", json={"inputs": [tensor]}).json()["outputs"]
    np.testing.assert_array_equal(np.reshape(found["data"], (4, 6)), model.run(pixels[None])[0])


def test_polygons_of_torn_labels_are_refused(kit: SimpleNamespace, serve: Any) -> None:
    """Each label alone has few enough borders; all of them together have not."""
    board = (np.indices((400, 400)).sum(axis=0) % 2 * 255).astype(np.uint8)
    running = serve({"bits": Bits(8)})
    answer = running.segment(kit.as_png(np.stack([board] * 3, -1)), accept="application/json;polygons=1")
    assert answer.status_code == 413
    assert "pixels of border" in answer.json()["error"]["message"]
