"""What the numbers of a map mean: the class of each pixel, or a bit for each of the classes it belongs to.

One of two objects, chosen once by the task of a card or a data set, answers everything that depends on it: types,
counting, runs, masks, PNG and overlay. The arithmetic is in confusion.py, runs.py and bits.py. Knows nothing of models.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from segx_core import bits, picture, runs
from segx_core.card import Color, Task
from segx_core.confusion import confusion
from segx_core.runner import ClassMap, UInt8
from segx_core.thirdparty import index_type

Bools = NDArray[np.bool_]


class Meaning(Protocol):
    """Reads maps of one task."""

    def map_type(self, num_classes: int) -> np.dtype[np.uint8] | np.dtype[np.uint16]:
        """The element type of predicted maps."""
        ...

    def no_counts(self, num_classes: int) -> NDArray[np.int64]:
        """Zeros in the shape of `count`: the sum over no picture."""
        ...

    def count(
        self, target: NDArray[Any], prediction: NDArray[Any], num_classes: int, ignore_index: int
    ) -> NDArray[np.int64]:
        """Counts of one picture that add up over pictures; every score of confusion.py and scores.py takes them.

        Raises:
            DataError: shapes differ, or a value means no class.
        """
        ...

    def by_class(self, classmap: ClassMap) -> dict[int, runs.Runs]:
        """Every class in an (H, W) map -> its runs, in the order of the indices."""
        ...

    def mask(self, classmap: NDArray[Any], index: int) -> Bools:
        """Where one class is: bool of the map's shape."""
        ...

    def borders(self, classmap: ClassMap) -> int:
        """Pairs of neighbouring pixels (side by side or one above the other) of different classes.

        Outlines have at most about so many vertices, so it tells cheaply what `polygons` would cost.
        """
        ...

    def encode(self, classmap: ClassMap, palette: Sequence[Color]) -> bytes:
        """An (H, W) map as PNG whose pixel values are the map's."""
        ...

    def overlay(self, image: UInt8, classmap: ClassMap, palette: Sequence[Color], opacity: float = 0.5) -> UInt8:
        """The (H, W, 3) picture with the classes' colours laid over it."""
        ...


def meaning(task: Task) -> Meaning:
    """Who reads maps of this task."""
    return Labels() if task == "multilabel" else Indices()


class Indices:
    """Multiclass: (H, W) class indices, one class a pixel. Counts are (K, K), rows = target."""

    def map_type(self, num_classes: int) -> np.dtype[np.uint8] | np.dtype[np.uint16]:
        """See Meaning."""
        return index_type(num_classes)

    def no_counts(self, num_classes: int) -> NDArray[np.int64]:
        """See Meaning."""
        return np.zeros((num_classes, num_classes), np.int64)

    def count(
        self, target: NDArray[Any], prediction: NDArray[Any], num_classes: int, ignore_index: int
    ) -> NDArray[np.int64]:
        """See Meaning."""
        return confusion(target, prediction, num_classes, ignore_index)

    def by_class(self, classmap: ClassMap) -> dict[int, runs.Runs]:
        """See Meaning."""
        return runs.by_class(classmap)

    def mask(self, classmap: NDArray[Any], index: int) -> Bools:
        """See Meaning."""
        found: Bools = classmap == index
        return found

    def borders(self, classmap: ClassMap) -> int:
        """See Meaning."""
        beside = np.count_nonzero(classmap[:, 1:] != classmap[:, :-1])
        above = np.count_nonzero(classmap[1:] != classmap[:-1])
        return int(beside) + int(above)

    def encode(self, classmap: ClassMap, palette: Sequence[Color]) -> bytes:
        """See Meaning."""
        return picture.encode_mask(classmap, palette)

    def overlay(self, image: UInt8, classmap: ClassMap, palette: Sequence[Color], opacity: float = 0.5) -> UInt8:
        """See Meaning."""
        return picture.overlay(image, classmap, palette, opacity)


class Labels:
    """Multilabel: (H, W) bit fields, bit k for class k. Counts are (K, 2, 2), rows = target."""

    def map_type(self, num_classes: int) -> np.dtype[np.uint8] | np.dtype[np.uint16]:
        """See Meaning."""
        return bits.map_type(num_classes)

    def no_counts(self, num_classes: int) -> NDArray[np.int64]:
        """See Meaning."""
        return np.zeros((num_classes, 2, 2), np.int64)

    def count(
        self, target: NDArray[Any], prediction: NDArray[Any], num_classes: int, ignore_index: int
    ) -> NDArray[np.int64]:
        """See Meaning."""
        return bits.confusion(target, prediction, num_classes, ignore_index)

    def by_class(self, classmap: ClassMap) -> dict[int, runs.Runs]:
        """See Meaning."""
        return bits.by_class(classmap)

    def mask(self, classmap: NDArray[Any], index: int) -> Bools:
        """See Meaning."""
        return bits.plane(classmap, index)

    def borders(self, classmap: ClassMap) -> int:
        """See Meaning."""
        return bits.borders(classmap)

    def encode(self, classmap: ClassMap, palette: Sequence[Color]) -> bytes:
        """See Meaning. The 8-bit palette shows each field in the mean of its classes' colours."""
        return picture.encode_mask(classmap, bits.colors(palette) if classmap.dtype == np.uint8 else palette)

    def overlay(self, image: UInt8, classmap: ClassMap, palette: Sequence[Color], opacity: float = 0.5) -> UInt8:
        """See Meaning. Pixels of no class show the bare picture, those of several the mean of their colours."""
        fields = classmap & classmap.dtype.type((1 << len(palette)) - 1)  # an ignored pixel of a target is of no class
        # One less wraps "no class" around to past the last colour, which `picture.overlay` leaves bare.
        return picture.overlay(image, fields - classmap.dtype.type(1), bits.colors(palette)[1:], opacity)
