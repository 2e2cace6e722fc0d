"""dataset.yaml -> Dataset. What the file leaves out is found as without it: layout, then classes.

It validates every key; it reads no mask unless the classes are not declared.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from segx_core import bits
from segx_core.datasets import class_file, coco_layout, infer, multilabel, multilabel_layout
from segx_core.datasets.dataset import Dataset, Modality, Sample
from segx_core.datasets.labels import Labels, free_ignore
from segx_core.datasets.layout import Layout, dataset, pair
from segx_core.datasets.masks import MASK_SUFFIXES, Color, MaskEncoding
from segx_core.errors import DataError, near
from segx_core.palette import default_palette
from segx_core.picture import PICTURE_SUFFIXES
from segx_core.validation import explain

IGNORED = "ignore"
"""The name under which masks.palette lists colours that are not to be learnt."""

_Channel = Annotated[int, Field(ge=0, le=255)]
_Color = tuple[_Channel, _Channel, _Channel]
_Name = Annotated[str, Field(min_length=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Masks(_Strict):
    encoding: Literal["index", "rgb", "binary", "multilabel", "coco"] | None = None
    palette: dict[str, _Color | list[_Color]] = Field(default_factory=dict)


class _Split(_Strict):
    images: str
    masks: str


class _Modality(_Strict):
    path: str
    scale: float = Field(default=1.0, gt=0)
    unit: str = ""


class _File(_Strict):
    root: str = "."
    classes: tuple[_Name, ...] | None = Field(default=None, min_length=1)
    ignore: int | None = Field(default=None, ge=0, le=65535)
    masks: _Masks = _Masks()
    splits: dict[str, _Split] | None = Field(default=None, min_length=1)
    modalities: dict[str, _Modality] = Field(default_factory=dict)


def read(path: Path, source: str, find_layout: Callable[[Path], Layout]) -> Dataset:
    """Read a dataset.yaml.

    Args:
        path: the file; its `root` is relative to the folder it stands in.
        source: DATA as the user gave it.
        find_layout: recognises the layout of the root where the file names no splits.

    Raises:
        DataError: unreadable, not YAML, unknown or contradicting keys, globs that match nothing, unpaired files.
    """
    file = _parse(path)
    root = path.parent / Path(file.root).expanduser()
    if not root.is_dir():
        raise DataError(f"root of {path} to be a folder", str(root), "It is relative to the folder of that file.")
    if file.masks.encoding == "multilabel":
        layout = _by_globs(root, file.splits, path, several=True) if file.splits else multilabel_layout.find(root)
        labels = _several(file, path)
    elif file.masks.encoding == "coco" or (
        file.masks.encoding is None and file.splits is None and coco_layout.sources(root)
    ):
        layout = _drawn(file, path, root)
        labels = _labels(file, path, root, layout, [])
    else:
        layout = _by_globs(root, file.splits, path) if file.splits else find_layout(root)
        masks = [sample.mask for samples in layout.splits.values() for sample in samples]
        labels = _labels(file, path, root, layout, masks)
    modalities = {name: Modality(one.path, one.scale, one.unit) for name, one in file.modalities.items()}
    return dataset(root, source, layout, labels, modalities)


def _parse(path: Path) -> _File:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DataError("a readable YAML file", f"{path}: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise DataError(f"keys and values in {path}", type(content).__name__, "Begin with `root: .`.")
    try:
        return _File.model_validate(content)
    except ValidationError as error:
        raise explain(error, _File, str(path), DataError) from error


def _by_globs(root: Path, splits: Mapping[str, _Split], path: Path, *, several: bool = False) -> Layout:
    found: dict[str, tuple[Sample, ...]] = {}
    for name, split in splits.items():
        if not re.fullmatch(r"[\w.-]+", name):
            raise DataError(f"names of splits without blanks or slashes in {path}", f"'{name}'")
        images, image_base = _glob(root, split.images, PICTURE_SUFFIXES, f"splits.{name}.images of {path}")
        if several and (root / split.masks).is_dir():
            found[name] = multilabel_layout.pair_with(images, image_base, root / split.masks)
            continue
        masks, mask_base = _glob(root, split.masks, MASK_SUFFIXES, f"splits.{name}.masks of {path}")
        found[name] = pair(images, image_base, masks, mask_base)
    return Layout("dataset.yaml", found)


def _drawn(file: _File, path: Path, root: Path) -> Layout:
    """COCO's annotations, drawn as masks of the declared classes."""
    parts = {}
    for name, split in (file.splits or {}).items():
        images, base = _glob(root, split.images, PICTURE_SUFFIXES, f"splits.{name}.images of {path}")
        if not (root / split.masks).is_file():
            raise DataError(
                f"splits.{name}.masks of {path} to be a COCO file", split.masks, f"It is looked for below {root}."
            )
        parts[name] = (root / split.masks, images, base)
    if not file.splits:
        parts = coco_layout.all_pictures(coco_layout.found_or_refused(root))
    return coco_layout.build(parts, file.classes, file.ignore)


