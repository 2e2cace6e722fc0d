from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from PIL import Image
from sklearn.metrics import jaccard_score

from segx_core.datasets import open_dataset
from segx_core.errors import ConfigError, DataError, PictureError
from segx_core.predictor import Predictor
from segx_evaluate import metrics
from segx_evaluate.boundary import boundary_f1, mean_boundary_f1
from segx_evaluate.run import evaluate, evaluate_many, evaluate_together


def plain_loop(predictor, dataset, split):
    """The same figures from the plainest loop there is."""
    truth, answers, boundary = [], [], []
    for sample in dataset.split(split):
        picture, target = dataset.read(sample)
        prediction = predictor.predict(picture)
        boundary.append(boundary_f1(target, prediction, 3, 255))
        truth.append(target[target != 255])
        answers.append(prediction[target != 255])
    return np.concatenate(truth), np.concatenate(answers), np.stack(boundary)


def test_equals_a_plain_loop_and_scikit_learn(load, make_data) -> None:
    predictor, dataset = load(bias=(15, 0, 0)), make_data(7, sizes=(24, 36))
    result = evaluate(predictor, dataset, "val")
    truth, answers, boundary = plain_loop(predictor, dataset, "val")
    assert 0.5 < result.miou < 1
    assert result.miou == pytest.approx(jaccard_score(truth, answers, average="macro"), rel=1e-12)
    per_class = jaccard_score(truth, answers, average=None)
    assert list(result.per_class_iou.values()) == pytest.approx(per_class.tolist(), rel=1e-12)
    assert int(result.matrix.sum()) == truth.size
    np.testing.assert_array_equal(result.boundary, boundary)
    assert result.boundary_f1 == mean_boundary_f1(boundary)
    assert result.names == tuple(sample.name for sample in dataset.split("val"))
    assert result.images == 7
    assert result.latency.pictures == 7
    assert result.provider == "CPUExecutionProvider"
    assert result.size_bytes == predictor.path.stat().st_size
    assert 0 < result.latency.p50 <= result.latency.p95 <= result.latency.p99
    assert result.images_per_second > 0
    assert (result.ece, result.brier) == (None, None)


def test_several_models_score_as_each_does_alone(load, make_data) -> None:
    dataset = make_data()
    models = [load("a.onnx"), load("b.onnx", bias=(60, 0, 0)), load("c.onnx", bias=(0, 0, 200))]
    together = evaluate_together(models, dataset, "val")
    assert [result.model for result in together] == ["a.onnx", "b.onnx", "c.onnx"]
    for model, result in zip(models, together, strict=True):
        np.testing.assert_array_equal(result.matrix, evaluate(model, dataset, "val").matrix)
    assert together[0].miou > together[1].miou > together[2].miou


def test_files_of_one_name_are_told_apart(make_model, make_data) -> None:
    paths = [make_model("x/model.onnx"), make_model("y/model.onnx"), make_model("z/other.onnx")]
    results = evaluate_many(paths, make_data(2), "val", "cpu", threads=1)
    assert [result.model for result in results] == [str(paths[0]), str(paths[1]), "other.onnx"]


def test_a_third_party_file_stands_beside_one_with_a_card(make_model, make_data, tmp_path: Path) -> None:
    own, foreign = make_model("own.onnx", bias=(30, 0, 0)), tmp_path / "foreign.onnx"
    model = onnx.ModelProto(
        opset_import=[helper.make_opsetid("", 17)],
        ir_version=9,
        graph=helper.make_graph(
            [helper.make_node("Identity", ["pixels"], ["logits"])],
            "channels",
            [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["N", 3, "H", "W"])],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 3, "H", "W"])],
        ),
    )
    onnx.save(model, foreign)
    card = tmp_path / "card.yaml"
    card.write_text(
        "input: {name: pixels, layout: NCHW, dtype: float32, scale: 255, mean: [0, 0, 0], std: [1, 1, 1], color: RGB}\n"
        "output: {name: logits, kind: logits, layout: NCHW, stride: 1}\n"
        "classes: [red, green, blue]\n"
    )
    dataset = make_data(3)
    first, second = evaluate_many([own, foreign], dataset, "val", "cpu", card=card, threads=1)
    truth, answers, _ = plain_loop(Predictor.load(foreign, provider="cpu", card=card), dataset, "val")
    assert second.miou == pytest.approx(jaccard_score(truth, answers, average="macro"), rel=1e-12)
    assert second.miou > first.miou
    assert (second.ece, second.brier) == (None, None)


