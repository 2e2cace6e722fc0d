"""Teachers of both kinds: a run, and an ONNX file; by name where classes stand in another order."""

from __future__ import annotations

import json
import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from segx_core.card import METADATA_KEY, Card, InputSpec, OutputSpec
from segx_core.datasets import Dataset, open_dataset
from segx_core.errors import ConfigError, ModelError
from segx_trainer import checkpoint
from segx_trainer.config import TrainConfig
from segx_trainer.runlog import RunLog
from segx_trainer.teacher import open_teacher
from segx_trainer.train import resumed_config, train


def config_of(data: Path, **changes: Any) -> TrainConfig:
    values: dict[str, Any] = {
        "data": str(data), "model": "fpn", "encoder": "test_resnet", "encoder_weights": "none",
        "decoder_channels": 32, "size": (32, 64), "batch_size": 4, "epochs": 1, "device": "cpu",
    }  # fmt: skip
    return TrainConfig(**{**values, **changes})


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Path:
    folder = tmp_path_factory.mktemp("teacher") / "run"
    train(config_of(tiny_data), folder)
    return folder


WEIGHTS = np.array([[0.02, 0.0, -0.01], [-0.01, 0.03, 0.0], [0.0, -0.02, 0.04]], np.float32)


def color_file(path: Path, classes: Sequence[str], kind: str) -> Path:
    """An ONNX file, pictures NHWC in, whose logits are a matrix times the colour."""
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["float", "weights"], ["scores"]),
        helper.make_node("Transpose", ["scores"], ["logits"], perm=[0, 3, 1, 2]),
    ]
    element, shape = TensorProto.FLOAT, ["N", len(classes), "H", "W"]
    if kind == "probabilities":
        nodes.append(helper.make_node("Softmax", ["logits"], [kind], axis=1))
    if kind == "classmap":
        nodes.append(helper.make_node("ArgMax", ["logits"], ["best"], axis=1, keepdims=0))
        nodes.append(helper.make_node("Cast", ["best"], [kind], to=TensorProto.UINT8))
        element, shape = TensorProto.UINT8, ["N", "H", "W"]
    graph = helper.make_graph(
        nodes,
        "color",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", "H", "W", 3])],
        [helper.make_tensor_value_info(kind, element, shape)],
        [numpy_helper.from_array(WEIGHTS.T.copy(), "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    layout = None if kind == "classmap" else "NCHW"
    card = Card(
        name="color",
        classes=tuple(classes),
        palette=tuple((place, 0, 0) for place in range(len(classes))),
        inputs=(InputSpec(name="image"),),
        outputs=(
            OutputSpec(
                name=kind,
                kind=kind,  # type: ignore[arg-type]
                dtype="uint8" if kind == "classmap" else "float32",
                shape=tuple(shape),
                layout=layout,  # type: ignore[arg-type]
            ),
        ),
    )
    helper.set_model_props(model, {METADATA_KEY: card.model_dump_json()})
    onnx.save(model, path)
    return path


def renamed(data: Dataset, *classes: str) -> Dataset:
    return replace(data, classes=classes, palette=tuple((place, 0, 0) for place in range(len(classes))))


@pytest.mark.parametrize("kind", ["logits", "probabilities"])
def test_a_file_answers_with_log_probabilities_in_the_students_order(
    tiny_data: Path, tmp_path: Path, kind: str
) -> None:
    path = color_file(tmp_path / "color.onnx", ("a", "b", "c"), kind)
    data = renamed(open_dataset(tiny_data), "c", "a", "b")
    teacher = open_teacher(config_of(tiny_data, teacher=str(path)), data)
    assert teacher is not None
    image = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 3, 5, 7), dtype=np.uint8))
    answer = teacher(image)
    scores = np.einsum("kc,nchw->nkhw", WEIGHTS.astype(np.float64), image.numpy())[:, [2, 0, 1]]
    expected = scores - np.log(np.exp(scores).sum(1, keepdims=True))
    np.testing.assert_allclose(answer.numpy(), expected, atol=1e-4)
    assert not answer.requires_grad


def test_an_impossible_class_has_a_finite_logarithm(tiny_data: Path, tmp_path: Path) -> None:
    path = color_file(tmp_path / "color.onnx", ("a", "b", "c"), "probabilities")
    teacher = open_teacher(config_of(tiny_data, teacher=str(path)), renamed(open_dataset(tiny_data), "a", "b", "c"))
    assert teacher is not None
    assert bool(torch.isfinite(teacher(torch.full((1, 3, 2, 2), 255, dtype=torch.uint8))).all())