def _glob(root: Path, pattern: str, suffixes: frozenset[str], where: str) -> tuple[list[Path], Path]:
    """Files that match, and the folder before the first wildcard: names of pictures and masks are compared below it."""
    parts = PurePosixPath(pattern).parts
    if not parts or PurePosixPath(pattern).is_absolute() or Path(pattern).is_absolute():
        raise DataError(f"{where} to be a pattern relative to root", f"'{pattern}'", "Set root to the folder it is in.")
    fixed = next((index for index, part in enumerate(parts) if re.search(r"[*?\[]", part)), len(parts))
    base = root.joinpath(*parts[: min(fixed, len(parts) - 1)])
    if fixed == len(parts) and (root / pattern).is_dir():  # a plain folder is as good as folder/*
        base, pattern = root / pattern, f"{pattern.rstrip('/')}/*"
    matched = sorted(one for one in root.glob(pattern) if one.is_file() and not one.name.startswith("."))
    files = [one for one in matched if one.suffix.lower() in suffixes]
    if not files:
        got = f"{len(matched)} files that are no pictures" if matched else "no file"
        raise DataError(f"{where}, '{pattern}', to match pictures", got, f"It is looked for below {root}.")
    return files, base


def _labels(file: _File, path: Path, root: Path, layout: Layout, masks: list[Path]) -> Labels:
    """What the masks mean: as declared; what is not declared, as the layout knows or as the masks show."""
    drawn = layout.labels if layout.name == "coco" else None
    if drawn is not None:
        labels, notes, inferred = drawn, drawn.notes, False
    elif file.classes is None:
        labels = _named_by_palette(file) or layout.labels or class_file.find(root, masks) or infer.labels(masks)
        if file.masks.encoding not in (None, labels.encoding.kind):
            raise DataError(
                f"classes in {path} where masks.encoding is '{file.masks.encoding}'",
                f"no classes, and masks that look like '{labels.encoding.kind}'",
                "List the classes.",
            )
        notes, inferred = labels.notes, labels.inferred
    else:
        assert file.masks.encoding != "coco"  # which was drawn
        kind = file.masks.encoding or infer.kind(masks)
        labels = Labels(file.classes, default_palette(len(file.classes)), encoding=MaskEncoding(kind))
        guessed = kind == "binary" and file.masks.encoding is None
        notes, inferred = (("Masks are 0/255: read as background and foreground.",) if guessed else ()), False
    classes = labels.classes
    _check_names(classes, path)
    ignore = file.ignore
    if ignore is None:
        ignore = labels.ignore_index if labels.ignore_index >= len(classes) else free_ignore(len(classes))
    if ignore < len(classes):
        raise DataError(
            f"ignore of {path} to be no class, {len(classes)} or more",
            f"{ignore}, which is the class '{classes[ignore]}'",
            "Use 255, or give that value no class.",
        )
    colors = _class_colors(file, classes, path)
    palette = tuple(colors[name][0] if name in colors else labels.palette[i] for i, name in enumerate(classes))
    encoding = labels.encoding
    if encoding.kind == "rgb" and (colors or not encoding.colors):
        encoding = _rgb(colors, classes, ignore, path)
    elif encoding.kind == "rgb":
        moved = tuple((color, ignore if value >= len(classes) else value) for color, value in encoding.colors)
        encoding = MaskEncoding("rgb", moved)
    if encoding.kind == "binary" and len(classes) != 2:
        raise DataError(
            f"two classes in {path} for binary masks, background first",
            f"{len(classes)}: {', '.join(classes)}",
            "Name both, or set masks: {encoding: index}.",
        )
    return Labels(classes, palette, ignore, encoding, notes, inferred)


