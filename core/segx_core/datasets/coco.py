"""COCO's JSON files (polygons and RLE) as label maps: drawn once into the cache folder, then read as any index masks.

Objects lie over one another by size, the smallest on top; a crowd lies below all. What no object covers is background.
It trusts the sizes that the file gives for its pictures; whether they are true is seen when picture and mask are read.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segx_core.datasets.coco_shapes import covered
from segx_core.datasets.dataset import Sample
from segx_core.datasets.labels import Labels, free_ignore
from segx_core.datasets.layout import listed
from segx_core.datasets.masks import MaskEncoding
from segx_core.datasets.scenes import cache_folder
from segx_core.errors import DataError, SetupError, near
from segx_core.palette import default_palette
from segx_core.progress import track

BACKGROUND = "background"
"""Class of what no object covers, the first one, where dataset.yaml lists no classes; where it lists some without this
one, those pixels are ignored."""

_FORM = 1  # of the drawn masks; another number whenever they change
_KEPT = "coco"  # folder in the cache
_DONE = "done"  # stands beside masks that are all there


@dataclass(frozen=True)
class Annotations:
    """One JSON file."""

    path: Path
    sha256: str
    categories: Mapping[int, str]
    """Names by id, in the order of the ids."""
    pictures: tuple[Mapping[str, Any], ...]
    """COCO's records: id, file_name, height, width."""
    objects: Mapping[int, tuple[Mapping[str, Any], ...]]
    """COCO's annotations by id of the picture."""


def read(path: Path) -> Annotations:
    """Read a COCO file.

    Raises:
        DataError: unreadable, no JSON, or no file of this kind.
    """
    try:
        raw = path.read_bytes()
        content = json.loads(raw)
        categories = {int(one["id"]): str(one["name"]) for one in content["categories"]}
        pictures = tuple(content["images"])
        for one in pictures:
            _ = int(one["id"]), str(one["file_name"]), int(one["height"]), int(one["width"])
        objects: dict[int, list[Mapping[str, Any]]] = {}
        for one in content["annotations"]:
            objects.setdefault(int(one["image_id"]), []).append(one)
            if int(one["category_id"]) not in categories:
                raise DataError(f"annotations of the categories in {path}", f"category_id {one['category_id']}")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            "a COCO file with images, annotations and categories", f"{path}: {type(error).__name__} {error}",
            "Export it again as 'COCO instances'.",
        ) from error  # fmt: skip
    names = Counter(categories.values())
    twice = [name for name, number in names.items() if number > 1]
    if twice or not categories:
        raise DataError(f"categories in {path} of different names", f"'{twice[0]}' twice" if twice else "none")
    ordered = dict(sorted(categories.items()))
    return Annotations(
        path, hashlib.sha256(raw).hexdigest(), ordered, pictures, {key: tuple(some) for key, some in objects.items()}
    )


def labels(files: Sequence[Annotations], classes: tuple[str, ...] | None = None) -> Labels:
    """What the drawn masks mean: the classes that are listed, else background and every category, by id.

    Raises:
        DataError: files of different categories, a class that is no category.
    """
    names = list(files[0].categories.values())
    for other in files[1:]:
        if list(other.categories.values()) != names:
            raise DataError(
                f"the categories of {files[0].path} in {other.path}",
                f"{listed(list(other.categories.values()))} instead of {listed(names)}",
                "Make the lists equal, or the same class has several numbers.",
            )
    if classes is None:
        classes = (BACKGROUND, *(name for name in names if name != BACKGROUND))
    for name in classes:
        if name not in names and name != BACKGROUND:
            raise DataError(f"classes that are categories of {files[0].path}, or '{BACKGROUND}'", f"'{name}'",
                            near(name, [*names, BACKGROUND]))  # fmt: skip
    rest = f"'{BACKGROUND}'" if BACKGROUND in classes else "ignored"
    note = f"Masks are drawn from COCO annotations; what no object of the {len(classes)} classes covers is {rest}."
    return Labels(classes, default_palette(len(classes)), free_ignore(len(classes)), MaskEncoding("index"), (note,))


