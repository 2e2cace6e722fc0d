"""Feeds the loop: which samples stand in which batch, decoded once, augmented per visit.

Everything follows from (seed, step): the order of an epoch, and the random draws of one visit to one sample. A resumed
run therefore sees exactly the batches the uninterrupted one would have seen, whatever the number of workers.
"""

from __future__ import annotations

import os
import signal
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Sampler
from torch.utils.data import Dataset as TorchDataset

from segx_core.datasets import Dataset, Sample
from segx_core.errors import SegxError
from segx_core.progress import console, track
from segx_trainer import augment
from segx_trainer.ahead import Ahead
from segx_trainer.config import TrainConfig
from segx_trainer.progressive import Growth
from segx_trainer.standins import StandIns, lenient, none_left

CACHE_LIMIT = 2 << 30
"""Bytes up to which `cache: auto` keeps decoded pictures."""

VALIDATION_PIXELS = 1 << 22
"""Pixels up to which whole pictures are validated together; a larger one goes alone. Crops bound memory in training,
nothing else would here."""

_AHEAD = 8  # pictures decoded ahead while a cache is filled
_BATCHES_AHEAD = 2  # ready for the loop where a thread loads them


class Visit(NamedTuple):
    """One use of one sample."""

    epoch: int
    sample: int
    """Its index."""
    focus: tuple[int, int] | None = None
    """Row and column of a pixel that the crop is to hold; None leaves the crop free."""
    draw: int = 0
    """Tells uses of one sample in one epoch apart, above 0 where the sample did not come in the epoch's order."""
    size: tuple[int, int] = (0, 0)
    """(height, width) of the crop, which `Batches` fills in."""


Item = tuple[Tensor, Tensor, dict[int, SegxError]] | SegxError
"""(3, h, w) uint8, (h, w) int64 and what else could not be read, or why there is none; a batch likewise."""


