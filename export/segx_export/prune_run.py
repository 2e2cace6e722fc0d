"""Prunes a finished run into a folder of its own: cuts, trains shortly, cuts again, then trains with a falling rate.

RUN/pruned-050/ is a run folder like any other (checkpoint.pt, card.json, config.yaml, metrics.jsonl, last.pt), with two
files more: pruning.json, what was asked for and found, and, until it ends, between.pt, the network after the latest
cut. Read `_prune` from top to bottom; which channels go is in prune.py, the last training is the trainer's own.
"""

from __future__ import annotations

import copy
import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from segx_core import atomic
from segx_core.confusion import miou
from segx_core.datasets import Dataset, open_dataset
from segx_core.errors import ConfigError, DataError, ModelError
from segx_core.progress import console, track
from segx_export.prune import prune
from segx_export.prune_cost import count_macs
from segx_export.prune_groups import find_groups
from segx_export.prune_importance import Batch, batch_norm_scale, taylor
from segx_export.prune_settings import PruneReport, PruneSettings
from segx_export.prune_time import time_both
from segx_trainer import checkpoint, losses
from segx_trainer.alone import alone_in
from segx_trainer.balance import build_objective, build_plan
from segx_trainer.checkpoint import LoadedRun, load_run
from segx_trainer.config import TrainConfig, build_config
from segx_trainer.device import Arithmetic, choose
from segx_trainer.interrupt import Interrupt
from segx_trainer.job import crop_size
from segx_trainer.loading import Pictures, Plan, train_loader
from segx_trainer.networks import SegmentationNet
from segx_trainer.optimizer import build_optimizer
from segx_trainer.schedule import factor
from segx_trainer.train import fine_tune
from segx_trainer.update import compute_loss, descend, set_rate
from segx_trainer.validate import validate
from segx_trainer.widths import take_widths

NOTES = "pruning.json"
BETWEEN = "between.pt"

_SHARE_OF_EPOCHS = 0.3  # of the run's own, where none are given
_LEAST_EPOCHS = 3
_SHARE_BETWEEN = 0.1  # of all steps, after each cut but the last
_SCORED_PICTURES = 64  # training pictures that importance is estimated on, before each cut
_DISTILLATION = " + kd + cwd"


@dataclass(frozen=True)
class Work:
    """What stays the same from the first cut to the last update."""

    folder: Path
    settings: PruneSettings
    config: TrainConfig
    """Of the last training; the short ones take its values, too."""
    data: Dataset
    pictures: Pictures
    size: tuple[int, int]
    teacher: SegmentationNet
    """The unpruned network, in eval mode."""
    arithmetic: Arithmetic
    between: int
    """Steps after each cut but the last."""


def prune_run(run: Path, settings: PruneSettings) -> PruneReport:
    """Prune the best weights of a run into RUN/pruned-NNN, or go on where an earlier call stopped.

    Args:
        run: a folder of `segx train`.
        settings: what to remove; they must be those of the earlier call.

    Raises:
        ConfigError: the folder holds a pruning with other settings; so much cannot be removed; no BatchNorm for 'bn'.
        ModelError: `run` is no run folder, or was trained further since.
        DataError: other classes than the run's, or nothing labelled to validate on.
        KeyboardInterrupt: stopped by Ctrl-C; the same call goes on.
    """
    loaded = load_run(run)
    if loaded.card.task == "multilabel":
        raise ConfigError("a multiclass run for --prune", "a multilabel one", "It distils by softmax.")
    folder = run / settings.folder
    atomic.make_folder(folder)
    with alone_in(folder):
        try:
            return _prune(run, folder, loaded, settings)
        except KeyboardInterrupt:
            _say("stopped; the same command goes on from here")
            raise


def _prune(run: Path, folder: Path, loaded: LoadedRun, settings: PruneSettings) -> PruneReport:
    began = time.monotonic()
    notes = _open_notes(folder, run, settings)
    if "found" in notes:
        _say(f"{folder} is pruned already; remove it to prune anew")
        return _report(folder, notes)
    work = prepare(folder, loaded, settings)
    if "before" not in notes:
        notes["before"] = _measure(work, loaded)
        _write_notes(folder, notes)
    network = _cut_in_rounds(work, notes["before"]["macs"])
    resume = (folder / checkpoint.LAST).is_file()
    result = fine_tune(work.config, folder, network, work.teacher, resume)
    notes["seconds"] = notes.get("seconds", 0.0) + time.monotonic() - began
    if result.ending == "interrupted":
        _write_notes(folder, notes)
        raise KeyboardInterrupt
    best = load_run(folder).network
    times = time_both(loaded.network, best, loaded.card, work.size)
    notes["found"] = {**_size(best, work.size), "miou": result.miou, "times": times, "size": list(work.size)}
    _write_notes(folder, notes)
    (folder / BETWEEN).unlink(missing_ok=True)
    return _report(folder, notes)


