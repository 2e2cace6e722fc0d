"""One contestant of speed.py: reads a number of steps a line, trains them, answers with pictures a second.

segx is what `segx train` does between two validations; plain is the loop of plain.py with the same network, batch,
crop, zoom, flip, optimizer and loss. Both start from random weights.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import torch
from torch.utils.data import DataLoader
from torchvision import tv_tensors
from torchvision.transforms import v2

from bench.train import losses as contestants
from bench.train.plain import RATE, SCALES, Frames, forever
from segx_core.datasets import open_dataset
from segx_trainer import losses
from segx_trainer.config import build_config
from segx_trainer.device import choose
from segx_trainer.job import plan_job
from segx_trainer.loading import train_loader
from segx_trainer.networks import build_network
from segx_trainer.state import begin
from segx_trainer.update import update

SIZE, BATCH = (352, 480), 8
FLIPS = {"flip": 0.5}
_WARM = 3  # steps


def main() -> None:
    """Warm up, say so, then serve turns until the input ends."""
    settings: dict[str, Any] = json.loads(sys.argv[1])
    way, loaders, threads = settings.pop("way"), settings.pop("loaders", None), settings.pop("threads", None)
    if threads is not None:
        torch.set_num_threads(threads)
    torch.manual_seed(0)
    steps = segx(settings) if way == "segx" else plain(settings, loaders)
    answer(run(steps, _WARM))
    for line in sys.stdin:
        answer(run(steps, int(line)))


def segx(settings: dict[str, Any]) -> Iterator[None]:
    """Steps of segx's loop."""
    config = build_config(
        {
            **settings, "encoder_weights": "none", "size": SIZE, "batch_size": BATCH, "scale": SCALES, "lr": RATE,
            "augment": FLIPS, "schedule": "constant", "warmup": 0, "clip": 0, "device": "cpu", "epochs": 1000,
        }
    )  # fmt: skip
    data = open_dataset(config.data)
    network = build_network(config, len(data.classes)).to(memory_format=torch.channels_last).train()
    objective, arithmetic = losses.build(config.loss, len(data.classes), data.ignore_index), choose("cpu", "fp32")
    job = plan_job(config, Path(), data, objective, arithmetic, None)
    state = begin(network, config, objective, arithmetic)
    for images, targets in train_loader(job.training, config, SIZE, job.plan, 0, job.total, pin=False):
        update(state, objective, arithmetic, images, targets, 1, config.clip, job.total)
        yield


def plain(settings: dict[str, Any], loaders: int) -> Iterator[None]:
    """Steps of the plain loop."""
    config = build_config({**settings, "encoder_weights": "none"})
    data = open_dataset(config.data)
    network = build_network(config, len(data.classes)).train()
    samples = data.split("train")
    height, width = data.read(samples[0])[1].shape
    transform = v2.Compose(
        [
            v2.ScaleJitter((height, width), SCALES),
            v2.RandomCrop(SIZE, pad_if_needed=True, fill={tv_tensors.Image: 0, tv_tensors.Mask: data.ignore_index}),
            v2.RandomHorizontalFlip(),
        ]
    )
    objective = contestants.plain() if "dice" in config.loss else contestants.plain_ce()
    loader = DataLoader(Frames(samples, transform), batch_size=BATCH, shuffle=True, drop_last=True, num_workers=loaders)
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE)
    for images, masks in forever(loader):
        loss = objective(network(images), masks)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        yield


def run(steps: Iterator[None], count: int) -> dict[str, float]:
    """Pictures a second of `count` steps, by the clock and by the processor time of this process and its children."""
    began, spent = time.monotonic(), processor_seconds()
    for _ in range(count):
        next(steps)
    pictures = count * BATCH
    return {"wall": pictures / (time.monotonic() - began), "cpu": pictures / (processor_seconds() - spent)}


def processor_seconds() -> float:
    """Of this process and all that live below it."""
    here = psutil.Process()
    return sum(sum(one.cpu_times()[:2]) for one in (here, *here.children(recursive=True)))


def answer(found: dict[str, float]) -> None:
    """One line of JSON."""
    sys.stdout.write(json.dumps(found) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
