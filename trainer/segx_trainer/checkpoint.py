"""What a run folder keeps of a training: the best weights, the exact state to resume from, and how to read them back.

Files appear whole or not at all, so a killed process or a full disk never costs an older checkpoint.
"""

from __future__ import annotations

import io
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from segx_core import atomic, card_io
from segx_core.card import Card
from segx_core.errors import ModelError
from segx_trainer.config import TrainConfig, build_config
from segx_trainer.networks import SegmentationNet, build_network
from segx_trainer.widths import take_widths

BEST = "checkpoint.pt"
LAST = "last.pt"
FORMAT = 1


@dataclass(frozen=True)
class LoadedRun:
    """A finished or interrupted run, read back."""

    network: SegmentationNet
    """The best weights, in eval mode, on the CPU."""
    card: Card
    config: TrainConfig


def save(path: Path, content: dict[str, Any]) -> None:
    """Write tensors and plain values. Raises SetupError on a full disk or a missing permission."""
    buffer = io.BytesIO()  # torch.save on a path reports a full disk as a RuntimeError about zip files
    torch.save({"format": FORMAT, **content}, buffer)
    atomic.write_bytes(path, buffer.getvalue())


def read(path: Path) -> dict[str, Any]:
    """Read what `save` wrote; ModelError where that cannot be."""
    if not path.is_file():
        raise ModelError(f"a run folder of `segx train` with {path.name}", f"none in {path.parent}")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    # Besides these, bytes that are no checkpoint make the unpickler raise nearly anything.
    except (RuntimeError, EOFError, pickle.UnpicklingError, OSError, ValueError, LookupError, TypeError) as error:
        raise ModelError(
            "a readable checkpoint",
            f"{path}, damaged ({type(error).__name__})",
            f"Train anew into another folder; {BEST} and {LAST} are written apart, so the other one may be whole.",
        ) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ModelError(f"a checkpoint of format {FORMAT}", f"{path} of another kind")
    return content


def load_run(run: Path) -> LoadedRun:
    """Rebuild the network of a run with its best weights, narrower where it was pruned.

    Raises:
        ModelError: not a run folder, or a damaged one.
    """
    content = read(run / BEST)
    try:
        config = build_config(content["config"])
        card = card_io.from_json(content["card"], str(run / BEST))
        network = build_network(config, len(card.classes))
        if content.get("pruned", False):
            take_widths(network, content["network"])
            network.pruned = True
        network.load_state_dict(content["network"])
    except (RuntimeError, KeyError, ValueError) as error:
        raise misfit(run / BEST, error) from error
    return LoadedRun(network.eval(), card, config)


def misfit(path: Path, error: Exception) -> ModelError:
    """The error for a checkpoint that reads well and does not fit the network its config names."""
    reason = " ".join(str(error).split())[:200]
    return ModelError("a checkpoint that fits its own config", f"{path}: {reason}", "Was it written by another segx?")
