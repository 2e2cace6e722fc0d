"""The metadata walker against the onnx package, and against bytes that are no model."""

from __future__ import annotations

import contextlib

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from segx_core import onnx_metadata
from segx_core.errors import ModelError


def model(properties: dict[str, str]) -> bytes:
    weights = onnx.numpy_helper.from_array(np.zeros(5000, np.float32), "w")
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [5000]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Add", ["x", "w"], ["y"])], "g", ports[:1], ports[1:], [weights])
    whole = helper.make_model(graph, producer_name="p", doc_string="d", model_version=3)
    helper.set_model_props(whole, properties)
    return whole.SerializeToString()


@settings(deadline=None, derandomize=True, max_examples=30)
@given(st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=300), st.text(st.characters(codec="utf-8"))))
def test_every_entry_comes_back(tmp_path_factory, properties):
    path = tmp_path_factory.mktemp("m") / "m.onnx"
    path.write_bytes(model(properties))
    assert onnx_metadata.read(path) == properties


def test_long_values_come_back(tmp_path):
    (tmp_path / "m.onnx").write_bytes(model({"segx.card": "ü" * 100_000}))
    assert onnx_metadata.read(tmp_path / "m.onnx") == {"segx.card": "ü" * 100_000}


def test_a_cut_inside_the_graph_says_how_much_is_missing(tmp_path):
    path = tmp_path / "m.onnx"
    path.write_bytes(model({})[:9000])
    with pytest.raises(ModelError, match="bytes missing"):
        onnx_metadata.read(path)


@settings(deadline=None, derandomize=True, max_examples=200)
@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "any.onnx"
    path.write_bytes(data)
    with contextlib.suppress(ModelError):
        onnx_metadata.read(path)


def test_a_card_given_for_several_files_goes_to_those_without_one(tmp_path):
    given, own, foreign = (tmp_path / name for name in ("card.yaml", "own.onnx", "foreign.onnx"))
    own.write_bytes(model({"segx.card": "{}"}))
    foreign.write_bytes(model({}))
    assert onnx_metadata.card_for(foreign, given, files=2) == given
    assert onnx_metadata.card_for(own, given, files=2) is None
    assert onnx_metadata.card_for(own, given, files=1) == given
    assert onnx_metadata.card_for(own, None, files=2) is None
