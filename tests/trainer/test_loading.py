from __future__ import annotations

import shutil
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from segx_core.datasets import open_dataset
from segx_core.errors import PictureError
from segx_trainer import loading
from segx_trainer.loading import Pictures, Plan, batches_of_equal_size, train_loader


@given(st.integers(1, 40), st.integers(1, 12), st.integers(0, 5))
@settings(deadline=None, derandomize=True)
def test_an_epoch_visits_each_sample_at_most_once(samples: int, batch: int, seed: int) -> None:
    plan = Plan(samples, batch, seed)
    for epoch in range(2):
        steps = range(epoch * plan.steps_per_epoch, (epoch + 1) * plan.steps_per_epoch)
        visits = [visit for step in steps for visit in plan.batch(step)]
        assert len(set(visits)) == len(visits) == plan.steps_per_epoch * plan.batch_size
        assert {visit[0] for visit in visits} == {epoch}
        assert samples - len(visits) < plan.batch_size


def test_a_batch_depends_on_its_step_alone() -> None:
    plan = Plan(10, 3, 1)
    forward = [plan.batch(step) for step in range(9)]
    assert [Plan(10, 3, 1).batch(step) for step in reversed(range(9))] == forward[::-1]
    assert [Plan(10, 3, 2).batch(step) for step in range(9)] != forward


def test_batches_are_the_same_from_any_start_and_with_workers(tiny_data: Path, make_config: Any) -> None:
    data = open_dataset(tiny_data)
    pictures = Pictures(data, data.split("train"), "auto", "train")
    config, plan = make_config(augment="strong"), Plan(12, 4, 0)

    def batches(first: int, **changes: Any) -> list[tuple[torch.Tensor, torch.Tensor]]:
        changed = config.model_copy(update=changes)
        return list(train_loader(pictures, changed, (32, 64), plan, first, 6, pin=False))

    whole = batches(0, workers=0)
    for late in (batches(2, workers=0), batches(2, workers=2)):
        assert len(late) == 4
        for (image, mask), (image_late, mask_late) in zip(whole[2:], late, strict=True):
            assert torch.equal(image, image_late)
            assert torch.equal(mask, mask_late)


def test_cache_changes_nothing(tiny_data: Path) -> None:
    data = open_dataset(tiny_data)
    kept, read = (Pictures(data, data.split("val"), cache, "val") for cache in ("always", "never"))
    assert kept.kept
    assert not read.kept
    for index in range(len(kept)):
        assert all(torch.equal(a, b) for a, b in zip(kept[index], read[index], strict=True))


def test_validation_batches_hold_every_picture_once_in_order(tiny_data: Path) -> None:
    data = open_dataset(tiny_data)
    pictures = Pictures(data, data.split("val"), "auto", "val")
    batches = list(batches_of_equal_size(pictures, 3))
    assert [len(images) for images, _ in batches] == [3, 1]
    assert torch.equal(torch.cat([images for images, _ in batches]), torch.stack([pictures[i][0] for i in range(4)]))


def test_large_pictures_are_validated_one_by_one(tiny_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = open_dataset(tiny_data)
    pictures = Pictures(data, data.split("val"), "auto", "val")
    monkeypatch.setattr(loading, "VALIDATION_PIXELS", 2 * 64 * 80)
    assert [len(images) for images, _ in batches_of_equal_size(pictures, 8)] == [2, 2]
    monkeypatch.setattr(loading, "VALIDATION_PIXELS", 100)
    assert [len(images) for images, _ in batches_of_equal_size(pictures, 8)] == [1] * 4


def test_the_cache_gives_up_past_its_limit_whatever_the_first_picture_weighs(
    tiny_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = open_dataset(tiny_data)
    monkeypatch.setattr(loading, "CACHE_LIMIT", 6 * 4 * 64 * 80)
    assert not Pictures(data, data.split("train"), "auto", "train").kept
    assert len(Pictures(data, data.split("val"), "auto", "val").kept) == 4
    kept = Pictures(data, data.split("train"), "always", "train")
    assert all(
        np.array_equal(one[0], data.read(sample)[0]) for one, sample in zip(kept.kept, kept.samples, strict=True)
    )


@pytest.mark.parametrize("workers", [0, 1])
def test_a_picture_that_breaks_on_the_way_is_named(
    tiny_data: Path, tmp_path: Path, make_config: Any, workers: int
) -> None:
    folder = tmp_path / "data"
    shutil.copytree(tiny_data, folder)
    data = open_dataset(folder)
    pictures = Pictures(data, data.split("train"), "never", "train")
    broken = folder / "train" / "images" / "05.png"
    broken.write_bytes(broken.read_bytes()[:200])
    with pytest.raises(PictureError, match=r"05\.png"):
        list(train_loader(pictures, make_config(workers=workers), (32, 64), Plan(12, 4, 0), 0, 3, pin=False))


def test_leaving_a_loader_early_leaves_no_thread(tiny_data: Path, make_config: Any) -> None:
    data = open_dataset(tiny_data)
    pictures = Pictures(data, data.split("train"), "auto", "train")
    batches = train_loader(pictures, make_config(workers=0), (32, 64), Plan(12, 4, 0), 0, 300, pin=False)
    image, _ = next(batches)
    assert image.is_contiguous(memory_format=torch.channels_last)
    batches.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "segx-ahead"]