def test_a_run_answers_with_its_logits(run: Path, tiny_data: Path) -> None:
    loaded = checkpoint.load_run(run)
    first, second, third = loaded.card.classes
    image = torch.randint(0, 256, (1, 3, 32, 64), dtype=torch.uint8)
    same = open_teacher(config_of(tiny_data, teacher=str(run)), open_dataset(tiny_data))
    turned = open_teacher(
        config_of(tiny_data, teacher=str(run)), renamed(open_dataset(tiny_data), third, first, second)
    )
    assert same is not None
    assert turned is not None
    with torch.no_grad():
        expected = loaded.network(image)
    assert torch.equal(same(image), expected)
    assert torch.equal(turned(image), expected[:, [2, 0, 1]])
    assert not same.training
    assert not same(image).requires_grad


def test_teachers_that_cannot_teach_are_named(
    run: Path, tiny_data: Path, tmp_path: Path, draw_overlapping: Any
) -> None:
    data = open_dataset(tiny_data)
    maps = color_file(tmp_path / "maps.onnx", data.classes, "classmap")
    with pytest.raises(ConfigError, match="--outputs probabilities"):
        open_teacher(config_of(tiny_data, teacher=str(maps)), data)
    others = color_file(tmp_path / "others.onnx", (*data.classes[:2], "cloud"), "logits")
    with pytest.raises(ConfigError, match=f"lacks {data.classes[2]} and has cloud"):
        open_teacher(config_of(tiny_data, teacher=str(others)), data)
    with pytest.raises(ModelError):
        open_teacher(config_of(tiny_data, teacher=str(tmp_path / "none")), data)
    several = open_dataset(draw_overlapping(tmp_path / "several", 2))
    with pytest.raises(ConfigError, match="multilabel"):
        open_teacher(config_of(tiny_data, teacher=str(run)), several)
    assert open_teacher(config_of(tiny_data), data) is None


@pytest.mark.parametrize("kind", ["run", "file"])
def test_a_student_is_trained_recorded_and_resumed(run: Path, tiny_data: Path, tmp_path: Path, kind: str) -> None:
    """With a learning rate too small to move the student, the teacher's terms are still counted in the log."""
    file = color_file(tmp_path / "color.onnx", open_dataset(tiny_data).classes, "probabilities")
    teacher = str(run if kind == "run" else file)
    values = config_of(tiny_data, teacher=teacher, epochs=2).model_dump(exclude={"loss"}, exclude_none=True)
    folder = tmp_path / "student"
    train(TrainConfig(**{**values, "patience": 1, "lr": 1e-9}), folder)
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    terms = next(record["terms"] for record in records if record["kind"] == "train")
    assert set(terms) == {"ce", "kd", "cwd"}
    assert terms["kd"] > 0
    card = checkpoint.load_run(folder).card
    assert card.training is not None
    assert (card.training.teacher, card.training.loss) == (teacher, "ce + kd + 3*cwd")
    again = resumed_config(folder, {"teacher": teacher})
    assert train(again, folder, resume=True).ending in ("patience", "finished")


def test_a_resumed_student_is_bit_equal_to_one_that_never_stopped(
    run: Path, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With everything here that is random or comes from elsewhere: a teacher, a start, dropped paths and channels."""
    teacher = color_file(tmp_path / "color.onnx", open_dataset(tiny_data).classes, "probabilities")
    values = {"teacher": str(teacher), "init": str(run), "drop_path": 0.3, "dropout": 0.2, "epochs": 2}
    given = config_of(tiny_data, **values).model_dump(exclude={"loss"}, exclude_none=True)
    train(TrainConfig(**given), tmp_path / "whole")
    with monkeypatch.context() as patch:
        note = RunLog.validation

        def note_and_stop(self: RunLog, *rest: Any, **others: Any) -> None:
            note(self, *rest, **others)
            signal.raise_signal(signal.SIGINT)

        patch.setattr(RunLog, "validation", note_and_stop)
        assert train(TrainConfig(**given), tmp_path / "parts").ending == "interrupted"
    assert train(resumed_config(tmp_path / "parts", {}), tmp_path / "parts", resume=True).ending == "finished"
    whole, parts = (checkpoint.read(tmp_path / name / checkpoint.LAST)["network"] for name in ("whole", "parts"))
    assert all(torch.equal(value, parts[key]) for key, value in whole.items())
