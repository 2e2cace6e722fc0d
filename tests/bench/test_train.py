"""The training bench's own arithmetic: frame blocks, bootstrap, subsets, the account of processor time."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from bench.train import blocks, processes, subsets
from segx_core.confusion import target_miou
from segx_core.datasets import open_dataset

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
