"""Broken pictures and masks in a training: named and fatal, or named and replaced the same way every time."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from segx_core.datasets import open_dataset
from segx_core.datasets.scan import scan
from segx_core.errors import DataError, PictureError, SegxError
from segx_trainer import checkpoint
from segx_trainer.loading import Pictures, Plan, train_loader
from segx_trainer.standins import StandIns, lenient
from segx_trainer.train import resumed_config, train


class Numbers:
    """Pictures that hold their own index; some cannot be read."""

    def __init__(self, count: int, broken: set[int], skip: bool = True) -> None:
        self.count = count
        self.skip = skip
        self.broken: dict[int, SegxError] = {index: PictureError("a picture", f"number {index}") for index in broken}

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int, /) -> tuple[Tensor, Tensor]:
        if index in self.broken:
            raise self.broken[index]
        return torch.full((3, 1, 1), index, dtype=torch.uint8), torch.full((1, 1), index)


@pytest.fixture
def damaged(tiny_data: Path, tmp_path: Path) -> Path:
    """The tiny data with a picture and a mask of train, and a picture of val, that are not whole."""
    folder = tmp_path / "damaged"
    shutil.copytree(tiny_data, folder)
    classes = "classes: [ground, square, disc]\nmasks: {encoding: index}\nsplits:\n"
    (folder / "dataset.yaml").write_text(
        classes + "".join(f"  {s}: {{images: {s}/images/*.png, masks: {s}/masks/*.png}}\n" for s in ("train", "val"))
    )
    for name in ("train/images/03.png", "train/masks/07.png", "val/images/01.png"):
        path = folder / name
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return folder


def test_a_stand_in_depends_on_the_visit_alone() -> None:
    picked = [StandIns(Numbers(9, {2, 5}), (0, epoch, 2, 0)).find(2)[0] for epoch in range(40)]
    assert picked == [StandIns(Numbers(9, {2, 5}), (0, epoch, 2, 0)).find(2)[0] for epoch in range(40)]
    assert set(picked) == {0, 1, 3, 4, 6, 7, 8}  # every other one has its turn
    assert StandIns(Numbers(9, {2, 5}), (0, 0, 2, 0)).find(4)[0] == 4


def test_nothing_stands_in_unasked() -> None:
    with pytest.raises(PictureError, match="number 2"):
        StandIns(Numbers(9, {2}, skip=False), (0, 0, 2, 0)).find(2)


def test_nothing_left_is_an_error() -> None:
    with pytest.raises(DataError, match="none of 3"):
        StandIns(Numbers(3, {0, 1, 2}), (0, 0, 1, 0)).find(1)


def test_batches_do_not_depend_on_cache_or_workers(damaged: Path, make_config: Any) -> None:
    data = open_dataset(damaged)
    policy = {"mosaic": {"p": 1.0}, "copy_paste": {"p": 1.0}}
    seen = []
    for cache, workers in (("always", 0), ("never", 0), ("never", 2)):
        pictures = Pictures(data, data.split("train"), cache, "train", skip=True)
        config = make_config(data=str(damaged), augment=policy, unreadable="skip", workers=workers)
        seen.append(list(train_loader(pictures, config, (32, 64), Plan(12, 4, 0), 0, 6, pin=False)))
        assert pictures.told == {3, 7}
    for others in seen[1:]:
        for (image, mask), (other, labels) in zip(seen[0], others, strict=True):
            assert torch.equal(image, other)
            assert torch.equal(mask, labels)


def test_a_run_goes_on_and_says_what_it_left_out(
    damaged: Path, tmp_path: Path, make_config: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    config = make_config(
        data=str(damaged), unreadable="skip", epochs=3, cache="never", sampler="rare", validate_every=3
    )
    result = train(config, tmp_path / "run")
    assert result.ending == "finished"
    text = capsys.readouterr().err
    assert text.count("03 is left out") == text.count("07 is left out") == text.count("01 is left out") == 1
    assert "train: 2 of 12 samples could not be read" in text
    assert "val: 1 of 4 samples could not be read" in text
    records = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    told = sorted((r["split"], r["sample"]) for r in records if r["kind"] == "unreadable")
    assert told == [("train", "03"), ("train", "07"), ("val", "01")]
    assert all("damaged" in r["reason"] for r in records if r["kind"] == "unreadable")


def test_resume_sees_the_same_stand_ins(damaged: Path, tmp_path: Path, make_config: Any) -> None:
    config = make_config(data=str(damaged), unreadable="skip", epochs=4, augment="strong")
    whole = train(config, tmp_path / "whole")
    first = train(config.model_copy(update={"until": 1e-9, "validate_every": 2}), tmp_path / "parts")
    assert (first.ending, first.step) == ("until", 6)
    content = checkpoint.read(tmp_path / "parts" / "last.pt")
    source = tmp_path / "parts" / "config.yaml"
    source.write_text(source.read_text().replace("until: 1.0e-09", "until: null"))
    train(resumed_config(tmp_path / "parts", {"cache": "never"}), tmp_path / "parts", resume=True)
    assert content["step"] < whole.step
    ends = [checkpoint.read(tmp_path / name / "last.pt")["network"] for name in ("whole", "parts")]
    assert all(torch.equal(value, ends[1][key]) for key, value in ends[0].items())
    records = [json.loads(line) for line in (tmp_path / "parts" / "metrics.jsonl").read_text().splitlines()]
    assert len([record for record in records if record["kind"] == "unreadable"]) == 3  # once a run, not a start


@pytest.mark.parametrize("cache", ["auto", "never"])
def test_by_default_a_run_stops_and_names_the_file(damaged: Path, tmp_path: Path, make_config: Any, cache: str) -> None:
    with pytest.raises(SegxError, match=r"train.(images.03|masks.07)\.png"):
        train(make_config(data=str(damaged), cache=cache), tmp_path / "run")


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_split_without_one_whole_sample(damaged: Path, tmp_path: Path, make_config: Any, split: str) -> None:
    for path in (damaged / split / "images").iterdir():
        path.write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"none of (12|4)\. The first"):
        train(make_config(data=str(damaged), unreadable="skip", cache="never"), tmp_path / "run")


def test_counts_leave_out_masks_that_cannot_be_read(damaged: Path) -> None:
    data = open_dataset(damaged)
    counted = scan(lenient(data), "train")
    assert counted.sizes[7].tolist() == [0, 0]
    whole = [np.asarray(Image.open(damaged / "train" / "masks" / f"{i:02}.png")) for i in range(12) if i != 7]
    assert counted.class_pixels.tolist() == np.bincount(np.stack(whole).ravel(), minlength=3).tolist()
    with pytest.raises(DataError, match="07"):
        scan(data, "train")  # the lenient count is kept apart
