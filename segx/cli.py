"""The command: one thin function a verb. Every verb reads its options, calls one part of segx, and prints.

Parts are imported inside the verbs, so that `segx --help` needs neither torch nor ONNX Runtime.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from segx import __version__
from segx.data_verb import data_app
from segx.export_verb import export
from segx.models_verb import models
from segx.options import CardFile, Data, JsonOut, Models, Provider, need_training
from segx.tune_verb import tune
from segx_core.errors import SegxError

INTERRUPTED = 130

app = typer.Typer(
    name="segx",
    help="Semantic segmentation: train, compress, evaluate and serve, with one ONNX file in between.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        typer.echo(f"segx {__version__}")
        raise typer.Exit


@app.command()
def train(
    data: Data,
    out: Annotated[Path, typer.Option(help="Run folder to write.", show_default=False)],
    config: Annotated[Path | None, typer.Option(help="YAML file of config keys; options win over it.")] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="unet, fpn, deeplabv3plus, segformer, or auto:small, auto:medium, auto:large.", show_default="unet"
        ),
    ] = None,
    encoder: Annotated[str | None, typer.Option(help="smp or timm encoder.", show_default="resnet18")] = None,
    encoder_weights: Annotated[
        str | None, typer.Option(help="imagenet, none, package:NAME or a file.", show_default="imagenet")
    ] = None,
    loss: Annotated[
        str | None, typer.Option(help='Expression such as "ce + 0.5*dice".', show_default="ce, multilabel: bce")
    ] = None,
    class_weights: Annotated[
        str | None, typer.Option(help="none, inverse, median, enet, effective, or a file.", show_default="none")
    ] = None,
    sampler: Annotated[
        str | None, typer.Option(help="uniform, or rare: rare classes more often.", show_default="uniform")
    ] = None,
    augment: Annotated[
        str | None, typer.Option(help="none, light, strong, or a policy file.", show_default="light")
    ] = None,
    size: Annotated[str | None, typer.Option(help="Training crop HxW.", show_default="what fits, 512 at most")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training split.", show_default="50")] = None,
    steps: Annotated[int | None, typer.Option(help="Optimizer steps, instead of epochs.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Pictures a step.", show_default="8")] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate.", show_default="0.001")] = None,
    optimizer: Annotated[str | None, typer.Option(help="adamw, sgd or adam.", show_default="adamw")] = None,
    until: Annotated[str | None, typer.Option(help="Stop once reached, for example miou=0.70; exit 1 if not.")] = None,
    patience: Annotated[int | None, typer.Option(help="Stop after N validations without a better mIoU.")] = None,
    teacher: Annotated[str | None, typer.Option(help="Run folder or ONNX file to learn from, too.")] = None,
    init: Annotated[str | None, typer.Option(help="Run folder whose weights to start from.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything random.", show_default="0")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu or cuda.", show_default="auto")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in --out exactly.")] = False,
    set_: Annotated[list[str] | None, typer.Option("--set", help="Any config key, key=value; repeatable.")] = None,
    json: JsonOut = None,
) -> None:
    """Train a network into a run folder.

    Example: segx train scenes --out runs/first --encoder-weights none --loss "ce + 0.5*dice" --epochs 20
    """
    need_training()
    from segx.training import run_training

    options: dict[str, Any] = {
        "data": data,
        "model": model,
        "encoder": encoder,
        "encoder_weights": encoder_weights,
        "loss": loss,
        "class_weights": class_weights,
        "sampler": sampler,
        "augment": augment,
        "size": size,
        "epochs": epochs,
        "steps": steps,
        "batch_size": batch_size,
        "lr": lr,
        "optimizer": optimizer,
        "until": until,
        "patience": patience,
        "teacher": teacher,
        "init": init,
        "seed": seed,
        "device": device,
    }
    given = {key: value for key, value in options.items() if value is not None}
    run_training(given, config, set_ or [], out, resume, json)


app.command()(export)
app.add_typer(data_app, name="data")
app.command()(models)
app.command()(tune)


@app.command(name="eval")
def evaluate(
    models: Models,
    data: Annotated[str, typer.Option(help="Folder, dataset.yaml, or 'scenes'.", show_default=False)],
    split: Annotated[str, typer.Option(help="Split to score.")] = "val",
    provider: Provider = "auto",
    card: CardFile = None,
    limit: Annotated[int | None, typer.Option(help="Score only so many pictures, evenly spread.", min=1)] = None,
    json: JsonOut = None,
) -> None:
    """Score model files side by side on labelled pictures.

    Example: segx eval runs/first/model.fp32.onnx runs/first/model.int8.onnx --data scenes --split test
    """
    from rich.console import Console

    from segx_core.datasets import open_dataset
    from segx_evaluate import report
    from segx_evaluate.run import evaluate_many

    results = evaluate_many(models, open_dataset(data), split, provider=provider, card=card, limit=limit)
    Console().print(report.table(results))
    if json:
        report.write_json(json, report.to_json(results, data=data, split=split))


@app.command()
def serve(
    models: Annotated[
        list[Path] | None, typer.Argument(help="ONNX files, and folders that are watched.", show_default=False)
    ] = None,
    card: CardFile = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 takes a free one.")] = 8000,
    provider: Provider = "auto",
    workers: Annotated[int, typer.Option(help="Front-end processes, supervised; 0: all in one process.", min=0)] = 1,
    max_batch: Annotated[int, typer.Option(help="Most pictures run together.")] = 16,
    max_wait_ms: Annotated[float, typer.Option(help="Milliseconds to wait for a fuller batch.")] = 0.0,
    max_body: Annotated[str, typer.Option(help="Largest request body.")] = "32MiB",
    max_pixels: Annotated[str, typer.Option(help="Largest picture.")] = "64M",
    max_queue: Annotated[int, typer.Option(help="Most pictures inside at once; more get 503.")] = 32,
    read_timeout: Annotated[float, typer.Option(help="Seconds a client may stay silent.")] = 10.0,
    deadline_ms: Annotated[float, typer.Option(help="Milliseconds a request may wait; 0 is for ever.")] = 30_000.0,
    drain_seconds: Annotated[float, typer.Option(help="Seconds that requests in flight get at the end.")] = 30.0,
    run_timeout: Annotated[float, typer.Option(help="Seconds one run may take; then it counts as hung.")] = 60.0,
    max_connections: Annotated[int, typer.Option(help="Most open connections a front-end.")] = 1024,
    engines: Annotated[
        int | None, typer.Option(help="Engine threads a model.", show_default="one a core, on a GPU two")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(help="Threads inside an engine.", show_default="cores / engines")
    ] = None,
    gpu_mem_limit: Annotated[
        str | None, typer.Option(help="GPU memory a model may compute in.", show_default="all there is")
    ] = None,
    cuda_graphs: Annotated[
        list[str] | None, typer.Option(help="HEIGHTxWIDTH whose runs are recorded on the GPU; repeatable.")
    ] = None,
    trt_cache: Annotated[Path | None, typer.Option(help="Folder that keeps the engines TensorRT builds.")] = None,
    api_key_file: Annotated[Path | None, typer.Option(help="Keys that may use and manage the service.")] = None,
    new_key: Annotated[
        str | None, typer.Option(help="Make a key NAME or NAME:admin in --api-key-file, print it, and end.")
    ] = None,
    admin: Annotated[
        bool, typer.Option("--admin", help="Without keys: let programs on this machine load and unload models.")
    ] = False,
    cors_origin: Annotated[
        list[str] | None, typer.Option(help="Origin whose web pages may use the service; repeatable.")
    ] = None,
    tls_cert: Annotated[Path | None, typer.Option(help="Certificate, PEM: serve https.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="The certificate's key, PEM.")] = None,
    tls_client_ca: Annotated[Path | None, typer.Option(help="Take only clients whose certificate it signed.")] = None,
    grpc_port: Annotated[int | None, typer.Option(help="Also speak the Open Inference Protocol over gRPC.")] = None,
    log_format: Annotated[str, typer.Option(help="text or json.")] = "text",
    access_log: Annotated[bool, typer.Option("--access-log", help="A log line for every request.")] = False,
    otel_endpoint: Annotated[str | None, typer.Option(help="OTLP/HTTP address to send traces to.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Serve files the quality gate rejected, too.")] = False,
) -> None:
    """Serve model files, or folders of them, over HTTP, with a web page.

    Example: segx serve runs/first/model.int8.onnx --port 8000
    """
    from segx.serving import make_key, run_service

    if new_key is not None:
        make_key(api_key_file, new_key)
        return
    options = {
        "host": host,
        "port": port,
        "max_batch": max_batch,
        "max_wait_ms": max_wait_ms,
        "max_body": max_body,
        "max_pixels": max_pixels,
        "max_queue": max_queue,
        "read_timeout": read_timeout,
        "deadline_ms": deadline_ms,
        "drain_seconds": drain_seconds,
        "run_timeout": run_timeout,
        "max_connections": max_connections,
        "engines": engines,
        "threads": threads,
        "gpu_mem_limit": gpu_mem_limit,
        "cuda_graphs": tuple(cuda_graphs or ()),
        "trt_cache": trt_cache,
        "api_key_file": api_key_file,
        "admin": admin,
        "cors_origins": tuple(cors_origin or ()),
        "tls_cert": tls_cert,
        "tls_key": tls_key,
        "tls_client_ca": tls_client_ca,
        "grpc_port": grpc_port,
        "log_format": log_format,
        "access_log": access_log,
        "otel_endpoint": otel_endpoint,
    }
    run_service(models or [], options, provider=provider, card=card, force=force, workers=workers)


@app.command()
def predict(
    model: Annotated[Path, typer.Argument(help="ONNX file made by segx export.", show_default=False)],
    inputs: Annotated[list[Path], typer.Argument(help="Pictures, folders or videos.", show_default=False)],
    out: Annotated[Path, typer.Option(help="Folder to write.", show_default=False)],
    overlay: Annotated[bool, typer.Option("--overlay", help="Also write blended pictures to OUT/overlay.")] = False,
    format: Annotated[str, typer.Option(help="png, masks, coco or polygons.")] = "png",
    provider: Provider = "auto",
    card: CardFile = None,
) -> None:
    """Segment pictures into files.

    Example: segx predict runs/first/model.int8.onnx holiday/*.jpg --out masks --overlay
    """
    from segx_core.predictor import Predictor
    from segx_evaluate.predict import predict_files

    predict_files(Predictor.load(model, provider=provider, card=card), inputs, out, overlay=overlay, format=format)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder to write; made anew.")] = Path("segx-demo"),
) -> None:
    """Go the whole way on generated pictures: train, compress, evaluate, serve. A few minutes on two cores.

    Example: segx demo
    """
    need_training()
    from segx.demo import run_demo

    run_demo(out)


def main() -> None:
    """Run the command; exit 0 ok, 1 a gate failed, 2 bad input, 130 Ctrl-C."""
    try:
        app(standalone_mode=True)
    except SegxError as error:
        _say(error)
        sys.exit(error.exit_code)
    except SystemExit as end:
        if end.code == INTERRUPTED:  # Typer's own answer to Ctrl-C, which says nothing
            typer.echo("Interrupted; everything written so far is kept.", err=True)
        raise


def _say(error: SegxError) -> None:
    typer.echo(f"segx: expected {error.expected}\n      got {error.got}", err=True)
    if error.cure:
        typer.echo(f"      {error.cure}", err=True)
