"""What `segx export` can be given beside a run: ONNX files, networks of hubs, and what it says to the rest."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnx


def test_an_onnx_file_is_compressed_and_evaluated(
    kit: SimpleNamespace, exported: Any, pictures: Path, tmp_path: Path
) -> None:
    path, numbers = tmp_path / "theirs.onnx", tmp_path / "numbers.json"
    shutil.copy(exported.fp32, path)
    done = kit.call("export", path, "--precision", "w8", "--data", pictures, "--max-drop", 100, "--json", numbers)
    assert done.code == 0, done
    files = json.loads(numbers.read_text())["files"]
    assert [Path(file["path"]).name for file in files] == ["theirs.fp32.onnx", "theirs.w8.onnx"]
    assert f"segx eval {files[0]['path']} {files[1]['path']}" in done.err.replace("\n", " ")


def test_a_file_without_a_card_asks_for_one_and_takes_it(kit: SimpleNamespace, exported: Any, tmp_path: Path) -> None:
    path, card = tmp_path / "theirs.onnx", tmp_path / "card.yaml"
    model = onnx.load(exported.fp32)
    del model.metadata_props[:]
    onnx.save(model, path)
    assert "--card" in kit.call("export", path).refused()
    known = json.loads(next(item.value for item in onnx.load(exported.fp32).metadata_props))
    card.write_text(
        "input: {name: image, layout: NHWC, dtype: uint8}\noutput: {name: classmap, kind: classmap}\n"
        f"classes: {json.dumps(known['classes'])}\n"
    )
    done = kit.call("export", path, "--card", card, "--precision", "w8")
    assert done.code == 0, done
    assert "ungated" in done.err
    assert (tmp_path / "theirs.w8.onnx").is_file()


def test_sources_that_are_none(kit: SimpleNamespace, tmp_path: Path) -> None:
    assert "theirs.onnx" in kit.call("export", tmp_path / "theirs.onnx").refused()
    assert "deeplabv3_resnet50" in kit.call("export", "torchvision:deeplabv3_resnet5").refused()
    assert "config.json" in kit.call("export", f"hf:{tmp_path}").refused()
    assert "Leave them out" in kit.call("export", tmp_path, "--deploy").refused()
