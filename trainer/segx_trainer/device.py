"""Chooses the device and the arithmetic of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from segx_core.errors import ConfigError, SetupError


@dataclass(frozen=True)
class Arithmetic:
    """Where a run computes and in which precision."""

    device: torch.device
    half: torch.dtype | None
    """Type under autocast; None is float32 throughout."""

    @property
    def scaled(self) -> bool:
        """Whether the loss must be scaled so that small float16 gradients survive."""
        return self.half is torch.float16


def choose(device: Literal["auto", "cpu", "cuda"], amp: Literal["auto", "fp32", "bf16", "fp16"]) -> Arithmetic:
    """Resolve `auto`; an explicit `cuda` without a usable GPU is an error, never a silent fall-back."""
    available = torch.cuda.is_available()
    if device == "cuda" and not available:
        raise SetupError(
            "a usable NVIDIA GPU for --device cuda",
            f"none that torch {torch.__version__} can use",
            "Check the driver with nvidia-smi, or train with --device cpu.",
        )
    chosen = torch.device("cuda" if device != "cpu" and available else "cpu")
    match amp:
        case "fp32":
            half = None
        case "bf16":
            half = torch.bfloat16
        case "fp16":
            if chosen.type == "cpu":
                raise ConfigError("amp fp16 on a GPU", "the CPU", "Use --set amp=fp32 or amp=bf16.")
            half = torch.float16
        case "auto" if chosen.type == "cpu":
            half = None
        case "auto":
            half = torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    return Arithmetic(chosen, half)
