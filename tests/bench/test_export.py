"""The export bench's own arithmetic: ratios paired by round, crops, quality, profiles; and a real worker."""

from __future__ import annotations

import runpy
import shutil
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper
from PIL import Image

from bench.export import measure, operators, tiles
from bench.export.contestants import REFERENCE, Contestant
from bench.export.workers import Worker, WorkerError
from segx_core.datasets import open_dataset

ROOT = Path(__file__).parents[2]


def turn(milliseconds: float) -> dict[str, float]:
    return {"ms": milliseconds, "cpu_ms": 2 * milliseconds}


def test_ratios_are_paired_within_a_round() -> None:
    # The machine slows down fourfold; a ratio of medians would say 10 / 20, rounds say a half each.
    rounds = {
        REFERENCE: [turn(10), turn(20), turn(40)],
        "half": [turn(5), turn(10), turn(20)],
        "uneven": [turn(10), turn(40), turn(160)],
    }
    table = measure.summarise(rounds)
    assert table["half"]["ratio"] == table["half"]["ratio_low"] == table["half"]["ratio_high"] == 0.5
    assert table["half"]["cpu_ratio"] == 0.5
    assert (table["uneven"]["ratio_low"], table["uneven"]["ratio"], table["uneven"]["ratio_high"]) == (1.5, 2.0, 3.0)
    assert (table[REFERENCE]["ratio"], table[REFERENCE]["ms"], table[REFERENCE]["cpu_ms"]) == (1.0, 20, 40)


def test_quality_is_that_of_the_reference_and_what_was_lost_against_it() -> None:
    targets = np.array([[[0, 0], [1, 255]]], np.uint8)
    right, wrong = np.array([[[0, 0], [1, 0]]], np.uint8), np.array([[[0, 1], [1, 1]]], np.uint8)
    found = measure.scores({REFERENCE: right, "worse": wrong}, targets, 2, 255)
    assert found[REFERENCE] == {"miou": 1.0, "drop": 0.0, "agreement": 1.0}
    assert found["worse"] == {"miou": 0.5, "drop": 50.0, "agreement": 0.5}  # both IoU 1/2


@given(st.integers(4, 30), st.integers(4, 30), st.integers(1, 4))
def test_corners_lie_inside_and_touch_all_edges(height: int, width: int, side: int) -> None:
    places = [tiles.corner(name, height, width, side) for name in tiles.TILES["val"]]
    assert places == [(0, 0), (height - side, width - side)]
    assert tiles.corner("top-right", height, width, side) == (0, width - side)
    assert tiles.corner("bottom-left", height, width, side) == (height - side, 0)
    top, left = tiles.corner("centre", height, width, side)
    assert abs(top - (height - side - top)) <= 1
    assert abs(left - (width - side - left)) <= 1


def test_crops_are_a_data_set_with_the_same_pixels(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (9, 12, 3), np.uint8)
    mask = random.choice(np.array([0, 1, 2, 255], np.uint8), (9, 12))
    for split in ("train", "val"):
        for kind, content in (("images", pixels), ("masks", mask)):
            (tmp_path / "whole" / split / kind).mkdir(parents=True)
            Image.fromarray(content).save(tmp_path / "whole" / split / kind / "a.png")
    names = "\n".join(f"  {s}: {{images: {s}/images/*.png, masks: {s}/masks/*.png}}" for s in ("train", "val"))
    (tmp_path / "whole" / "dataset.yaml").write_text(f"classes: [road, car, sky]\nsplits:\n{names}\n")

    crops = tiles.make_tiles(open_dataset(tmp_path / "whole"), 8, tmp_path / "crops")

    assert crops.classes == ("road", "car", "sky")
    pictures, targets = tiles.stack(crops, "train")
    assert np.array_equal(pictures[0], pixels[0:8, 2:10])
    assert np.array_equal(targets[0], mask[0:8, 2:10])
    pictures, targets = tiles.stack(crops, "val")
    assert sorted(map(bytes, targets)) == sorted(
        np.ascontiguousarray(mask[top : top + 8, left : left + 8]).tobytes() for top, left in ((0, 0), (1, 4))
    )


