"""What a pruning is asked for, and what it found, as values. Does nothing."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

from segx_core.errors import ConfigError, near
from segx_export.prune_importance import Importance


@dataclass(frozen=True)
class PruneSettings:
    """One pruning. Raises ConfigError at construction where a value means nothing."""

    amount: float
    """Share of the multiply-adds to remove, 0-1."""
    epochs: int | None = None
    """Passes over the training split in all; None: 0.3 of those the run took, at least 3."""
    importance: Importance = "taylor"
    distill: bool = True
    """Learn from the unpruned network (kd and cwd) besides the labels."""
    data: str | None = None
    """None: what the run was trained on."""
    rounds: int = 4
    """Cuts, equal parts of `amount` each; after each but the last the network trains for a tenth of the steps."""
    lr_factor: float = 0.5
    """Part of the run's learning rate to train with."""

    def __post_init__(self) -> None:
        if not 0 < self.amount < 1:
            raise ConfigError("--prune between 0 and 1, the share of multiply-adds to remove", f"{self.amount:g}")
        if self.importance not in get_args(Importance):
            raise ConfigError("--prune-importance", f"'{self.importance}'", near(self.importance, get_args(Importance)))
        if (self.epochs is not None and self.epochs < 1) or not 1 <= self.rounds <= 9 or not self.lr_factor > 0:
            raise ConfigError(
                "at least 1 epoch, 1 to 9 rounds and a learning rate",
                f"{self.epochs}, {self.rounds} and a factor of {self.lr_factor:g}",
            )

    @property
    def folder(self) -> str:
        """Name of the folder inside the run: "pruned-050" for half of the multiply-adds."""
        return f"pruned-{round(self.amount * 100):03d}"


@dataclass(frozen=True)
class PruneReport:
    """What a pruning left."""

    folder: Path
    """A run folder like any other: `segx export` takes it, too."""
    macs: tuple[int, int]
    """Multiply-adds before and after, one picture of the training crops' size."""
    parameters: tuple[int, int]
    miou: tuple[float, float]
    """torch's own on the split `val`, before and after; fractions."""
    latency_ms: tuple[float, float]
    """Medians of the float ONNX files before and after, measured in turns on the CPU."""
    latency_size: tuple[int, int]
    """(height, width) of the picture timed."""
    seconds: float
    """Of pruning and training, without the pauses of an interrupted one."""

    @property
    def drop(self) -> float:
        """Loss of mean IoU, points."""
        return (self.miou[0] - self.miou[1]) * 100

    def to_json(self) -> dict[str, Any]:
        """Plain values for json.dumps, unrounded; pairs are before and after."""
        return {**asdict(self), "folder": str(self.folder), "miou_drop_points": self.drop}

    def told(self) -> tuple[str, ...]:
        """The same in sentences for people."""
        macs, parameters, times = self.macs, self.parameters, self.latency_ms
        height, width = self.latency_size
        return (
            f"pruned: {macs[0] / 1e9:.2f} to {macs[1] / 1e9:.2f} G multiply-adds ({macs[1] / macs[0]:.0%} left), "
            f"{parameters[0] / 1e6:.1f} to {parameters[1] / 1e6:.1f} M parameters",
            f"pruned: float file at {height}x{width} {times[0]:.1f} to {times[1]:.1f} ms "
            f"({times[1] / times[0]:.2f} of the unpruned one's time)",
            f"pruned: mean IoU {self.miou[0]:.4f} to {self.miou[1]:.4f}, {self.drop:.2f} points lost",
        )
