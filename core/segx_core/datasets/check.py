"""What is wrong with a data set, or merely strange: reads every picture and mask once, and says all that it found.

An error is what training would stop at, or learn nothing from; a warning is for people to judge. It prints nothing.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from segx_core import picture
from segx_core.cores import cores
from segx_core.datasets.dataset import Dataset, Sample
from segx_core.datasets.layout import listed
from segx_core.datasets.scan import Found, Scan, count, gather
from segx_core.errors import DataError, PictureError
from segx_core.progress import track

SHIFT = 0.02
"""Jensen-Shannon divergence of the classes of train and val, in bits, from which they are said to differ."""

RATIO = 3.0
"""How many times more or less of a class val may hold than train."""


@dataclass(frozen=True)
class Finding:
    """One thing that was found."""

    level: Literal["error", "warning"]
    kind: str
    """One word for programs: picture, mask, size, split, labels, blank, copies, absent, shift."""
    message: str
    """A full sentence for people."""
    files: tuple[str, ...] = ()
    """All that it is about."""


@dataclass(frozen=True)
class Checked:
    """A data set that was looked through."""

    data: Dataset
    scans: Mapping[str, Scan]
    """By split: what stands in those masks that can be read."""
    findings: tuple[Finding, ...]
    shift: float | None
    """Jensen-Shannon divergence of the class pixels of train and val, 0 to 1 bit; None where one of them has none."""

    @property
    def usable(self) -> bool:
        """Whether it can be trained on as it is."""
        return all(one.level != "error" for one in self.findings)


@dataclass(frozen=True)
class _Seen:
    sample: Sample
    found: Found | None
    digest: str | None
    """Of the picture's pixels."""
    wrong: tuple[Finding, ...]


def check(data: Dataset) -> Checked:
    """Read everything and judge it. Raises nothing for what is wrong with single files: that is a finding."""
    seen = {split: _read(data, samples, split) for split, samples in data.splits.items()}
    whole = {split: [one for one in ones if one.found is not None] for split, ones in seen.items()}
    scans = {
        split: gather([one.found for one in ones if one.found], len(data.classes)) for split, ones in whole.items()
    }
    findings = [finding for ones in seen.values() for one in ones for finding in one.wrong]
    findings += _splits(data)
    for split, scan in scans.items():
        findings += _labels(data, split, scan, [one.sample for one in whole[split]])
    findings += _copies(seen)
    shift = None
    if "train" in scans and "val" in scans:
        shift = divergence(scans["train"].class_pixels, scans["val"].class_pixels)
        findings += _shift(data, scans["train"], scans["val"], shift)
    return Checked(data, scans, tuple(sorted(findings, key=lambda one: one.level)), shift)


def divergence(one: NDArray[np.int64], other: NDArray[np.int64]) -> float | None:
    """Jensen-Shannon divergence of two counts, in bits: 0 where they are alike, 1 where they share nothing."""
    if not one.sum() or not other.sum():
        return None
    first, second = one / one.sum(), other / other.sum()
    middle = (first + second) / 2
    halves = [part[part > 0] * np.log2(part[part > 0] / middle[part > 0]) for part in (first, second)]
    return float(max(0.0, (halves[0].sum() + halves[1].sum()) / 2))


def _read(data: Dataset, samples: Sequence[Sample], split: str) -> list[_Seen]:
    with ThreadPoolExecutor(max_workers=min(4, cores())) as pool:
        try:
            every = pool.map(lambda sample: _look(data, sample), samples)
            return list(track(every, f"check {split}", len(samples), "pictures"))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _look(data: Dataset, sample: Sample) -> _Seen:
    wrong: list[Finding] = []
    digest = found = size = None
    try:
        image = picture.read(sample.image)
        digest = hashlib.blake2b(image.tobytes(), key=str(image.shape).encode(), digest_size=16).hexdigest()
        size = image.shape[:2]
    except PictureError as error:
        wrong.append(Finding("error", "picture", f"A picture cannot be read: {error}", (str(sample.image),)))
    try:
        mask = data.read_mask(sample)
        if size not in (None, mask.shape):
            turned = "; it is turned by a quarter" if size == mask.shape[::-1] else ""
            message = (
                f"The mask {sample.mask} has {mask.shape[0]}x{mask.shape[1]} pixels (height x width), its picture "
                f"{image.shape[0]}x{image.shape[1]}{turned}."
            )
            wrong.append(Finding("error", "size", message, (str(sample.mask),)))
        else:
            found = count(mask, data)
    except (DataError, OSError) as error:
        wrong.append(Finding("error", "mask", f"A mask cannot be used: {error}", (str(sample.mask),)))
    return _Seen(sample, found, digest, tuple(wrong))


