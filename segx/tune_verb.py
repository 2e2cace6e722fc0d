"""`segx tune`: reads its options, searches, and shows what was found."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from segx.options import Data, JsonOut, need_training


def tune(
    data: Data,
    out: Annotated[Path, typer.Option(help="Folder to write; the same one goes on.", show_default=False)],
    trials: Annotated[int, typer.Option(help="Trainings in all, earlier calls included.", min=1)] = 20,
    epochs: Annotated[int, typer.Option(help="Epochs of a trial.", min=1)] = 10,
    space: Annotated[str, typer.Option(help="YAML file of config keys and their ranges, or default.")] = "default",
    config: Annotated[Path | None, typer.Option(help="YAML file of config keys that every trial has.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="Key every trial has, key=value; repeatable.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the search.", min=0)] = 0,
    json: JsonOut = None,
) -> None:
    """Search for the config keys that train best; every trial is a whole run, poor ones are stopped early.

    Example: segx tune scenes --out search --trials 20 --epochs 10 --set model=auto:small --set encoder_weights=none
    """
    need_training()
    import json as json_text

    from segx_core import atomic
    from segx_core.datasets import open_dataset
    from segx_core.progress import console
    from segx_trainer import tune_report
    from segx_trainer.config import parse_assignments, read_yaml
    from segx_trainer.tune import Search, need_optuna, search
    from segx_trainer.tune_space import read_space

    need_optuna()
    base: dict[str, Any] = {**(read_yaml(config) if config else {}), **parse_assignments(set_ or [])}
    base = {key: value for key, value in base.items() if key not in ("data", "epochs", "steps") and value is not None}
    wanted = Search(
        folder=out,
        command=(sys.executable, "-m", "segx", "train"),
        data=data,
        base=base,
        space=read_space(space, open_dataset(data).task, {**base, "data": data}),
        epochs=epochs,
        trials=trials,
        seed=seed,
    )
    found = tune_report.write(wanted, search(wanted))
    console().print(_table(found))
    if json:
        atomic.write_text(json, json_text.dumps(found, indent=2) + "\n")
    best = out / tune_report.BEST
    if best.is_file():
        console().print(f"Next: segx train {data} --config {best} --out RUN --epochs N", soft_wrap=True)


def _table(found: dict[str, Any]) -> Any:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(title="best trials first", box=SIMPLE_HEAD, pad_edge=False)
    for heading in ("trial", "outcome", "mIoU", "values"):
        table.add_column(heading, overflow="fold")
    for row in found["trials"][:10]:
        values = ", ".join(f"{k}={v:.3g}" if isinstance(v, float) else f"{k}={v}" for k, v in row["values"].items())
        table.add_row(row["trial"], row["outcome"], "" if row["miou"] is None else f"{row['miou']:.4f}", values)
    for key, share in found["importance"].items():
        table.add_row("", "importance", f"{share:.2f}", key)
    return table
