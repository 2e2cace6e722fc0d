"""What exports of networks that segx did not train have in common: where files go, and what they are judged on.

A run brings its folder and its data; a stranger brings neither. It knows nothing of ONNX files or of hubs.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from segx_core import atomic
from segx_core.card import Card
from segx_core.datasets import Dataset
from segx_core.errors import ConfigError, DataError, SetupError
from segx_core.progress import console
from segx_export.export import open_data
from segx_export.settings import ExportSettings


@dataclass(frozen=True)
class Place:
    """Where files of one export go: `folder`/`stem`.<precision>.onnx, or the file that --out names."""

    folder: Path
    stem: str

    @property
    def reference(self) -> Path:
        """The float file, written in any case."""
        return self.folder / f"{self.stem}.fp32.onnx"


def choose_place(folder: Path, stem: str, settings: ExportSettings) -> Place:
    """The folder of --out, else `folder`, made if absent; refused before the work where it cannot be written.

    Raises:
        ConfigError: `settings.out` is a folder or the float reference.
        SetupError: nowhere to write.
    """
    out = settings.out
    if out is not None and out.is_dir():
        raise ConfigError("a file for --out", f"the folder {out}", f"For example --out {out / 'model.onnx'}.")
    place = Place(folder if out is None else out.absolute().parent, stem)
    if out is not None and settings.attempts and out.resolve() == place.reference.resolve():
        raise ConfigError(
            "--out apart from the float reference, which is written in any case", str(out), "Choose another name."
        )
    atomic.make_folder(place.folder)
    if not os.access(place.folder, os.W_OK):
        raise SetupError(f"to write into {place.folder}", "no permission to", "Choose another --out.")
    return place


def judged_on(card: Card, settings: ExportSettings) -> tuple[ExportSettings, Dataset | None]:
    """The data to calibrate and judge on, and the settings without a gate where no data was named and none is needed.

    Raises:
        DataError: int8 without data; no such data, no held-out split, other classes than the card's.
    """
    if settings.data is not None or card.training is not None:
        return settings, open_data(card, settings)
    if {"int8", "int8-trt"} & set(settings.attempts):
        raise DataError(
            f"data to calibrate int8 on, with the classes of {card.name}",
            "none",
            "Name it with --data, or ask for --precision w8, which needs none.",
        )
    if settings.gate:
        say("no --data was given: nothing is measured, and the files are marked ungated")
    return replace(settings, gate=False), None


def say(text: str) -> None:
    """One line for people."""
    console().print(f"export: {text}", markup=False, soft_wrap=True)