def _splits(data: Dataset) -> list[Finding]:
    return [
        Finding(
            "error", "split", f"There is no split '{name}', which training needs; there is {', '.join(data.splits)}."
        )
        for name in ("train", "val")
        if name not in data.splits
    ]


def _labels(data: Dataset, split: str, scan: Scan, samples: Sequence[Sample]) -> list[Finding]:
    there = scan.class_pixels > 0
    needed: Literal["error", "warning"] = "error" if split in ("train", "val") else "warning"
    if not there.any() and data.task == "multiclass":
        return [Finding(needed, "labels", f"In {split} no pixel is labelled.")]
    findings = []
    blank = [str(sample.mask) for sample, left in zip(samples, scan.labelled, strict=True) if not left]
    if blank:
        findings.append(
            Finding("warning", "blank", f"{len(blank)} masks of {split} hold ignored pixels only: {listed(blank)}.",
                    tuple(blank))
        )  # fmt: skip
    only = data.task == "multiclass" and int(there.sum()) == 1
    if only and split == "train":
        name = data.classes[int(there.argmax())]
        message = f"Only the class '{name}' occurs in train: there is nothing to tell it from."
        if data.encoding.kind == "index" and there[0] and data.ignore_index == 255 and scan.ignored.any():
            message += " The masks hold 0 and 255, and 255 is ignored. Are they black and white? Then say so in "
            message += "dataset.yaml: masks: {encoding: binary}."
        return [*findings, Finding("error", "labels", message)]
    absent = [name for name, some in zip(data.classes, there, strict=True) if not some]
    if absent:
        so = {"train": "they cannot be learnt", "val": "they cannot be scored"}.get(
            split, "they cannot be scored there"
        )
        message = f"{len(absent)} classes do not occur in {split}, so that {so}: {', '.join(absent)}."
        findings.append(Finding("warning", "absent", message))
    return findings


def _copies(seen: Mapping[str, Sequence[_Seen]]) -> list[Finding]:
    places: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for split, ones in seen.items():
        for one in ones:
            if one.digest:
                places[one.digest].append((split, str(one.sample.image)))
    across = [same for same in places.values() if len({split for split, _ in same}) > 1]
    within = [same for same in places.values() if len(same) > 1 and len({split for split, _ in same}) == 1]
    findings = []
    for groups, where in ((across, "in several splits, so that the score flatters"), (within, "twice in one split")):
        if groups:
            pairs = [" = ".join(path for _, path in same) for same in groups]
            message = f"{len(groups)} pictures stand {where}, pixel for pixel: {listed(pairs)}."
            findings.append(Finding("warning", "copies", message, tuple(path for same in groups for _, path in same)))
    return findings


def _shift(data: Dataset, train: Scan, val: Scan, shift: float | None) -> list[Finding]:
    if shift is None:
        return []
    findings = []
    if shift > SHIFT:
        message = f"The classes of train and val differ by {shift:.3f} bit (Jensen-Shannon), more than {SHIFT}."
        findings.append(Finding("warning", "shift", message))
    both = (train.shares > 0) & (val.shares > 0)
    far = [
        f"{data.classes[index]} ({train.shares[index]:.2%} in train, {val.shares[index]:.2%} in val)"
        for index in np.flatnonzero(both)
        if not 1 / RATIO <= val.shares[index] / train.shares[index] <= RATIO
    ]
    if far:
        message = f"val holds over {RATIO:g} times more or less than train of: {', '.join(far)}."
        findings.append(Finding("warning", "shift", message))
    return findings
