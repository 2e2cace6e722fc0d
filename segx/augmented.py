"""`segx data show --augment`: prints a policy and draws what it makes of training pictures. The trainer draws."""

from __future__ import annotations

from pathlib import Path

import typer

from segx_core.datasets import open_dataset
from segx_core.errors import ConfigError
from segx_core.progress import console
from segx_trainer.augment import Policy, load, named, to_yaml
from segx_trainer.job import crop_size
from segx_trainer.loading import Pictures
from segx_trainer.sheet import draw_sheet, write_sheet


def run_augmented(data: str, out: Path, split: str, count: int, label: str | None, augment: str) -> None:
    """Write the sheet that a run with this policy would write as augment.png, of `count` pictures.

    Raises:
        ConfigError: a policy that is none, or options that mean nothing here: only training pictures are augmented,
            and they are evenly spaced.
        SegxError: data that cannot be read.
    """
    if split != "train":
        raise ConfigError("--split train with --augment", f"'{split}'", "Only training pictures are augmented.")
    if label is not None:
        raise ConfigError("no --class with --augment", f"'{label}'", "Leave one of the two out.")
    found = load(augment)
    policy = found if isinstance(found, Policy) else named(found)
    dataset = open_dataset(data)
    pictures = Pictures(dataset, dataset.split("train"), "never", "train")
    write_sheet(out, draw_sheet(pictures, policy, crop_size(pictures), samples=count))
    typer.echo(to_yaml(policy), nl=False)  # to standard output: `> my.yaml` makes a policy to change
    console().print(f"Sheet: {out}", markup=False, soft_wrap=True)
