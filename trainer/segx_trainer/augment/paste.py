"""Copy-paste of objects (arXiv:2012.07177): connected parts of some classes, cut out of other training pictures.

Objects are cut from whole pictures, not from windows of them, and only their own box is resized. Labels are never
interpolated; an object's pixels keep all their labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode, functional

from segx_core.cv import cv2
from segx_trainer.augment import policy
from segx_trainer.augment.draw import Draw, Pair
from segx_trainer.augment.geometry import resize_labels

Donors = Mapping[int, tuple[int, ...]]
"""Class to paste -> indices of the training pictures that hold it."""


@dataclass(frozen=True)
class Paste:
    """Pastes a few objects, each of a class and a picture drawn evenly, so that every class comes equally often."""

    settings: policy.CopyPaste
    donors: Donors
    ignore_index: int
    bitwise: bool
    """Labels are bit fields."""

    def __call__(self, image: Tensor, mask: Tensor, draw: Draw) -> Pair:
        """Paste from one up to `count` objects, one after the other."""
        image, mask = image.clone(), mask.clone()
        known = sorted(self.donors)
        for _ in range(draw.whole(1, self.settings.count)):
            label = known[draw.whole(0, len(known) - 1)]
            holders = self.donors[label]
            other, labels = draw.pool[holders[draw.whole(0, len(holders) - 1)]]
            self._paste(image, mask, other, labels, self._there(labels, label), draw)
        return image, mask

    def _there(self, labels: Tensor, label: int) -> Tensor:
        if not self.bitwise:
            return labels == label
        return ((labels >> label) & 1).bool() & (labels != self.ignore_index)

    def _paste(self, image: Tensor, mask: Tensor, other: Tensor, labels: Tensor, there: Tensor, draw: Draw) -> None:
        """Lay one connected part of `there` over `image` and `mask`, which are changed in place."""
        _, parts, stats, centres = cv2.connectedComponentsWithStats(there.to(torch.uint8).numpy())
        large = np.flatnonzero(stats[1:, cv2.CC_STAT_AREA] >= self.settings.smallest) + 1
        if not large.size:
            return
        part = int(large[draw.whole(0, len(large) - 1)])
        left, top, wide, tall = (int(value) for value in stats[part, :4])
        box = (slice(top, top + tall), slice(left, left + wide))
        zoom = draw.factor(*self.settings.scale)
        size = (max(1, round(tall * zoom)), max(1, round(wide * zoom)))
        patch = functional.resize(
            other[(slice(None), *box)], list(size), interpolation=InterpolationMode.BILINEAR, antialias=True
        )
        found = resize_labels(labels[box], size)
        shape = resize_labels(torch.from_numpy(parts[box] == part), size)
        spans = []
        for axis, (side, length) in enumerate(zip(mask.shape, size, strict=True)):
            centre = (centres[part][1 - axis] + 0.5) / there.shape[axis]
            moved = (centre + draw.between(-self.settings.shift, self.settings.shift)) * side
            start = round(moved - length / 2)
            spans.append((slice(max(0, start), max(0, start + length)), slice(max(0, -start), max(0, side - start))))
        (rows, from_rows), (columns, from_columns) = spans
        shape, found = shape[from_rows, from_columns], found[from_rows, from_columns]
        image[:, rows, columns] = torch.where(shape, patch[:, from_rows, from_columns], image[:, rows, columns])
        mask[rows, columns] = torch.where(shape, found, mask[rows, columns])