@pytest.fixture
def doubler(tmp_path: Path) -> Path:
    """(N, H, W, 3) uint8 -> the same, twice as bright, modulo 256."""
    kinds = [helper.make_tensor_value_info(name, TensorProto.UINT8, ["N", "H", "W", 3]) for name in ("image", "out")]
    graph = helper.make_graph([helper.make_node("Add", ["image", "image"], ["out"])], "doubler", kinds[:1], kinds[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    path = tmp_path / "doubler.onnx"
    onnx.save(model, path)
    return path


def test_a_worker_loads_times_and_runs_a_file_and_tells_what_it_cannot(tmp_path: Path, doubler: Path) -> None:
    pictures = np.random.default_rng(0).integers(0, 128, (3, 4, 4, 3), np.uint8)
    np.save(tmp_path / "pictures.npy", pictures)
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    good = Contestant("good", "deploy", "ort", doubler)
    worker = Worker(sys.executable, "ort")
    try:
        able, failed = measure.load(
            [good, Contestant("bad", "deploy", "ort", tmp_path / "broken.onnx")], {"ort": worker}
        )
        assert able == [good]
        assert "broken.onnx" in failed["bad"]
        rounds = measure.take_turns(able, {"ort": worker}, tmp_path / "pictures.npy", rounds=2, runs=3)
        assert [set(one) for one in rounds["good"]] == [{"ms", "cpu_ms"}] * 2
        assert np.array_equal(measure.class_maps(able, {"ort": worker}, pictures, tmp_path)["good"], pictures * 2)
        with pytest.raises(WorkerError, match="KeyError"):
            worker.ask("time", name="unknown", pictures=tmp_path / "pictures.npy", runs=1)
        assert set(worker.ask("version")["versions"]) <= {"onnxruntime", "onnxruntime-gpu"}
    finally:
        worker.close()


def test_a_worker_that_ended_is_told_with_its_code() -> None:
    worker = Worker(shutil.which("false") or "false", "ort")
    with pytest.raises(WorkerError, match="code 1"):
        worker.ask("version")
    worker.close()


def test_a_profile_names_every_operator_that_ran(doubler: Path) -> None:
    events = operators.record(doubler, side=8, runs=2)
    assert [(row.name, row.nodes) for row in operators.by(events, "op")] == [("Add", 1)]


def test_a_profile_is_summed_over_runs_and_sorted() -> None:
    def event(node: str, op: str, microseconds: int) -> dict[str, object]:
        return {"cat": "Node", "name": f"{node}_kernel_time", "dur": microseconds, "args": {"op_name": op}}

    profile = [event("a", "Conv", 1000), event("b", "Conv", 3000), event("c", "Add", 6000)] * 2
    profile.append({"cat": "Session", "name": "model_run", "dur": 9, "args": {}})
    events = operators.kernel_events(profile, runs=2)
    assert operators.by(events, "op") == [operators.Spent("Add", 6.0, 1), operators.Spent("Conv", 4.0, 2)]
    assert [row.name for row in operators.by(events, "node")] == ["Add c", "Conv b", "Conv a"]


def test_the_table_lists_the_fastest_first_and_says_what_did_not_run() -> None:
    page = runpy.run_path(str(ROOT / "docs" / "make_results.py"))
    row = {"ratio_low": 0.5, "ratio_high": 0.7, "ms": 12.0, "cpu_ratio": 0.6, "size_ratio": None, "note": ""}
    rows = [
        {**row, "name": "reference", "ratio": 1.0},
        {**row, "name": "segx int8", "ratio": 0.6, "size_ratio": 0.26, "note": "rejected"},
        {"name": "peer", "error": "no kernel"},
    ]
    lines = page["export_table"](rows, quality=False)
    assert lines[2] == "| **segx int8**, rejected | 0.60x | 0.50-0.70 | 12.0 | 0.60x | 0.26x |"
    assert lines[3].startswith("| reference | 1.00x |")
    assert lines[-2] == "- peer did not run: no kernel"


def test_the_section_states_machine_versions_and_both_forms() -> None:
    page = runpy.run_path(str(ROOT / "docs" / "make_results.py"))
    times = {"ratio": 1.0, "ratio_low": 1.0, "ratio_high": 1.0, "ms": 9.0, "cpu_ratio": 1.0, "size_ratio": 1.0}
    row = {**times, "name": "reference", "note": "", "miou": 0.5, "drop": 0.0, "agreement": 1.0}
    network = {"name": "unet", "network": "unet", "encoder": "resnet18", "steps": 7, "val_miou": 0.61}
    found = {
        "machine": {"cpu": "Some CPU", "cores": "2", "onnxruntime": "1.2.3"},
        "instructions": ["avx2", "avx512_vnni"],
        "versions": {"openvino": "4.5.6"},
        "settings": {"side": 256, "rounds": 3, "runs": 2, "val_crops": 8},
        "networks": [{**network, "forms": {"deploy": [row], "network": [row]}}],
    }
    text = "\n".join(page["exporting"](found))
    for words in ("Some CPU", "avx512_vnni", "openvino 4.5.6", "256x256", "unet on resnet18, 7 steps, val mIoU 0.6100"):
        assert words in text
    assert "| reference | 1.00x | 1.00-1.00 | 9.0 | 1.00x | 1.00x | 0.5000 | 0.00 | 100.00% |" in text
    assert "| reference | 1.00x | 1.00-1.00 | 9.0 | 1.00x | 1.00x |\n" in text + "\n"
