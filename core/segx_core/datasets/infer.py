"""Finding out what masks mean when nobody says: index, binary or colours, and how many classes. Looks at every mask.

It refuses rather than guesses where the values make no sense as labels; a dataset.yaml always settles it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from segx_core.datasets.labels import Labels, free_ignore
from segx_core.datasets.masks import Color, MaskEncoding, grey, load, packed, stored_palette
from segx_core.errors import DataError
from segx_core.palette import default_palette
from segx_core.progress import track

MAX_COLORS = 64  # more colours than this are shading, not classes
_FEW = 20  # masks at each end of the list that are looked at where only the kind is asked
_MANY_MASKS = 300  # from here on the scan takes seconds and shows progress


@dataclass
class Scan:
    """What stands in a set of masks."""

    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(65536, dtype=np.int64))
    """(65536,) pixels by value, of masks that are one channel or grey."""
    wide: bool = False
    """True: some mask has 16-bit values."""
    single_example: Path | None = None
    color_example: Path | None = None
    colors: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(1 << 24, dtype=np.bool_))
    """(2^24,) which 0xRRGGBB occur, of masks stored as three channels (grey ones too)."""

    @property
    def values(self) -> list[int]:
        """Distinct values of one-channel and grey masks, rising."""
        return [int(value) for value in np.flatnonzero(self.counts)]


def scan(masks: Sequence[Path]) -> Scan:
    """Look at every mask once.

    Raises:
        DataError: a mask is unreadable, or holds more colours than classes can be.
    """
    seen = Scan()
    for path in track(masks, "looking at masks", unit="masks") if len(masks) >= _MANY_MASKS else masks:
        raw = load(path)
        if raw.ndim == 3:
            seen.colors[packed(raw).reshape(-1)] = True
        values = grey(raw)
        if values is None:
            seen.color_example = seen.color_example or path
        if seen.color_example and np.count_nonzero(seen.colors) > MAX_COLORS:
            raise _too_many_colors(seen, path)
        if values is None:
            continue
        seen.wide |= values.dtype == np.uint16
        if raw.ndim == 2:
            seen.single_example = seen.single_example or path
        found = np.bincount(values.reshape(-1))
        seen.counts[: len(found)] += found
    return seen


def labels(masks: Sequence[Path]) -> Labels:
    """Infer what the masks mean.

    Raises:
        DataError: they cannot be understood; the message says what was seen and how to declare it.
    """
    seen = scan(masks)
    if seen.color_example is None:
        return _from_values(seen)
    if seen.single_example is not None:
        raise DataError(
            "masks of one kind",
            f"colours in {seen.color_example} and one channel in {seen.single_example}",
            "Export all masks the same way.",
        )
    return _from_colors(seen)


def kind(masks: Sequence[Path]) -> Literal["index", "binary", "rgb"]:
    """How masks with declared classes store them. A few tell, except that 0/255 must be so in all to be binary."""
    found = _kind([*masks[:_FEW], *masks[_FEW:][-_FEW:]])
    return _kind(masks) if found == "binary" and len(masks) > 2 * _FEW else found


def _kind(masks: Sequence[Path]) -> Literal["index", "binary", "rgb"]:
    seen = scan(masks)
    if seen.color_example is not None:
        return "rgb"
    values = seen.values
    return "binary" if len(values) == 2 and values[0] == 0 and values[1] in (255, 65535) else "index"


def _from_values(seen: Scan) -> Labels:
    values = seen.values
    top = 65535 if seen.wide else 255
    if len(values) == 2 and values[0] == 0 and values[1] in (255, top):
        return Labels(
            ("background", "foreground"), default_palette(2), 255 if top == 255 else 65535, MaskEncoding("binary"),
            (f"Masks are 0/{values[1]}: background, foreground.",), inferred=True,
        )  # fmt: skip
    ignore = 65535 if values[-1] > 255 else 255
    classes = [value for value in values if value != ignore]
    if len(values) < 2 or not classes:
        raise DataError(
            "masks with at least two classes",
            f"only the value {', '.join(map(str, values))} in all of them",
            "Are these the right masks? If so, declare the classes in dataset.yaml: classes: [background, object].",
        )
    if not _plausible(seen, classes, ignore):
        raise _no_labels(seen, values)
    num_classes = classes[-1] + 1
    if classes == [0, 1] and ignore not in values:
        names: tuple[str, ...] = ("background", "foreground")
        notes = ["Masks are 0/1: background, foreground."]
    else:
        names = tuple(f"class_{index}" for index in range(num_classes))
        notes = [f"Masks hold class indices up to {classes[-1]}: {num_classes} classes, class_0 and so on."]
    if ignore in values:
        notes.append(f"{ignore} is ignored.")
    absent = num_classes - len(classes)
    if absent:
        notes.append(f"{absent} of these indices occur in no mask.")
    index = ignore if ignore in values else free_ignore(num_classes)
    palette = stored_palette(seen.single_example, num_classes) if seen.single_example else None
    return Labels(
        names, palette or default_palette(num_classes), index, MaskEncoding("index"), (" ".join(notes),), inferred=True
    )


def _plausible(seen: Scan, classes: list[int], ignore: int) -> bool:
    """Whether values can be class indices: few holes, and not a black-and-white picture with soft edges."""
    if classes[-1] + 1 > 4 * len(classes) + 16:
        return False
    ends = seen.counts[0] + seen.counts[ignore]
    return classes[-1] < 128 or ignore != 255 or seen.counts[255] == 0 or ends < 0.9 * seen.counts.sum()


def _no_labels(seen: Scan, values: list[int]) -> DataError:
    shown = ", ".join(map(str, values[:8])) + (f" ... {values[-1]}" if len(values) > 8 else "")
    if len(values) <= 8:
        cure = (
            "These look like grey levels that stand for classes: renumber them 0, 1, 2 ..., or declare them in "
            "dataset.yaml: masks: {encoding: rgb, palette: {name: [128, 128, 128]}}. Are they class indices with "
            "gaps? Then list the classes there."
        )
    else:
        cure = "These look like smoothed or resized masks: threshold them, or export them again, nearest neighbour."
    return DataError("masks of class indices (0, 1, 2 ...) or 0/255", f"the values {shown}", cure)


def _from_colors(seen: Scan) -> Labels:
    codes = [int(code) for code in np.flatnonzero(seen.colors)]  # rising, so black is first
    palette: tuple[Color, ...] = tuple((code >> 16, code >> 8 & 255, code & 255) for code in codes)
    names = tuple(f"color_{code:06X}" for code in codes)
    note = (
        f"Masks are RGB: {len(codes)} colours found, each taken as a class named after it ({', '.join(names[:3])}"
        f"{' ...' if len(names) > 3 else ''}). Name them in dataset.yaml: masks: {{palette: {{road: [128, 64, 128]}}}}."
    )
    encoding = MaskEncoding("rgb", tuple((color, index) for index, color in enumerate(palette)))
    return Labels(names, palette, free_ignore(len(names)), encoding, (note,), inferred=True)


def _too_many_colors(seen: Scan, path: Path) -> DataError:
    return DataError(
        f"masks with one colour a class, at most {MAX_COLORS}",
        f"{np.count_nonzero(seen.colors)} colours up to {path}",
        "Are these masks, and not pictures? If so they were smoothed or resized: export them again as PNG, nearest "
        "neighbour. More classes than that need a dataset.yaml.",
    )
