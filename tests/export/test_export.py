"""The whole way from a run folder to files, with real training, real ONNX Runtime and a real gate."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest

from segx_core import card_io, onnx_metadata
from segx_core.card import METADATA_KEY
from segx_core.errors import ConfigError, DataError, ModelError, SetupError
from segx_core.predictor import Predictor
from segx_export.candidates import Candidate
from segx_export.compress import compress
from segx_export.deploy import deploy_card
from segx_export.export import ExportRejectedError, ExportSettings, check_place, export_run, open_data
from segx_trainer import checkpoint
from segx_trainer.config import TrainConfig
from segx_trainer.networks import build_network


@pytest.fixture
def reference(model, card):
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return Candidate(copy, deploy_card(card, "probabilities"))


def again(exported, reference, tmp_path, **changes):
    """Compress the shared float model once more with other settings."""
    settings = ExportSettings(outputs="probabilities", max_latency=None, **changes)  # no time decides a test
    return compress(reference, exported[0].parity, tmp_path, settings, open_data(reference.card, settings))


def test_quantize_gives_a_good_int8_file_and_keeps_the_float_one(exported):
    report, run = exported
    assert report.kept == "int8"
    assert report.path == run / "model.int8.onnx"
    assert (run / "model.fp32.onnx").is_file()
    float_file, int8_file = report.files
    assert float_file.gate.status == "reference"
    assert int8_file.gate.status == "passed"
    assert float_file.measurement.miou > 0.5
    assert int8_file.measurement.miou > 0.5
    assert not list(run.glob(".export-*"))


def test_the_card_in_each_file_holds_the_measured_table(exported):
    report, run = exported
    for name, gate in (("fp32", "reference"), ("int8", "passed")):
        predictor = Predictor.load(run / f"model.{name}.onnx", provider="cpu")
        assert predictor.card.precision == name
        assert predictor.card.gate.status == gate
        assert predictor.card.measurements == report.measurements
        assert [row.precision for row in predictor.card.measurements] == ["fp32", "int8"]
        assert predictor.card.measurements[0].provider == "CPUExecutionProvider"


def test_the_report_is_json_and_a_table(exported):
    report, _ = exported
    values = json.loads(json.dumps(report.to_json()))
    assert values["kept"] == "int8"
    assert values["files"][1]["pixel_agreement"] > 0.9
    assert report.table().row_count == 2


def test_every_convolution_of_the_int8_file_runs_in_int8(exported):
    report, _ = exported
    kernels = report.files[1].placement
    assert kernels.float == 0
    assert kernels.int8 == 4


def test_a_file_runs_with_plain_onnxruntime_and_gives_the_same_map(exported, data):
    from PIL import Image

    _, run = exported
    picture = np.asarray(Image.open(data / "val" / "images" / "000.png"))
    session = onnxruntime.InferenceSession(run / "model.int8.onnx", providers=["CPUExecutionProvider"])
    (plain,) = session.run(["classmap"], {"image": picture[None]})
    np.testing.assert_array_equal(plain[0], Predictor.load(run / "model.int8.onnx", provider="cpu").predict(picture))


def test_a_refused_file_is_written_marked_and_named(exported, reference, tmp_path):
    with pytest.raises(ExportRejectedError, match="fell most") as caught:
        again(exported, reference, tmp_path, precision="int8", max_drop=-100)
    assert caught.value.exit_code == 1
    assert caught.value.report.gate.status == "rejected"
    card = json.loads(onnx_metadata.read(tmp_path / "model.int8.onnx")[METADATA_KEY])
    assert card["gate"]["status"] == "rejected"
    assert (tmp_path / "model.fp32.onnx").is_file()


def test_weights_only_int8_keeps_nearly_every_pixel(exported, reference, tmp_path):
    report = again(exported, reference, tmp_path, precision="w8", max_drop=5.0)
    assert report.kept == "w8"
    assert report.files[1].agreement > 0.99
    assert Predictor.load(report.path, provider="cpu").card.session.config == {"session.disable_quant_qdq": "1"}


def test_quantize_goes_on_to_weights_only_where_int8_is_refused(exported, reference, tmp_path):
    """The gate asks for more equal pixels than this int8 file has, and fewer than a weights-only file keeps."""
    enough = (1 + exported[0].files[1].agreement) / 2
    report = again(exported, reference, tmp_path, quantize=True, max_drop=2.0, min_agreement=enough)
    assert [(file.precision, file.gate.status) for file in report.files[1:]] == [("int8", "rejected"), ("w8", "passed")]
    assert report.kept == "w8"
    assert report.path == tmp_path / "model.w8.onnx"
    assert not (tmp_path / "model.int8.onnx").exists()


def test_auto_keeps_a_file_that_was_measured(exported, reference, tmp_path):
    report = again(exported, reference, tmp_path, precision="auto", max_drop=5.0, gate_images=2, provider="cpu")
    assert {file.precision for file in report.files} == {"fp32", "w8", "int8"}
    assert report.kept in {"fp32", "w8", "int8"}
    assert report.path.is_file()
    assert report.files[0].measurement.images == 2


def test_without_a_gate_nothing_is_measured_and_the_file_says_so(exported, reference, tmp_path):
    out = tmp_path / "there" / "small.onnx"
    report = again(exported, reference, tmp_path, precision="w8", gate=False, out=out)
    assert report.path == out
    assert report.gate.status == "ungated"
    assert report.measurements == ()
    assert Predictor.load(out, provider="cpu").card.gate.status == "ungated"


@pytest.fixture
def run(tmp_path, card, data):
    """A run folder of the smallest real network."""
    config = TrainConfig(
        data=str(data), encoder="test_resnet", encoder_depth=3, encoder_weights="none", decoder_channels=32
    )
    net = build_network(config, len(card.classes))
    folder = tmp_path / "run"
    folder.mkdir()
    content = {"config": config.model_dump(mode="json"), "card": card_io.to_json(card), "network": net.state_dict()}
    checkpoint.save(folder / checkpoint.BEST, content)
    return folder


def test_a_run_becomes_a_measured_float_file(run):
    report = export_run(run)
    assert report.kept == "fp32"
    assert report.parity.agreement > 0.999
    assert Predictor.load(run / "model.fp32.onnx", provider="cpu").card.gate.status == "reference"
    assert report.measurements[0].images == 8
    operators = {node.op_type for node in onnx.load(run / "model.fp32.onnx").graph.node}
    assert "Conv" in operators
    assert "BatchNormalization" not in operators


def test_what_is_no_run_is_refused(tmp_path, run):
    with pytest.raises(ModelError, match="no such folder"):
        export_run(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match=r"checkpoint\.pt"):
        export_run(tmp_path / "empty")


def test_missing_data_or_split_is_refused_before_the_work(run, card, data, tmp_path):
    with pytest.raises(DataError, match="--data"):
        export_run(run, ExportSettings(data=str(tmp_path / "gone")))
    with pytest.raises(DataError, match="test"):
        export_run(run, ExportSettings(split="test"))
    other = tmp_path / "other"
    shutil.copytree(data, other)
    text = (other / "dataset.yaml").read_text().replace("ground", "sky")
    (other / "dataset.yaml").write_text(text)
    with pytest.raises(DataError, match="sky"):
        export_run(run, ExportSettings(data=str(other)))


def test_a_place_that_cannot_be_written_is_refused_before_the_work(run, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SetupError, match="file"):
        export_run(run, ExportSettings(out=tmp_path / "file" / "model.onnx"))


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"precision": "int9"}, "int8"),
        ({"min_agreement": 1.5}, "share"),
        ({"precision": "fp32", "quantize": True}, "Leave one out"),
        ({"outputs": "logits"}, "classmap"),
        ({"split": "train"}, "held-out"),
        ({"calibration_images": 0}, "picture"),
        ({"opset": 9}, "18"),
    ],
)
def test_settings_that_mean_nothing_are_refused(changes, match):
    with pytest.raises(ConfigError, match=match):
        replace(ExportSettings(), **changes)


def test_out_is_a_file_of_its_own(tmp_path):
    (tmp_path / "checkpoint.pt").touch()
    with pytest.raises(ConfigError, match="float reference"):
        check_place(tmp_path, ExportSettings(quantize=True, out=tmp_path / "." / "model.fp32.onnx"))
    with pytest.raises(ConfigError, match="folder"):
        check_place(tmp_path, ExportSettings(out=tmp_path))
    check_place(tmp_path, ExportSettings(out=tmp_path / "model.fp32.onnx"))
