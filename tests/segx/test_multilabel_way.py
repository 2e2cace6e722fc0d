"""The whole way of multilabel data through the real command: train, export, eval, predict, serve."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

import segx
from segx_core import rle
from segx_core.datasets import open_dataset

CLASSES = ["shape", "square", "disc"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, draw_overlapping: Callable[..., Path]) -> Path:
    return draw_overlapping(tmp_path_factory.mktemp("overlapping") / "data", 16)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, kit: SimpleNamespace, data: Path) -> Any:
    """A run that learnt the overlapping shapes, exported and quantized."""
    run = tmp_path_factory.mktemp("multilabel") / "run"
    trained = kit.call("train", data, "--out", run, *kit.tiny, "--loss", "bce + dice", "--epochs", "14")
    assert trained.code == 0, trained
    numbers = run.parent / "export.json"
    wish = ("--quantize", "--max-drop", 100, "--outputs", "probabilities", "--json", numbers)
    exported = kit.call("export", run, *wish)
    assert exported.code == 0, exported
    fp32, int8 = run / "model.fp32.onnx", run / "model.int8.onnx"
    return SimpleNamespace(run=run, numbers=json.loads(numbers.read_text()), fp32=fp32, int8=int8)


def test_the_float_file_scores_what_training_scored_and_the_card_says_the_task(made: Any) -> None:
    card = segx.load(made.fp32, provider="cpu").card
    assert (card.task, list(card.classes), card.thresholds) == ("multilabel", CLASSES, (0.5, 0.5, 0.5))
    assert [(one.name, one.kind, one.dtype) for one in card.outputs] == [
        ("labels", "labels", "uint8"),
        ("probabilities", "probabilities", "float32"),
    ]
    measured = made.numbers["files"][0]["measurement"]
    assert measured["miou"] == pytest.approx(card.training.val_miou, abs=1e-3)
    assert measured["miou"] > 0.7
    assert made.numbers["parity"]["widest_flip"] < 1e-3


def test_eval_scores_each_class_for_itself(kit: SimpleNamespace, made: Any, data: Path, tmp_path: Path) -> None:
    done = kit.call("eval", made.fp32, made.int8, "--data", data, "--json", tmp_path / "e.json")
    assert done.code == 0, done
    first, second = json.loads((tmp_path / "e.json").read_text())["results"]
    model, dataset = segx.load(made.fp32, provider="cpu"), open_dataset(data)
    hits, union = np.zeros(3), np.zeros(3)
    for sample in dataset.split("val"):
        picture, target = dataset.read(sample)
        found = model.predict(picture)
        for index in range(3):
            there, guess = ((one[4:] >> index) & 1 == 1 for one in (target, found))  # the rows above are ignored
            hits[index] += (there & guess).sum()
            union[index] += (there | guess).sum()
    assert list(first["per_class_iou"].values()) == pytest.approx(list(hits / union), abs=1e-12)
    assert second["miou"] == pytest.approx(made.numbers["files"][1]["measurement"]["miou"], abs=1e-12)
    assert 0 < first["ece"] < 0.5
    assert 0 < first["brier"] < 1


def test_masks_that_predict_writes_can_be_learnt_from(
    kit: SimpleNamespace, made: Any, data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "new" / "masks"
    done = kit.call("predict", made.int8, data / "images", "--out", out, "--format", "masks")
    assert done.code == 0, done
    (tmp_path / "new" / "images").symlink_to(data / "images")
    (tmp_path / "new" / "dataset.yaml").write_bytes((data / "dataset.yaml").read_bytes())
    dataset, model = open_dataset(tmp_path / "new"), segx.load(made.int8, provider="cpu")
    for sample in dataset.split("all"):
        picture, target = dataset.read(sample)
        np.testing.assert_array_equal(target, model.predict(picture))


@pytest.fixture(scope="module")
def url(kit: SimpleNamespace, made: Any) -> Iterator[str]:
    """A service of the int8 file."""
    with kit.start("serve", made.int8, "--port", "0", "--provider", "cpu") as process:
        said = ""
        for line in process.stderr:
            said += line
            if "Listening on " in line:
                break
        assert "Listening on " in said, said
        yield said.split("Listening on ")[1].split()[0]
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "Traceback" not in out + err


def test_the_service_gives_what_predict_writes(
    kit: SimpleNamespace, made: Any, url: str, data: Path, tmp_path: Path
) -> None:
    picture = data / "images" / "p03.png"
    done = kit.call("predict", made.int8, picture, "--out", tmp_path, "--overlay")
    assert done.code == 0, done
    fields = segx.load(made.int8, provider="cpu").predict(np.asarray(Image.open(picture)))

    def ask(accept: str) -> httpx.Response:
        headers = {"Content-Type": "image/png", "Accept": accept}
        answer = httpx.post(f"{url}/segment", content=picture.read_bytes(), headers=headers, timeout=60)
        assert answer.status_code == 200
        return answer

    png = ask("image/png").content
    assert png == (tmp_path / "p03.png").read_bytes()
    np.testing.assert_array_equal(np.asarray(Image.open(BytesIO(png))), fields)
    assert ask("image/png;overlay=1").content == (tmp_path / "overlay" / "p03.png").read_bytes()
    raw = ask("application/octet-stream")
    assert (raw.headers["X-Segx-Dtype"], raw.content) == ("uint8", fields.tobytes())
    classes = ask("application/json;polygons=1").json()["classes"]
    assert [one["name"] for one in classes] == CLASSES
    assert sum(one["fraction"] for one in classes) > 1.2 * classes[0]["fraction"]  # they overlap
    for index, one in enumerate(classes):
        there = (fields >> index) & 1 == 1
        np.testing.assert_array_equal(rle.decode(one["rle"]), there)
        assert one["pixels"] == there.sum()
        assert bool(one["polygons"]) == there.any()


def test_the_protocol_gives_the_same_bits_and_says_the_task(made: Any, url: str, data: Path) -> None:
    picture = np.asarray(Image.open(data / "images" / "p03.png"))
    config = httpx.get(f"{url}/v2/models/model.int8/config", timeout=60).json()
    assert config["parameters"]["task"]["string_value"] == "multilabel"
    assert httpx.get(f"{url}/models", timeout=60).json()["models"][0]["task"] == "multilabel"
    tensor = {"name": "image", "datatype": "UINT8", "shape": [1, 64, 80, 3], "data": picture.ravel().tolist()}
    answer = httpx.post(f"{url}/v2/models/model.int8/infer", json={"inputs": [tensor]}, timeout=60).json()
    (output,) = answer["outputs"]
    fields = segx.load(made.int8, provider="cpu").predict(picture)
    np.testing.assert_array_equal(np.reshape(output["data"], output["shape"])[0], fields)


def test_losses_and_data_of_another_task_are_refused(
    kit: SimpleNamespace, made: Any, data: Path, pictures: Path, tmp_path: Path
) -> None:
    message = kit.call("train", data, "--out", tmp_path / "a", *kit.tiny, "--loss", "ce + dice").refused()
    assert "'bce' is its like here" in message
    message = kit.call("train", pictures, "--out", tmp_path / "b", *kit.tiny, "--loss", "bce").refused()
    assert "'ce' is its like here" in message
    assert "multilabel masks" in kit.call("eval", made.fp32, "--data", pictures).refused()
    assert "multilabel masks" in kit.call("export", made.run, "--data", pictures).refused()
