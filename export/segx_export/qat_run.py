"""Fine-tunes a run for int8 into RUN/qat/, a run folder that export takes like any other. The arithmetic is in qat.py.

It is short, so an interrupted one leaves nothing and begins anew. Whether int8 is good enough then, the gate says.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from segx_core import atomic
from segx_core.confusion import iou, miou
from segx_core.datasets import open_dataset
from segx_core.errors import ConfigError, DataError, ModelError
from segx_core.progress import console, track
from segx_export.qat import quantization_simulated
from segx_trainer import losses
from segx_trainer.alone import alone_in
from segx_trainer.balance import build_objective, build_plan, inherit
from segx_trainer.checkpoint import load_run
from segx_trainer.config import build_config, to_yaml
from segx_trainer.describe import describe
from segx_trainer.device import choose
from segx_trainer.interrupt import Interrupt
from segx_trainer.job import crop_size
from segx_trainer.loading import Pictures, Plan, train_loader
from segx_trainer.optimizer import build_optimizer
from segx_trainer.schedule import factor
from segx_trainer.state import State, save_best
from segx_trainer.update import compute_loss, descend, set_rate
from segx_trainer.validate import validate

FOLDER = "qat"
_LR_FACTOR = 0.05  # of the run's: weights move within a few steps of their grid, not to another place
_SETTLE = 0.5  # of all steps; then the ranges of activations stay, so that the weights adapt to fixed grids
_DISTILLATION = " + kd + cwd"


@dataclass(frozen=True)
class QatReport:
    """What quantization-aware training left: float weights, scored in float."""

    folder: Path
    miou: tuple[float, float]
    """torch's own on the held-out split, of the float network before and after; fractions."""
    simulated_miou: float
    """The same of the network on int8 grids, after: what int8 may reach."""

    @property
    def drop(self) -> float:
        """Loss of mean IoU of the float network, points; may well be below 0."""
        return (self.miou[0] - self.miou[1]) * 100


def qat_run(run: Path, steps: int, data: str | None = None, split: str = "val") -> QatReport:
    """Fine-tune the best weights of a run so that they bear int8.

    Args:
        run: a folder of `segx train`, or one that was pruned.
        steps: updates to take.
        data: None for what the run was trained on.
        split: held-out pictures to score on.

    Raises:
        ConfigError: no step to take.
        ModelError: `run` is no run folder, or the loss is no longer finite.
        DataError: other classes than the run's, or nothing labelled to score on.
        KeyboardInterrupt: stopped by Ctrl-C; nothing is left.
    """
    if steps < 1:
        raise ConfigError("--qat-steps of at least 1", str(steps))
    loaded = load_run(run)
    if loaded.card.task == "multilabel":
        raise ConfigError("a multiclass run for --qat-steps", "a multilabel one", "It distils by softmax.")
    dataset = open_dataset(data or loaded.config.data)
    if dataset.classes != loaded.card.classes:
        raise DataError(
            f"the run's classes: {', '.join(loaded.card.classes)}", ", ".join(dataset.classes), "Use other --data."
        )
    pictures = Pictures(dataset, dataset.split("train"), loaded.config.cache, "train")
    held_out = Pictures(dataset, dataset.split(split), loaded.config.cache, split)
    values = loaded.config.model_dump(
        exclude_none=True, exclude={"epochs", "steps", "patience", "until", "progressive"}
    )
    distilled = "teacher_logits" in losses.needs(loaded.config.loss)
    values |= {"loss": loaded.config.loss + ("" if distilled else _DISTILLATION), "lr": loaded.config.lr * _LR_FACTOR}
    config = build_config({**values, "data": data or loaded.config.data, "steps": steps, "amp": "fp32"})
    arithmetic = choose(config.device, config.amp)  # full precision, because the grids are that of float32

    torch.manual_seed(config.seed)
    teacher = copy.deepcopy(loaded.network).to(arithmetic.device).eval()
    network = copy.deepcopy(teacher)  # stays in eval mode: BatchNorm is the fixed factor it will be in the file
    folder = run / FOLDER
    atomic.make_folder(folder)
    inherit(run, folder)
    objective = build_objective(config, folder, dataset, settled=True).without_course().to(arithmetic.device)
    plan = build_plan(config, dataset, Plan(len(pictures), config.batch_size, config.seed))
    size = config.size or crop_size(pictures)
    before = miou(validate(teacher, held_out, arithmetic.device, config.batch_size))
    if np.isnan(before):
        raise DataError(f"labelled pixels in the split '{split}'", "only ignored ones", "Check its masks.")
    with alone_in(folder), Interrupt() as stop:
        with quantization_simulated(network) as grids:
            optimizer = build_optimizer(network, config, fused=False)
            scaler = torch.amp.GradScaler(arithmetic.device.type, enabled=False)
            pin = arithmetic.device.type == "cuda"
            loader = islice(train_loader(pictures, config, size, plan, 0, steps, pin), steps)
            for step, (images, targets) in enumerate(track(loader, "training for int8", total=steps, unit="steps")):
                set_rate(optimizer, config.lr * factor(step, steps, round(config.warmup * steps), "cosine"))
                for grid in grids:
                    grid.observing = step < _SETTLE * steps
                images, targets = images.to(arithmetic.device), targets.to(arithmetic.device)
                loss = compute_loss(network, objective, arithmetic, images, targets, step, teacher)
                descend(loss, network, optimizer, scaler, config.clip)
                if stop.requested:
                    console().print("qat: stopped; the same command begins anew", markup=False)
                    raise KeyboardInterrupt
            if not bool(torch.isfinite(loss)):
                raise ModelError("a finite training loss", f"{loss.item()} after {steps} steps", "Take fewer steps.")
            for grid in grids:
                grid.observing = False
            simulated = miou(validate(network, held_out, arithmetic.device, config.batch_size))
        matrix = validate(network, held_out, arithmetic.device, config.batch_size)
        by_class = dict(zip(dataset.classes, [None if np.isnan(v) else float(v) for v in iou(matrix)], strict=True))
        state = State(network, optimizer, scaler, steps, miou(matrix), by_class)
        epoch = steps / plan.steps_per_epoch
        card = describe(folder.name, config, dataset, network, state.best, steps, epoch)
        save_best(folder, state, config, card)
        atomic.write_text(folder / "config.yaml", to_yaml(config))
    console().print(
        f"qat: mean IoU {before:.4f} in float before, {state.best:.4f} after, {simulated:.4f} on int8 grids",
        markup=False,
        soft_wrap=True,
    )
    return QatReport(folder, (before, state.best), simulated)
