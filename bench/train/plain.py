"""The plain loop: what one writes in an afternoon, to compare with. Same network, same weights to start from.

    python -m bench.train.plain --data DATA --encoder-weights FILE --cpu-minutes 60 --out OUT

PyTorch in the usual way: pictures decoded on every visit, random scale 0.5-2, crop, flip, cross-entropy, AdamW at a
constant 1e-3, batches of 8. It trains until it has spent its processor minutes; the time its validations take is not
counted against it. OUT/last and OUT/best are run folders that `segx export` takes; OUT/plain.json has the figures.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset
from torchvision import tv_tensors
from torchvision.transforms import v2

from segx_core import atomic
from segx_core.confusion import confusion, iou, miou
from segx_core.cv import cv2
from segx_core.datasets import Dataset, Sample, open_dataset
from segx_trainer.config import TrainConfig, build_config, read_yaml
from segx_trainer.describe import describe
from segx_trainer.networks import SegmentationNet, build_network
from segx_trainer.state import State, save_best
from segx_trainer.weights import load_encoder_weights

RECIPE = Path(__file__).with_name("camvid.yaml")
NETWORK_KEYS = ("model", "encoder", "encoder_depth", "decoder_channels", "dropout", "drop_path")
BATCH, RATE, SCALES = 8, 1e-3, (0.5, 2.0)


class Frames(TorchDataset[tuple[Tensor, Tensor]]):
    """Pictures and label maps, decoded whenever they are asked for."""

    def __init__(self, samples: Sequence[Sample], transform: v2.Transform) -> None:
        self.samples = samples
        self.transform = transform

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """(3, h, w) uint8 and (h, w) int64."""
        sample = self.samples[index]
        picture = cv2.cvtColor(decode(sample.image, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
        labels = decode(sample.mask, cv2.IMREAD_UNCHANGED)
        image, mask = self.transform(
            tv_tensors.Image(torch.from_numpy(picture).permute(2, 0, 1)), tv_tensors.Mask(torch.from_numpy(labels))
        )
        return image.as_subclass(Tensor), mask.as_subclass(Tensor).long()


def main() -> None:
    """Train, validate, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="with masks of class indices, such as CamVid")
    parser.add_argument("--encoder-weights", required=True, help="none, or a state dict")
    parser.add_argument("--cpu-minutes", type=float, required=True, help="processor minutes to train for")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--config", type=Path, default=RECIPE, help="names the network; the rest of it is not read")
    parser.add_argument("--validate-every", type=int, default=5, help="epochs between validations")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    random.seed(options.seed)
    np.random.seed(options.seed)
    torch.manual_seed(options.seed)
    data = open_dataset(options.data)
    config = settings(options)
    network = build_network(config, len(data.classes))
    load_encoder_weights(network.encoder, config.encoder, options.encoder_weights)
    height, width = decode(data.split("train")[0].image, cv2.IMREAD_COLOR).shape[:2]
    size = (height // 32 * 32, width // 32 * 32)
    transform = v2.Compose(
        [
            v2.ScaleJitter((height, width), SCALES),
            v2.RandomCrop(size, pad_if_needed=True, fill={tv_tensors.Image: 0, tv_tensors.Mask: data.ignore_index}),
            v2.RandomHorizontalFlip(),
        ]
    )
    loader = DataLoader(Frames(data.split("train"), transform), batch_size=BATCH, shuffle=True, drop_last=True)
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE)
    state = State(network, optimizer, torch.amp.GradScaler("cpu", enabled=False))

    def keep(name: str, epoch: float, score: float) -> None:
        """Save the weights as a run folder."""
        state.best = score
        card = describe(f"plain-{name}", config, data, network, score, state.step, epoch)
        save_best(options.out / name, state, config, card)

    history: list[dict[str, Any]] = []
    best, free = -1.0, 0.0  # free: processor seconds of validations
    stop_at = 60 * options.cpu_minutes
    for images, masks in forever(loader):
        loss = functional.cross_entropy(network(images), masks, ignore_index=data.ignore_index)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        state.step += 1

        spent = time.process_time() - free
        over = spent >= stop_at
        if over or state.step % (options.validate_every * len(loader)) == 0:
            began, epoch = time.process_time(), state.step / len(loader)
            matrix = count(network, data, data.split("val"))
            score = miou(matrix)
            history.append({"epoch": epoch, "cpu_minutes": spent / 60, "miou": score, "iou": named(matrix, data)})
            print(
                f"epoch {epoch:.1f}, {spent / 60:.1f} CPU-minutes, loss {loss.item():.3f}, mIoU {score:.4f}", flush=True
            )
            if score > best:
                best = score
                keep("best", epoch, score)
            if over:
                keep("last", epoch, score)
                break
            free += time.process_time() - began

    report = {
        "cpu_minutes": history[-1]["cpu_minutes"],
        "cpu_minutes_with_validations": time.process_time() / 60,
        "steps": state.step,
        "epochs": history[-1]["epoch"],
        "size": list(size),
        "last": history[-1],
        "best": max(history, key=lambda one: float(one["miou"])),
        "history": [{key: one[key] for key in ("epoch", "cpu_minutes", "miou")} for one in history],
    }
    atomic.write_text(options.out / "plain.json", json.dumps(report, indent=2) + "\n")


def settings(options: argparse.Namespace) -> TrainConfig:
    """The recipe's network with what the loop below does, as far as the record has words for it."""
    network = {key: value for key, value in read_yaml(options.config).items() if key in NETWORK_KEYS}
    how = {"loss": "ce", "optimizer": "adamw", "lr": RATE, "schedule": "constant", "warmup": 0, "clip": 0}
    seen = {"augment": "none", "scale": SCALES, "batch_size": BATCH, "seed": options.seed}
    return build_config({**network, **how, **seen, "data": options.data, "encoder_weights": options.encoder_weights})


def decode(path: Path, flags: int) -> NDArray[Any]:
    """A file's pixels as OpenCV gives them."""
    pixels = cv2.imread(str(path), flags)
    if pixels is None:
        raise SystemExit(f"expected a picture that OpenCV reads, got {path}")
    return pixels


def forever(loader: DataLoader[tuple[Tensor, Tensor]]) -> Iterator[tuple[Tensor, Tensor]]:
    """Epoch after epoch."""
    while True:
        yield from loader


def count(network: SegmentationNet, data: Dataset, samples: Sequence[Sample]) -> NDArray[np.int64]:
    """The confusion matrix (K, K) over whole pictures at full size, as every part of segx counts."""
    network.eval()
    total = np.zeros((len(data.classes), len(data.classes)), np.int64)
    with torch.inference_mode():
        for sample in samples:
            picture, target = data.read(sample)
            guess = network(torch.from_numpy(picture).permute(2, 0, 1)[None]).argmax(1)[0].numpy()
            total += confusion(target, guess, len(data.classes), data.ignore_index)
    network.train()
    return total


def named(matrix: NDArray[np.int64], data: Dataset) -> dict[str, float | None]:
    """IoU by class name, None where a class does not occur."""
    values = iou(matrix)
    return {name: None if np.isnan(one) else float(one) for name, one in zip(data.classes, values, strict=True)}


if __name__ == "__main__":
    main()