def _say(text: str) -> None:
    console().print(f"prune: {text}", markup=False, soft_wrap=True)


def _open_notes(folder: Path, run: Path, settings: PruneSettings) -> dict[str, Any]:
    """pruning.json of this folder, checked against what is asked for now; made if absent."""
    digest = hashlib.sha256((run / checkpoint.BEST).read_bytes()).hexdigest()
    path = folder / NOTES
    if not path.is_file():
        notes = {"settings": asdict(settings), "checkpoint_sha256": digest}
        _write_notes(folder, notes)
        return notes
    try:
        notes = json.loads(path.read_text(encoding="utf-8"))
        earlier = notes["settings"]
        source = notes["checkpoint_sha256"]
    except (ValueError, LookupError, TypeError) as error:
        raise ModelError("notes of a pruning", f"{path}, damaged", f"Remove {folder} to prune anew.") from error
    for key, value in asdict(settings).items():
        if earlier.get(key) != value:
            raise ConfigError(
                f"{key} = {earlier.get(key)}, with which {folder} was begun", str(value), "Remove it to prune anew."
            )
    if source != digest:
        raise ModelError(
            f"the checkpoint that {folder} was pruned from", "another one", f"Remove {folder} to prune anew."
        )
    return dict(notes)


def _write_notes(folder: Path, notes: dict[str, Any]) -> None:
    atomic.write_text(folder / NOTES, json.dumps(notes, indent=2) + "\n")


