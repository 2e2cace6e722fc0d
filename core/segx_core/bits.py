"""Maps of bit fields: a pixel may belong to several classes at once, and bit k of its value stands for class k.

Packing, counting, runs and colours of such maps. A map of predictions holds class bits alone; in a target the one value
`ignored(K)`, the bit after the last class, marks a pixel that counts for nothing. Knows nothing of files or models.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from segx_core.errors import DataError
from segx_core.runner import ClassMap
from segx_core.runs import Runs

Bools = NDArray[np.bool_]


def map_type(num_classes: int) -> np.dtype[np.uint8] | np.dtype[np.uint16]:
    """uint8 up to 8 classes, uint16 past them."""
    return np.dtype(np.uint8) if num_classes <= 8 else np.dtype(np.uint16)


def ignored(num_classes: int) -> int:
    """The value of a target's pixel that is neither learnt nor counted: the bit after the last class, alone."""
    return 1 << num_classes


def cut(threshold: float) -> float:
    """The logit above which a class is there: sigmoid(x) > threshold exactly where x > cut(threshold)."""
    return math.log(threshold / (1 - threshold))


def pack(planes: Bools) -> ClassMap:
    """(K, H, W) bool -> (H, W) bit fields, K at most 16."""
    kind = map_type(len(planes))
    packed: NDArray[Any] = np.zeros(planes.shape[1:], kind)
    for index, plane in enumerate(planes):
        packed |= plane.astype(kind) << np.array(index, kind)
    return cast(ClassMap, packed)


def plane(fields: NDArray[Any], index: int) -> Bools:
    """Where the bit of one class is set: (...) bit fields -> (...) bool."""
    there: Bools = (fields & fields.dtype.type(1 << index)) != 0
    return there


def unpack(fields: NDArray[Any], num_classes: int) -> Bools:
    """(H, W) bit fields -> (K, H, W) bool."""
    return np.stack([plane(fields, index) for index in range(num_classes)])


def confusion(target: NDArray[Any], prediction: NDArray[Any], num_classes: int, ignore_index: int) -> NDArray[np.int64]:
    """Count, class by class, how often it was there and how often it was found.

    Args:
        target: (...) integer bit fields; pixels equal to `ignore_index` are left out.
        prediction: (...) integer bit fields of the same shape; what stands on ignored pixels is not looked at.
        num_classes: K, 1 to 16.
        ignore_index: the target's value that means "do not count".

    Returns:
        (K, 2, 2) int64, rows = target (0 absent, 1 there), columns = prediction. Those of several pictures add up.

    Raises:
        DataError: shapes differ, a type is no integer, or a counted value has bits of no class.
    """
    if target.shape != prediction.shape:
        raise DataError(
            "a prediction of the target's shape",
            f"{prediction.shape} for a target of {target.shape}",
            "Resize the prediction to the label map, nearest neighbour.",
        )
    for name, fields in (("target", target), ("prediction", prediction)):
        if fields.dtype.kind not in "ui":
            raise DataError(f"integer bit fields as {name}", f"dtype {fields.dtype}", "Pack the masks first.")
    valid = target != ignore_index
    truth, guess = target[valid].astype(np.uint32), prediction[valid].astype(np.uint32)  # of -1 all bits
    for name, fields in (("target", truth), ("predicted", guess)):
        if (highest := int(fields.max(initial=0))) >= 1 << num_classes:
            raise DataError(
                f"{name} values with the bits 0..{num_classes - 1} alone",
                f"{highest} on {int((fields == highest).sum())} pixels",
                "Check that model and data set have the same classes.",
            )
    both, total = truth & guess, truth.size
    counts = np.zeros((num_classes, 2, 2), np.int64)
    for index in range(num_classes):
        hits, there, found = (int(np.count_nonzero(plane(fields, index))) for fields in (both, truth, guess))
        counts[index] = [[total - there - found + hits, found - hits], [there - hits, hits]]
    return counts


def by_class(fields: ClassMap) -> dict[int, Runs]:
    """Every class that is in a map -> its runs, in the order of the indices. Runs of several classes may overlap.

    Args:
        fields: (H, W) bit fields.
    """
    height, width = fields.shape
    if not fields.size:
        return {}
    flat = np.ascontiguousarray(fields.T).ravel()
    starts = np.concatenate(([0], np.flatnonzero(flat[1:] != flat[:-1]) + 1))
    ends = np.append(starts[1:], flat.size)
    values = flat[starts]
    found = {}
    for index in range(int(values.max()).bit_length()):
        there = np.concatenate(([False], plane(values, index), [False]))
        first, last = np.flatnonzero(there[1:] & ~there[:-1]), np.flatnonzero(there[:-1] & ~there[1:])
        if first.size:
            found[index] = Runs((height, width), starts[first], ends[last - 1])
    return found


def borders(fields: ClassMap) -> int:
    """Pairs of neighbouring pixels that differ in a class, counted once for each class they differ in."""
    beside = np.bitwise_count(fields[:, 1:] ^ fields[:, :-1]).sum(dtype=np.int64)
    above = np.bitwise_count(fields[1:] ^ fields[:-1]).sum(dtype=np.int64)
    return int(beside + above)


def colors(palette: Sequence[tuple[int, int, int]]) -> NDArray[np.uint8]:
    """(2^K, 3) a colour for every bit field: the mean of the colours of the classes in it, black for none."""
    fields = np.arange(1 << len(palette), dtype=np.uint32)
    there = unpack(fields, len(palette)).T.astype(np.float64)  # (2^K, K)
    mean = there @ np.asarray(palette, np.float64) / np.maximum(there.sum(axis=1, keepdims=True), 1)
    rounded: NDArray[np.uint8] = np.floor(mean + 0.5).astype(np.uint8)
    return rounded
