"""What becomes of pictures and masks that cannot be read, where a run is to go on without them.

Another sample stands in, a pure function of the visit and of what can be read, so that a resumed run sees the same one.
Reads nothing itself and knows no augmentation: it is the pool that a visit takes its pictures from.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from torch import Tensor

from segx_core.datasets import Dataset
from segx_core.datasets.dataset import Sample
from segx_core.errors import DataError, SegxError
from segx_core.runner import ClassMap

_STREAM = 0x57D1  # keeps these draws apart from all others of the same numbers


class Source(Protocol):
    """Pictures of which some may not be readable: what `loading.Pictures` is."""

    skip: bool
    broken: dict[int, SegxError]

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> tuple[Tensor, Tensor]: ...


@dataclass
class StandIns:
    """The pictures as one visit sees them: each that cannot be read is another one."""

    pictures: Source
    visit: tuple[int, ...]
    """Numbers that tell the visit from all others of the run: seed, epoch, sample, draw."""
    found: dict[int, SegxError] = field(default_factory=dict)
    """What could not be read so far, by index."""

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int, /) -> tuple[Tensor, Tensor]:
        return self.find(index)[1]

    def find(self, index: int) -> tuple[int, tuple[Tensor, Tensor]]:
        """The index of the sample that stands in for `index`, itself where it can be read, and that sample.

        Raises:
            SegxError: it cannot be read, and nothing is to stand in.
            DataError: nothing can be read.
        """
        try:
            return index, self.pictures[index]
        except SegxError as error:
            if not self.pictures.skip:
                raise
            self.found[index] = error
        order = np.random.default_rng([*self.visit, index, _STREAM]).permutation(len(self.pictures))
        for other in map(int, order):
            try:
                return other, self.pictures[other]
            except SegxError as error:
                self.found[other] = error
        raise none_left(len(self.pictures), self.found[index])


def none_left(count: int, first: SegxError) -> DataError:
    """The error where not one of `count` samples can be read; `first` says why of one of them."""
    return DataError("a picture that can be read together with its mask", f"none of {count}. The first: {first}")


class Lenient(Dataset):
    """A data set whose masks are empty where they cannot be read, for counts of classes."""

    def read_mask(self, sample: Sample) -> ClassMap:
        """(H, W) class indices; (0, 0) of a mask that cannot be read."""
        try:
            return super().read_mask(sample)
        except DataError:  # told when the sample itself is read
            return np.empty((0, 0), np.uint8)

    def fingerprint(self) -> str:
        """Another one than that of the strict data set: counts of both are kept apart."""
        return hashlib.sha256(f"lenient {super().fingerprint()}".encode()).hexdigest()


def lenient(data: Dataset) -> Dataset:
    """The same data with masks as `Lenient` reads them."""
    return Lenient(**vars(data))