@pytest.mark.parametrize(("layout", "classmap"), [("NHWC", True), ("NCHW", True), ("NCHW", False), ("NHWC", False)])
def test_probabilities_give_calibration(load, make_data, layout: str, classmap: bool) -> None:
    predictor, dataset = load(probabilities=layout, classmap=classmap, bias=(20, 0, 0)), make_data(3)
    result = evaluate(predictor, dataset, "val")
    squares = []
    for sample in dataset.split("val"):
        picture, target = dataset.read(sample)
        logits = (picture.astype(np.float64) + np.array([20, 0, 0])) / 64
        p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
        valid = target != 255
        squares.append(((p - np.eye(3)[np.where(valid, target, 0)]) ** 2).sum(-1)[valid])
    assert result.brier == pytest.approx(float(np.concatenate(squares).mean()), rel=1e-6)
    assert result.ece is not None
    assert 0 < result.ece < 1
    np.testing.assert_array_equal(result.matrix, evaluate(load("plain.onnx", bias=(20, 0, 0)), dataset, "val").matrix)


def test_limit_spreads_over_the_split_and_timing_is_bounded(load, make_data) -> None:
    result = evaluate(load(), make_data(9), "val", limit=3, timed=2)
    assert result.names == ("00", "03", "06")
    assert result.latency.pictures == 2


def test_a_class_that_never_occurs_has_no_score(load, make_data) -> None:
    dataset = make_data(1)
    for sample in dataset.split("val"):
        Image.fromarray(np.zeros((24, 32, 3), np.uint8)).save(sample.image)
        Image.fromarray(np.zeros((24, 32), np.uint8)).save(sample.mask)
    result = evaluate(load(), dataset, "val")
    assert result.miou == 1
    np.testing.assert_equal(result.per_class_iou, {"red": 1.0, "green": np.nan, "blue": np.nan})
    assert metrics.pixel_accuracy(result.matrix) == 1


@pytest.mark.parametrize(
    ("classes", "said"),
    [
        (("red", "green", "cyan"), "class 2 is 'blue' in the model and 'cyan' in the data"),
        (("green", "red", "blue"), "another order"),
        (("red", "green", "blue", "grey"), "class 3 is absent in the model and 'grey' in the data"),
    ],
)
def test_other_classes_are_refused_by_name(load, make_data, classes, said) -> None:
    with pytest.raises(DataError, match=said):
        evaluate(load(), make_data(classes=classes), "val")


def test_undeclared_classes_only_need_to_fit(load, make_data) -> None:
    declared = make_data()
    expected = evaluate(load(), declared, "val").matrix
    (declared.root / "dataset.yaml").unlink()
    inferred = open_dataset(declared.root)
    assert inferred.inferred
    np.testing.assert_array_equal(evaluate(load(), inferred, "val").matrix, expected)


def test_what_is_wrong_is_named(load, make_data) -> None:
    predictor, dataset = load(), make_data()
    with pytest.raises(DataError, match="'test'"):
        evaluate(predictor, dataset, "test")
    with pytest.raises(ConfigError, match="limit"):
        evaluate(predictor, dataset, "val", limit=0)
    broken: Path = dataset.split("val")[3].image
    broken.write_bytes(broken.read_bytes()[:200])
    with pytest.raises(PictureError, match=r"03\.png"):
        evaluate(predictor, dataset, "val", timed=1)


def test_a_prediction_that_is_no_class_names_model_and_picture(make_model, make_data) -> None:
    path = make_model("wild.onnx", bias=(0, 0, 500))
    predictor = Predictor.load(path, provider="cpu")
    narrow = predictor.card.model_copy(update={"classes": ("red", "green"), "palette": ((1, 1, 1), (2, 2, 2))})
    object.__setattr__(predictor, "card", narrow)
    dataset = make_data(2, classes=("red", "green"))
    for sample in dataset.split("val"):
        Image.fromarray(np.zeros((24, 32), np.uint8)).save(sample.mask)
    with pytest.raises(DataError, match=r"wild\.onnx on .*00\.png"):
        evaluate(predictor, dataset, "val")
