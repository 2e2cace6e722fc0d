"""What networks there are to choose from: size, cost, and what is known of the encoder weights' licence.

Sizes come from networks without memory (torch's meta device), so the list is a matter of seconds. A licence is what
timm's own table of weights says, or what the package that brings them says; elsewhere it is "unknown".
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import huggingface_hub
import timm
import torch
from segmentation_models_pytorch.encoders import encoders as smp_encoders
from torch.utils.flop_counter import FlopCounterMode

from segx_core.errors import ConfigError, near
from segx_trainer.budgets import AUTO, BUDGETS
from segx_trainer.config import Network, build_config
from segx_trainer.networks import build_network
from segx_trainer.weights import PACKAGES

NETWORKS: tuple[str, ...] = get_args(Network)
UNKNOWN = "unknown"
Scale = Literal["small", "medium", "large"]

RECOMMENDED: dict[str, Scale] = {
    "efficientnet_lite0": "small",
    "efficientnet_lite1": "small",
    "efficientnet_lite2": "small",
    "mobilenet_v2": "small",
    "mobilenetv3_large_100": "small",
    "resnet18": "medium",
    "resnet34": "medium",
    "regnety_016": "medium",
    "convnext_nano": "medium",
    "resnet50": "large",
    "resnet101": "large",
    "convnext_tiny": "large",
    "convnext_small": "large",
}
"""Encoders worth trying first, by the size of the network they make; any other one of timm works by its name."""


@dataclass(frozen=True)
class Weights:
    """Where an encoder's ImageNet weights are, and whose they are."""

    licence: str
    """In the words of whoever publishes them; "unknown" where nobody says."""
    source: str
    """A repository of the hub, a Python package, or "none"."""
    offline: bool
    """Whether they are on this machine already."""


@dataclass(frozen=True)
class Entry:
    """One network with one encoder."""

    network: str
    encoder: str
    scale: Scale | None
    """Of the recommended encoders."""
    decoder_channels: int | None
    parameters: int
    macs: int
    """Multiplications of one picture of the size asked for."""
    weights: Weights
    budget: str
    """The name that stands for it, for example "auto:small"; empty for most."""


def entries(names: Iterable[str], size: tuple[int, int], classes: int = 19) -> Iterator[Entry]:
    """Networks and encoders whose names fit, one after the other, since each takes a moment.

    Args:
        names: parts of the names of networks or recommended encoders, all of which must fit; the full name of any
            other encoder gives that one. None: all networks with all recommended encoders, after the budgets.
        size: (height, width) of the picture that `macs` is of.
        classes: that the head tells apart.

    Raises:
        ConfigError: nothing fits, or a named encoder fits no network.
    """
    networks, encoders = _chosen([name.lower() for name in names])
    for budget, choice in BUDGETS.items():
        if choice.model in networks and choice.encoder in encoders:
            yield _measured(choice.model, choice.encoder, choice.decoder_channels, size, classes, f"{AUTO}{budget}")
    several = len(networks) > 1
    for encoder in encoders:
        for network in networks:
            try:
                yield _measured(network, encoder, None, size, classes, "")
            except ConfigError:
                if not several:  # asked for by name; in a longer list a pair that does not go together is left out
                    raise


def weights_of(encoder: str) -> Weights:
    """What is known of an encoder's ImageNet weights. Asks no server."""
    package = PACKAGES.get(encoder)
    if package is not None and importlib.util.find_spec(package) is not None:
        return Weights("apache-2.0", f"package {package}", offline=True)
    if encoder in smp_encoders:
        settings = smp_encoders[encoder]["pretrained_settings"].get("imagenet", {})
        repository = settings.get("repo_id")
        # The repositories' cards say "other": each set of weights came from somewhere else.
        return Weights(UNKNOWN, repository or "none", _cached(repository, settings.get("revision")))
    known = timm.get_pretrained_cfg(encoder.removeprefix("tu-"), allow_unregistered=False)
    if known is None or not known.has_weights:
        return (
            Weights("apache-2.0", f"package {package}", offline=False) if package else Weights(UNKNOWN, "none", False)
        )
    repository = known.hf_hub_id if isinstance(known.hf_hub_id, str) else None
    return Weights(known.license or UNKNOWN, repository or str(known.url), _cached(repository, None))


def _chosen(names: list[str]) -> tuple[list[str], list[str]]:
    networks, encoders = list(NETWORKS), list(RECOMMENDED)
    for name in names:
        if any(name in network for network in NETWORKS):
            networks = [network for network in networks if name in network]
        elif any(name in encoder for encoder in RECOMMENDED):
            encoders = [encoder for encoder in encoders if name in encoder]
        elif name in smp_encoders or timm.is_model(name.removeprefix("tu-").partition(".")[0]):
            encoders = [name]
        else:
            known = [*NETWORKS, *RECOMMENDED, *timm.list_models()]
            raise ConfigError("a part of a network's or an encoder's name", f"'{name}'", _advice(name, known))
    if not networks or not encoders:
        raise ConfigError("names that go together", f"'{' '.join(names)}'", "Name one network and one encoder.")
    return networks, encoders


def _advice(name: str, known: list[str]) -> str:
    advice = near(name, known)
    return advice if advice.startswith("Did you mean") else "segx models lists them; timm's own names work too."


def _measured(network: str, encoder: str, width: int | None, size: tuple[int, int], classes: int, budget: str) -> Entry:
    values = {"data": "none", "model": network, "encoder": encoder, "decoder_channels": width}
    config = build_config(values)
    with torch.device("meta"):
        built = build_network(config, classes).eval()
        image = torch.empty((1, 3, *size), dtype=torch.uint8)
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        built(image)
    return Entry(
        network=network,
        encoder=encoder,
        scale=RECOMMENDED.get(encoder),
        decoder_channels=width,
        parameters=sum(parameter.numel() for parameter in built.parameters()),
        macs=counter.get_total_flops() // 2,  # it counts a multiplication and an addition as two
        weights=weights_of(encoder),
        budget=budget,
    )


def _cached(repository: str | None, revision: str | None) -> bool:
    if not repository:
        return False
    files = ("model.safetensors", "pytorch_model.bin")
    found = (huggingface_hub.try_to_load_from_cache(repository, file, revision=revision) for file in files)
    return any(isinstance(path, str) for path in found)
