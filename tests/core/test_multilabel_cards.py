"""Cards of multilabel models, and how Predictor runs such files: native ones and a third party's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto as T
from onnx import helper
from pydantic import ValidationError

from segx_core import bits, card_io, thirdparty
from segx_core.card import METADATA_KEY, Card, InputSpec, OutputSpec
from segx_core.errors import CardError
from segx_core.predictor import Predictor

CLASSES = ("warm", "green", "cold")


def native_card(**changes) -> Card:
    base = {
        "name": "native",
        "task": "multilabel",
        "thresholds": (0.5, 0.5, 0.5),
        "classes": CLASSES,
        "palette": ((255, 0, 0), (0, 255, 0), (0, 0, 255)),
        "ignore_index": 8,
        "inputs": (InputSpec(name="image"),),
        "outputs": (OutputSpec(name="labels", kind="labels"),),
    }
    return Card.model_validate(base | changes)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"thresholds": ()}, "thresholds has 0 values for 3 classes"),
        ({"thresholds": (0.5, 0.5, 1.0)}, "between 0 and 1"),
        ({"outputs": (OutputSpec(name="x"),)}, "one output of a multilabel model must be labels or probabilities"),
        ({"task": "multiclass"}, "one output of a multiclass model must be classmap or"),
        ({"task": "multiclass", "outputs": (OutputSpec(name="x"),)}, "no sense for a multiclass model"),
        (
            {
                "classes": tuple("abcdefghijklmnopq"),
                "palette": ((0, 0, 0),) * 17,
                "thresholds": (0.5,) * 17,
                "ignore_index": 1 << 17,
            },
            "at most 16 classes, not 17",
        ),
    ],
)
def test_contradicting_cards_are_refused(changes, told) -> None:
    with pytest.raises(ValidationError, match=told):
        native_card(**changes)


def test_cards_from_before_there_were_tasks_are_multiclass() -> None:
    old = Card(
        name="old",
        classes=("a",),
        palette=((1, 2, 3),),
        inputs=(InputSpec(name="x"),),
        outputs=(OutputSpec(name="y"),),
    )
    plain = old.model_dump(mode="json", exclude={"task", "thresholds"})
    assert Card.model_validate(plain) == old
    assert (old.task, old.thresholds) == ("multiclass", ())


def test_a_map_is_preferred_to_scores_and_a_card_survives_its_file() -> None:
    scores = OutputSpec(name="p", kind="probabilities", dtype="float32", shape=("N", 3, "H", "W"), layout="NCHW")
    card = native_card(outputs=(scores, OutputSpec(name="labels", kind="labels")))
    assert card.prediction.name == "labels"
    assert card.prediction.is_map
    assert not scores.is_map
    assert card_io.from_json(card_io.to_json(card), "") == card


def saved(path: Path, nodes, output, card: Card | None, initial=(), dtype=T.UINT8) -> Path:
    shape = ["N", "H", "W", 3] if dtype == T.UINT8 else ["N", 3, "H", "W"]
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("image", dtype, shape)], [output], list(initial)
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    if card:
        helper.set_model_props(model, {METADATA_KEY: card_io.to_json(card)})
    onnx.save(model, path)
    return path


def test_a_native_file_answers_with_its_bit_fields(tmp_path) -> None:
    """The red channel's own bits are the labels here."""
    nodes = [
        helper.make_node("Gather", ["image", "zero"], ["labels"], axis=3),
    ]
    path = saved(
        tmp_path / "m.onnx",
        nodes,
        helper.make_tensor_value_info("labels", T.UINT8, ["N", "H", "W"]),
        native_card(),
        [onnx.numpy_helper.from_array(np.array(0, np.int64), "zero")],
    )
    batch = np.random.default_rng(0).integers(0, 8, (2, 5, 6, 3)).astype(np.uint8)
    model = Predictor.load(path, provider="cpu")
    np.testing.assert_array_equal(model.run(batch), batch[..., 0])
    assert model.run(batch).dtype == np.uint8
    assert model.takes(5, 6)


