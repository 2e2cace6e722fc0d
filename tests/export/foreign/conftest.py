"""ONNX files as other people make them: the shared tiny network in many forms, each with its hand-written card."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import onnx
import pytest
import torch
import yaml
from torch import nn
from torch.nn import functional

from segx_export.quiet import quiet

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Form:
    """How a file differs from the next."""

    layout: str = "NCHW"
    out_layout: str = "NCHW"
    color: str = "RGB"
    kind: str = "logits"
    stride: int = 2
    rule: str = "multiple"
    batch: int | None = None
    opset: int = 17
    dtype: str = "float32"


class Outside(nn.Module):
    """The shared network with its preprocessing and its tail cut off, as a form wants them."""

    def __init__(self, network, form):
        super().__init__()
        self.network, self.form = network, form

    def forward(self, x):
        form, net = self.form, self.network
        if form.layout == "NHWC":
            x = x.permute(0, 3, 1, 2)
        if form.dtype == "uint8":
            x = (x.float() - net.mean) / net.std
        if form.color == "BGR":
            x = x.flip(1)
        if form.color == "GRAY":
            x = x.expand(-1, 3, -1, -1)
        logits = net.head(net.decoder(net.encoder(x)))
        if form.stride > 1:
            logits = functional.avg_pool2d(logits, form.stride)
        if form.kind == "classmap":
            return logits.argmax(1)
        if form.kind == "probabilities":
            logits = logits.softmax(1)
        return logits.permute(0, 2, 3, 1) if form.out_layout == "NHWC" else logits


def write(folder: Path, network, classes, form: Form, name="theirs.onnx") -> tuple[Path, Path]:
    """The file and its card, made with torch's old exporter, BatchNorm unfolded."""
    grey, nchw = form.color == "GRAY", form.layout == "NCHW"
    channels = 1 if grey else 3
    sides = (48, 64)
    shape = (form.batch or 1, channels, *sides) if nchw else (form.batch or 1, *sides, channels)
    free = {} if form.batch else {0: "batch"}
    out_free = dict(free)
    if form.rule != "fixed":
        free |= {2: "rows", 3: "columns"} if nchw else {1: "rows", 2: "columns"}
        at = 2 if form.out_layout == "NCHW" and form.kind != "classmap" else 1
        out_free |= {at: "out_rows", at + 1: "out_columns"}
    path = folder / name
    with quiet(), torch.no_grad():
        torch.onnx.export(
            Outside(network, form).eval(), (torch.zeros(shape, dtype=getattr(torch, form.dtype)),), path, dynamo=False,
            input_names=["x"], output_names=["y"], dynamic_axes={"x": free, "y": out_free}, opset_version=form.opset,
            training=torch.onnx.TrainingMode.PRESERVE, do_constant_folding=False,
        )  # fmt: skip
    described = {"name": "x", "layout": form.layout, "color": form.color, "dtype": form.dtype}
    if form.dtype == "float32":
        mean, std = (0.45,) if grey else MEAN, (0.225,) if grey else STD
        mean, std = (mean[::-1], std[::-1]) if form.color == "BGR" else (mean, std)
        described |= {"mean": list(mean), "std": list(std)}
    if form.rule == "fixed":
        described["size"] = list(sides)
    if form.rule == "multiple":
        described["multiple"] = 4
    output = {"name": "y", "kind": form.kind, "layout": form.out_layout, "stride": form.stride}
    card = path.with_suffix(".yaml")
    card.write_text(yaml.safe_dump({"input": described, "output": output, "classes": list(classes)}))
    return path, card


@pytest.fixture(scope="session")
def classes(card):
    return card.classes


@pytest.fixture
def theirs(tmp_path, network, classes):
    """`theirs(layout="NHWC", ...)` writes a file and its card and returns both paths."""
    return lambda name="theirs.onnx", **form: write(tmp_path, network, classes, Form(**form), name)


@pytest.fixture
def count():
    """`count(path)` gives the operators of a file."""
    return lambda path: [node.op_type for node in onnx.load(path).graph.node]
