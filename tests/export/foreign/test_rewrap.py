"""The deploy form of every kind of file gives the maps that Predictor makes of the file by its card."""

from __future__ import annotations

import itertools

import numpy as np
import onnx
import pytest

from segx_core.errors import ConfigError
from segx_core.predictor import Predictor
from segx_export.deploy import LOGITS
from segx_export.export import ExportSettings
from segx_export.foreign import export_onnx
from segx_export.rewrap import deploy_form

FORMS = [
    {"layout": layout, "out_layout": out, "color": color}
    for layout, out, color in itertools.product(("NCHW", "NHWC"), ("NCHW", "NHWC"), ("RGB", "BGR"))
]
FORMS += [
    {"color": "GRAY"},
    {"color": "GRAY", "layout": "NHWC"},
    {"kind": "probabilities"},
    {"kind": "classmap"},
    {"kind": "classmap", "stride": 1},
    {"stride": 1},
    {"rule": "fixed"},
    {"rule": "fixed", "batch": 2, "layout": "NHWC"},
    {"rule": "fixed", "kind": "classmap"},
    {"rule": "dynamic", "stride": 1},
    {"opset": 11},
    {"dtype": "uint8"},
    {"dtype": "uint8", "layout": "NHWC", "color": "BGR"},
]


@pytest.mark.parametrize("form", FORMS, ids=lambda form: "-".join(map(str, form.values())))
def test_maps_agree_with_the_files_own(theirs, form):
    path, card = theirs(**form)
    report = export_onnx(path, card, ExportSettings(gate=False), deploy=True)
    given, deployed = Predictor.load(path, provider="cpu", card=card), Predictor.load(report.path, provider="cpu")
    random = np.random.default_rng(1)
    fixed = form.get("rule") == "fixed"
    # Fixed sizes are fitted outside, and only at the size itself nothing is resampled twice; even sides for stride 1
    # without a multiple, because the network's own skip asks for it.
    sizes = (
        [(48, 64)] if fixed else [(40, 56), (22, 34)] if form.get("rule") == "dynamic" else [(40, 56), (21, 33), (1, 1)]
    )
    for size in sizes:
        batch = random.integers(0, 256, (2, *size, 3), dtype=np.uint8)
        want, got = given.run(batch), deployed.run(batch)
        assert got.shape == want.shape
        assert (got == want).mean() > (0.999 if form.get("kind") != "classmap" else 0.995)
    assert deployed.card.size.kind == ("fixed" if fixed else "dynamic")
    assert "BatchNormalization" not in {node.op_type for node in onnx.load(report.path).graph.node}


def test_a_network_that_gives_full_size_is_not_resized(theirs):
    path, card = theirs(stride=1)
    report = export_onnx(path, card, ExportSettings(gate=False), deploy=True)
    producer = {name: node.op_type for node in onnx.load(report.path).graph.node for name in node.output}
    assert producer[LOGITS] == "Conv"


def test_class_maps_have_no_probabilities(theirs):
    path, card = theirs(kind="classmap")
    with pytest.raises(ConfigError, match="class maps"):
        export_onnx(path, card, ExportSettings(outputs="probabilities"), deploy=True)


def test_the_given_model_is_left_alone(theirs):
    path, card = theirs()
    model = onnx.load(path)
    before = model.SerializeToString()
    deploy_form(model, Predictor.load(path, provider="cpu", card=card).card, "classmap")
    assert model.SerializeToString() == before
