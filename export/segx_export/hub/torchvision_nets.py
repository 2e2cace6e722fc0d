"""Segmentation networks of torchvision with their published weights, downloaded once into torch's cache.

Names, classes and normalisation are read off torchvision's own tables; nothing is copied here.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
from torch import Tensor, nn
from torchvision import models

from segx_core.card import Normalisation, Origin
from segx_core.datasets.voc import voc_palette
from segx_core.errors import ConfigError, ModelError, SetupError, near
from segx_export.hub.address import Address
from segx_export.hub.network import Found

_LICENCE = (
    "torchvision's code is BSD-3-Clause; it states no licence of the weights themselves, "
    "which were trained on pictures of COCO with the classes of Pascal VOC"
)
_VOC_CLASSES = 21


class _Tail(nn.Module):
    """Backbone and classifier without the auxiliary one, which only training needs."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.backbone: nn.Module = network.backbone
        self.classifier: nn.Module = network.classifier
        self.several = isinstance(network, models.segmentation.LRASPP)  # its classifier reads two scales

    def forward(self, x: Tensor) -> Tensor:
        features = self.backbone(x)
        logits: Tensor = self.classifier(features if self.several else features["out"])
        return logits


def find(address: Address) -> Found:
    """The network an address names.

    Raises:
        ConfigError: no such network or weights.
        SetupError: the weights cannot be downloaded.
        ModelError: a file of weights that does not fit.
    """
    known = models.list_models(module=models.segmentation)
    if address.name not in known:
        raise ConfigError("a segmentation network of torchvision", f"'{address.name}'", near(address.name, known))
    published = models.get_model_weights(address.name)
    asked = address.options.get("weights", "DEFAULT")
    file = Path(asked)
    standard: Any = published.DEFAULT
    if asked != "none" and not file.is_file():
        if asked not in (*published.__members__, "DEFAULT"):
            words = [*published.__members__, "none"]
            raise ConfigError(f"weights of {address.name}, or a file of them", f"'{asked}'", near(asked, words))
        standard = getattr(published, asked)
    network: Any = models.get_model(
        address.name, weights=None, weights_backbone=None, num_classes=len(standard.meta["categories"]), aux_loss=False
    )
    if asked != "none":
        _fill(network, _from_file(file) if file.is_file() else _download(address, standard))
    transforms = standard.transforms()
    classes = tuple(name.strip("_") for name in standard.meta["categories"])  # "__background__"
    return Found(
        body=_Tail(network),
        name=address.name,
        classes=classes,
        normalisation=Normalisation(scale=255, mean=tuple(transforms.mean), std=tuple(transforms.std)),
        origin=_origin(address, asked, standard),
        palette=voc_palette(_VOC_CLASSES) if len(classes) == _VOC_CLASSES else None,
        # Backbones' strides: 8 where dilation takes the place of the last strides, 16 in LRASPP.
        size_multiple=16 if isinstance(network, models.segmentation.LRASPP) else 8,
    )


def _origin(address: Address, asked: str, standard: Any) -> Origin:
    if asked == "none":
        return Origin(source=str(address), revision="random weights", notes=("The weights are random.",))
    side = standard.transforms().resize_size[0]
    note = f"The weights were published for pictures whose shorter side has {side} pixels; the file takes any size."
    revision = asked if Path(asked).is_file() else str(standard)
    return Origin(source=str(address), revision=revision, licence=_LICENCE, notes=(note,))


def _download(address: Address, weights: Any) -> dict[str, Tensor]:
    try:
        state: dict[str, Tensor] = weights.get_state_dict(progress=False, check_hash=True)
    except (URLError, OSError, RuntimeError) as error:
        folder = Path(torch.hub.get_dir()) / "checkpoints"
        raise SetupError(
            f"to download {weights.url}",
            f"'{error}'",
            f"Put the file into {folder}, name it with {address}?weights=FILE, or try random ones: "
            f"{address}?weights=none.",
        ) from error
    return state


def _from_file(path: Path) -> dict[str, Tensor]:
    try:
        state: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise ModelError(f"a state dict of torch in {path}", f"'{error}'", "Download it again.") from error
    return state


def _fill(network: nn.Module, state: dict[str, Tensor]) -> None:
    kept = {key: value for key, value in state.items() if not key.startswith("aux_classifier.")}
    try:
        network.load_state_dict(kept)
    except (RuntimeError, AttributeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ModelError("weights of this very network", reason, "Name another network, or other weights.") from error
