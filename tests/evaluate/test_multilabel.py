"""Scores and files of a multilabel model against loops over its classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from PIL import Image

from segx_core import bits, card_io, picture, rle
from segx_core.card import METADATA_KEY, Card, InputSpec, OutputSpec
from segx_core.confusion import iou
from segx_core.datasets import open_dataset
from segx_core.errors import ConfigError, DataError
from segx_core.meaning import Labels
from segx_core.predictor import Predictor
from segx_evaluate import formats, metrics, report
from segx_evaluate.boundary import boundary_f1
from segx_evaluate.predict import predict_files
from segx_evaluate.run import evaluate
from segx_evaluate.score import Score

CLASSES = ("shape", "square", "disc")


def write(path: Path, classes: tuple[str, ...] = CLASSES) -> Path:
    """A file that sees a square where red is strong, a disc where blue is, a shape where one of them is."""
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["float"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Split", ["planes"], ["red", "green", "blue"], axis=1, num_outputs=3),
        helper.make_node("Max", ["red", "blue"], ["either"]),
        helper.make_node("Concat", ["either", "red", "blue"], ["three"], axis=1),
        helper.make_node("Sub", ["three", "middle"], ["centred"]),
        helper.make_node("Mul", ["centred", "scale"], ["logits"]),
        helper.make_node("Sigmoid", ["logits"], ["probabilities"]),
        helper.make_node("Greater", ["logits", "zero"], ["there"]),
        helper.make_node("Cast", ["there"], ["ones"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["ones", "values"], ["worth"]),
        helper.make_node("ReduceSum", ["worth", "axis"], ["sum"], keepdims=0),
        helper.make_node("Cast", ["sum"], ["labels"], to=TensorProto.UINT8),
    ]
    constants = {
        "middle": np.float32(120),
        "scale": np.float32(1 / 20),
        "zero": np.float32(0),
        "values": np.array([1, 2, 4], np.float32).reshape(1, 3, 1, 1),
        "axis": np.array([1]),
    }
    graph = helper.make_graph(
        nodes,
        "shapes",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", "H", "W", 3])],
        [
            helper.make_tensor_value_info("labels", TensorProto.UINT8, ["N", "H", "W"]),
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", 3, "H", "W"]),
        ],
        [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    card = Card(
        name="shapes",
        task="multilabel",
        thresholds=(0.5, 0.5, 0.5),
        classes=classes,
        palette=((200, 0, 0), (0, 200, 0), (0, 0, 200)),
        ignore_index=8,
        inputs=(InputSpec(name="image"),),
        outputs=(
            OutputSpec(name="labels", kind="labels"),
            OutputSpec(
                name="probabilities", kind="probabilities", dtype="float32", shape=("N", 3, "H", "W"), layout="NCHW"
            ),
        ),
    )
    helper.set_model_props(model, {METADATA_KEY: card_io.to_json(card)})
    onnx.save(model, path)
    return path


@pytest.fixture
def model(tmp_path):
    return Predictor.load(write(tmp_path / "shapes.onnx"), provider="cpu", threads=1)


@pytest.fixture
def data(tmp_path, draw_overlapping):
    return open_dataset(draw_overlapping(tmp_path / "data", 6))


def test_every_score_is_that_of_each_class_alone(model, data):
    result = evaluate(model, data, "all")
    right = total = brier = 0.0
    counts = np.zeros((3, 2, 2), np.int64)
    edges = []
    for sample in data.split("all"):
        pixels, target = data.read(sample)
        valid = target != 8
        found, likely = model.predict(pixels), model.probabilities(pixels[None])[0]
        rows = []
        for k in range(3):
            true, guess = (target >> k) & 1, (found >> k) & 1
            rows.append(boundary_f1(np.where(valid, true, 255), guess, 2, 255)[1])
            for t, g in zip(true[valid], guess[valid], strict=True):
                counts[k, t, g] += 1
            right += (true == guess)[valid].sum()
            total += valid.sum()
            brier += (2 * (likely[k] - true)[valid].astype(np.float64) ** 2).sum()
        edges.append(rows)
    np.testing.assert_array_equal(result.matrix, counts)
    assert list(result.per_class_iou.values()) == iou(counts).tolist()
    assert min(result.per_class_iou.values()) > 0.9
    np.testing.assert_array_equal(result.boundary, edges)
    assert metrics.pixel_accuracy(result.matrix) == right / total
    assert metrics.kappa(result.matrix) == pytest.approx(np.mean([metrics.kappa(one) for one in counts]))
    assert result.brier == pytest.approx(brier / total)
    assert 0 < result.ece < 0.5
    entry = report.to_json([result], data="d", split="all")["results"][0]
    assert entry["miou"] == pytest.approx(np.mean(iou(counts)))
    assert "IoU shape" in str(report.table([result]).columns[0]._cells)


def test_data_of_the_other_task_and_other_classes_are_refused(model, data, make_data, load, tmp_path):
    with pytest.raises(DataError, match=r"multilabel masks in .* multiclass ones"):
        evaluate(model, make_data(2), "val")
    with pytest.raises(DataError, match=r"multiclass masks in .* multilabel ones"):
        evaluate(load(), data, "all")
    other = Predictor.load(write(tmp_path / "o.onnx", ("shape", "disc", "square")), provider="cpu")
    with pytest.raises(DataError, match=r"another order"):
        evaluate(other, data, "all")


def test_a_score_of_bits_that_are_no_class_is_refused():
    with pytest.raises(DataError, match=r"predicted values with the bits 0\.\.2 alone"):
        Score(3, 8, "multilabel").add(np.zeros((2, 2), np.uint8), np.full((2, 2), 8, np.uint8))


@pytest.mark.parametrize("form", ["png", "masks", "polygons", "coco"])
def test_predicted_files_of_every_form(model, data, tmp_path, form):
    sample = data.split("all")[0]
    pixels, _ = data.read(sample)
    found = model.predict(pixels)
    out = tmp_path / "out"
    summary = predict_files(model, [sample.image], out, format=form, overlay=True)
    laid = Labels().overlay(pixels, found, model.card.palette)
    np.testing.assert_array_equal(np.asarray(Image.open(out / "overlay" / "p00.png")), laid)
    files = {path.relative_to(out).as_posix() for path in summary.written} - {"overlay/p00.png"}
    match form:
        case "png":
            assert files == {"p00.png"}
            np.testing.assert_array_equal(np.asarray(Image.open(out / "p00.png")), found)
        case "masks":
            assert files == {f"p00/{name}.png" for name in CLASSES}
            for index, name in enumerate(CLASSES):
                mask = np.asarray(Image.open(out / "p00" / f"{name}.png"))
                np.testing.assert_array_equal(mask, ((found >> index) & 1) * 255)
        case "polygons":
            assert files == {"p00.json"}
            text = (out / "p00.json").read_text()
            assert all(f'"{name}"' in text for name in CLASSES)
        case "coco":
            assert files == {"predictions.json"}


def test_coco_annotations_may_overlap():
    planes = np.random.default_rng(4).random((3, 6, 7)) < 0.5
    made = formats.coco_annotations(bits.pack(planes), 1, 5, Labels())
    assert [one["id"] for one in made] == [5, 6, 7]
    for one in made:
        np.testing.assert_array_equal(rle.decode(one["segmentation"]), planes[one["category_id"]])


def test_masks_of_a_multiclass_model_are_its_classes_apart(load, data, tmp_path):
    model = load()
    sample = data.split("all")[0]
    predict_files(model, [sample.image], tmp_path / "out", format="masks")
    found = model.predict(picture.read(sample.image))
    for index, name in enumerate(model.card.classes):
        mask = np.asarray(Image.open(tmp_path / "out" / "p00" / f"{name}.png"))
        np.testing.assert_array_equal(mask == 255, found == index)


def test_names_that_are_no_file_names_have_no_masks(load, data, tmp_path):
    model = load(classes=("a/b", "c", "d"))
    with pytest.raises(ConfigError, match=r"'a/b'"):
        predict_files(model, [data.split("all")[0].image], tmp_path / "out", format="masks")
