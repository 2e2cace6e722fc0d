from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from segx_core.datasets import open_dataset
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
