"""Pairing pictures with the masks of multilabel data, of either kind: a folder, or a PNG, for each picture.

Knows names of files, never their content; multilabel.py reads it.
"""

from __future__ import annotations

from pathlib import Path

from segx_core.datasets import folders
from segx_core.datasets.dataset import Sample
from segx_core.datasets.layout import Layout, files, listed, pair
from segx_core.datasets.masks import MASK_SUFFIXES
from segx_core.errors import DataError
from segx_core.picture import PICTURE_SUFFIXES


def find(root: Path) -> Layout:
    """Recognise images + masks below `root`, also under train/ val/ test/.

    Raises:
        DataError: there are none, or unpaired ones.
    """
    layout = folders.look(root, pair_up)
    if layout is None:
        raise DataError(
            f"images/ and masks/ in {root}, where masks.encoding is 'multilabel'",
            "other folders",
            "Rename them, or say under `splits` where pictures and masks are.",
        )
    return layout


def pair_up(images: Path, masks: Path) -> tuple[Sample, ...]:
    """Pair the pictures below one folder with the masks of either kind below another.

    Raises:
        DataError: as `layout.pair`; pictures without a folder of masks, or folders without a picture.
    """
    return pair_with(files(images, PICTURE_SUFFIXES), images, masks)


def pair_with(images: list[Path], image_base: Path, masks: Path) -> tuple[Sample, ...]:
    """As `pair_up`, for a list of pictures below `image_base`."""
    by_picture = {path.relative_to(image_base).with_suffix("").as_posix(): path for path in images}
    folders = {path.relative_to(masks).as_posix() for path in masks.rglob("*") if path.is_dir()}
    # Where no folder is called as a picture, folders can only sort the masks.
    if not folders & set(by_picture):
        return pair(images, image_base, files(masks, MASK_SUFFIXES), masks)
    holding = {folder for folder in folders if any(one.is_file() for one in (masks / folder).iterdir())}
    bare = sorted(set(by_picture) - folders)
    strays = sorted(holding - set(by_picture))
    if bare or strays:
        parts = [f"{len(bare)} pictures of {image_base} without one ({listed(bare)})"] if bare else []
        parts += [f"{len(strays)} folders of {masks} without a picture ({listed(strays)})"] if strays else []
        raise DataError(
            f"for each picture a folder of its name in {masks}, holding one mask a class",
            " and ".join(parts),
            "Add what is missing. A picture that shows none of the classes needs one black mask.",
        )
    return tuple(Sample(key.replace("/", "__"), path, masks / key) for key, path in sorted(by_picture.items()))
