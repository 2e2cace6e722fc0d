"""DATA -> Dataset: the one door. Decides who reads what; each layout and file form is read by its own neighbour."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from segx_core.datasets import camvid, cityscapes, class_file, coco_layout, folders, infer, voc, yaml_file
from segx_core.datasets.dataset import Dataset
from segx_core.datasets.layout import Layout, dataset, listed
from segx_core.errors import DataError

YAML_NAMES = ("dataset.yaml", "dataset.yml")


def open_dataset(data: str | Path) -> Dataset:
    """Open a data set.

    Args:
        data: a folder in a known layout, a dataset.yaml or a folder holding one, or the built-in name "scenes"
            (generated on first use into the cache folder).

    Raises:
        DataError: nothing there, unknown layout, unpaired files, masks that cannot be understood.
    """
    if str(data) == "scenes":
        from segx_core.datasets.scenes import ensure_scenes

        made = yaml_file.read(ensure_scenes() / "dataset.yaml", "scenes", find_layout)
        return dataclasses.replace(made, layout="scenes")
    path = Path(data).expanduser()
    if not path.exists():
        raise DataError("a folder, a dataset.yaml or the name 'scenes'", f"no such path: {path}", _alike(path))
    if path.is_file():
        if path.suffix.lower() not in (".yaml", ".yml"):
            raise DataError("a folder, a dataset.yaml or the name 'scenes'", f"the file {path}", "Name its folder.")
        return yaml_file.read(path, str(data), find_layout)
    for name in YAML_NAMES:
        if (path / name).is_file():
            return yaml_file.read(path / name, str(data), find_layout)
    return _from_layout(path, str(data))


def find_layout(root: Path) -> Layout:
    """Recognise the layout of a folder.

    Raises:
        DataError: it is none that segx knows, or one with unpaired files.
    """
    for look in (camvid.look, voc.look, cityscapes.look, coco_layout.look, folders.look):
        layout = look(root)
        if layout is not None:
            return layout
    entries = sorted(path.name + ("/" if path.is_dir() else "") for path in root.iterdir() if path.name[0] != ".")
    raise DataError(
        f"{root} in a layout segx knows: images/ + masks/ (also under train/ val/ test/), CamVid (train/ trainannot/ "
        "val/ valannot/), VOC (JPEGImages/ SegmentationClass/ ImageSets/), Cityscapes (leftImg8bit/ gtFine/), COCO "
        "(annotations/instances_train.json train/), or any with a dataset.yaml",
        f"a folder holding {listed(entries)}" if entries else "an empty folder",
        "Rename the folders, or write a dataset.yaml that says where pictures and masks are.",
    )


def _from_layout(root: Path, source: str) -> Dataset:
    layout = find_layout(root)
    masks = [sample.mask for samples in layout.splits.values() for sample in samples]
    labels = layout.labels or class_file.find(root, masks) or infer.labels(masks)
    return dataset(root, source, layout, labels, {})


def _alike(path: Path) -> str:
    """The neighbour with the nearest name, for a mistyped path."""
    import difflib

    names = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    close = difflib.get_close_matches(path.name, [*names, "scenes"], n=1)
    return f"Did you mean '{close[0]}'?" if close else "Check the path."
