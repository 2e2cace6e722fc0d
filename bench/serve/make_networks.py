"""Makes the float networks of the bench with random weights, as ONNX. The one file of the bench that needs torch.

    python -m bench.serve.make_networks FOLDER

`real.onnx`: a MobileNetV2 encoder (Sandler et al. 2018) of width 1, stride 16, with a light decoder that takes in
stride 4; (n, 3, 256, 256) -> (n, 256, 256) uint8, 19 classes.
`tiny.onnx`: one 3x3 convolution, (n, 3, 64, 64) -> (n, 64, 64) uint8, 4 classes.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 1), (6, 320, 1, 1))
"""MobileNetV2's table: expansion, channels, blocks, stride; the last two stay at stride 16."""
FINE, FINE_STAGE = 24, 1


def main() -> None:
    """Write both files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    real = Mobile(19)
    with torch.no_grad():
        real.train()
        for _ in range(3):  # so that BatchNorm has statistics and all classes can win
            real(torch.randn(4, 3, 128, 128))
    write(real, 256, folder / "real.onnx")
    write(Tiny(4), 64, folder / "tiny.onnx")


def convolution(given: int, out: int, kernel: int = 3, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Convolution, BatchNorm, ReLU6."""
    layer = nn.Conv2d(given, out, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(out), nn.ReLU6())


class Block(nn.Module):
    """Inverted residual."""

    def __init__(self, given: int, out: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = given * expansion
        self.residual = stride == 1 and given == out
        wide = [convolution(given, hidden, 1)] if expansion != 1 else []
        narrow = nn.Sequential(nn.Conv2d(hidden, out, 1, bias=False), nn.BatchNorm2d(out))
        self.layers = nn.Sequential(*wide, convolution(hidden, hidden, 3, stride, hidden), narrow)

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, D, H / stride, W / stride)."""
        changed: Tensor = self.layers(features)
        return features + changed if self.residual else changed


class Mobile(nn.Module):
    """Encoder, pooled gate, and a decoder at stride 4."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.stem = convolution(3, 32, 3, 2)
        stages, channels = [], 32
        for expansion, out, blocks, stride in STAGES:
            layers = []
            for index in range(blocks):
                layers.append(Block(channels, out, stride if index == 0 else 1, expansion))
                channels = out
            stages.append(nn.Sequential(*layers))
        self.stages = nn.ModuleList(stages)
        self.head, self.gate = convolution(channels, 128, 1), nn.Conv2d(channels, 128, 1)
        self.side, self.fuse = convolution(FINE, 32, 1), convolution(128 + 32, 64)
        self.classify = nn.Conv2d(64, classes, 1)

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) float32 -> (B, H, W) uint8."""
        features = self.stem(pixels)
        fine = features
        for index, stage in enumerate(self.stages):
            features = stage(features)
            if index == FINE_STAGE:
                fine = features
        gated = self.head(features) * torch.sigmoid(self.gate(features.mean((2, 3), keepdim=True)))
        joined = torch.cat([enlarged(gated), self.side(fine)], 1)
        return enlarged(self.classify(self.fuse(joined))).argmax(1).to(torch.uint8)


class Tiny(nn.Module):
    """One convolution."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, classes, 3, padding=1)

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) float32 -> (B, H, W) uint8."""
        scores: Tensor = self.layer(pixels)
        return scores.argmax(1).to(torch.uint8)


def enlarged(features: Tensor) -> Tensor:
    """Four times as wide and high."""
    return functional.interpolate(features, scale_factor=4, mode="bilinear", align_corners=False)


def write(network: nn.Module, side: int, path: Path) -> None:
    """Export with a free batch axis."""
    example = torch.randn(2, 3, side, side)
    torch.onnx.export(
        network.eval(),
        (example,),
        path,
        input_names=["image"],
        output_names=["mask"],
        opset_version=17,
        dynamic_axes={"image": {0: "n"}, "mask": {0: "n"}},
        dynamo=False,  # the exporter whose graph the first figures of this bench were measured with
    )


if __name__ == "__main__":
    main()
