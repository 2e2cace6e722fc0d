"""Somebody else's file on the whole way: compressed in its own form and rewrapped, judged, and left as it was."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import numpy as np
import onnx
import pytest

from segx_core import card_io
from segx_core.errors import CardError, ConfigError, DataError
from segx_core.predictor import Predictor
from segx_export.export import ExportSettings
from segx_export.foreign import export_onnx


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_file_is_quantized_in_its_own_form_and_left_alone(theirs, data, count):
    path, card = theirs()
    before = digest(path)
    assert "BatchNormalization" in count(path)
    report = export_onnx(path, card, ExportSettings(quantize=True, data=str(data), max_drop=5.0, provider="cpu"))
    assert digest(path) == before
    assert (report.kept, report.gate.status) == ("int8", "passed")
    assert report.path == path.with_name("theirs.int8.onnx")
    assert report.parity.logits_difference < 1e-4
    assert report.files[1].placement.int8 >= 4
    assert report.files[0].measurement.miou > 0.5
    reference = path.with_name("theirs.fp32.onnx")
    assert "BatchNormalization" not in count(reference)
    for file in (reference, report.path):
        loaded = Predictor.load(file, provider="cpu")  # the card inside suffices
        assert [(port.name, port.dtype) for port in (*loaded.inputs, *loaded.outputs)] == [
            ("x", "float32"),
            ("y", "float32"),
        ]
        assert loaded.card.origin.source == "theirs.onnx"
        assert [row.precision for row in loaded.card.measurements] == ["fp32", "int8"]
    picture = np.random.default_rng(0).integers(0, 256, (45, 70, 3), dtype=np.uint8)
    want = Predictor.load(path, provider="cpu", card=card).predict(picture)
    got = Predictor.load(reference, provider="cpu").predict(picture)
    assert (want == got).mean() > 0.999


def test_the_deploy_form_takes_raw_pictures_of_any_size(theirs, data):
    path, card = theirs(color="BGR")
    settings = ExportSettings(quantize=True, data=str(data), max_drop=5.0, outputs="probabilities", provider="cpu")
    report = export_onnx(path, card, settings, deploy=True)
    given, small = Predictor.load(path, provider="cpu", card=card), Predictor.load(report.path, provider="cpu")
    assert report.gate.status == "passed"
    assert small.takes(37, 51)
    assert small.card.size.kind == "dynamic"
    assert [port.name for port in small.outputs] == ["classmap", "probabilities"]
    picture = Predictor.load(path.with_name("theirs.fp32.onnx"), provider="cpu")
    batch = np.random.default_rng(0).integers(0, 256, (2, 37, 51, 3), dtype=np.uint8)
    np.testing.assert_allclose(picture.probabilities(batch), given.probabilities(batch), atol=1e-4)


def test_without_data_the_files_are_ungated_and_int8_is_refused(theirs):
    path, card = theirs()
    report = export_onnx(path, card, ExportSettings(precision="w8"))
    assert report.gate.status == "ungated"
    assert Predictor.load(report.path, provider="cpu").card.session.config
    assert report.files[1].size_bytes < report.files[0].size_bytes
    with pytest.raises(DataError, match="--data"):
        export_onnx(path, card, ExportSettings(quantize=True))


def test_a_file_that_segx_wrote_needs_no_card_and_gets_its_new_measurements(theirs, data):
    path, card = theirs()
    first = export_onnx(path, card)
    assert first.gate.status == "ungated"
    again = export_onnx(first.path, None, ExportSettings(precision="w8", data=str(data), provider="cpu"))
    assert again.path == path.with_name("theirs.w8.onnx")
    assert Predictor.load(first.path, provider="cpu").card.gate.status == "reference"


def test_a_strange_file_named_like_a_reference_is_not_replaced(theirs):
    path, card = theirs(name="net.fp32.onnx")
    before = digest(path)
    report = export_onnx(path, card, ExportSettings(precision="w8"))
    assert digest(path) == before
    assert report.path == path.with_name("net.segx.w8.onnx")
    assert path.with_name("net.segx.fp32.onnx").is_file()


def test_out_names_the_file_and_the_folder_of_the_reference(theirs, tmp_path):
    path, card = theirs()
    out = tmp_path / "there" / "small.onnx"
    report = export_onnx(path, card, ExportSettings(precision="fp16", out=out))
    assert report.path == out
    assert (tmp_path / "there" / "theirs.fp32.onnx").is_file()
    assert not path.with_name("theirs.fp32.onnx").exists()
    halves = {tensor.data_type for tensor in onnx.load(out).graph.initializer}
    assert onnx.TensorProto.FLOAT16 in halves


def test_settings_that_do_not_fit_are_refused(theirs, tmp_path):
    path, card = theirs()
    for changes, deploy, match in (
        ({"outputs": "probabilities"}, False, "--deploy"),
        ({"out": path}, False, "given file"),
        ({"out": tmp_path}, False, "folder"),
        ({"out": path.with_name("theirs.fp32.onnx"), "precision": "w8"}, False, "float reference"),
    ):
        with pytest.raises(ConfigError, match=match):
            export_onnx(path, card, ExportSettings(**changes), deploy=deploy)
    with pytest.raises(CardError, match="--card"):
        export_onnx(path, None)
    deployed = export_onnx(path, card, deploy=True)
    with pytest.raises(ConfigError, match="deployed already"):
        export_onnx(deployed.path, None, deploy=True)


def test_the_card_on_the_page_about_it_is_one(tmp_path):
    page = (Path(__file__).parents[3] / "docs" / "foreign-models.md").read_text(encoding="utf-8")
    (text,) = re.findall(r"```yaml\n(.*?)```", page, flags=re.DOTALL)
    (tmp_path / "card.yaml").write_text(text)
    card = card_io.load(tmp_path / "card.yaml")
    assert card.size.multiple == 32
    assert card.prediction.stride == 4
