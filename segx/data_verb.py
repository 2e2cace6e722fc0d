"""`segx data`: looks at data before anything is trained. Reads options; checking.py and core's sheet do the work."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from segx.options import Data, JsonOut, need_training

data_app = typer.Typer(
    no_args_is_help=True,
    help="Look at data: what is wrong with them, and what they show.\n\nExample: segx data check my-data",
)


@data_app.command()
def check(data: Data, json: JsonOut = None) -> None:
    """Say what was understood, what is wrong (exit 2) and what is strange: files, classes, splits.

    Example: segx data check my-data
    """
    from segx.checking import run_check

    run_check(data, json)


@data_app.command()
def show(
    data: Data,
    out: Annotated[Path, typer.Option(help="PNG to write.")] = Path("sheet.png"),
    split: Annotated[str, typer.Option(help="Split to show.")] = "train",
    count: Annotated[int, typer.Option(help="Most pictures on the sheet.", min=1, max=200)] = 12,
    label: Annotated[
        str | None, typer.Option("--class", help="Show pictures that hold this class, and it alone.")
    ] = None,
    augment: Annotated[
        str | None, typer.Option(help="Show what training sees under none, light, strong, or a policy file.")
    ] = None,
) -> None:
    """Write a contact sheet: pictures with their labels laid over, rare classes among them.

    Example: segx data show my-data --out sheet.png
    """
    if augment is not None:
        need_training()
        from segx.augmented import run_augmented

        run_augmented(data, out, split, count, label, augment)
        return
    from segx_core import atomic
    from segx_core.datasets import open_dataset
    from segx_core.datasets.sheet import draw
    from segx_core.progress import console

    atomic.write_bytes(out, draw(open_dataset(data), split, count, label))
    console().print(f"Sheet: {out}", markup=False, soft_wrap=True)
