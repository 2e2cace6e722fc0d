"""The two forms every contestant is measured in, and the plain export of each: torch.onnx.export and nothing else.

`network`: (1, 3, S, S) float32, normalised -> (1, K, S, S) float32 logits. `deploy`: (1, S, S, 3) uint8 -> (1, S, S)
uint8 class map, with normalisation and argmax inside. No pass of segx touches what is written here.
"""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from segx_export.deploy import DeployGraph
from segx_export.quiet import quiet
from segx_trainer.networks import SegmentationNet

FORMS = ("network", "deploy")


class Bare(nn.Module):
    """A network without its preprocessing, for sides that are multiples of its own."""

    def __init__(self, network: SegmentationNet) -> None:
        super().__init__()
        self.encoder, self.decoder, self.head = network.encoder, network.decoder, network.head

    def forward(self, image: Tensor) -> Tensor:
        """(N, 3, H, W) float32 -> (N, K, H, W) float32."""
        return cast(Tensor, self.head(self.decoder(self.encoder(image))))


class ClassMap(nn.Module):
    """The deploy graph's first output alone."""

    def __init__(self, network: SegmentationNet) -> None:
        super().__init__()
        self.deploy = DeployGraph(network)

    def forward(self, image: Tensor) -> Tensor:
        """(N, H, W, 3) uint8 -> (N, H, W) uint8."""
        return cast(Tensor, self.deploy(image)[0])


def module(network: SegmentationNet, form: str) -> nn.Module:
    """The torch module of a form."""
    return ClassMap(network) if form == "deploy" else Bare(network)


def example(form: str, side: int) -> Tensor:
    """What the exporter traces with."""
    return torch.zeros(1, side, side, 3, dtype=torch.uint8) if form == "deploy" else torch.zeros(1, 3, side, side)


def export_plain(network: SegmentationNet, form: str, side: int, path: Path) -> None:
    """torch.onnx.export with its defaults, to one file."""
    with quiet(), torch.no_grad():
        torch.onnx.export(
            module(network, form).eval(), (example(form, side),), path, dynamo=True, external_data=False, verbose=False
        )


def normalised(pictures: NDArray[np.uint8], network: SegmentationNet) -> NDArray[np.float32]:
    """(N, H, W, 3) uint8 -> (N, 3, H, W) float32 as the network's own preprocessing gives it."""
    planar = torch.from_numpy(pictures).permute(0, 3, 1, 2).float()
    return cast("NDArray[np.float32]", ((planar - network.mean) / network.std).contiguous().numpy())
