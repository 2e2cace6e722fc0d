"""Milliseconds that augmentation takes a picture: the presets, and torchvision's own transforms beside them.

    python bench/augment/run.py DATA [--size 352x480] [--rounds 8]

The presets take turns with the transforms of torchvision.transforms.v2 as they come (ScaleJitter, RandomCrop, ...) for
window, mirror, colours, grey and blur; those do no mixes, pasting, warps, noise or JPEG, which `strong` does as well.
CPU time of one thread, so that a busy machine disturbs little. Writes results.json beside this file.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torchvision import tv_tensors
from torchvision.transforms import v2

from segx_core import machine
from segx_core.cv import cv2
from segx_core.datasets import open_dataset
from segx_core.datasets.dataset import spread
from segx_trainer import augment
from segx_trainer.augment import Pair, Preset

HERE = Path(__file__).resolve().parent
PICTURES = 48


def stock(name: Preset, size: tuple[int, int], ignored: int) -> Any:
    """Torchvision's transforms with a preset's ranges."""
    policy = augment.named(name)
    fill = {tv_tensors.Image: 124, tv_tensors.Mask: ignored}
    crop = v2.RandomCrop(size, pad_if_needed=True, fill=fill)
    if name == "none":
        return crop
    color = policy.color
    assert color is not None
    steps: list[Any] = [
        v2.ScaleJitter(size, policy.scale, antialias=True),
        crop,
        v2.RandomHorizontalFlip(policy.flip),
        v2.ColorJitter(color.brightness, color.contrast, color.saturation, color.hue),
    ]
    if name == "strong":
        steps += [v2.RandomGrayscale(color.gray), v2.RandomApply([v2.GaussianBlur(5, (0.1, 1.5))], 0.2)]
    return v2.Compose(steps)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data")
    parser.add_argument("--size", default="352x480")
    parser.add_argument("--rounds", type=int, default=8)
    options = parser.parse_args()
    height, width = (int(side) for side in options.size.split("x"))
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    data = open_dataset(options.data)
    pool = [pair(*data.read(sample)) for sample in spread(data.split("train"), PICTURES)]
    wrapped = [(tv_tensors.Image(image.contiguous()), tv_tensors.Mask(mask)) for image, mask in pool]
    found: dict[str, dict[str, float]] = {}
    for name in ("none", "light", "strong"):
        labels = augment.survey(augment.named(name), data, [mask.numpy() for _, mask in pool])
        steps, other = augment.preset(name, (height, width), labels), stock(name, (height, width), data.ignore_index)

        def ours(index: int, turn: int, steps: Any = steps) -> None:
            augment.apply(steps, *pool[index], rng=augment.stream(0, turn, index), pool=pool)

        def theirs(index: int, turn: int, other: Any = other) -> None:
            torch.manual_seed(1000 * turn + index)
            other(*wrapped[index])

        times = [(milliseconds(ours, turn), milliseconds(theirs, turn)) for turn in range(options.rounds + 1)][1:]
        found[name] = {
            "segx_ms": round(statistics.median(mine for mine, _ in times), 3),
            "torchvision_ms": round(statistics.median(stocks for _, stocks in times), 3),
            "ratio": round(statistics.median(stocks / mine for mine, stocks in times), 2),
        }
        print(name, found[name])
    document = {
        "machine": machine.describe(),
        "pictures": f"{pool[0][1].shape[0]}x{pool[0][1].shape[1]}",
        "size": options.size,
        "presets": found,
    }
    (HERE / "results.json").write_text(json.dumps(document, indent=2) + "\n")


def pair(image: Any, mask: Any) -> Pair:
    """As `loading.Pictures` gives them."""
    return torch.from_numpy(image).permute(2, 0, 1), torch.from_numpy(mask.astype(np.int64))


def milliseconds(one: Callable[[int, int], None], turn: int) -> float:
    """Mean CPU time of a picture over one pass."""
    began = time.thread_time()
    for index in range(PICTURES):
        one(index, turn)
    return 1e3 * (time.thread_time() - began) / PICTURES


if __name__ == "__main__":
    main()
