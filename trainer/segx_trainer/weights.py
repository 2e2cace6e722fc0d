"""Fills an encoder with pretrained weights: from timm's hub, or from a local state dict. Never downloads on its own.

Local files may be in torchvision's or timm's layout (`.pth`, `.pt`, `.safetensors`); the classifier is left aside.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from segmentation_models_pytorch.encoders import encoders as smp_encoders
from segmentation_models_pytorch.encoders import get_encoder
from torch import Tensor, nn

from segx_core.errors import ConfigError, SetupError

_PREFIXES = ("module.", "model.", "encoder.", "backbone.")
_CLASSIFIERS = ("classifier", "fc", "head", "last_linear", "conv_head", "bn2", "norm", "_fc", "_conv_head", "_bn1")


def load_encoder_weights(encoder: nn.Module, name: str, source: str) -> None:
    """Load `source` ('none', 'imagenet' or a path) into `encoder`, in place.

    Raises:
        SetupError: the hub cannot be reached.
        ConfigError: the file cannot be read or does not fit.
    """
    if source == "none":
        return
    state = _from_hub(name) if source == "imagenet" else _from_file(Path(source))
    _fill(encoder, state, name, source)


def _from_hub(name: str) -> dict[str, Tensor]:
    known = name if name in smp_encoders else f"tu-{name.removeprefix('tu-')}"
    try:
        # timm wants True, the native encoders want the name of the weights.
        donor = get_encoder(known, weights=True if known.startswith("tu-") else "imagenet")
    except Exception as error:  # the hub client's errors share no base; all of them mean "no weights"
        raise SetupError(
            f"ImageNet weights of '{name}' from the hub",
            f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no details'}",
            "Without a network: --encoder-weights none trains from scratch, --encoder-weights FILE reads a local "
            "state dict in torchvision's or timm's layout.",
        ) from error
    return dict(donor.state_dict())


def _from_file(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise ConfigError("--encoder-weights imagenet, none or a file", f"'{path}', which is not there")
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
