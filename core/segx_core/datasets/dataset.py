"""What a data set is once it has been understood: samples by split, classes, and how masks are read.

It does not find out layouts (open.py and its neighbours do) and it changes no pixel: no resizing, no augmentation.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from segx_core import picture
from segx_core.card import Task
from segx_core.datasets import multilabel
from segx_core.datasets.masks import MaskEncoding, read_mask
from segx_core.errors import DataError, near
from segx_core.runner import ClassMap, UInt8


@dataclass(frozen=True)
class Sample:
    """One picture and its label map."""

    name: str
    """Unique in its split, without slashes: usable as the stem of an output file."""
    image: Path
    mask: Path
    """A file; of multilabel data it may be a folder of masks."""


@dataclass(frozen=True)
class Modality:
    """Files that accompany each picture: an aligned map, a sound, a clip."""

    path: str
    """Glob relative to the data set's root, paired with pictures by stem."""
    scale: float = 1.0
    """Stored value times this is the quantity in `unit`."""
    unit: str = ""


@dataclass(frozen=True)
class Dataset:
    """Samples by split, with all that is needed to read them."""

    root: Path
    source: str
    """DATA as the user gave it: it opens the same data set again."""
    layout: str
    """How it was understood: "images+masks", "camvid", "voc", "cityscapes", "coco", "dataset.yaml" or "scenes"."""
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    """One RGB colour a class, for display."""
    ignore_index: int
    """The value of pixels that are neither learnt nor counted; at least the number of classes."""
    encoding: MaskEncoding
    splits: Mapping[str, tuple[Sample, ...]]
    notes: tuple[str, ...] = ()
    """What was understood without being told, each a full sentence for people."""
    inferred: bool = False
    """True: number and names of the classes were read off the masks, nobody declared them."""
    modalities: Mapping[str, Modality] = field(default_factory=dict)

    @property
    def task(self) -> Task:
        """Whether a pixel has one class or any number of them."""
        return "multilabel" if self.encoding.kind == "multilabel" else "multiclass"

    def split(self, name: str) -> tuple[Sample, ...]:
        """The samples of one split; "all" gives those of every split.

        Raises:
            DataError: there is no such split.
        """
        if name in self.splits:
            return self.splits[name]
        if name == "all":
            return self._all()
        known = ", ".join(f"{split} ({len(samples)} pictures)" for split, samples in self.splits.items())
        raise DataError(f"a split of {self.source}: {known}", f"'{name}'", near(name, [*self.splits, "all"]))

    def _all(self) -> tuple[Sample, ...]:
        """Every sample; names that stand in several splits get their split in front."""
        names = [sample.name for samples in self.splits.values() for sample in samples]
        clash = len(set(names)) < len(names)
        return tuple(
            Sample(f"{split}__{sample.name}", sample.image, sample.mask) if clash else sample
            for split, samples in self.splits.items()
            for sample in samples
        )

    def read(self, sample: Sample) -> tuple[UInt8, ClassMap]:
        """Read a picture with its label map.

        Returns:
            (H, W, 3) uint8 RGB and (H, W) class indices, uint8 (uint16 past 256 values), where ignored pixels
            hold `ignore_index`. Of multilabel data bit fields instead of indices, see multilabel.read.

        Raises:
            PictureError: the picture cannot be read.
            DataError: the mask cannot be read, has another size, or holds a value that is no class.
        """
        image = picture.read(sample.image)
        mask = self.read_mask(sample)
        if image.shape[:2] != mask.shape:
            turned = image.shape[1::-1] == mask.shape
            raise DataError(
                f"a mask of {sample.image}'s size, {image.shape[0]}x{image.shape[1]} (height x width)",
                f"{mask.shape[0]}x{mask.shape[1]} in {sample.mask}",
                "The camera's note to turn the picture (EXIF) is obeyed; turn the mask as well."
                if turned
                else "Label the picture at its own size, or resize the mask with nearest neighbour.",
            )
        return image, mask

    def read_mask(self, sample: Sample) -> ClassMap:
        """Read only the label map: (H, W) class indices as `read` gives them, with its DataErrors."""
        if self.task == "multilabel":
            return multilabel.read(sample.mask, self.classes, self.ignore_index)
        return read_mask(sample.mask, self.encoding, len(self.classes), self.ignore_index)

    def fingerprint(self) -> str:
        """Sha256, in hex, of what a model trained on this depends on: names and sizes of files, classes, encoding.

        Cheap: nothing is decoded and no path above the root counts, so a moved copy has the same fingerprint.
        """
        record = {
            "classes": self.classes,
            "ignore": self.ignore_index,
            "encoding": [self.encoding.kind, self.encoding.colors],
            "splits": {
                split: sorted([*self._facts(sample.image), *self._facts(sample.mask)] for sample in samples)
                for split, samples in self.splits.items()
            },
        }
        return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()

    def _facts(self, path: Path) -> tuple[str | int, ...]:
        try:
            place = Path(os.path.relpath(path, self.root))
            # Masks drawn into the cache folder lie elsewhere on each machine, in a folder named after their content.
            name = "/".join(place.parts[-2:]) if place.parts[0] == ".." else place.as_posix()
            if path.is_dir():
                return name, *(fact for pair in multilabel.facts(path) for fact in pair)
            return name, path.stat().st_size
        except OSError as error:
            raise DataError("every file of the data set still in place", f"{path}: {error.strerror}") from error


def spread(samples: Sequence[Sample], count: int | None) -> tuple[Sample, ...]:
    """At most `count` samples at even distances, all for None: neighbours in a split are often frames of one film."""
    if count is None or count >= len(samples):
        return tuple(samples)
    return tuple(samples[index * len(samples) // count] for index in range(count))
