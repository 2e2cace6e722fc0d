"""Everything that changes while a run trains, and its way to the disk and back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from segx_core import card_io
from segx_core.card import Card
from segx_core.errors import DataError, ModelError
from segx_trainer import checkpoint, losses
from segx_trainer.auxiliary import AuxHead, build_aux_head
from segx_trainer.averaging import Average
from segx_trainer.config import TrainConfig
from segx_trainer.course import check_course
from segx_trainer.device import Arithmetic
from segx_trainer.networks import SegmentationNet
from segx_trainer.optimizer import build_optimizer
from segx_trainer.velocity import Velocity


@dataclass
class State:
    """The changing half of a training; the fixed half is `job.Job`."""

    network: SegmentationNet
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    step: int = 0
    """Updates done."""
    best: float = -1.0
    """Best validation mIoU; -1 before the first validation."""
    best_scores: dict[str, float | None] | None = None
    """IoU by class name at that validation."""
    stale: int = 0
    """Validations since the best one."""
    average: Average | None = None
    """Of the network's weights, where the config has an `ema`."""
    velocity: Velocity | None = None
    """The last gradient, where the loss has a momentum term."""
    auxiliary: AuxHead | None = None
    """A head for training alone, where the loss has an aux term."""
    skipped: int = 0
    """Updates left out because their gradients overflowed float16."""
    skipped_in_a_row: int = 0
    """Those of them since the last one that was not."""

    @property
    def deployed(self) -> SegmentationNet:
        """What is validated, and saved as the best: the averaged network where there is one."""
        return self.network if self.average is None else self.average.network

    def parameters(self) -> list[nn.Parameter]:
        """Everything the optimizer trains."""
        return [*self.network.parameters(), *(self.auxiliary.parameters() if self.auxiliary else ())]


def begin(
    network: SegmentationNet, config: TrainConfig, objective: losses.CombinedLoss, arithmetic: Arithmetic
) -> State:
    """The state before the first update of `network`, which lies on the device already.

    Raises:
        ConfigError: the loss needs what the config does not provide.
    """
    check_course(config, objective)
    optimizer = build_optimizer(network, config, fused=True)
    state = State(network, optimizer, torch.amp.GradScaler(arithmetic.device.type, enabled=arithmetic.scaled))
    if "aux_logits" in objective.needs:
        state.auxiliary = build_aux_head(network)
        score = state.auxiliary.score
        for parameter, decay in ((score.weight, config.weight_decay), (score.bias, 0.0)):
            optimizer.add_param_group({"params": [parameter], "weight_decay": decay, "factor": 1.0})
    if "velocity" in objective.needs:
        state.velocity = Velocity(state.parameters())
    if config.ema is not None:
        state.average = Average(network, config.ema)
    return state


def save_best(run: Path, state: State, config: TrainConfig, card: Card) -> None:
    """Write checkpoint.pt and card.json: the weights that export will take."""
    checkpoint.save(
        run / checkpoint.BEST,
        {
            "network": state.deployed.state_dict(),
            "pruned": state.network.pruned,
            "card": card_io.to_json(card),
            "config": config.model_dump(mode="json", exclude_none=True),
            "step": state.step,
            "miou": state.best,
        },
    )
    card_io.save(card, run / card_io.CARD_FILE)


def save_last(run: Path, state: State, config: TrainConfig, data_sha256: str) -> None:
    """Write last.pt: all that an exact resume needs, the generators' states included."""
    checkpoint.save(
        run / checkpoint.LAST,
        {
            "network": state.network.state_dict(),
            "pruned": state.network.pruned,
            "optimizer": state.optimizer.state_dict(),
            "scaler": state.scaler.state_dict(),
            "step": state.step,
            "best": state.best,
            "best_scores": state.best_scores,
            "stale": state.stale,
            "average": None if state.average is None else state.average.state_dict(),
            "velocity": None if state.velocity is None else state.velocity.state_dict(),
            "auxiliary": None if state.auxiliary is None else state.auxiliary.state_dict(),
            "skipped": (state.skipped, state.skipped_in_a_row),
            "torch_rng": torch.get_rng_state(),
            "cuda_rng": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
            "config": config.model_dump(mode="json", exclude_none=True),
            "data_sha256": data_sha256,
        },
    )


def restore(state: State, path: Path, data_sha256: str) -> None:
    """Bring `state`, and torch's generators, to what `save_last` wrote to `path`.

    Raises:
        DataError: `data_sha256`, the data's fingerprint, is not that of the data the run was trained on.
        ModelError: the file is missing, damaged, or of another network, for example a pruned one.
    """
    saved = checkpoint.read(path)
    if saved.get("data_sha256", data_sha256) != data_sha256:
        raise DataError(
            f"the data as it was when the run in {path.parent} began",
            "other pictures, masks or classes",
            "Bring the data back, or start a new run with another --out: a resumed run could not be an exact one.",
        )
    if saved.get("pruned", False) != state.network.pruned:
        raise ModelError(
            f"a run of `segx train` to resume in {path.parent}",
            "that of a pruned network",
            "Give `segx export` the same RUN and --prune again: it goes on where it stopped.",
        )
    try:
        state.network.load_state_dict(saved["network"])
        state.optimizer.load_state_dict(saved["optimizer"])
        state.scaler.load_state_dict(saved["scaler"])
        state.step, state.best = saved["step"], saved["best"]
        state.best_scores, state.stale = saved["best_scores"], saved["stale"]
        state.skipped, state.skipped_in_a_row = saved.get("skipped", (0, 0))
        for name in ("average", "velocity", "auxiliary"):
            part: Average | Velocity | AuxHead | None = getattr(state, name)
            if part is not None:
                part.load_state_dict(saved[name])
        torch.set_rng_state(saved["torch_rng"])
    except (RuntimeError, KeyError, ValueError) as error:
        raise checkpoint.misfit(path, error) from error
    if saved["cuda_rng"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(saved["cuda_rng"])