class Plan:
    """Which visits make up which batch. `batch(step)` needs no state."""

    def __init__(self, samples: int, batch_size: int, seed: int, accumulate: int = 1) -> None:
        self.samples = samples
        self.batch_size = min(batch_size, samples)
        self.accumulate = min(accumulate, samples // self.batch_size)
        self.seed = seed
        self.per_step = self.batch_size * self.accumulate
        self.steps_per_epoch = samples // self.per_step
        self._order: tuple[int, NDArray[np.int64]] = (-1, np.empty(0, np.int64))

    def batch(self, step: int) -> list[Visit]:
        """The visits of the update numbered `step`, from 0: `accumulate` batches of `batch_size`, one after the other.

        A short rest of an epoch is left out.
        """
        epoch, position = divmod(step, self.steps_per_epoch)
        if self._order[0] != epoch:
            self._order = (epoch, np.random.default_rng([self.seed, epoch]).permutation(self.samples))
        start = position * self.per_step
        return [Visit(epoch, int(index)) for index in self._order[1][start : start + self.per_step]]


class Batches(Sampler[list[Visit]]):
    """The batches of the updates first <= step < last, in order."""

    def __init__(self, plan: Plan, growth: Growth, first: int, last: int) -> None:
        self.plan = plan
        self.growth = growth
        self.steps = range(first, last)

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[list[Visit]]:
        for step in self.steps:
            size = self.growth.at(step)
            yield [visit._replace(size=size) for visit in self.plan.batch(step)]


class Pictures:
    """Decoded pictures and label maps of a split, kept in memory where they fit.

    Attributes:
        skip: whether those that cannot be read are left out instead of ending the run.
        broken: those known not to be readable, and why, by index; empty unless `skip`.
        told: those of them that were told on the console.
    """

    def __init__(self, data: Dataset, samples: Sequence[Sample], cache: str, label: str, skip: bool = False) -> None:
        self.data = data
        self.samples = samples
        self.label = label
        self.skip = skip
        self.broken: dict[int, SegxError] = {}
        self.told: set[int] = set()
        self.kept: list[tuple[NDArray[np.uint8], NDArray[np.integer]]] = []
        if cache != "never":
            self._keep(label, CACHE_LIMIT if cache == "auto" else None)

    def _keep(self, label: str, limit: int | None) -> None:
        """Decode all, a few at a time; give up where they take more than `limit` bytes."""
        size = 0
        with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
            ahead = deque(pool.submit(self.data.read, sample) for sample in self.samples[:_AHEAD])
            later = iter(self.samples[_AHEAD:])
            try:
                for index, _ in enumerate(track(self.samples, f"decode {label}", unit="pictures")):
                    try:
                        image, mask = ahead.popleft().result()
                    except SegxError as error:
                        if not self.skip:
                            raise
                        # The mask counts with or without its picture, as it does where nothing is kept.
                        image, mask = np.empty((0, 0, 3), np.uint8), lenient(self.data).read_mask(self.samples[index])
                        self.tell({index: error})
                    size += image.nbytes + mask.nbytes
                    if limit is not None and size > limit:
                        self.kept = []
                        break
                    self.kept.append((image, mask))
                    ahead.extend(pool.submit(self.data.read, sample) for sample in islice(later, 1))
            finally:
                for waiting in ahead:
                    waiting.cancel()

    def tell(self, found: Mapping[int, SegxError]) -> None:
        """Remember what cannot be read, and say it on the console, each once."""
        self.broken.update(found)
        for index in sorted(found.keys() - self.told):
            self.told.add(index)
            sample = self.samples[index]
            console().print(f"{self.label}: {sample.name} is left out: {found[index]}", markup=False, soft_wrap=True)

    def readable(self) -> Iterator[tuple[Tensor, Tensor]]:
        """What can be read, in order; the rest is told where `skip` is set.

        Raises:
            SegxError: something cannot be read and is not to be skipped, or nothing can.
        """
        for index in range(len(self)):
            try:
                pair = self[index]
            except SegxError as error:
                if not self.skip:
                    raise
                self.tell({index: error})
            else:
                yield pair
        if len(self.broken) == len(self):
            raise none_left(len(self), self.broken[0])

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """(3, H, W) uint8 and (H, W) int64."""
        if index in self.broken:
            raise self.broken[index].with_traceback(None)
        try:
            image, mask = self.kept[index] if self.kept else self.data.read(self.samples[index])
        except SegxError as error:
            if self.skip:
                self.broken[index] = error  # not to be tried again
            raise
        # Colours stay last in memory: it is how augmentation and convolutions want them.
        return torch.from_numpy(image).permute(2, 0, 1), torch.from_numpy(mask.astype(np.int64))


class Visits(TorchDataset[Item]):
    """Augmented samples by visit."""

    def __init__(
        self, pictures: Pictures, transforms: Mapping[tuple[int, int], list[augment.Transform]], seed: int
    ) -> None:
        self.pictures = pictures
        self.transforms = transforms  # by the size of their crops
        self.seed = seed

    def __getitem__(self, visit: Visit) -> Item:
        pool = StandIns(self.pictures, (self.seed, visit.epoch, visit.sample, visit.draw))
        try:
            index, (image, mask) = pool.find(visit.sample)
            focus = visit.focus if index == visit.sample else None  # a place in the picture that is not there
            rng = augment.stream(self.seed, visit.epoch, visit.sample, visit.draw)
            return *augment.apply(self.transforms[visit.size], image, mask, focus, rng, pool), pool.found
        except SegxError as error:  # torch cannot carry it out of a worker process as an exception
            return error


def train_loader(
    pictures: Pictures, config: TrainConfig, size: tuple[int, int], plan: Plan, first: int, last: int, pin: bool
) -> Generator[tuple[Tensor, Tensor], None, None]:
    """Pictures ((B, 3, h, w) uint8, (B, h, w) int64) of the updates first <= step < last; B is `plan.per_step`.

    Close it where it is left early: it may have a thread that loads.

    `last` is also what `config.progressive` counts its shares of.

    Raises:
        SegxError: while iterating, a picture or mask that cannot be read; where `pictures.skip`, none that can.
    """
    policy = config.augment if isinstance(config.augment, augment.Policy) else augment.named(config.augment)
    known = lenient(pictures.data) if pictures.skip else pictures.data
    labels = augment.survey(policy, known, [mask for _, mask in pictures.kept])
    growth = Growth(size, last, *(config.progressive or ()))
    low, high = config.scale or policy.scale
    transforms = {
        crop: augment.preset(policy, crop, labels, (low * growth.zoom(crop), high * growth.zoom(crop)))
        for crop in growth.sizes()
    }
    workers = default_workers() if config.workers is None else config.workers
    loader = DataLoader(
        Visits(pictures, transforms, config.seed),
        batch_sampler=Batches(plan, growth, first, last),
        num_workers=workers,
        collate_fn=_together,
        generator=torch.Generator(),  # the loader draws a seed of its own, which must not shift the network's stream
        pin_memory=pin,
        worker_init_fn=_leave_signals_to_the_loop,
    )
    # Without worker processes a thread takes their place: what it makes is the same.
    for batch in Ahead(lambda: iter(loader), _BATCHES_AHEAD) if workers == 0 else loader:
        if isinstance(batch, SegxError):
            raise batch
        images, masks, found = batch
        pictures.tell(found)
        yield images, masks


def _together(items: list[Item]) -> Item:
    """Stacks a batch, colours last in memory; an error takes the place of its whole batch."""
    images, masks = [], []
    found: dict[int, SegxError] = {}
    for item in items:
        if isinstance(item, SegxError):
            return item
        images.append(item[0])
        masks.append(item[1])
        found |= item[2]
    # As the network wants it: stacking (3, h, w) would copy every picture apart into planes, and the loop back again.
    pictures = torch.stack([image.permute(1, 2, 0) for image in images]).permute(0, 3, 1, 2)
    return pictures, torch.stack(masks), found


def _leave_signals_to_the_loop(worker: int) -> None:
    """A terminal's Ctrl-C reaches worker processes too: they go on until the loop has finished its step."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def default_workers() -> int:
    """One process per two cores, at most 8; on two cores or fewer, which the network itself needs, a thread."""
    cores = os.cpu_count() or 1
    return 0 if cores <= 2 else min(8, cores // 2)


def batches_of_equal_size(pictures: Pictures, limit: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Validation batches: consecutive pictures of one size, in order, at most `limit` and VALIDATION_PIXELS a batch."""
    images: list[Tensor] = []
    masks: list[Tensor] = []
    for image, mask in pictures.readable():
        full = len(images) >= min(limit, max(1, VALIDATION_PIXELS // mask.numel()))
        if images and (full or image.shape != images[0].shape):
            yield torch.stack(images), torch.stack(masks)
            images, masks = [], []
        images.append(image)
        masks.append(mask)
    if images:
        yield torch.stack(images), torch.stack(masks)
