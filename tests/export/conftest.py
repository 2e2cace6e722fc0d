"""One tiny network, fitted for seconds on coloured squares, as a run folder with data: shared by all export tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional

from segx_core.card import Card, InputSpec, Normalisation, OutputSpec, Training
from segx_core.palette import default_palette
from segx_export.candidates import Candidate
from segx_export.compress import compress
from segx_export.deploy import deploy_card, deploy_model
from segx_export.export import ExportSettings, open_data
from segx_export.parity import check_parity
from segx_trainer.config import build_config
from segx_trainer.networks import SegmentationNet, build_network
from segx_trainer.train import train

CLASSES = ("ground", "red", "green", "blue")
COLOURS = np.array([[90, 90, 90], [200, 40, 40], [40, 180, 60], [50, 60, 210]], np.uint8)


def draw(random, height=64, width=64):
    """(H, W, 3) uint8 picture of noisy coloured squares and its (H, W) uint8 classes."""
    mask = np.zeros((height, width), np.uint8)
    for _ in range(6):
        y, x = random.integers(0, height - 12), random.integers(0, width - 12)
        tall, wide = random.integers(10, 28, 2)
        mask[y : y + tall, x : x + wide] = random.integers(1, len(CLASSES))
    noise = random.normal(0, 12, (height, width, 3))
    return np.clip(COLOURS[mask] + noise, 0, 255).astype(np.uint8), mask


@pytest.fixture(scope="session")
def data(tmp_path_factory) -> Path:
    """A folder of pictures and masks under train/ and val/."""
    root = tmp_path_factory.mktemp("data")
    random = np.random.default_rng(7)
    for split, count in (("train", 24), ("val", 8)):
        for kind in ("images", "masks"):
            (root / split / kind).mkdir(parents=True)
        for index in range(count):
            picture, mask = draw(random)
            Image.fromarray(picture).save(root / split / "images" / f"{index:03}.png")
            Image.fromarray(mask).save(root / split / "masks" / f"{index:03}.png")
    names = "[" + ", ".join(CLASSES) + "]"
    lines = [f"classes: {names}", "splits:"]
    lines += [f"  {s}: {{images: {s}/images/*.png, masks: {s}/masks/*.png}}" for s in ("train", "val")]
    (root / "dataset.yaml").write_text("\n".join(lines) + "\n")
    return root


class Encoder(nn.Module):
    """Two scales of convolution and BatchNorm."""

    def __init__(self):
        super().__init__()
        self.fine = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU())
        self.coarse = nn.Sequential(nn.Conv2d(16, 24, 3, 2, 1), nn.BatchNorm2d(24), nn.ReLU6())

    def forward(self, x):
        fine = self.fine(x)
        return fine, self.coarse(fine)


class Decoder(nn.Module):
    """Upsamples to its skip's size, as U-Net does; its convolution's size is asked for before its BatchNorm."""

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(24, 16, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(16)

    def forward(self, features):
        fine, coarse = features
        up = self.norm(self.convolution(functional.interpolate(coarse, size=fine.shape[-2:])))
        return torch.cat([functional.relu(up), fine], 1)


def make_network(classes=4, seed=0):
    """A network of SegmentationNet's contract that traces in seconds; its size multiple is 4."""
    torch.manual_seed(seed)
    body = nn.Module()
    body.encoder, body.decoder = Encoder(), Decoder()
    body.segmentation_head = nn.Conv2d(32, classes, 3, padding=1)
    return SegmentationNet(body, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), classes, size_multiple=4)


@pytest.fixture(scope="session")
def network():
    """A tiny network that tells the squares apart, with BatchNorm statistics of its own."""
    random = np.random.default_rng(1)
    net = make_network().train()
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-2)
    for _ in range(40):
        pairs = [draw(random) for _ in range(4)]
        image = torch.from_numpy(np.stack([picture for picture, _ in pairs])).permute(0, 3, 1, 2)
        target = torch.from_numpy(np.stack([mask for _, mask in pairs])).long()
        optimizer.zero_grad()
        functional.cross_entropy(net(image), target).backward()
        optimizer.step()
    return net.eval()


@pytest.fixture(scope="session")
def card(data) -> Card:
    training = Training(
        data=str(data), data_sha256="0" * 64, network="unet", encoder="resnet18", encoder_weights="none", loss="ce",
        seed=0, epochs=1.0, steps=30,
    )  # fmt: skip
    return Card(
        name="squares",
        classes=CLASSES,
        palette=default_palette(len(CLASSES)),
        inputs=(InputSpec(name="image", shape=("N", 3, "H", "W"), layout="NCHW", normalisation=Normalisation()),),
        outputs=(OutputSpec(name="logits", kind="logits", dtype="float32", shape=("N", 4, "H", "W"), layout="NCHW"),),
        training=training,
    )


@pytest.fixture(scope="session")
def model(network):
    """The float32 deploy model; tests copy it before they change it."""
    return deploy_model(network, "probabilities")


@pytest.fixture(scope="session")
def exported(tmp_path_factory, network, model, card):
    """(report, folder) of `--quantize` with probabilities."""
    run = tmp_path_factory.mktemp("run")
    settings = ExportSettings(quantize=True, outputs="probabilities", max_drop=5.0, provider="cpu", max_latency=None)
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    reference = Candidate(copy, deploy_card(card, "probabilities"))
    return compress(reference, check_parity(network, model), run, settings, open_data(card, settings)), run


@pytest.fixture
def make():
    """`make(classes, seed)` gives an unfitted network."""
    return make_network


@pytest.fixture(scope="session")
def real_network():
    """`real_network(model, encoder, **config)`: one of the trainer's, its BatchNorms varied as training varies them."""

    def build(model, encoder="test_resnet", **changes):
        torch.manual_seed(0)
        values = {"data": "none", "model": model, "encoder": encoder, "encoder_weights": "none", **changes}
        network = build_network(build_config(values), len(CLASSES)).eval()
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.uniform_(module.bias, -0.5, 0.5)
                module.running_mean.uniform_(-0.5, 0.5)
                module.running_var.uniform_(0.5, 1.5)
        return network

    return build


@pytest.fixture(scope="session")
def noise():
    """(1, 3, 45, 70) uint8."""
    return torch.randint(0, 256, (1, 3, 45, 70), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)


@pytest.fixture(scope="session")
def trained(tmp_path_factory, data):
    """A U-Net that was trained for two epochs."""
    torch.set_num_threads(1)
    run = tmp_path_factory.mktemp("trained") / "run"
    values = {
        "data": str(data), "encoder": "test_resnet", "encoder_depth": 3, "encoder_weights": "none",
        "decoder_channels": 32, "batch_size": 4, "size": (32, 64), "epochs": 2, "device": "cpu",
    }  # fmt: skip
    train(build_config(values), run)
    return run
