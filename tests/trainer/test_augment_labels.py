from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from segx_core import bits
from segx_core.datasets import open_dataset
from segx_core.errors import ConfigError
from segx_trainer import augment
from segx_trainer.augment import Labels, Policy, load, survey


def policy(**content: object) -> Policy:
    found = load(dict(content))
    assert isinstance(found, Policy)
    return found


@pytest.mark.parametrize(("across", "upright"), [(1, 0), (0, 1), (1, 1)])
def test_a_mirror_swaps_classes_that_have_a_side(across: int, upright: int) -> None:
    labels = Labels(255, ("body", "left_arm", "right_arm", "head"))
    mask = torch.tensor([[0, 1, 2, 3, 255], [1, 1, 0, 3, 255]])
    image = torch.zeros((3, 2, 5), dtype=torch.uint8)
    chosen = policy(flip=across, vertical_flip=upright, swap=[["left_arm", "right_arm"]])
    _, found = augment.apply(augment.preset(chosen, (2, 5), labels), image, mask)
    turned = torch.flip(mask, [axis for axis, done in ((1, across), (0, upright)) if done])
    swapped = {0: 0, 1: 2, 2: 1, 3: 3, 255: 255}
    # Mirrored both ways is turned by half a circle: a left arm stays one.
    expected = turned if across and upright else turned.apply_(swapped.__getitem__)
    assert torch.equal(found, expected)


def test_a_mirror_swaps_the_bits_of_multilabel_maps() -> None:
    ignored = bits.ignored(4)
    labels = Labels(ignored, ("body", "left", "right", "head"), multilabel=True)
    fields = torch.arange(17).reshape(1, 17)
    image = torch.zeros((3, 1, 17), dtype=torch.uint8)
    steps = augment.preset(policy(flip=1, swap=[["left", "right"]]), (1, 17), labels)
    _, found = augment.apply(steps, image, fields)
    expected = bits.unpack(np.arange(16, dtype=np.uint8), 4)[[0, 2, 1, 3]]
    assert found[0, 0] == ignored
    assert np.array_equal(found[0].numpy()[:0:-1], bits.pack(expected[:, None])[0])


def test_a_class_that_is_not_there_is_answered_with_the_near_one() -> None:
    labels = Labels(255, ("left_arm", "right_arm"))
    with pytest.raises(ConfigError, match=r"'left_am'.*Did you mean 'left_arm'"):
        augment.preset(policy(flip=1, swap=[["left_am", "right_arm"]]), (2, 2), labels)


@pytest.fixture
def city(tmp_path: Path) -> Path:
    """Three pictures: road everywhere, a car in two of them, a sign, 16 pixels large, in the last."""
    for kind in ("images", "masks"):
        (tmp_path / "train" / kind).mkdir(parents=True)
    for index in range(3):
        mask = np.zeros((40, 50), np.uint8)
        mask[:20] = 1
        if index:
            mask[25:34, 10:20] = 2
        if index == 2:
            mask[2:6, 40:44] = 3
        Image.fromarray(mask).save(tmp_path / "train" / "masks" / f"{index}.png")
        Image.fromarray(np.stack([mask * 60] * 3, axis=-1)).save(tmp_path / "train" / "images" / f"{index}.png")
    both = "{images: train/images, masks: train/masks}"
    text = f"classes: [road, sky, car, sign]\nsplits: {{train: {both}, val: {both}}}\n"
    (tmp_path / "dataset.yaml").write_text(text, encoding="utf-8")
    return tmp_path / "dataset.yaml"


@pytest.mark.parametrize("kept", [False, True])
def test_rare_classes_and_the_pictures_with_them_are_found(city: Path, kept: bool) -> None:
    data = open_dataset(city)
    masks = [data.read_mask(sample) for sample in data.split("train")] if kept else []
    # Shares: car 3.0 %, sign 0.3 %; a quarter of an even share is 6.25 %.
    assert survey(policy(copy_paste={}), data, masks).donors == {2: (1, 2)}  # no sign has 64 pixels
    assert survey(policy(copy_paste={"smallest": 16}), data, masks).donors == {2: (1, 2), 3: (2,)}
    assert survey(policy(copy_paste={"classes": ["sky"]}), data, masks).donors == {1: (0, 1, 2)}
    assert survey(policy(flip=1), data, masks).donors == {}


def test_classes_that_cannot_be_pasted_are_refused(city: Path) -> None:
    data = open_dataset(city)
    with pytest.raises(ConfigError, match="none with 'sign'"):
        survey(policy(copy_paste={"classes": ["sign"]}), data, [])
    with pytest.raises(ConfigError, match="Did you mean 'car'"):
        survey(policy(copy_paste={"classes": ["cart"]}), data, [])
    with pytest.raises(ConfigError, match="classes of the data in swap"):
        survey(policy(flip=1, swap=[["road", "street"]]), data, [])


def test_an_object_is_pasted_whole_at_its_own_place() -> None:
    image, mask = torch.zeros((3, 40, 50), dtype=torch.uint8), torch.zeros((40, 50), dtype=torch.int64)
    other, labels = torch.full((3, 40, 50), 200, dtype=torch.uint8), torch.ones((40, 50), dtype=torch.int64)
    labels[5:17, 30:40] = 2
    labels[35:38, 2:5] = 2  # 9 pixels: no object
    known = Labels(255, ("road", "sky", "car"), donors={2: (1,)})
    chosen = policy(copy_paste={"p": 1, "count": 1, "scale": [1, 1], "shift": 0})
    for index in range(5):
        shown, found = augment.apply(
            augment.preset(chosen, (40, 50), known),
            image,
            mask,
            rng=augment.stream(0, 0, index),
            pool=[(image, mask), (other, labels)],
        )
        expected = torch.zeros_like(mask)
        expected[5:17, 30:40] = 2
        assert torch.equal(found, expected)
        assert torch.equal(shown[0] == 200, expected == 2)
    assert not mask.any()


def test_mixes_of_multilabel_data_keep_every_bit_field(draw_overlapping: Callable[..., Path], tmp_path: Path) -> None:
    data = open_dataset(draw_overlapping(tmp_path / "data", 6))
    pairs = [data.read(sample) for sample in data.split("train")]
    pool = [(torch.from_numpy(i).permute(2, 0, 1), torch.from_numpy(m.astype(np.int64))) for i, m in pairs]
    names = list(data.classes)
    chosen = policy(
        flip=0.5, warp={"p": 1}, mosaic={}, cutmix={}, classmix={}, copy_paste={"classes": names, "smallest": 9}
    )
    labels = survey(chosen, data, [mask for _, mask in pairs])
    assert labels.multilabel
    assert set(labels.donors) == set(range(len(names)))
    known = {int(value) for _, mask in pool for value in mask.unique()} | {data.ignore_index}
    steps = augment.preset(chosen, (48, 64), labels)
    for index in range(30):
        _, mask = augment.apply(steps, *pool[0], rng=augment.stream(1, 0, index), pool=pool)
        assert set(mask.unique().tolist()) <= known
