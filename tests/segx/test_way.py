"""The whole way through the real command: train, export, eval, predict, serve, on a folder that explains nothing."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

import segx
from segx_core.datasets import open_dataset

RESULT_KEYS = [
    "model", "provider", "images", "classes", "miou", "per_class_iou", "pixel_accuracy", "mean_dice", "fwiou",
    "boundary_f1", "ece", "brier", "latency_ms", "images_per_second", "size_bytes",
]  # fmt: skip


def test_train_says_what_it_understood_and_that_the_level_was_missed(trained: Any) -> None:
    message = trained.outcome.refused(1)
    assert "Masks are 0/255: background, foreground." in message
    assert "No val split: 3 of 16 pictures" in message
    assert "a validation mIoU of 0.9999" in message
    assert "after 12 steps" in message
    numbers = json.loads(trained.numbers.read_text())
    assert numbers["ending"] == "finished"
    assert numbers["step"] == numbers["total_steps"] == 12  # 13 pictures, whole batches of 4, 4 epochs
    assert numbers["miou"] == pytest.approx(np.mean(list(numbers["per_class_iou"].values())))
    for name in ("checkpoint.pt", "last.pt", "card.json", "config.yaml", "metrics.jsonl", "curves.png", "preview.png"):
        assert (trained.run / name).stat().st_size > 0, name


def test_export_writes_both_files_and_its_numbers(exported: Any) -> None:
    numbers = json.loads(exported.numbers.read_text())
    assert [one["precision"] for one in numbers["files"]] == ["fp32", "int8"]
    assert [one["size_bytes"] for one in numbers["files"]] == [
        path.stat().st_size for path in (exported.fp32, exported.int8)
    ]
    assert exported.int8.stat().st_size < 0.4 * exported.fp32.stat().st_size
    assert "segx serve" in exported.outcome.err
    page = exported.int8.with_suffix(".html")
    assert numbers["page"] == str(page)
    assert f"Report: {page}" in exported.outcome.err
    assert "int8 passed the gate" in page.read_text(encoding="utf-8")


def test_eval_json_has_exactly_the_promised_shape(
    kit: SimpleNamespace, exported: Any, pictures: Path, tmp_path: Path
) -> None:
    done = kit.call("eval", exported.fp32, exported.int8, "--data", pictures, "--json", tmp_path / "e.json")
    assert done.code == 0, done
    assert "mIoU" in done.out
    document = json.loads((tmp_path / "e.json").read_text())
    assert list(document) == ["segx", "data", "split", "results"]
    assert (document["segx"], document["data"], document["split"]) == (segx.__version__, str(pictures), "val")
    assert [one["model"] for one in document["results"]] == ["model.fp32.onnx", "model.int8.onnx"]
    exported_rows = json.loads(exported.numbers.read_text())["files"]
    for one, row in zip(document["results"], exported_rows, strict=True):
        assert list(one) == RESULT_KEYS
        assert list(one["latency_ms"]) == ["p50", "p95", "p99"]
        assert list(one["per_class_iou"]) == one["classes"] == ["background", "foreground"]
        assert one["images"] == 3
        assert one["miou"] == pytest.approx(row["measurement"]["miou"], abs=1e-12)
        assert one["ece"] is None
        assert one["size_bytes"] == row["size_bytes"]


def test_service_predict_and_python_give_the_same_pixels(
    kit: SimpleNamespace, exported: Any, pictures: Path, tmp_path: Path
) -> None:
    samples = open_dataset(pictures).split("val")
    out = tmp_path / "masks"
    done = kit.call("predict", exported.int8, *(sample.image for sample in samples), "--out", out, "--overlay")
    assert done.code == 0, done
    model = segx.load(exported.int8, provider="cpu")
    with served(kit, exported.int8, "--provider", "cpu") as url:
        for sample in samples:
            answer = httpx.post(
                f"{url}/segment", content=sample.image.read_bytes(), headers={"Content-Type": "image/png"}, timeout=60
            )
            written = out / f"{sample.name}.png"
            assert answer.status_code == 200
            assert answer.content == written.read_bytes()
            picture = np.asarray(Image.open(sample.image))
            np.testing.assert_array_equal(np.asarray(Image.open(written)), model.predict(picture))
            assert np.asarray(Image.open(out / "overlay" / f"{sample.name}.png")).shape == (64, 80, 3)


class served:  # noqa: N801  used as a `with`
    """A real `segx serve` on a free port; Ctrl-C ends it with exit 0."""

    def __init__(self, kit: SimpleNamespace, *arguments: object) -> None:
        self.process = kit.start("serve", *arguments, "--port", "0")

    def __enter__(self) -> str:
        said = ""
        for line in self.process.stderr:
            said += line
            if "Listening on " in line:
                return str(line.split("Listening on ")[1].split()[0])
        raise AssertionError(said)

    def __exit__(self, *error: object) -> None:
        self.process.send_signal(signal.SIGINT)
        out, err = self.process.communicate(timeout=60)
        if error[0] is None:
            assert self.process.returncode == 0, err
            assert "Traceback" not in out + err


def test_a_refused_export_names_the_class_and_is_served_only_by_force(
    kit: SimpleNamespace, rejected: Any, pictures: Path
) -> None:
    message = rejected.outcome.refused(1)
    assert "'background'" in message or "'foreground'" in message
    card = segx.load(rejected.path, provider="cpu").card
    assert card.gate.status == "rejected"
    assert card.gate.reasons
    refusal = kit.call("serve", rejected.path, "--port", "0", "--provider", "cpu").refused(2)
    assert "--force" in refusal
    with served(kit, rejected.path, "--provider", "cpu", "--force") as url:
        assert httpx.get(f"{url}/v2/health/ready", timeout=60).status_code == 200
