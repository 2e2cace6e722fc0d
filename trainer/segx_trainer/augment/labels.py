"""What augmentation must know of the labels: the ignored value, the classes' names, and where the rare ones are.

`survey` reads the training masks once, and only for a policy that pastes objects.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segx_core import bits
from segx_core.datasets import Dataset
from segx_core.datasets.dataset import spread
from segx_core.errors import ConfigError, near
from segx_core.progress import track
from segx_trainer.augment.paste import Donors
from segx_trainer.augment.policy import Policy

_LOOKED_AT = 512  # masks that are read where the pictures are not kept in memory
_RARE = 0.25  # of its even share of the labelled pixels


@dataclass(frozen=True)
class Labels:
    """The labels of one data set."""

    ignore_index: int
    classes: tuple[str, ...] = ()
    """Names in the order of their indices."""
    multilabel: bool = False
    donors: Donors = field(default_factory=dict)
    """Classes to paste and the training pictures that hold them."""

    def index(self, name: str, key: str) -> int:
        """The index of a class named under `key` of a policy."""
        if name not in self.classes:
            raise ConfigError(f"classes of the data in {key} of augment", f"'{name}'", near(name, self.classes))
        return self.classes.index(name)

    def mirrored(self, swap: tuple[tuple[str, str], ...]) -> Tensor | None:
        """(highest label + 1,) int64: what each label becomes in a mirror; None where nothing changes."""
        pairs = [(self.index(left, "swap"), self.index(right, "swap")) for left, right in swap]
        if not pairs:
            return None
        table = np.arange(max(self.ignore_index + 1, len(self.classes)))
        for left, right in pairs:
            if self.multilabel:
                differ = ((table >> left) ^ (table >> right)) & 1
                differ[self.ignore_index] = 0
                table = table ^ (differ << left) ^ (differ << right)
            else:
                table[[left, right]] = [right, left]
        return torch.from_numpy(table)


def survey(policy: Policy, data: Dataset, masks: list[NDArray[np.integer]]) -> Labels:
    """What `policy` must know of the training split of `data`.

    Args:
        policy: only where it pastes objects are masks looked at.
        data: its classes and its split "train".
        masks: (H, W) label maps of all of that split where they are in memory; else empty, and up to 512 of them,
            evenly spread, are read.

    Raises:
        ConfigError: the policy names a class that the data have not, or one to paste that is in no picture.
        DataError: a mask cannot be read.
    """
    labels = Labels(data.ignore_index, data.classes, data.task == "multilabel")
    labels.mirrored(policy.swap)
    if policy.copy_paste is None:
        return labels
    wanted = policy.copy_paste.classes
    named = None if wanted == "rare" else [labels.index(name, "copy_paste.classes") for name in wanted]
    indices, rows = zip(*_counts(data, masks), strict=True)
    counts = np.stack(rows)  # (pictures, K) pixels
    if named is None:
        shares = counts.sum(axis=0) / max(1, counts.sum())
        named = [int(one) for one in np.flatnonzero((shares > 0) & (shares < _RARE / len(data.classes)))]
    held = counts >= policy.copy_paste.smallest
    donors = {one: tuple(np.array(indices)[held[:, one]].tolist()) for one in named}
    if wanted != "rare" and (missing := [data.classes[one] for one, holders in donors.items() if not holders]):
        raise ConfigError(
            f"training pictures with {policy.copy_paste.smallest} pixels or more of each class to paste",
            f"none with '{missing[0]}'",
            "Lower copy_paste.smallest, or leave the class out.",
        )
    return Labels(
        labels.ignore_index,
        labels.classes,
        labels.multilabel,
        {one: holders for one, holders in donors.items() if holders},
    )


def _counts(data: Dataset, masks: list[NDArray[np.integer]]) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Index of a training picture and (K,) pixels of each class in it."""
    size = len(data.classes)
    samples = data.split("train")
    numbered: Iterable[tuple[int, NDArray[np.integer]]]
    if masks:
        numbered = enumerate(masks)
    else:
        position = {sample.name: index for index, sample in enumerate(samples)}
        picked = spread(samples, _LOOKED_AT)
        read = track(picked, "look for rare classes", unit="masks")
        numbered = ((position[sample.name], data.read_mask(sample)) for sample in read)
    for index, mask in numbered:
        valid = mask[mask != data.ignore_index].astype(np.int64)
        if data.task == "multilabel":
            yield index, np.array([np.count_nonzero(bits.plane(valid, one)) for one in range(size)])
        else:
            yield index, np.bincount(valid, minlength=size)[:size]
