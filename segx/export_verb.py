"""`segx export`: reads its options and hands over to exporting.py."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from segx.options import CardFile, JsonOut, Provider, need_training


def export(
    source: Annotated[
        str,
        typer.Argument(help="Run folder, float ONNX file, torchvision:NAME or hf:REPOSITORY.", show_default=False),
    ],
    out: Annotated[Path | None, typer.Option(help="File to write.", show_default="SOURCE's PRECISION.onnx")] = None,
    card: CardFile = None,
    deploy: Annotated[
        bool, typer.Option("--deploy", help="ONNX file: raw pictures in, class maps out, as from a run.")
    ] = False,
    quantize: Annotated[
        bool, typer.Option("--quantize", help="int8 if it passes the gate, else w8, else exit 1.")
    ] = False,
    precision: Annotated[
        str | None, typer.Option(help="auto, fp32, fp16, w8, int8 or int8-trt.", show_default="fp32")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="Data for calibration and gate; --prune and --qat-steps train on it too.", show_default="the run's own"
        ),
    ] = None,
    max_drop: Annotated[float, typer.Option(help="Allowed loss in mIoU points (0.5 = 0.005).")] = 0.5,
    max_class_drop: Annotated[float, typer.Option(help="Allowed loss of any one class, in IoU points.")] = 5.0,
    min_agreement: Annotated[
        float | None, typer.Option(help="Share of pixels that must keep fp32's class, 0-1.", show_default="any")
    ] = None,
    max_latency: Annotated[float, typer.Option(help="Most time a picture may take over fp32's.")] = 1.25,
    provider: Provider = "auto",
    calibration_images: Annotated[int, typer.Option(help="Training pictures that int8's ranges are taken from.")] = 96,
    no_gate: Annotated[bool, typer.Option("--no-gate", help="Do not measure quality; the file says so.")] = False,
    outputs: Annotated[str, typer.Option(help="classmap, or probabilities as well.")] = "classmap",
    size: Annotated[
        str | None, typer.Option(help="HEIGHTxWIDTH the file is fixed to.", show_default="any size")
    ] = None,
    opset: Annotated[int, typer.Option(help="ONNX operator set, 18 or newer.")] = 20,
    prune: Annotated[
        float | None, typer.Option(help="First remove this share of the multiply-adds, and train again: 0.5 is half.")
    ] = None,
    prune_epochs: Annotated[
        int | None, typer.Option(help="Epochs of that training.", show_default="0.3 of the run's")
    ] = None,
    prune_importance: Annotated[str, typer.Option(help="Which channels go first: by taylor or bn.")] = "taylor",
    no_distill: Annotated[
        bool,
        typer.Option("--no-distill", help="Train the pruned network on labels alone, not on the unpruned one too."),
    ] = False,
    qat_steps: Annotated[
        int | None, typer.Option(help="If int8 fails the gate, train so many steps for it and try again.")
    ] = None,
    qat_always: Annotated[bool, typer.Option("--qat-always", help="Take --qat-steps without trying first.")] = False,
    json: JsonOut = None,
) -> None:
    """Export a run, or somebody else's network, to ONNX, compressed and measured if asked.

    Example: segx export runs/first --quantize
    """
    need_training()
    from segx.exporting import Extras, run_export
    from segx_core.errors import ConfigError
    from segx_export.prune_settings import PruneSettings
    from segx_export.settings import ExportSettings, parse_size

    if prune is None and (prune_epochs is not None or prune_importance != "taylor" or no_distill):
        raise ConfigError("--prune with the options that say how", "them alone", "Add --prune 0.5, for example.")
    if qat_always and qat_steps is None:
        raise ConfigError("--qat-steps with --qat-always", "none", "Add --qat-steps 500, for example.")
    pruning = None
    if prune is not None:
        pruning = PruneSettings(
            amount=prune,
            epochs=prune_epochs,
            importance=prune_importance,  # type: ignore[arg-type]  # PruneSettings refuses other words itself
            distill=not no_distill,
            data=data,
        )
    settings = ExportSettings(
        precision=precision,
        quantize=quantize,
        out=out,
        data=data,
        max_drop=max_drop,
        max_class_drop=max_class_drop,
        min_agreement=min_agreement,
        max_latency=max_latency,
        provider=provider,
        calibration_images=calibration_images,
        size=parse_size(size),
        opset=opset,
        gate=not no_gate,
        outputs=outputs,  # type: ignore[arg-type]  # ExportSettings refuses other words itself
    )
    run_export(source, settings, json, Extras(card, deploy, pruning, qat_steps, qat_always))