def _several(file: _File, path: Path) -> Labels:
    """What multilabel masks mean: nothing is inferred, for the order of the classes is that of the bits."""
    if file.classes is None:
        raise DataError(f"classes in {path} where masks.encoding is 'multilabel'", "none", "List them: bit 0 first.")
    if file.ignore is not None:
        raise DataError(
            f"no `ignore` in {path} where masks.encoding is 'multilabel'",
            str(file.ignore),
            f"Ignored pixels are white in {multilabel.IGNORE}.png beside the masks of the classes, or have bit "
            f"{len(file.classes)} of a bit field.",
        )
    _check_names(file.classes, path)
    multilabel.check_classes(file.classes, str(path))
    colors = _class_colors(file, file.classes, path)
    usual = zip(file.classes, default_palette(len(file.classes)), strict=True)
    palette = tuple(colors[name][0] if name in colors else color for name, color in usual)
    return Labels(file.classes, palette, bits.ignored(len(file.classes)), MaskEncoding("multilabel"))


def _named_by_palette(file: _File) -> Labels | None:
    """An rgb palette names the classes, in its order, where no list does."""
    names = tuple(name for name in file.masks.palette if name != IGNORED)
    if file.masks.encoding not in (None, "rgb") or not names:
        return None
    return Labels(names, default_palette(len(names)), free_ignore(len(names)), MaskEncoding("rgb"))


def _check_names(classes: tuple[str, ...], path: Path) -> None:
    twice = sorted({name for name in classes if classes.count(name) > 1})
    if twice:
        raise DataError(f"names of classes in {path} that differ", f"'{twice[0]}' twice", "Rename one.")


def _class_colors(file: _File, classes: tuple[str, ...], path: Path) -> dict[str, list[Color]]:
    """Colours by class name, `IGNORED` among them; each class has at least one."""
    out: dict[str, list[Color]] = {}
    for name, given in file.masks.palette.items():
        if name not in classes and name != IGNORED:
            raise DataError(f"names of classes in masks.palette of {path}", f"'{name}'", near(name, classes))
        colors = given if isinstance(given, list) else [given]
        if not colors:
            raise DataError(f"a colour for '{name}' in masks.palette of {path}", "an empty list")
        out[name] = colors
    return out


def _rgb(colors: Mapping[str, list[Color]], classes: tuple[str, ...], ignore: int, path: Path) -> MaskEncoding:
    missing = [name for name in classes if name not in colors]
    if missing:
        raise DataError(
            f"a colour for each class in masks.palette of {path}, as masks are RGB",
            f"none for {', '.join(missing)}",
            "Write masks: {encoding: rgb, palette: {road: [128, 64, 128]}}.",
        )
    values = {**{name: index for index, name in enumerate(classes)}}
    table = [(color, values.get(name, ignore)) for name, given in colors.items() for color in given]
    seen: dict[Color, int] = {}
    for color, value in table:
        if seen.setdefault(color, value) != value:
            raise DataError(f"one class for each colour in masks.palette of {path}", f"{list(color)} for two")
    return MaskEncoding("rgb", tuple(seen.items()))
