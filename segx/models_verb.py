"""`segx models`: reads its options and shows the catalogue of networks as a table, or writes it as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from segx.options import JsonOut, need_training
from segx_core.errors import ConfigError

if TYPE_CHECKING:
    from segx_trainer.catalogue import Entry


def models(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Parts of names of networks and encoders; any timm encoder.", show_default="all"),
    ] = None,
    size: Annotated[str, typer.Option(help="Picture size HxW that the cost is of.")] = "512x512",
    json: JsonOut = None,
) -> None:
    """List networks and encoders: size, cost, licence of the encoder's weights, and where those are.

    Weights: "here" on this machine, "package" to be installed, otherwise the part of the hub that has them.

    Example: segx models fpn efficientnet --size 360x480
    """
    need_training()
    from segx_core.progress import console
    from segx_trainer.catalogue import entries

    height, width = _parse(size)
    found = list(entries(names or [], (height, width)))
    console().print(_table(found, size))
    for one in found:
        if one.budget:
            choice = f"{one.network} with {one.encoder}, decoder_channels {one.decoder_channels}"
            console().print(f"--model {one.budget} stands for {choice}", soft_wrap=True)
    if json:
        _write(json, found, (height, width))


def _parse(text: str) -> tuple[int, int]:
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(part.isdigit() and int(part) >= 32 for part in parts):
        raise ConfigError("--size HxW of at least 32x32", f"'{text}'")
    return int(parts[0]), int(parts[1])


def _table(found: list[Entry], size: str) -> Any:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(title=f"cost of a picture of {size}", box=SIMPLE_HEAD, pad_edge=False)
    for heading in ("network", "encoder"):
        table.add_column(heading, overflow="fold")
    for heading in ("params M", "MACs G"):
        table.add_column(heading, justify="right")
    for heading in ("licence", "weights"):
        table.add_column(heading, overflow="fold")
    for one in found:
        kept = "here" if one.weights.offline else one.weights.source.partition("/")[0].partition(" ")[0]
        table.add_row(
            one.budget or one.network,
            one.encoder,
            f"{one.parameters / 1e6:.1f}",
            f"{one.macs / 1e9:.2f}",
            one.weights.licence,
            kept,
        )
    return table


def _write(path: Path, found: list[Entry], size: tuple[int, int]) -> None:
    import json
    from dataclasses import asdict

    from segx_core import atomic

    document = {"size": list(size), "models": [asdict(one) for one in found]}
    atomic.write_text(path, json.dumps(document, indent=2) + "\n")
