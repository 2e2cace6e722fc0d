from __future__ import annotations

import io
import json
import math
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from segx_core.card import Gate
from segx_evaluate.report import table, to_json, write_json
from segx_evaluate.result import Result
from segx_evaluate.run import evaluate
from segx_evaluate.timing import Latency

KEYS = [
    "model",
    "provider",
    "images",
    "classes",
    "miou",
    "per_class_iou",
    "pixel_accuracy",
    "mean_dice",
    "fwiou",
    "boundary_f1",
    "ece",
    "brier",
    "latency_ms",
    "images_per_second",
    "size_bytes",
]


def result(model: str, right: int, *, ece: float | None = None) -> Result:
    return Result(
        model=model,
        provider="CPUExecutionProvider",
        classes=("sky", "a rather long class name", "never"),
        names=("one", "two"),
        matrix=np.array([[right, 100 - right, 0], [5, 95, 0], [0, 0, 0]]),
        boundary=np.array([[0.5, 0.7, np.nan], [np.nan, 0.4, np.nan]]),
        ece=ece,
        brier=ece,
        latency=Latency(10.0, 12.0, 15.0, 2),
        images_per_second=66.66,
        size_bytes=1_234_567,
        gate=Gate(status="passed"),
    )


def shown(results: list[Result], width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width, record=True)
    console.print(table(results))
    return console.export_text().splitlines()


def test_the_document_has_the_promised_shape(load, make_data, tmp_path: Path) -> None:
    measured = evaluate(load(probabilities="NCHW"), make_data(2), "val")
    path = tmp_path / "new" / "eval.json"
    write_json(path, to_json([measured], data="some/data", split="val"))
    document = json.loads(path.read_text())
    assert list(document) == ["segx", "data", "split", "results"]
    assert (document["data"], document["split"]) == ("some/data", "val")
    (entry,) = document["results"]
    assert list(entry) == KEYS
    assert list(entry["latency_ms"]) == ["p50", "p95", "p99"]
    assert entry["images"] == 2
    assert entry["miou"] == measured.miou  # not rounded
    assert entry["miou"] == pytest.approx(sum(entry["per_class_iou"].values()) / 3)
    assert entry["ece"] == measured.ece


def test_what_does_not_exist_is_null_and_the_file_is_strict_json(tmp_path: Path) -> None:
    empty = result("m.onnx", 90)
    write_json(tmp_path / "eval.json", to_json([empty], data="d", split="val"))
    (entry,) = json.loads((tmp_path / "eval.json").read_text(), parse_constant=pytest.fail)["results"]
    assert entry["per_class_iou"]["never"] is None
    assert entry["ece"] is None
    assert entry["brier"] is None
    assert entry["miou"] == pytest.approx((90 / 105 + 95 / 110) / 2)
    assert not math.isnan(entry["boundary_f1"])


@pytest.mark.parametrize("width", [80, 160])
@pytest.mark.parametrize("count", [1, 2, 3, 4, 6])
def test_the_table_fits_and_cuts_no_figure(width: int, count: int) -> None:
    results = [result(f"model.number{index}.onnx", 90 - 7 * index, ece=0.1 / (index + 1)) for index in range(count)]
    lines = shown(results, width)
    assert max(map(len, lines)) <= width
    miou = next(line for line in lines if line.lstrip().startswith("mIoU"))
    for each in results:
        assert f"{each.miou:.4f}" in miou
    if 1 < count <= 3:
        assert f"{results[1].miou - results[0].miou:+.4f}" in miou
    assert sum("IoU a rather" in line for line in lines) == 1
    whole = "".join("".join(lines).split())
    assert all(f"model.number{index}"[:8] in whole for index in range(count))
    assert "passed" in whole


def test_a_class_that_never_occurs_is_a_dash() -> None:
    line = next(line for line in shown([result("a.onnx", 90), result("b.onnx", 80)], 80) if "never" in line)
    assert line.count("–") == 3  # noqa: RUF001


def test_names_keep_what_tells_them_apart() -> None:
    heading = " ".join(shown([result("m.onnx", 90), result("m.engine", 80)], 100)[:3])
    assert "m.onnx" in heading
    assert "m.engine" in heading
