"""The training of one run, from a config to a run folder. The loop is `_fit`; read it from top to bottom.

`train` makes its network from the config; `fine_tune` takes one that is there, and a teacher to learn from. Knows
nothing of export or serving, and nothing of the command line.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from segx_core import atomic
from segx_core.confusion import iou, miou
from segx_core.datasets import Dataset, open_dataset
from segx_core.errors import ConfigError, DataError, ModelError
from segx_core.progress import console
from segx_core.scores import pixel_accuracy
from segx_trainer import checkpoint, compiled, plots, starting
from segx_trainer.alone import alone_in
from segx_trainer.balance import FILE as CLASS_WEIGHTS
from segx_trainer.balance import build_objective
from segx_trainer.compiled import Forward
from segx_trainer.config import RUNTIME_KEYS, TrainConfig, build_config, read_yaml, to_yaml
from segx_trainer.describe import describe
from segx_trainer.deterministic import deterministic
from segx_trainer.device import choose
from segx_trainer.diagnosis import broken_weights, diverged
from segx_trainer.interrupt import Interrupt
from segx_trainer.job import Job, plan_job
from segx_trainer.loading import train_loader
from segx_trainer.networks import SegmentationNet, build_network
from segx_trainer.progressive import Growth
from segx_trainer.runlog import RunLog
from segx_trainer.schedule import factor
from segx_trainer.sheet import draw_sheet, write_sheet
from segx_trainer.state import State, begin, restore, save_best, save_last
from segx_trainer.teacher import open_teacher
from segx_trainer.trackers import open_trackers
from segx_trainer.update import set_rate, update
from segx_trainer.validate import validate
from segx_trainer.window import Window

_LOG_EVERY = 10  # steps between records of the training loss

Loader = Iterable[tuple[torch.Tensor, torch.Tensor]]
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


def train(config: TrainConfig, run: Path, resume: bool = False) -> TrainResult:
    """Train one network into the folder `run`.

    Args:
        config: what to train; on resume it must agree with the run's own, RUNTIME_KEYS aside.
        run: the folder to write; made if absent, refused if it holds a run and `resume` is False.
        resume: continue from last.pt, bit for bit as if never interrupted (on the CPU).

    Raises:
        SegxError: anything a user can mend; what was written so far stays usable.
    """
    atomic.make_folder(run)
    with alone_in(run):
        atomic.remove_leftovers(run)
        return _train(config, run, resume)


def fine_tune(
    config: TrainConfig,
    run: Path,
    network: SegmentationNet,
    teacher: nn.Module | None = None,
    resume: bool = False,
) -> TrainResult:
    """Train a network that is there, from the weights it has, into the folder `run`.

    Args:
        config: how to train; what it says of the network itself must be true of `network`, widths aside.
        run: as for `train`. The caller holds the folder with `alone_in`; class weights that lie in it are taken.
        network: trained in place.
        teacher: its logits stand in the loss's context; its classes must be the network's.
        resume: continue from last.pt; `network` then only lends its shape.

    Raises:
        ConfigError: the loss needs a teacher and none is given.
        SegxError: as `train`.
    """
    _check_folder(run, resume)
    _seed(config)
    settled = resume or (run / CLASS_WEIGHTS).is_file()
    return _train_network(config, run, open_dataset(config.data), network, teacher, resume, settled)


def resumed_config(run: Path, overrides: dict[str, Any]) -> TrainConfig:
    """The config of an interrupted run, with `overrides` that may only touch RUNTIME_KEYS."""
    if not (run / checkpoint.LAST).is_file():
        raise ModelError(f"a run to resume in {run}", f"no {checkpoint.LAST} there", "Leave --resume out to start one.")
    saved = build_config(read_yaml(run / "config.yaml"))
    wanted = build_config({**saved.model_dump(exclude_none=True), **starting.as_settled(saved, overrides)})
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
    _check_folder(run, resume)
    choose(config.device, config.amp)  # says that there is no GPU before data are read
    data = open_dataset(config.data)
    config = config if resume else starting.settle(config, data)
    _seed(config)
    network = build_network(config, len(data.classes))
    if not resume:
        starting.fill(network, config, data)
    return _train_network(config, run, data, network, open_teacher(config, data), resume, settled=resume)


def _seed(config: TrainConfig) -> None:
    random.seed(config.seed)
    np.random.seed(config.seed)  # for libraries that draw from the global generator
    torch.manual_seed(config.seed)


def _check_folder(run: Path, resume: bool) -> None:
    if not resume and any((run / name).exists() for name in (checkpoint.LAST, checkpoint.BEST)):
        raise ConfigError("a new folder for --out", f"{run}, which holds a run", "Add --resume or name another folder.")


def _train_network(
    config: TrainConfig,
    run: Path,
    data: Dataset,
    network: SegmentationNet,
    teacher: nn.Module | None,
    resume: bool,
    settled: bool,
) -> TrainResult:
    began = time.monotonic()
    arithmetic = choose(config.device, config.amp)
    for note in data.notes:
        console().print(f"data: {note}")
    objective = build_objective(config, run, data, settled).to(arithmetic.device)
    if teacher is None and "teacher_logits" in objective.needs:
        raise ConfigError("a teacher for the kd and cwd terms of the loss", "none", f"The loss is '{config.loss}'.")
    network = network.to(arithmetic.device).to(memory_format=torch.channels_last)
    if teacher is not None:
        teacher = teacher.to(arithmetic.device).to(memory_format=torch.channels_last).eval()
    state = begin(network, config, objective, arithmetic)
    if resume:
        restore(state, run / checkpoint.LAST, data.fingerprint())
    job = plan_job(config, run, data, objective, arithmetic, teacher)
    atomic.write_text(run / "config.yaml", to_yaml(config))
    console().print(
        f"{config.model} with {config.encoder}: {sum(p.numel() for p in network.parameters()) / 1e6:.1f} M parameters, "
        f"{len(job.training)} pictures to train on in crops of {job.size[0]}x{job.size[1]}, {len(job.held_out)} to "
        f"validate, {job.total} steps on {arithmetic.device.type}"
    )
    if not resume:
        write_sheet(run / "augment.png", draw_sheet(job.training, config.augment, job.size, config.seed, config.scale))
    pin = arithmetic.device.type == "cuda"
    work = Growth(job.size, job.total, *(config.progressive or ())).pixels()
    trackers = open_trackers(config.trackers, run, config.model_dump(mode="json"))
    with (
        deterministic(config.deterministic),
        compiled.chosen(config.compile) as forward,
        RunLog(run, job.total, state.step, work, trackers) as log,
        Interrupt() as stop,
        closing(train_loader(job.training, config, job.size, job.plan, state.step, job.total, pin)) as loader,
    ):
        ending = _fit(job, state, loader, forward, log, stop)
    for pictures in (job.training, job.held_out):
        if pictures.told:
            console().print(f"{pictures.label}: {len(pictures.told)} of {len(pictures)} samples could not be read")
    return TrainResult(
        run=run,
        miou=state.best if state.best >= 0 else float("nan"),
        per_class_iou=state.best_scores or {},
        step=state.step,
        total_steps=job.total,
        ending=ending,
        seconds=time.monotonic() - began,
    )


def _fit(job: Job, state: State, loader: Loader, forward: Forward, log: RunLog, stop: Interrupt) -> Ending:
    config, plan, total, arithmetic, parts = job.config, job.plan, job.total, job.arithmetic, job.plan.accumulate
    state.network.train()
    window = Window()
    if ended := _reached(config, state):  # a resumed run that was over already
        return ended
    for images, targets in loader:  # (B, 3, h, w) uint8, (B, h, w) int64 indices or bit fields
        rate = config.lr * factor(state.step, total, round(config.warmup * total), config.schedule)
        set_rate(state.optimizer, rate)

        clip, teacher = config.clip, job.teacher
        taken = update(state, job.objective, arithmetic, images, targets, parts, clip, total, teacher, forward)
        if taken.broken:
            raise diverged(taken.broken, state.step + 1, rate, job.run)
        window.add(len(images), taken)

        last = state.step == total
        epoch_ends = state.step % plan.steps_per_epoch == 0
        saving = last or epoch_ends or stop.requested or state.step % config.save_every == 0
        if saving or state.step % _LOG_EVERY == 0:  # before saving, so that a broken state is never written
            if found := window.broken():
                raise diverged(found[1], state.step - found[0], rate, job.run)
            if saving and (what := broken_weights(state.network)):
                raise diverged(what, state.step, rate, job.run)
            mean, terms, speed = window.read()
            log.train(state.step, mean, terms, rate, speed, state.skipped)
            log.unreadable(state.step, job.training)

        epoch = state.step / plan.steps_per_epoch
        if last or (epoch_ends and round(epoch) % config.validate_every == 0):
            if _check(job, state, log, epoch):
                card = describe(job.run.resolve().name, config, job.data, state.network, state.best, state.step, epoch)
                save_best(job.run, state, config, card)
            plots.draw_curves(job.run / "curves.png", log.records, job.data.classes, job.data.palette)
            plots.draw_preview(job.run / "preview.png", state.deployed, job.held_out, arithmetic.device)
            window.restart()
        done = _reached(config, state) or ("interrupted" if stop.requested and not last else None)
        if done or saving:
            save_last(job.run, state, config, job.data_sha256)
        if done:
            return done
    return "finished"


def _reached(config: TrainConfig, state: State) -> Ending | None:
    """Whether the last validation was to be the last one."""
    if config.until is not None and state.best >= config.until:
        return "until"
    return "patience" if config.patience is not None and state.stale >= config.patience else None


def _check(job: Job, state: State, log: RunLog, epoch: float) -> bool:
    """Validate, log, and say whether this is the best so far."""
    matrix = validate(state.deployed, job.held_out, job.arithmetic.device, job.plan.batch_size)
    log.unreadable(state.step, job.held_out)
    score = miou(matrix)
    if np.isnan(score):
        raise DataError("labelled pixels in the split 'val'", "only ignored ones", "Check its masks.")
    each = _by_name(iou(matrix), job.data.classes)
    improved = score > state.best
    state.stale = 0 if improved else state.stale + 1
    if improved:
        state.best, state.best_scores = score, each
    scores = {"miou": score, "pixel_accuracy": pixel_accuracy(matrix), "per_class_iou": each}
    log.validation(state.step, epoch, scores, improved)
    return improved


def _by_name(values: NDArray[np.float64], classes: tuple[str, ...]) -> dict[str, float | None]:
    return {name: None if np.isnan(value) else float(value) for name, value in zip(classes, values, strict=True)}
