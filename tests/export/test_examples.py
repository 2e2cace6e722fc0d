"""The example that runs an exported file with plain ONNX Runtime does so, outside segx."""

from __future__ import annotations

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
