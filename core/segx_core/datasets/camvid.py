"""The CamVid layout (train/ trainannot/ val/ valannot/ [test/ testannot/]) and CamVid's own eleven classes.

The classes are taken only where names of pictures and kind of masks are CamVid's; others may use the layout too.
"""

from __future__ import annotations

import re
from pathlib import Path

from segx_core.datasets.dataset import Sample
from segx_core.datasets.labels import Labels
from segx_core.datasets.layout import Layout, files, pair
from segx_core.datasets.masks import MASK_SUFFIXES, grey, load
from segx_core.picture import PICTURE_SUFFIXES

_SPLITS = ("train", "val", "test")
_CAMVID_PICTURE = re.compile(r"(0001TP|0006R0|0016E5|Seq05VD)_", re.IGNORECASE)  # its four drives

# Brostow et al. 2009, in the eleven groups of Badrinarayanan et al. (SegNet), with that project's colours.
CAMVID = Labels(
    classes=(
        "sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist",
    ),
    palette=(
        (128, 128, 128), (128, 0, 0), (192, 192, 128), (128, 64, 128), (60, 40, 222), (128, 128, 0),
        (192, 128, 128), (64, 64, 128), (64, 0, 128), (64, 64, 0), (0, 128, 192),
    ),
    ignore_index=11,
)  # fmt: skip


def look(root: Path) -> Layout | None:
    """Read `root` as CamVid's layout; None where it is not. DataError as `layout.pair`."""
    splits = {
        name: pair(
            files(root / name, PICTURE_SUFFIXES), root / name,
            files(root / f"{name}annot", MASK_SUFFIXES), root / f"{name}annot",
        )
        for name in _SPLITS
        if (root / f"{name}annot").is_dir() and (root / name).is_dir()
    }  # fmt: skip
    if not splits:
        return None
    samples = [sample for part in splits.values() for sample in part]
    if not _is_camvid(samples):
        return Layout("camvid", splits)
    return Layout("camvid", splits, ("These are CamVid's pictures: its 11 classes, 11 is ignored.",), CAMVID)


def _is_camvid(samples: list[Sample]) -> bool:
    if not all(_CAMVID_PICTURE.match(sample.name) for sample in samples):
        return False
    values = grey(load(samples[0].mask))
    return values is not None and int(values.max()) <= CAMVID.ignore_index