def prepare(folder: Path, loaded: LoadedRun, settings: PruneSettings) -> Work:
    """Open the data and settle how long to train."""
    config = loaded.config
    data = open_dataset(settings.data or config.data)
    if data.classes != loaded.card.classes:
        raise DataError(
            f"the run's classes: {', '.join(loaded.card.classes)}", ", ".join(data.classes), "Use other --data."
        )
    pictures = Pictures(data, data.split("train"), config.cache, "train")
    plan = Plan(len(pictures), config.batch_size, config.seed, config.accumulate)
    per_epoch = plan.samples // plan.batch_size  # batches, of which one of the last training's steps takes several
    taken = loaded.card.training.epochs if loaded.card.training else 0.0
    steps = (settings.epochs or max(_LEAST_EPOCHS, round(_SHARE_OF_EPOCHS * taken))) * per_epoch
    between = max(1, round(_SHARE_BETWEEN * steps))
    last = max(1, (steps - between * (settings.rounds - 1)) // plan.accumulate)
    distilled = settings.distill and "teacher_logits" not in losses.needs(config.loss)
    fine = build_config(
        {
            **config.model_dump(exclude_none=True, exclude={"epochs", "steps", "patience", "until", "progressive"}),
            "data": settings.data or config.data,
            "loss": config.loss + (_DISTILLATION if distilled else ""),
            "lr": config.lr * settings.lr_factor,
            "steps": last,
            "validate_every": max(1, round(last / plan.steps_per_epoch / 3)),
            "size": config.size or crop_size(pictures),
        }
    )
    assert fine.size is not None
    _say(
        f"{settings.rounds} cuts with {between} steps of training in between, then {last} steps; loss '{fine.loss}'; "
        f"all into {folder}"
    )
    arithmetic = choose(fine.device, fine.amp)
    teacher = copy.deepcopy(loaded.network).to(arithmetic.device).to(memory_format=torch.channels_last).eval()
    return Work(folder, settings, fine, data, pictures, fine.size, teacher, arithmetic, between)


def _size(network: SegmentationNet, size: tuple[int, int]) -> dict[str, int]:
    return {"macs": count_macs(network, size), "parameters": sum(p.numel() for p in network.parameters())}


def _measure(work: Work, loaded: LoadedRun) -> dict[str, Any]:
    """Size and mean IoU of the unpruned network; the run's own figure where the data are those of its training."""
    training = loaded.card.training
    score = training.val_miou if training and training.data_sha256 == work.data.fingerprint() else None
    if score is None:
        held_out = Pictures(work.data, work.data.split("val"), "never", "val")
        score = miou(validate(work.teacher, held_out, work.arithmetic.device, work.config.batch_size))
    if score != score:
        raise DataError("labelled pixels in the split 'val'", "only ignored ones", "Check its masks.")
    return {**_size(work.teacher, work.size), "miou": score}


def _cut_in_rounds(work: Work, macs: int) -> SegmentationNet:
    """Bring a copy of the teacher to its final widths, training between the cuts; between.pt keeps the latest."""
    network = copy.deepcopy(work.teacher)
    done = 0
    if (work.folder / BETWEEN).is_file():
        saved = checkpoint.read(work.folder / BETWEEN)
        take_widths(network, saved["network"])
        network.load_state_dict(saved["network"])
        network.pruned, done = True, int(saved["round"])
    for number in range(done + 1, work.settings.rounds + 1):
        left = round(macs * (1 - work.settings.amount * number / work.settings.rounds))
        label = f"cut {number} of {work.settings.rounds}"
        config = work.config.model_copy(update={"seed": work.config.seed + number})
        _cut(work, network, left, _batches(work, config), label)
        network = network.to(memory_format=torch.channels_last)
        if number < work.settings.rounds:
            _train_shortly(work, network, config, label)
        checkpoint.save(work.folder / BETWEEN, {"network": network.state_dict(), "round": number})
    return network


def _batches(work: Work, config: TrainConfig) -> Iterator[Batch]:
    """Training batches without end, in the order of the config's seed."""
    plan = build_plan(config, work.data, Plan(len(work.pictures), config.batch_size, config.seed))
    device = work.arithmetic.device
    loader = train_loader(work.pictures, config, work.size, plan, 0, 1 << 30, device.type == "cuda")
    for images, targets in loader:
        yield images.to(device, memory_format=torch.channels_last), targets.to(device)


def _cut(work: Work, network: SegmentationNet, macs: int, batches: Iterator[Batch], label: str) -> None:
    """Remove the least important channels until at most `macs` are left."""
    groups = find_groups(network.eval())
    scores: Any
    if work.settings.importance == "bn":
        scores = batch_norm_scale(network, groups)
    else:
        plain = work.config.model_copy(update={"loss": work.config.loss.removesuffix(_DISTILLATION)})
        whole = build_objective(plain, work.folder, work.data, resume=False)
        objective = whole.without_course().to(work.arithmetic.device)
        precise = Arithmetic(work.arithmetic.device, None)  # small gradients count here, and are not scaled
        count = max(1, _SCORED_PICTURES // work.config.batch_size)
        chosen = track(islice(batches, count), f"{label}: scoring channels", total=count, unit="batches")
        scores = taylor(
            network,
            groups,
            chosen,
            lambda net, batch: compute_loss(net, objective, precise, *batch, step=0, teacher=work.teacher),
        )
    left = prune(network, groups, scores, macs, work.size, work.teacher)
    _say(f"{label}: {left / 1e9:.3f} G multiply-adds left")


def _train_shortly(work: Work, network: SegmentationNet, config: TrainConfig, label: str) -> None:
    """A few steps at the full rate, so that the next cut sees weights that have settled."""
    arithmetic = work.arithmetic
    whole = build_objective(config, work.folder, work.data, resume=False)
    objective = whole.without_course().to(arithmetic.device)
    optimizer = build_optimizer(network, config, fused=True)
    scaler = torch.amp.GradScaler(arithmetic.device.type, enabled=arithmetic.scaled)
    network.train()
    with Interrupt() as stop:
        some = islice(_batches(work, config), work.between)
        for step, (images, targets) in enumerate(track(some, f"{label}: training", total=work.between, unit="steps")):
            set_rate(optimizer, config.lr * factor(step, work.between, work.between // 10, "constant"))
            loss = compute_loss(network, objective, arithmetic, images, targets, step, work.teacher)
            descend(loss, network, optimizer, scaler, config.clip)
            if stop.requested:
                raise KeyboardInterrupt
    if not bool(torch.isfinite(loss)):
        raise ModelError("a finite training loss", f"{loss.item()} after {label}", "Lower the pruning's lr_factor.")


def _report(folder: Path, notes: dict[str, Any]) -> PruneReport:
    before, found = notes["before"], notes["found"]
    return PruneReport(
        folder=folder,
        macs=(before["macs"], found["macs"]),
        parameters=(before["parameters"], found["parameters"]),
        miou=(before["miou"], found["miou"]),
        latency_ms=(found["times"][0], found["times"][1]),
        latency_size=(found["size"][0], found["size"][1]),
        seconds=notes["seconds"],
    )
