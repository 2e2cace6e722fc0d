"""Pairing pictures with masks, and what every layout gives back. Knows names of files, never their content."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from segx_core.datasets.dataset import Dataset, Modality, Sample
from segx_core.datasets.labels import Labels
from segx_core.errors import DataError

_MASK_ENDINGS = ("_mask", "_masks", "_labels", "_label", "_L", "_gt", "_segmentation")
_SHOWN = 5  # names in a message


@dataclass(frozen=True)
class Layout:
    """A folder that was understood."""

    name: str
    splits: Mapping[str, tuple[Sample, ...]]
    notes: tuple[str, ...] = ()
    labels: Labels | None = None
    """What the masks mean, where the layout itself tells (CamVid's eleven classes, VOC's twenty-one)."""


def dataset(root: Path, source: str, layout: Layout, labels: Labels, modalities: Mapping[str, Modality]) -> Dataset:
    """A folder that was understood, with what its masks mean, as a Dataset; a missing val split is taken from train."""
    splits, note = with_validation(layout.splits)
    return Dataset(
        root=root.resolve(),
        source=source,
        layout=layout.name,
        classes=labels.classes,
        palette=labels.palette,
        ignore_index=labels.ignore_index,
        encoding=labels.encoding,
        splits=splits,
        notes=(*layout.notes, *labels.notes, *([note] if note else [])),
        inferred=labels.inferred,
        modalities=modalities,
    )


def files(folder: Path, suffixes: frozenset[str]) -> list[Path]:
    """Files below `folder` with one of `suffixes` (lower case, compared without case), hidden ones left out, sorted."""
    found = (path for path in folder.rglob("*") if path.suffix.lower() in suffixes and path.is_file())
    return sorted(path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts))


def pair(images: Sequence[Path], image_base: Path, masks: Sequence[Path], mask_base: Path) -> tuple[Sample, ...]:
    """Pair pictures with masks by stem, or by path below their bases where stems repeat.

    A mask may be called as its picture is, or carry one of `_mask _masks _labels _label _L _gt _segmentation`.

    Raises:
        DataError: nothing there, names that repeat, a picture without mask or a mask without picture.
    """
    if not images and not masks:
        raise DataError("pictures and masks", f"none in {image_base} and {mask_base}", "Put some there.")
    flat = not _repeated(path.stem for path in images) and not _repeated(path.stem for path in masks)
    by_image = _keyed(images, image_base, flat)
    by_mask = _keyed(masks, mask_base, flat)
    matched: dict[str, Path] = {}
    strays: list[str] = []
    nested = False  # masks in a folder called as a picture
    for key, path in by_mask.items():
        home = key if key in by_image else _without_ending(key, by_image)
        if home is None:
            strays.append(path.name)
            nested |= key.rpartition("/")[0] in by_image
        elif home in matched:
            raise DataError(
                "one mask for each picture", f"two for {by_image[home]}: {matched[home].name} and {path.name}",
                "Remove one of them.",
            )  # fmt: skip
        else:
            matched[home] = path
    bare = [path.name for key, path in by_image.items() if key not in matched]
    if bare or strays:
        raise _unpaired(bare, strays, image_base, mask_base, nested)
    samples = tuple(Sample(key.replace("/", "__"), path, matched[key]) for key, path in by_image.items())
    return tuple(sorted(samples, key=lambda sample: sample.name))


def with_validation(splits: Mapping[str, tuple[Sample, ...]]) -> tuple[dict[str, tuple[Sample, ...]], str | None]:
    """Take a fifth of `train` as `val` where there is none; the same pictures every time. Also says so, or None."""
    if "val" in splits or "train" not in splits:
        return dict(splits), None
    train = splits["train"]
    if len(train) < 2:
        return dict(splits), "Only one picture, so there is no val split: training needs at least two."
    shuffled = sorted(train, key=lambda sample: hashlib.sha256(sample.name.encode()).digest())
    held = {sample.name for sample in shuffled[: max(1, round(len(train) / 5))]}
    parts = {
        "train": tuple(sample for sample in train if sample.name not in held),
        "val": tuple(sample for sample in train if sample.name in held),
    }
    note = (
        f"No val split: {len(held)} of {len(train)} pictures, chosen by a hash of their names, are held out as val. "
        "Are neighbours alike (frames of one video)? Then make train/ and val/ folders yourself."
    )
    return {**parts, **{name: samples for name, samples in splits.items() if name != "train"}}, note


def _keyed(paths: Iterable[Path], base: Path, flat: bool) -> dict[str, Path]:
    out: dict[str, Path] = {}
    for path in paths:
        key = path.stem if flat else path.relative_to(base).with_suffix("").as_posix()
        if key in out:
            raise DataError(
                f"names in {base} that differ before the suffix",
                f"both {out[key].name} and {path.name}",
                "Remove or rename one of them.",
            )
        out[key] = path
    return out


def _repeated(stems: Iterable[str]) -> bool:
    return any(count > 1 for count in Counter(stems).values())


def _without_ending(key: str, known: Mapping[str, Path]) -> str | None:
    for ending in _MASK_ENDINGS:
        short = key.removesuffix(ending)
        if short != key and short in known:
            return short
    return None


def _unpaired(bare: list[str], strays: list[str], images: Path, masks: Path, nested: bool) -> DataError:
    parts = []
    if bare:
        parts.append(f"{len(bare)} pictures of {images} without a mask in {masks} ({listed(bare)})")
    if strays:
        parts.append(f"{len(strays)} masks of {masks} without a picture in {images} ({listed(strays)})")
    return DataError(
        "a mask for each picture, with the same name before the suffix",
        " and ".join(parts),
        "A folder of masks for each picture, one a class? List the classes in dataset.yaml, with "
        "masks: {encoding: multilabel}."
        if nested
        else "Add what is missing, or move what has no partner elsewhere.",
    )


def listed(names: Sequence[str]) -> str:
    """The first few names, and how many more."""
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
