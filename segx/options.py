"""Options and checks that several verbs share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from segx_core.errors import SetupError

Data = Annotated[str, typer.Argument(help="Folder, dataset.yaml, or the built-in name 'scenes'.", show_default=False)]
Models = Annotated[list[Path], typer.Argument(help="ONNX files made by segx export.", show_default=False)]
JsonOut = Annotated[Path | None, typer.Option("--json", help="Write the numbers to this file.")]
Provider = Annotated[str, typer.Option(help="auto, cpu or cuda. cuda that is not there is an error.")]
CardFile = Annotated[Path | None, typer.Option("--card", help="YAML card of an ONNX file that carries none.")]


def need_training() -> None:
    """Refuse, with the cure, where the training libraries are missing."""
    from importlib.util import find_spec

    missing = [name for name in ("torch", "segmentation_models_pytorch", "onnx") if find_spec(name) is None]
    if missing:
        raise SetupError(
            "the training libraries", f"no {', '.join(missing)}", 'Install them with: pip install "segx[train]"'
        )
