"""Examples that run an exported file with plain ONNX Runtime do so, outside segx."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from segx_core.predictor import Predictor

EXAMPLE = Path(__file__).parents[2] / "examples" / "plain_onnxruntime.py"


def test_plain_onnxruntime_gives_the_predictors_map(exported, data, tmp_path):
    model, picture, out = exported[1] / "model.int8.onnx", data / "val" / "images" / "001.png", tmp_path / "map.png"
    subprocess.run([sys.executable, "-I", EXAMPLE, model, picture, out], check=True, timeout=120)
    wanted = Predictor.load(model, provider="cpu").predict(np.asarray(Image.open(picture)))
    np.testing.assert_array_equal(np.asarray(Image.open(out)), wanted)


def test_the_python_of_the_deploying_page_counts_the_predictors_pixels(exported, data, tmp_path):
    page = (EXAMPLE.parents[1] / "docs" / "deploying.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    shutil.copy(exported[1] / "model.int8.onnx", tmp_path / "model.onnx")
    shutil.copy(data / "val" / "images" / "001.png", tmp_path / "photo.jpg")  # told by its content, not by its name
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], cwd=tmp_path, check=True, timeout=120, capture_output=True, text=True
    )
    predictor = Predictor.load(tmp_path / "model.onnx", provider="cpu")
    codes, counts = np.unique(predictor.predict(np.asarray(Image.open(tmp_path / "photo.jpg"))), return_counts=True)
    wanted = [f"{predictor.card.classes[index]} {count}" for index, count in zip(codes, counts, strict=True)]
    assert done.stdout.splitlines() == wanted
