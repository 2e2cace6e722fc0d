"""The training bench's own arithmetic: frame blocks, bootstrap, subsets, the account of processor time."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms import v2

from bench.train import ablation, blocks, peers, plain, processes, rows, subsets, tables
from segx_core.confusion import target_miou
from segx_core.datasets import open_dataset
from segx_trainer import losses
from segx_trainer.config import build_config, read_yaml

CLASSES = 11


def test_frames_of_a_drive_are_cut_by_their_number_not_their_place() -> None:
    names = ["0016E5_00003", "0006R0_f00001", "0016E5_00001", "0016E5_00007", "0016E5_00005", "0016E5_00009"]
    assert blocks.frame_blocks(names, 2) == [[1], [2, 0, 4], [3, 5]]
    with pytest.raises(ValueError, match="got 'holiday'"):
        blocks.drive_and_number("holiday")


@given(st.lists(st.tuples(st.sampled_from("AB"), st.integers(0, 999)), min_size=1, unique=True), st.integers(1, 20))
def test_blocks_hold_each_frame_once_of_one_drive_in_order(frames: list[tuple[str, int]], length: int) -> None:
    names = [f"{drive}_{number:05d}" for drive, number in frames]
    found = blocks.frame_blocks(names, length)
    assert sorted(place for block in found for place in block) == list(range(len(names)))
    for drive in "AB":
        own = [block for block in found if frames[block[0]][0] == drive]
        told = [frames[place] for block in own for place in block]
        assert told == sorted(one for one in frames if one[0] == drive)
        sizes = [len(block) for block in own]
        assert not sizes or max(sizes) - min(sizes) <= 1


def matrices(seed: int, frames: int, classes: int = 3) -> blocks.Counts:
    return np.random.default_rng(seed).integers(0, 50, (frames, classes, classes))


def test_mean_iou_of_many_matrices_is_that_of_each() -> None:
    counts = matrices(0, 6)
    counts[2, 1] = 0  # a class that the target lacks and the prediction has
    counts[3] = 0
    found = blocks.mious(counts)
    assert found == pytest.approx([target_miou(one) for one in counts], nan_ok=True)
    assert np.isnan(found[3])


def test_the_interval_is_that_of_a_loop_over_draws() -> None:
    first, second, draws = matrices(1, 12), matrices(2, 12), 700  # more than are drawn at once
    cut = [[0, 1, 2], [3, 4], [5, 6, 7, 8], [9, 10, 11]]
    generator = np.random.default_rng(5)
    found = []
    for count in (500, 200):
        for chosen in generator.integers(len(cut), size=(count, len(cut))):
            frames = [place for block in chosen for place in cut[block]]
            one, other = (target_miou(sum(counts[place] for place in frames)) for counts in (first, second))
            found.append(other - one)
    told = blocks.difference(first, second, cut, draws, seed=5)
    assert (told.low, told.high) == pytest.approx(tuple(np.percentile(found, [2.5, 97.5])))
    assert told.difference == pytest.approx(target_miou(second.sum(0)) - target_miou(first.sum(0)))
    assert told.blocks == 4


def test_a_model_against_itself_differs_by_nothing() -> None:
    counts = matrices(3, 9)
    told = blocks.difference(counts, counts, [[0, 1, 2], [3, 4, 5], [6, 7, 8]], 50)
    assert (told.difference, told.low, told.high) == (0, 0, 0)


def camvid(folder: Path) -> Path:
    """Four training pictures of two drives and one to validate; the first mask has the ignored value, too."""
    generator = np.random.default_rng(0)
    names = {"train": ["0001TP_000001", "0001TP_000031", "0006R0_f00001", "0006R0_f00002"], "val": ["0016E5_00001"]}
    for split, own in names.items():
        for kind in (split, f"{split}annot"):
            (folder / kind).mkdir(parents=True)
        for name in own:
            picture = generator.integers(0, 256, (8, 12, 3), dtype=np.uint8)
            mask = generator.integers(0, CLASSES + 1, (4, 6), dtype=np.uint8).repeat(2, 0).repeat(2, 1)
            Image.fromarray(picture).save(folder / split / f"{name}.png")
            Image.fromarray(mask).save(folder / f"{split}annot" / f"{name}.png")
    return folder


def test_a_held_out_drive_is_a_split_of_its_own(tmp_path: Path) -> None:
    data = open_dataset(str(camvid(tmp_path / "whole")))
    cut = open_dataset(str(subsets.hold_out(data, "0001TP", tmp_path / "cut")))
    names = {split: [one.name for one in samples] for split, samples in cut.splits.items()}
    assert names == {
        "train": ["0006R0_f00001", "0006R0_f00002"],
        "val": ["0016E5_00001"],
        "test": ["0001TP_000001", "0001TP_000031"],
    }
    assert cut.classes == data.classes
    picture, _ = cut.read(cut.split("test")[0])
    assert (picture == data.read(data.split("train")[0])[0]).all()
    with pytest.raises(SystemExit, match="0001TP, 0006R0"):
        subsets.hold_out(data, "0016E5", tmp_path / "none")


def test_every_sixth_picture_is_one_of_the_first_here(tmp_path: Path) -> None:
    data = open_dataset(str(camvid(tmp_path / "whole")))
    cut = open_dataset(str(subsets.every_sixth(data, 60, tmp_path / "cut")))
    assert [one.name for one in cut.split("train")] == ["0001TP_000001"]
    assert cut.split("val")[0].image.is_symlink()


def test_half_size_keeps_labels_and_means_colours(tmp_path: Path) -> None:
    whole = camvid(tmp_path / "whole")
    data = open_dataset(str(whole))
    half = open_dataset(str(subsets.halve(str(whole), tmp_path / "half")))
    assert half.classes == data.classes
    for split in ("train", "val"):
        for before, after in zip(data.split(split), half.split(split), strict=True):
            (picture, mask), (small, labels) = data.read(before), half.read(after)
            means = picture.reshape(4, 2, 6, 2, 3).mean((1, 3))
            assert np.abs(small - means).max() <= 0.5
            assert (labels == mask[::2, ::2]).all()


def test_the_ledger_adds_up_attempts(tmp_path: Path) -> None:
    ledger, busy = tmp_path / "cpu.json", "import time\nwhile time.process_time() < 0.3: pass"
    for _ in range(2):
        assert processes.run([sys.executable, "-c", busy], tmp_path / "log", ledger) == 0
    first, second = processes.attempts(ledger)
    assert first >= 0.3
    assert second >= 0.3
    assert processes.cpu_minutes(ledger) == pytest.approx((first + second) / 60)


def test_a_failed_process_is_told_with_its_last_words(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import sys; print('told you'); sys.exit(3)"]
    with pytest.raises(processes.FailedError, match=r"status 3 [^\n]*\ntold you"):
        processes.run(command, tmp_path / "log")
    assert processes.run(command, tmp_path / "log", allowed=(0, 3)) == 3


def finished(grid: rows.Grid, row: rows.Row, seed: int, miou: float) -> Path:
    """What a training of that row would have left."""
    place = rows.folder_of(grid, row, seed)
    place.mkdir(parents=True)
    result = {"miou": miou, "per_class_iou": {"sky": miou / 2, "pole": None}, "steps": 4, "cpu_minutes": 2.0}
    (place / rows.RESULT).write_text(json.dumps(result))
    return place


def test_a_row_that_is_there_is_not_run_again(tmp_path: Path) -> None:
    grid = rows.Grid("no-such-data", ("--steps", "4"), tmp_path)
    row = rows.Row("ce + 0.5*dice", ("--loss", "ce + 0.5*dice"))
    place = finished(grid, row, 0, 0.5)
    assert rows.run_all(grid, [row, rows.Row("later", lacks="no teacher")], [0], jobs=2) == {}
    assert sorted(one.name for one in place.iterdir()) == [rows.RESULT]
    policy = tmp_path / "policy.yaml"
    policy.write_text("flip: 0.5")
    mirrored = rows.Row("policy", ("--augment", str(policy)))
    before = rows.folder_of(grid, mirrored, 0)
    policy.write_text("flip: 0.4")
    assert rows.folder_of(grid, mirrored, 0) != before, "another policy is another run"
    assert rows.shown(str(policy)) == "policy.yaml"
    longer = rows.Grid("no-such-data", ("--steps", "5"), tmp_path)
    assert rows.result_of(rows.folder_of(longer, row, 0)) is None, "other options are another run"


def test_a_row_that_fails_leaves_no_result_and_says_why(tmp_path: Path) -> None:
    grid = rows.Grid("scenes", ("--no-such-option", "4"), tmp_path / "work")
    row = rows.Row("baseline")
    place = rows.folder_of(grid, row, 3)
    (place / "run").mkdir(parents=True)
    (place / "run" / "checkpoint.pt").write_bytes(b"of a run killed before its first last.pt")
    failed = rows.run_all(grid, [row], [3], jobs=1)
    assert set(failed) == {"baseline"}
    assert failed["baseline"].startswith("No such option: --no-such-option")
    assert not (place / "run").exists()
    (line,) = rows.summarise(grid, [row], [3], ["sky"], failed)
    assert (line["seeds"], line["reason"]) == ([], failed["baseline"])


def test_the_reason_of_a_failure_is_the_commands_own_message() -> None:
    said = "status 2 of: segx train\nsegx: expected a folder\n      got no such path: x\n      Check the path."
    assert rows.reason(said) == "expected a folder got no such path: x Check the path."
    assert rows.reason("status -9 of: segx train\n") == "status -9 of: segx train"


def test_a_sum_is_mean_and_sample_deviation_of_the_seeds_that_are_there(tmp_path: Path) -> None:
    grid = rows.Grid("data", (), tmp_path)
    row, missing = rows.Row("baseline"), rows.Row("distillation", lacks="no teacher")
    for seed, score in ((0, 0.4), (2, 0.6)):
        finished(grid, row, seed, score)
    line, other = rows.summarise(grid, [row, missing], [0, 1, 2], ["sky", "pole"], {})
    assert line["seeds"] == [0, 2]
    assert line["miou"]["mean"] == pytest.approx(0.5)
    assert line["miou"]["sd"] == pytest.approx(np.std([0.4, 0.6], ddof=1))
    assert line["rarest"]["sky"]["values"] == pytest.approx([0.2, 0.3])
    assert line["rarest"]["pole"]["mean"] == 0
    assert other == {"name": "distillation", "options": [], "seeds": [], "reason": "no teacher"}
    assert rows.spread([0.5])["sd"] is None


def test_the_grid_changes_one_thing_a_row_and_knows_its_short_form() -> None:
    table = ablation.grid_rows(None, Path("policy.yaml"))
    names = [row.name for row in table]
    assert len(set(names)) == len(names)
    assert set(ablation.ON_CPU) <= set(names)
    assert [row.name for row in table if row.lacks] == ["distillation"]
    assert not any(row.lacks for row in ablation.grid_rows("teacher", Path("policy.yaml")))
    assert all(len(row.options) == 2 for row in table[1:-1] if row.name != "distillation")


def test_the_grid_shows_gains_and_rows_that_were_not_run() -> None:
    def measured(mean: float) -> dict[str, object]:
        return {"mean": mean, "sd": 0.01, "values": [mean]}

    rare = {name: measured(0.25) for name in "abc"}
    found = {
        "common": ["--steps", "4"],
        "pictures": {"train": 367, "val": 101},
        "train_share": {"d": 0.9, "a": 0.01, "b": 0.02, "c": 0.07},
        "rows": [
            {"name": "baseline", "seeds": [0, 1], "miou": measured(0.5), "rarest": rare, "cpu_minutes": 2.0},
            {"name": "worse", "seeds": [0], "miou": measured(0.4), "rarest": rare, "cpu_minutes": 3.0},
            {"name": "later", "seeds": [], "reason": "no teacher"},
        ],
    }
    lines = tables.grid(found)
    assert lines[0] == "|  | seeds | mIoU | minus baseline | IoU a | IoU b | IoU c | CPU-min |"
    assert lines[2].startswith("| baseline | 2 | 0.5000 ± 0.0100 | +0.0000 | 0.2500 ± 0.0100 |")
    assert lines[3].startswith("| worse | 1 | 0.4000 ± 0.0100 | -0.1000 |")
    assert lines[4] == "| later | not run | - | - | - | - | - | - |"
    assert lines[-1] == "- later: no teacher"


@pytest.mark.parametrize(("strong", "told"), [(0.55, "+0.0500, more than"), (0.51, "+0.0100, not more")])
def test_a_gap_counts_only_past_both_deviations(strong: float, told: str) -> None:
    scores = {"flips only": {"mean": 0.5, "sd": 0.01}, "strong": {"mean": strong, "sd": 0.02}}
    assert told in tables.verdict([{"name": name, "miou": one} for name, one in scores.items()])
    assert "nothing follows" in tables.verdict([{"name": "strong", "miou": {"mean": 0.5, "sd": None}}])


def test_the_comparison_shows_every_file_and_interval() -> None:
    score = {
        "miou": 0.5, "pixel_accuracy": 0.9, "boundary_f1": 0.4, "latency_ms": {"p50": 12.0}, "size_bytes": 2_000_000,
        "classes": ["sky", "pole"], "per_class_iou": {"sky": 0.75, "pole": None},
    }  # fmt: skip
    pair = {"first": "plain, last", "second": "segx fp32", "difference": 0.04, "low": 0.03, "high": 0.05, "blocks": 10}
    found = {
        "pictures": {"train": 367, "scored": 101},
        "segx": {"cpu_minutes": 60.0, "step": 900},
        "plain": {"cpu_minutes": 60.1, "steps": 800},
        "int8_gate": "passed",
        "scores": {"segx fp32": score, "plain, last": score},
        "bootstrap": {"frames_a_block": 10, "blocks": 10, "draws": 10_000, "pairs": [pair]},
    }
    lines = tables.camvid(found)
    assert "| mIoU | 0.5000 | 0.5000 |" in lines
    assert "| IoU pole | - | - |" in lines
    assert lines[-1] == "- segx fp32 minus plain, last: +0.0400 (+0.0300 to +0.0500)"


def test_segx_is_right_where_peers_are_not() -> None:
    known = losses.names()
    for case in peers.all_cases():
        if not case.needs or case.needs in known:
            assert case.ours() == pytest.approx(case.right(), rel=peers.TOLERANCE, abs=peers.TOLERANCE), case.title


def test_a_peer_that_is_not_there_is_not_run_in_the_table() -> None:
    rows_ = [
        {"case": "one", "peer": "torch", "value": "NaN", "right": 0.0, "segx": -0.0},
        {"case": "two", "peer": "other", "error": "not installed", "right": 0.25, "segx": None},
    ]
    lines = tables.peers({"rows": rows_, "versions": {"torch": "2"}})
    assert lines[2] == "| one | torch | NaN | 0.0000 | 0.0000 |"
    assert lines[3] == "| two | other | not run | 0.2500 | - |"


def test_the_plain_loop_sees_what_the_dataset_reads(tmp_path: Path) -> None:
    data = open_dataset(str(camvid(tmp_path)))
    frames = plain.Frames(data.split("train"), v2.Identity())
    for index, sample in enumerate(data.split("train")):
        image, mask = frames[index]
        picture, target = data.read(sample)
        assert (image.permute(1, 2, 0).numpy() == picture).all()
        assert (mask.numpy() == target).all()


def test_the_recipe_is_a_config() -> None:
    options = argparse.Namespace(config=plain.RECIPE, seed=3, data="scenes", encoder_weights="none")
    config, recipe = plain.settings(options), build_config({**read_yaml(plain.RECIPE), "data": "scenes"})
    assert (config.model, config.encoder, config.decoder_channels) == (
        recipe.model,
        recipe.encoder,
        recipe.decoder_channels,
    )
    assert (config.loss, config.lr, config.seed) == ("ce", 1e-3, 3)
