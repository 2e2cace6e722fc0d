"""The Cityscapes layout (leftImg8bit/ gtFine/) and its nineteen classes, from labelTrainIds or labelIds masks.

The other folders of that data set (instances, polygons, disparity) are not looked at.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from segx_core.datasets.dataset import Sample
from segx_core.datasets.labels import Labels
from segx_core.datasets.layout import Layout, files, listed
from segx_core.datasets.masks import Color, MaskEncoding, grey, load
from segx_core.errors import DataError

_PICTURES, _TRUTH = "leftImg8bit", ("gtFine", "gtCoarse")
_SPLITS = ("train", "val", "test")
_PNG = frozenset({".png"})
_IGNORE = 255

# Cordts et al. 2016, arXiv:1604.01685: the classes that are scored, with their number in labelIds and their colour.
_CLASSES: tuple[tuple[str, int, Color], ...] = (
    ("road", 7, (128, 64, 128)), ("sidewalk", 8, (244, 35, 232)), ("building", 11, (70, 70, 70)),
    ("wall", 12, (102, 102, 156)), ("fence", 13, (190, 153, 153)), ("pole", 17, (153, 153, 153)),
    ("traffic light", 19, (250, 170, 30)), ("traffic sign", 20, (220, 220, 0)), ("vegetation", 21, (107, 142, 35)),
    ("terrain", 22, (152, 251, 152)), ("sky", 23, (70, 130, 180)), ("person", 24, (220, 20, 60)),
    ("rider", 25, (255, 0, 0)), ("car", 26, (0, 0, 142)), ("truck", 27, (0, 0, 70)), ("bus", 28, (0, 60, 100)),
    ("train", 31, (0, 80, 100)), ("motorcycle", 32, (0, 0, 230)), ("bicycle", 33, (119, 11, 32)),
)  # fmt: skip
_HIGHEST_ID = 33


def _encoding(kind: str) -> MaskEncoding:
    if kind == "labelTrainIds":
        return MaskEncoding("index")
    known = {number: index for index, (_, number, _) in enumerate(_CLASSES)}
    numbers = [*range(_HIGHEST_ID + 1), 255]  # 255 stands for -1, the plates of cars
    # A grey value is the colour (v, v, v), so a table of colours renumbers them.
    return MaskEncoding("rgb", tuple(((value,) * 3, known.get(value, _IGNORE)) for value in numbers))


def look(root: Path) -> Layout | None:
    """Read `root` as Cityscapes' layout; None where it is not.

    Raises:
        DataError: a picture without a mask, or a mask without a picture; neither kind of mask.
    """
    truth = next((root / name for name in _TRUTH if (root / name).is_dir()), None)
    if truth is None or not (root / _PICTURES).is_dir():
        return None
    masks = files(truth, _PNG)
    kinds = ("labelTrainIds", "labelIds")
    kind = next((kind for kind in kinds if any(path.stem.endswith(f"_{kind}") for path in masks)), None)
    if kind is None:
        raise DataError(
            f"masks that end in _labelTrainIds.png or _labelIds.png in {truth}",
            "none",
            "They are in the archive gtFine_trainvaltest; cityscapesscripts makes the former of the polygons.",
        )
    encoding = _encoding(kind)
    ending = f"_{truth.name}_{kind}"
    splits: dict[str, tuple[Sample, ...]] = {}
    notes = [f"These are Cityscapes' {kind}: its {len(_CLASSES)} classes, the others are ignored."]
    for name in _SPLITS:
        if not (root / _PICTURES / name).is_dir() or not (truth / name).is_dir():
            continue
        samples = _pair(root / _PICTURES / name, truth / name, ending)
        if name == "test" and not _labelled(samples[0].mask, encoding):
            notes.append("The test split has no labels and is left out.")
            continue
        splits[name] = samples
    if not splits:
        raise DataError(f"train/, val/ or test/ in {root / _PICTURES} and in {truth}", "none of them in both")
    labels = Labels(tuple(name for name, _, _ in _CLASSES), tuple(color for _, _, color in _CLASSES), _IGNORE, encoding)
    return Layout("cityscapes", splits, tuple(notes), labels)


def _pair(images: Path, masks: Path, ending: str) -> tuple[Sample, ...]:
    """Pairs city/city_number_number_leftImg8bit.png with the mask that differs in its last words."""
    pictures = {_place(path, images).removesuffix(f"_{_PICTURES}"): path for path in files(images, _PNG)}
    found = {
        _place(path, masks).removesuffix(ending): path for path in files(masks, _PNG) if path.stem.endswith(ending)
    }
    bare, strays = sorted(pictures.keys() - found.keys()), sorted(found.keys() - pictures.keys())
    if bare or strays or not pictures:
        parts = [f"{len(bare)} pictures without one ({listed(bare)})"] if bare else []
        parts += [f"{len(strays)} masks without a picture ({listed(strays)})"] if strays else []
        raise DataError(
            f"for each picture of {images} a mask NAME{ending}.png in {masks}",
            " and ".join(parts) or "no pictures",
            "Unpack both archives completely.",
        )
    return tuple(Sample(Path(key).name, pictures[key], found[key]) for key in sorted(pictures))


def _place(path: Path, base: Path) -> str:
    return path.relative_to(base).with_suffix("").as_posix()


def _labelled(mask: Path, encoding: MaskEncoding) -> bool:
    """Whether a mask holds a class: those of the test split are published blank."""
    values = grey(load(mask))
    if values is None:
        return True  # reading it will say what is wrong
    if encoding.kind == "index":
        return bool((values != _IGNORE).any())
    classes = [color[0] for color, index in encoding.colors if index != _IGNORE]
    return bool(np.isin(values, classes).any())
