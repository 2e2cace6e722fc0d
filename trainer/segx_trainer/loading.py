"""Feeds the loop: which samples stand in which batch, decoded once, augmented per visit.

Everything follows from (seed, step): the order of an epoch, and the random draws of one visit to one sample. A resumed
run therefore sees exactly the batches the uninterrupted one would have seen, whatever the number of workers.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Sampler
from torch.utils.data import Dataset as TorchDataset
from torchvision.transforms.v2 import Transform

from segx_core.datasets import Dataset, Sample
from segx_core.progress import track
from segx_trainer import augment
from segx_trainer.config import TrainConfig

CACHE_LIMIT = 2 << 30
"""Bytes up to which `cache: auto` keeps decoded pictures."""

Visit = tuple[int, int]
"""(epoch, index of the sample): one use of one sample."""


class Plan:
    """Which visits make up which batch. `batch(step)` needs no state."""

    def __init__(self, samples: int, batch_size: int, seed: int) -> None:
        self.samples = samples
        self.batch_size = min(batch_size, samples)
        self.seed = seed
        self.steps_per_epoch = samples // self.batch_size
        self._order: tuple[int, NDArray[np.int64]] = (-1, np.empty(0, np.int64))

    def batch(self, step: int) -> list[Visit]:
        """The visits of the batch for the update numbered `step`, from 0. A short rest of an epoch is left out."""
        epoch, position = divmod(step, self.steps_per_epoch)
        if self._order[0] != epoch:
            self._order = (epoch, np.random.default_rng([self.seed, epoch]).permutation(self.samples))
        start = position * self.batch_size
        return [(epoch, int(index)) for index in self._order[1][start : start + self.batch_size]]


class Batches(Sampler[list[Visit]]):
    """The batches of the updates first <= step < last, in order."""

    def __init__(self, plan: Plan, first: int, last: int) -> None:
        self.plan = plan
        self.steps = range(first, last)

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[list[Visit]]:
        return (self.plan.batch(step) for step in self.steps)


class Pictures:
    """Decoded pictures and label maps of a split, kept in memory where they fit."""

    def __init__(self, data: Dataset, samples: Sequence[Sample], cache: str, label: str) -> None:
        self.data = data
        self.samples = samples
        self.kept: list[tuple[NDArray[np.uint8], NDArray[np.integer]]] = []
        height, width = data.read(samples[0])[1].shape
        fits = 4 * height * width * len(samples) <= CACHE_LIMIT
        if cache == "always" or (cache == "auto" and fits):
            with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
                decoded = pool.map(data.read, samples)
                self.kept = list(track(decoded, f"decode {label}", total=len(samples), unit="pictures"))

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """(3, H, W) uint8 and (H, W) int64."""
        image, mask = self.kept[index] if self.kept else self.data.read(self.samples[index])
        return torch.from_numpy(image).permute(2, 0, 1).contiguous(), torch.from_numpy(mask.astype(np.int64))


class Visits(TorchDataset[tuple[Tensor, Tensor]]):
    """Augmented samples by visit."""

    def __init__(self, pictures: Pictures, transforms: list[Transform], seed: int) -> None:
        self.pictures = pictures
        self.transforms = transforms
        self.seed = seed

    def __getitem__(self, visit: Visit) -> tuple[Tensor, Tensor]:
        epoch, index = visit
        image, mask = self.pictures[index]
        with torch.random.fork_rng(devices=[]):
            # One independent stream per visit, the same in any worker process.
            torch.manual_seed(
                int(np.random.SeedSequence([self.seed, epoch, index]).generate_state(1, np.uint64)[0] >> 1)
            )
            return augment.apply(self.transforms, image, mask)


def train_loader(
    pictures: Pictures, config: TrainConfig, size: tuple[int, int], plan: Plan, first: int, last: int, pin: bool
) -> DataLoader[tuple[Tensor, Tensor]]:
    """Batches ((B, 3, h, w) uint8, (B, h, w) int64) of the updates first <= step < last."""
    transforms = augment.preset(config.augment, size, pictures.data.ignore_index, config.scale)
    workers = default_workers() if config.workers is None else config.workers
    return DataLoader(
        Visits(pictures, transforms, config.seed),
        batch_sampler=Batches(plan, first, last),
        num_workers=workers,
        generator=torch.Generator(),  # the loader draws a seed of its own, which must not shift the network's stream
        pin_memory=pin,
    )


def default_workers() -> int:
    """One process per two cores, at most 8; none on two cores or fewer, which the network itself needs."""
    cores = os.cpu_count() or 1
    return 0 if cores <= 2 else min(8, cores // 2)


def batches_of_equal_size(pictures: Pictures, limit: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Validation batches: consecutive pictures of one size, in order, at most `limit` together."""
    images: list[Tensor] = []
    masks: list[Tensor] = []
    for index in range(len(pictures)):
        image, mask = pictures[index]
        if images and (image.shape != images[0].shape or len(images) == limit):
            yield torch.stack(images), torch.stack(masks)
            images, masks = [], []
        images.append(image)
        masks.append(mask)
    if images:
        yield torch.stack(images), torch.stack(masks)
