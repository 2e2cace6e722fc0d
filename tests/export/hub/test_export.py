"""Hub networks on the whole way: traced, proved, quantized on data, judged, and run by Predictor."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from segx_core.errors import DataError
from segx_core.predictor import Predictor
from segx_export.export import ExportSettings
from segx_export.hub.address import parse
from segx_export.hub.export import export_hub
from segx_export.hub.network import HubNet
from segx_export.hub.transformers_nets import find


def map_of_torch(folder, picture):
    net = HubNet(find(parse(f"hf:{folder}"))).eval()
    with torch.inference_mode():
        return net(torch.from_numpy(picture).permute(2, 0, 1)[None]).argmax(1)[0].numpy()


def test_a_segformer_of_any_size_is_quantized_and_measured(repository, data, tmp_path, monkeypatch):
    folder, _, _ = repository("segformer")
    (folder / "README.md").write_text("---\nlicense: mit\n---\n")
    monkeypatch.chdir(tmp_path)
    settings = ExportSettings(precision="int8", data=str(data), max_drop=100.0, provider="cpu")
    report = export_hub(f"hf:{folder}", settings)
    assert report.path == tmp_path / "tiny-segformer.int8.onnx"
    assert report.files[1].placement.int8 > 0
    loaded = Predictor.load(tmp_path / "tiny-segformer.fp32.onnx", provider="cpu")
    assert loaded.card.origin.licence == "mit"
    assert [row.precision for row in loaded.card.measurements] == ["fp32", "int8"]
    picture = np.random.default_rng(0).integers(0, 256, (45, 70, 3), dtype=np.uint8)
    assert loaded.takes(45, 70)
    assert (loaded.predict(picture) == map_of_torch(folder, picture)).mean() > 0.999


def test_an_eomt_is_exported_at_its_size(repository, tmp_path):
    folder, _, _ = repository("eomt")
    out = tmp_path / "small.onnx"
    report = export_hub(f"hf:{folder}", ExportSettings(precision="w8", out=out))
    assert (report.path, report.gate.status) == (out, "ungated")
    loaded = Predictor.load(tmp_path / "tiny-eomt.fp32.onnx", provider="cpu")
    assert (loaded.card.size.kind, loaded.card.size.height, loaded.card.size.width) == ("fixed", 64, 64)
    pictures = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    for picture, classmap in zip(pictures, loaded.run(pictures), strict=True):
        assert (classmap == map_of_torch(folder, picture)).mean() > 0.999
    assert loaded.predict(np.zeros((30, 90, 3), np.uint8)).shape == (30, 90)


def test_int8_without_data_is_refused_before_the_work(repository, tmp_path):
    with pytest.raises(DataError, match="--data"):
        export_hub(f"hf:{repository('eomt')[0]}", ExportSettings(quantize=True, out=tmp_path / "x.onnx"))
