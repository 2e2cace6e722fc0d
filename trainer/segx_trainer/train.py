"""The training of one run, from a config to a run folder. The loop is `_fit`; read it from top to bottom.

Knows nothing of export or serving, and nothing of the command line.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import filelock
import numpy as np
import torch
from numpy.typing import NDArray

from segx_core import atomic, card_io
from segx_core.confusion import iou, miou
from segx_core.datasets import Dataset, open_dataset
from segx_core.errors import ConfigError, ModelError, SegxError, SetupError
from segx_core.progress import console
from segx_core.scores import pixel_accuracy
from segx_trainer import checkpoint, losses, plots
from segx_trainer.config import RUNTIME_KEYS, TrainConfig, build_config, read_yaml, to_yaml
from segx_trainer.describe import describe
from segx_trainer.device import Arithmetic, choose
from segx_trainer.interrupt import Interrupt
from segx_trainer.loading import Pictures, Plan, train_loader
from segx_trainer.networks import SegmentationNet, build_network
from segx_trainer.optimizer import build_optimizer
from segx_trainer.runlog import RunLog
from segx_trainer.schedule import factor
from segx_trainer.validate import validate
from segx_trainer.weights import load_encoder_weights

_LOG_EVERY = 10  # steps between records of the training loss
_DEFAULT_EPOCHS = 50
_LARGEST_DEFAULT_CROP = 512

Ending = Literal["finished", "until", "patience", "interrupted"]


@dataclass(frozen=True)
class TrainResult:
    """How a run ended."""

    run: Path
    miou: float
    """Best validation mIoU, a fraction; NaN if interrupted before the first validation."""
    per_class_iou: dict[str, float | None]
    step: int
    total_steps: int
    ending: Ending
    seconds: float


@dataclass
class State:
    """Everything that changes while a run trains, and that last.pt holds."""

    network: SegmentationNet
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    step: int = 0
    """Updates done."""
    best: float = -1.0
    best_step: int = 0
    best_scores: dict[str, float | None] | None = None
    stale: int = 0
    """Validations since the best one."""


def train(config: TrainConfig, run: Path, resume: bool = False) -> TrainResult:
    """Train one network into the folder `run`.

    Args:
        config: what to train; on resume it must agree with the run's own, RUNTIME_KEYS aside.
        run: the folder to write; made if absent, refused if it holds a run and `resume` is False.
        resume: continue from last.pt, bit for bit as if never interrupted (on the CPU).

    Raises:
        SegxError: anything a user can mend; what was written so far stays usable.
    """
    _make_folder(run)
    lock = filelock.FileLock(run / ".lock")
    try:
        with lock.acquire(timeout=0):
            return _train(config, run, resume)
    except filelock.Timeout:
        raise SetupError(
            f"{run} to myself", "another process training there", "Wait for it, or choose another --out."
        ) from None


def resumed_config(run: Path, overrides: dict[str, Any]) -> TrainConfig:
    """The config of an interrupted run, with `overrides` that may only touch RUNTIME_KEYS."""
    if not (run / checkpoint.LAST).is_file():
        raise ModelError(f"a run to resume in {run}", f"no {checkpoint.LAST} there", "Leave --resume out to start one.")
    saved = build_config(read_yaml(run / "config.yaml"))
    wanted = build_config({**saved.model_dump(exclude_none=True), **overrides})
    changed = [key for key, value in wanted if key not in RUNTIME_KEYS and value != getattr(saved, key)]
    if changed:
        key = changed[0]
        raise ConfigError(
            f"the run's own {key} ({getattr(saved, key)}) on --resume",
            str(getattr(wanted, key)),
            "Leave the option out, or start a new run with another --out.",
        )
    return wanted


def _train(config: TrainConfig, run: Path, resume: bool) -> TrainResult:
    if not resume and any((run / name).exists() for name in (checkpoint.LAST, checkpoint.BEST)):
        raise ConfigError("a new folder for --out", f"{run}, which holds a run", "Add --resume or name another folder.")
    began = time.monotonic()
    arithmetic = choose(config.device, config.amp)
    data = open_dataset(config.data)
    for note in data.notes:
        console().print(f"data: {note}")
    objective = losses.build(config.loss, len(data.classes), data.ignore_index).to(arithmetic.device)

    random.seed(config.seed)
    np.random.seed(config.seed)  # for libraries that draw from the global generator
    torch.manual_seed(config.seed)
    network = build_network(config, len(data.classes))
    if not resume:
        load_encoder_weights(network.encoder, config.encoder, config.encoder_weights)
    network = network.to(arithmetic.device).to(memory_format=torch.channels_last)
    optimizer = build_optimizer(network, config, fused=True)
    state = State(network, optimizer, torch.amp.GradScaler(arithmetic.device.type, enabled=arithmetic.scaled))
    if resume:
        _restore(state, checkpoint.read(run / checkpoint.LAST), data)

    training = Pictures(data, data.split("train"), config.cache, "train")
    held_out = Pictures(data, data.split("val"), config.cache, "val")
    plan = Plan(len(training), config.batch_size, config.seed)
    total = config.steps or (config.epochs or _DEFAULT_EPOCHS) * plan.steps_per_epoch
    size = config.size or _crop_size(training)
    if config.model == "deeplabv3plus" and plan.batch_size < 2:
        raise ConfigError("at least 2 pictures a batch for deeplabv3plus", f"{plan.batch_size}")
    atomic.write_text(run / "config.yaml", to_yaml(config))
    console().print(
        f"{config.model} with {config.encoder}: {sum(p.numel() for p in network.parameters()) / 1e6:.1f} M parameters, "
        f"{len(training)} pictures to train on in crops of {size[0]}x{size[1]}, {len(held_out)} to validate, "
        f"{total} steps on {arithmetic.device.type}"
    )
    with RunLog(run, total, state.step) as log, Interrupt() as stop:
        loader = train_loader(training, config, size, plan, state.step, total, pin=arithmetic.device.type == "cuda")
        ending = _fit(config, run, state, objective, arithmetic, loader, held_out, plan, total, log, stop, data)
    return TrainResult(
        run=run,
        miou=state.best if state.best >= 0 else float("nan"),
        per_class_iou=state.best_scores or {},
        step=state.step,
        total_steps=total,
        ending=ending,
        seconds=time.monotonic() - began,
    )


def _fit(
    config: TrainConfig,
    run: Path,
    state: State,
    objective: losses.CombinedLoss,
    arithmetic: Arithmetic,
    loader: Any,
    held_out: Pictures,
    plan: Plan,
    total: int,
    log: RunLog,
    stop: Interrupt,
    data: Dataset,
) -> Ending:
    network, optimizer, scaler, device = state.network, state.optimizer, state.scaler, arithmetic.device
    network.train()
    window = _Window()
    for images, targets in loader:  # (B, 3, h, w) uint8, (B, h, w) int64
        images = images.to(device, non_blocking=True, memory_format=torch.channels_last)
        targets = targets.to(device, non_blocking=True)
        rate = config.lr * factor(state.step, total, round(config.warmup * total), config.schedule)
        for group in optimizer.param_groups:
            group["lr"] = rate * group["factor"]

        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device.type, dtype=arithmetic.half, enabled=arithmetic.half is not None):
            logits = network(images)  # (B, K, h, w)
            loss = objective(logits, targets, losses.Context(network=network, step=state.step))
        scaler.scale(loss).backward()
        if config.clip > 0:
            scaler.unscale_(optimizer)
            torch.nn.utils.clip_grad_norm_(network.parameters(), config.clip)
        scaler.step(optimizer)
        scaler.update()
        state.step += 1
        window.add(len(images), loss.detach(), objective.values)

        last = state.step == total
        epoch_ends = state.step % plan.steps_per_epoch == 0
        if state.step % _LOG_EVERY == 0 or last or epoch_ends:
            mean, terms, speed = window.read()
            if not np.isfinite(mean):
                raise _diverged(mean, terms, state.step, rate, run)
            log.train(state.step, mean, terms, rate, speed)

        epoch = state.step / plan.steps_per_epoch
        if last or (epoch_ends and round(epoch) % config.validate_every == 0):
            improved = _check(state, held_out, device, plan.batch_size, data, log, epoch)
            if improved:
                _save_best(run, state, config, data, epoch)
            plots.draw_curves(run / "curves.png", log.records, data.classes, data.palette)
            plots.draw_preview(run / "preview.png", network, held_out, data.palette, device)
            window.restart()
        done: Ending | None = None
        if config.until is not None and state.best >= config.until:
            done = "until"
        elif config.patience is not None and state.stale >= config.patience:
            done = "patience"
        elif stop.requested and not last:
            done = "interrupted"
        if done or last or epoch_ends or state.step % config.save_every == 0:
            _save_last(run, state, config)
        if done:
            return done
    return "finished"


def _check(
    state: State, held_out: Pictures, device: torch.device, batch_size: int, data: Dataset, log: RunLog, epoch: float
) -> bool:
    """Validate, log, and say whether this is the best so far."""
    matrix = validate(state.network, held_out, device, batch_size)
    score = miou(matrix)
    each = _by_name(iou(matrix), data.classes)
    improved = score > state.best
    state.stale = 0 if improved else state.stale + 1
    if improved:
        state.best, state.best_step, state.best_scores = score, state.step, each
    scores = {"miou": score, "pixel_accuracy": pixel_accuracy(matrix), "per_class_iou": each}
    log.validation(state.step, epoch, scores, improved)
    return improved


def _by_name(values: NDArray[np.float64], classes: tuple[str, ...]) -> dict[str, float | None]:
    return {name: None if np.isnan(value) else float(value) for name, value in zip(classes, values, strict=True)}


class _Window:
    """Means over the steps since the last record, kept on the device so that a GPU never waits for them."""

    def __init__(self) -> None:
        self.loss: list[torch.Tensor] = []
        self.terms: dict[str, list[torch.Tensor]] = {}
        self.pictures = 0
        self.since = time.monotonic()

    def add(self, pictures: int, loss: torch.Tensor, terms: dict[str, torch.Tensor]) -> None:
        self.pictures += pictures
        self.loss.append(loss)
        for name, value in terms.items():
            self.terms.setdefault(name, []).append(value)

    def read(self) -> tuple[float, dict[str, float], float]:
        """Mean loss, mean of each term, pictures per second; then start anew."""
        mean = float(torch.stack(self.loss).mean())
        terms = {name: float(torch.stack(values).mean()) for name, values in self.terms.items()}
        speed = self.pictures / max(1e-9, time.monotonic() - self.since)
        self.loss, self.terms = [], {}
        self.restart()
        return mean, terms, speed

    def restart(self) -> None:
        """Forget the time that passed, so that a validation does not count as slow training."""
        self.pictures, self.since = 0, time.monotonic()


def _diverged(loss: float, terms: dict[str, float], step: int, rate: float, run: Path) -> SegxError:
    guilty = [name for name, value in terms.items() if not np.isfinite(value)]
    return ModelError(
        "a finite training loss",
        f"{loss} within the steps up to {step} (term {', '.join(guilty) or 'none alone'}, learning rate {rate:.2g})",
        f"Lower --lr, lengthen --set warmup, or tighten --set clip; the checkpoints in {run} are from before.",
    )


def _save_best(run: Path, state: State, config: TrainConfig, data: Dataset, epoch: float) -> None:
    card = describe(run.resolve().name, config, data, state.best, state.step, epoch)
    checkpoint.save(
        run / checkpoint.BEST,
        {
            "network": state.network.state_dict(),
            "card": card_io.to_json(card),
            "config": config.model_dump(mode="json", exclude_none=True),
            "step": state.step,
            "miou": state.best,
        },
    )
    card_io.save(card, run / card_io.CARD_FILE)


def _save_last(run: Path, state: State, config: TrainConfig) -> None:
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    checkpoint.save(
        run / checkpoint.LAST,
        {
            "network": state.network.state_dict(),
            "optimizer": state.optimizer.state_dict(),
            "scaler": state.scaler.state_dict(),
            "step": state.step,
            "best": state.best,
            "best_step": state.best_step,
            "best_scores": state.best_scores,
            "stale": state.stale,
            "torch_rng": torch.get_rng_state(),
            "cuda_rng": cuda,
            "config": config.model_dump(mode="json", exclude_none=True),
        },
    )


def _restore(state: State, saved: dict[str, Any], data: Dataset) -> None:
    state.network.load_state_dict(saved["network"])
    state.optimizer.load_state_dict(saved["optimizer"])
    state.scaler.load_state_dict(saved["scaler"])
    state.step, state.best, state.best_step = saved["step"], saved["best"], saved["best_step"]
    state.best_scores, state.stale = saved["best_scores"], saved["stale"]
    torch.set_rng_state(saved["torch_rng"])
    if saved["cuda_rng"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(saved["cuda_rng"])


def _crop_size(training: Pictures) -> tuple[int, int]:
    """The largest multiple of 32 inside the first picture, at most 512 a side, at least 32."""
    height, width = training[0][1].shape
    fit = [min(_LARGEST_DEFAULT_CROP, max(32, side // 32 * 32)) for side in (height, width)]
    return fit[0], fit[1]


def _make_folder(run: Path) -> None:
    try:
        run.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SetupError(
            f"to make the folder {run}", error.strerror or str(error), "Choose another --out or mend its permissions."
        ) from error