YAML = """
input: {name: image, scale: 255}
output: {name: scores, kind: KIND, layout: NCHW, stride: STRIDE}
task: multilabel
threshold: [0.3, 0.5, 0.6]
classes: [warm, green, cold]
"""


@pytest.mark.parametrize("kind", ["logits", "probabilities"])
@pytest.mark.parametrize("stride", [1, 2])
def test_a_third_partys_scores_are_held_against_the_thresholds(tmp_path, kind, stride) -> None:
    nodes = [
        helper.make_node("AveragePool", ["image"], ["cells"], kernel_shape=[stride] * 2, strides=[stride] * 2),
        helper.make_node("Add", ["cells", "shift"], ["raw" if kind == "probabilities" else "scores"]),
    ]
    if kind == "probabilities":
        nodes.append(helper.make_node("Sigmoid", ["raw"], ["scores"]))
    path = saved(
        tmp_path / "m.onnx",
        nodes,
        helper.make_tensor_value_info("scores", T.FLOAT, ["N", 3, "h", "w"]),
        None,
        [onnx.numpy_helper.from_array(np.float32(-0.5), "shift")],
        T.FLOAT,
    )
    (tmp_path / "card.yaml").write_text(YAML.replace("KIND", kind).replace("STRIDE", str(stride)))
    model = Predictor.load(path, provider="cpu", card=tmp_path / "card.yaml")
    assert model.card.ignore_index == 8
    cells = np.random.default_rng(1).integers(0, 256, (4, 6, 3)).astype(np.uint8)
    image = np.kron(cells, np.ones((stride, stride, 1), np.uint8))
    found = model.predict(image)
    likely = 1 / (1 + np.exp(0.5 - image.transpose(2, 0, 1) / 255.0))
    if stride == 1:
        planes = likely > np.array([0.3, 0.5, 0.6])[:, None, None]
        np.testing.assert_array_equal(found, bits.pack(planes))
    probabilities = model.probabilities(image[None])
    assert probabilities is not None
    # At a stride logits are upsampled before the sigmoid, so probabilities tell what the map must be.
    decided = bits.pack(probabilities[0] > np.array([0.3, 0.5, 0.6], np.float32)[:, None, None])
    assert found.shape == image.shape[:2]
    assert (found == decided).mean() == 1.0
    np.testing.assert_allclose(probabilities[0], likely, atol=1e-6) if stride == 1 else None


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("task: multilabel\n", "", "threshold is for task multilabel"),
        ("threshold: [0.3, 0.5, 0.6]", "threshold: [0.3, 0.5]", "thresholds has 2 values"),
        ("threshold: [0.3, 0.5, 0.6]", "threshold: 1.5", "between 0 and 1"),
        ("threshold: [0.3, 0.5, 0.6]", "ignore: 255", "a bit of their own"),
        ("kind: KIND", "kind: classmap", "one output of a multilabel model"),
    ],
)
def test_a_bad_yaml_is_told(tmp_path, old, new, told) -> None:
    path = tmp_path / "card.yaml"
    path.write_text(YAML.replace(old, new).replace("KIND", "logits").replace("STRIDE", "1"))
    with pytest.raises(CardError, match=told):
        card_io.read_yaml(path)


def test_one_threshold_is_everybodys(tmp_path) -> None:
    path = tmp_path / "card.yaml"
    text = YAML.replace("[0.3, 0.5, 0.6]", "0.25").replace("KIND", "logits").replace("STRIDE", "1")
    path.write_text(text)
    assert card_io.read_yaml(path).thresholds == (0.25, 0.25, 0.25)
    path.write_text(text.replace("threshold: 0.25\n", ""))
    assert card_io.read_yaml(path).thresholds == (0.5, 0.5, 0.5)


def test_sigmoid_of_large_logits_does_not_warn() -> None:
    assert thirdparty.sigmoid(np.array([-1000, 0, 1000], np.float32)).tolist() == [0, 0.5, 1]