def samples(
    file: Annotations, images: Sequence[Path], base: Path, classes: tuple[str, ...], ignore: int
) -> tuple[Sample, ...]:
    """Pair the pictures with the masks drawn from a file, drawing them first where that has not been done.

    Pictures are found by the file's `file_name`, by path below `base` or by name alone. Pictures the file does not name
    are left out of the data; those it names must be there.

    Args:
        file: the annotations.
        images: pictures that are there.
        base: folder that paths in the file may be relative to.
        classes: names in order of the index that their pixels get.
        ignore: value of the pixels that get none.

    Raises:
        DataError: a picture that is not there, two pictures of one name, an annotation that makes no sense.
        SetupError: the cache folder cannot be written.
    """
    places = {path.relative_to(base).as_posix(): path for path in images if path.is_relative_to(base)}
    by_name = Counter(path.name for path in images)
    places |= {path.name: path for path in images if by_name[path.name] == 1}
    found: dict[int, Path] = {}
    missing = []
    for one in file.pictures:
        name = Path(str(one["file_name"])).as_posix()
        path = places.get(name) or places.get(Path(name).name)
        if path is None:
            missing.append(name)
        else:
            found[int(one["id"])] = path
    if missing or not found:
        raise DataError(
            f"the pictures that {file.path} names, below {base}",
            f"{len(missing)} that are not there ({listed(missing)})" if missing else "none",
            "Move them there, or take them out of the file.",
        )
    folder = _drawn(file, classes, ignore)
    keys = {number: _key(path, base) for number, path in found.items()}
    twice = [key for key, number in Counter(keys.values()).items() if number > 1]
    if twice:
        raise DataError(f"one picture of each name in {file.path}", f"two called '{twice[0]}'", "Rename one.")
    pairs = [Sample(keys[number], path, folder / f"{number}.png") for number, path in found.items()]
    return tuple(sorted(pairs, key=lambda sample: sample.name))


def draw(
    objects: Sequence[Mapping[str, Any]], size: tuple[int, int], indices: Mapping[int, int], blank: int
) -> NDArray[np.uint16]:
    """The label map of one picture.

    Args:
        objects: COCO's annotations of it.
        size: (H, W).
        indices: class by category id; objects of other categories are not drawn.
        blank: value where no object is.

    Returns:
        (H, W) uint16.

    Raises:
        DataError: a segmentation that makes no sense.
    """
    layers = []
    for one in objects:
        if int(one["category_id"]) in indices and one.get("segmentation"):
            inside = covered(one["segmentation"], size)
            layers.append((not one.get("iscrowd", 0), -int(inside.sum()), indices[int(one["category_id"])], inside))
    out = np.full(size, blank, np.uint16)
    for _, _, index, inside in sorted(layers, key=lambda layer: layer[:3]):
        out[inside] = index
    return out


def _key(path: Path, base: Path) -> str:
    return path.relative_to(base).with_suffix("").as_posix().replace("/", "__")


def _drawn(file: Annotations, classes: tuple[str, ...], ignore: int) -> Path:
    """The folder of drawn masks, ID.png, which appears only when complete."""
    key = hashlib.sha256(json.dumps([_FORM, file.sha256, classes, ignore]).encode()).hexdigest()[:32]
    final = cache_folder() / _KEPT / key
    if (final / _DONE).is_file():
        return final
    indices = {number: classes.index(name) for number, name in file.categories.items() if name in classes}
    blank = classes.index(BACKGROUND) if BACKGROUND in classes else ignore
    making = final.with_name(f".{key}-{uuid.uuid4().hex}")
    try:
        making.mkdir(parents=True)
        for one in track(file.pictures, f"draw masks of {file.path.name}", unit="pictures"):
            size = int(one["height"]), int(one["width"])
            try:
                mask = draw(file.objects.get(int(one["id"]), ()), size, indices, blank)
            except DataError as error:
                raise DataError(
                    f"{error.expected} for {one['file_name']} in {file.path}", error.got, error.cure
                ) from error
            narrow = mask if max(len(classes) - 1, ignore) > 255 else mask.astype(np.uint8)
            Image.fromarray(narrow).save(making / f"{int(one['id'])}.png", compress_level=1)
        (making / _DONE).write_text(f"{file.path}\n", encoding="utf-8")
        _publish(making, final)
    except OSError as error:
        raise SetupError(
            f"to draw masks into {final}", f"{type(error).__name__}: {error}",
            "Free some space, or name another folder in SEGX_CACHE.",
        ) from error  # fmt: skip
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return final


def _publish(made: Path, final: Path) -> None:
    try:
        made.replace(final)
    except OSError:
        if not (final / _DONE).is_file():  # nobody else finished first
            raise
