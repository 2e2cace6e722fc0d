"""Tiny real parts: an ONNX file that names the strongest colour of each pixel, and folders of blocky pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from PIL import Image

from segx_core import card_io
from segx_core.card import METADATA_KEY, Card, Gate, InputSpec, OutputSpec
from segx_core.datasets import Dataset, open_dataset
from segx_core.predictor import Predictor

CLASSES = ("red", "green", "blue")
PALETTE = ((200, 0, 0), (0, 200, 0), (0, 0, 200))

MakeModel = Callable[..., Path]
MakeData = Callable[..., Dataset]


@pytest.fixture
def make_model(tmp_path: Path) -> MakeModel:
    """A file whose class map is the argmax of the colour channels plus a bias, optionally with their softmax."""

    def make(
        name: str = "model.onnx",
        *,
        bias: tuple[float, float, float] = (0, 0, 0),
        probabilities: str = "",
        classmap: bool = True,
        classes: tuple[str, ...] = CLASSES,
        gate: Gate = Gate(),  # noqa: B008  frozen
    ) -> Path:
        bias_tensor = helper.make_tensor("bias", TensorProto.FLOAT, [3], np.asarray(bias, np.float32))
        scale = helper.make_tensor("scale", TensorProto.FLOAT, [], [1 / 64])
        nodes = [
            helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
            helper.make_node("Add", ["float", "bias"], ["biased"]),
        ]
        outputs, specs = [], []
        if classmap:
            nodes += [
                helper.make_node("ArgMax", ["biased"], ["index"], axis=3, keepdims=0),
                helper.make_node("Cast", ["index"], ["classmap"], to=TensorProto.UINT8),
            ]
            outputs.append(helper.make_tensor_value_info("classmap", TensorProto.UINT8, ["N", "H", "W"]))
            specs.append(OutputSpec(name="classmap"))
        if probabilities:
            nodes += [
                helper.make_node("Mul", ["biased", "scale"], ["logits"]),
                helper.make_node("Softmax", ["logits"], ["last"], axis=3),
                helper.make_node("Transpose", ["last"], ["probabilities"], perm=[0, 3, 1, 2])
                if probabilities == "NCHW"
                else helper.make_node("Identity", ["last"], ["probabilities"]),
            ]
            shape = ("N", 3, "H", "W") if probabilities == "NCHW" else ("N", "H", "W", 3)
            outputs.append(helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, list(shape)))
            specs.append(
                OutputSpec(
                    name="probabilities",
                    kind="probabilities",
                    dtype="float32",
                    shape=shape,
                    layout="NCHW" if probabilities == "NCHW" else "NHWC",
                )
            )
        image = helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", "H", "W", 3])
        graph = helper.make_graph(nodes, "colours", [image], outputs, [bias_tensor, scale])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        card = Card(
            name="colours",
            classes=classes,
            palette=PALETTE,
            inputs=(InputSpec(name="image"),),
            outputs=tuple(specs),
            gate=gate,
        )
        helper.set_model_props(model, {METADATA_KEY: card_io.to_json(card)})
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        onnx.save(model, path)
        return path

    return make


@pytest.fixture
def load(make_model: MakeModel) -> Callable[..., Predictor]:
    """`make_model` and Predictor.load in one."""
    return lambda *args, **kwargs: Predictor.load(make_model(*args, **kwargs), provider="cpu", threads=1)


def scene(seed: int, height: int = 24, width: int = 32) -> tuple[np.ndarray, np.ndarray]:
    """A blocky label map with some ignored pixels, and a picture whose strongest channel mostly is the label."""
    rng = np.random.default_rng(seed)
    labels = np.kron(rng.integers(0, 3, (height // 4, width // 4)), np.ones((4, 4), int)).astype(np.uint8)
    picture = rng.integers(0, 120, (height, width, 3)).astype(np.uint8)
    np.put_along_axis(picture, labels[..., None].astype(int), 110, axis=2)
    labels[rng.random(labels.shape) < 0.05] = 255
    return picture, labels


@pytest.fixture
def make_data(tmp_path: Path) -> MakeData:
    """A folder with images/ and masks/ under val/ (and one pair under train/), declared by a dataset.yaml."""

    def make(count: int = 5, *, classes: tuple[str, ...] = CLASSES, sizes: tuple[int, ...] = (24,)) -> Dataset:
        root = tmp_path / "data"
        for split, number in (("train", 1), ("val", count)):
            for kind in ("images", "masks"):
                (root / split / kind).mkdir(parents=True, exist_ok=True)
            for index in range(number):
                picture, labels = scene(index, height=sizes[index % len(sizes)])
                Image.fromarray(picture).save(root / split / "images" / f"{index:02}.png")
                Image.fromarray(labels).save(root / split / "masks" / f"{index:02}.png")
        (root / "dataset.yaml").write_text(f"classes: [{', '.join(classes)}]\nignore: 255\n")
        return open_dataset(root)

    return make
