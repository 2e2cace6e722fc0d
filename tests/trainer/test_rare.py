from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from segx_core.datasets import open_dataset
from segx_core.datasets.scan import Scan, scan
from segx_core.errors import ConfigError
from segx_trainer.loading import Pictures, Plan, train_loader
from segx_trainer.rare import RarePlan, class_chances


@pytest.fixture(scope="module")
def speckled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """16 pictures of 96x128 of class 0; one of them has a patch of class 2, 3x3 pixels; half have a square of 1."""
    root = tmp_path_factory.mktemp("speckled")
    random = np.random.default_rng(4)
    for split, count in (("train", 16), ("val", 1)):
        for index in range(count):
            mask = np.zeros((96, 128), np.uint8)
            if index % 2:
                mask[10:40, 20:60] = 1
            if index == 6:
                mask[80:83, 120:123] = 2
            picture = random.integers(0, 256, (96, 128, 3), dtype=np.uint8)
            for kind, pixels in (("images", picture), ("masks", mask)):
                (root / split / kind).mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(root / split / kind / f"{index:02}.png")
    return root


@pytest.fixture
def seen(speckled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scan:
    monkeypatch.setenv("SEGX_CACHE", str(tmp_path))
    return scan(open_dataset(speckled), "train")


def test_chances_are_the_papers(seen: Scan) -> None:
    shares = seen.class_pixels / seen.class_pixels.sum()
    for temperature in (0.01, 0.1, 10.0):
        raw = np.exp((1 - shares) / temperature - (1 - shares).max() / temperature)
        np.testing.assert_allclose(class_chances(seen, temperature), raw / raw.sum())
    chances = class_chances(seen, 0.01)
    assert chances[2] > chances[1] > chances[0]
    for cold in (1e-6, 1e-320):
        assert class_chances(seen, cold).tolist() == [0, 0, 1]
    np.testing.assert_allclose(class_chances(seen, 1e6), np.full(3, 1 / 3), atol=1e-5)


def test_a_batch_depends_on_its_step_alone(seen: Scan) -> None:
    plan = RarePlan(Plan(16, 4, 1), seen, 0.5, 0.1)
    forward = [plan.batch(step) for step in range(12)]
    assert [RarePlan(Plan(16, 4, 1), seen, 0.5, 0.1).batch(step) for step in reversed(range(12))] == forward[::-1]
    assert [RarePlan(Plan(16, 4, 2), seen, 0.5, 0.1).batch(step) for step in range(12)] != forward
    visits = [visit for batch in forward for visit in batch]
    assert len(set(visits)) == len(visits) == 48


def test_drawn_visits_hold_their_class_and_the_others_keep_their_places(seen: Scan) -> None:
    plan, plain = RarePlan(Plan(16, 4, 0), seen, 0.5, 0.1), Plan(16, 4, 0)
    pixels = {(int(r), *place): int(c) for r, c, spots in zip(seen.rows, seen.classes, seen.places, strict=True)
              for place in spots.tolist()}  # fmt: skip
    drawn: Counter[int] = Counter()
    kept = 0
    for step in range(500):
        for visit, usual in zip(plan.batch(step), plain.batch(step), strict=True):
            assert visit.epoch == usual.epoch
            if visit.focus is None:
                assert visit == usual
                kept += 1
            else:
                drawn[pixels[visit.sample, *visit.focus]] += 1
    assert 0.45 < kept / 2000 < 0.55
    found = np.array([drawn[label] for label in range(3)]) / sum(drawn.values())
    np.testing.assert_allclose(found, class_chances(seen, 0.1), atol=0.05)


def test_crops_hold_the_pixel_they_were_drawn_for(seen: Scan, speckled: Path, make_config: Any) -> None:
    data = open_dataset(speckled)
    pictures = Pictures(data, data.split("train"), "auto", "train")
    config, plan = make_config(scale=(1.0, 1.0), workers=0, augment="light"), RarePlan(Plan(16, 4, 0), seen, 1.0, 1e-6)
    for _, masks in train_loader(pictures, config, (32, 64), plan, 0, 8, pin=False):
        assert ((masks == 2).sum(dim=(1, 2)) > 0).all()


def test_batches_are_the_same_from_any_start_and_with_workers(seen: Scan, speckled: Path, make_config: Any) -> None:
    data = open_dataset(speckled)
    pictures = Pictures(data, data.split("train"), "auto", "train")
    config, plan = make_config(augment="strong"), RarePlan(Plan(16, 4, 0), seen, 0.5, 0.1)

    def batches(first: int, workers: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
        changed = config.model_copy(update={"workers": workers})
        return list(train_loader(pictures, changed, (32, 64), plan, first, 6, pin=False))

    whole = batches(0, 0)
    for late in (batches(2, 0), batches(2, 2)):
        for one, other in zip(whole[2:], late, strict=True):
            assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_a_picture_drawn_twice_is_augmented_twice(seen: Scan) -> None:
    plan = RarePlan(Plan(16, 4, 0), seen, 1.0, 1e-6)
    visits = [visit for step in range(4) for visit in plan.batch(step)]
    assert {visit.sample for visit in visits} == {6}
    assert len({visit.draw for visit in visits}) == len(visits)


def test_nothing_labelled_is_refused(seen: Scan) -> None:
    blank = Scan(3, seen.rows[:0], seen.classes[:0], seen.pixels[:0], seen.places[:0], seen.ignored, seen.sizes)
    with pytest.raises(ConfigError, match="labelled pixels"):
        RarePlan(Plan(16, 4, 0), blank, 0.5, 0.01)
