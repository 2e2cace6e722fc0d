"""When a run is trained for int8, and against what the gate then holds it."""

from __future__ import annotations

import shutil

import pytest

from segx_core.errors import ConfigError
from segx_export.export import ExportRejectedError, ExportSettings
from segx_export.qat_export import export_with_qat
from segx_trainer.checkpoint import load_run


@pytest.fixture
def run(trained, tmp_path):
    shutil.copytree(trained, tmp_path / "run", ignore=shutil.ignore_patterns("pruned-*"))
    return tmp_path / "run"


def test_int8_that_passes_is_left_alone(run):
    report = export_with_qat(run, ExportSettings(precision="int8", max_drop=50.0, provider="cpu"), 5)
    assert report.kept == "int8"
    assert not (run / "qat").exists()


def test_int8_that_is_refused_is_trained_for_and_held_against_the_first_float_network(run):
    settings = ExportSettings(precision="int8", max_drop=-90.0, provider="cpu")
    with pytest.raises(ExportRejectedError) as caught:
        export_with_qat(run, settings, 5)
    report = caught.value.report
    assert report.path == run / "qat" / "model.int8.onnx"
    before, after = (load_run(folder).card.training.val_miou for folder in (run, run / "qat"))
    assert report.gate.max_drop == pytest.approx(settings.max_drop - (before - after) * 100)


@pytest.mark.parametrize("settings", [ExportSettings(), ExportSettings(quantize=True, gate=False)])
def test_what_makes_no_sense_together_is_refused(tmp_path, settings):
    with pytest.raises(ConfigError):
        export_with_qat(tmp_path, settings, 5)
