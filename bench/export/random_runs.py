"""Run folders of the bench's networks with random weights: as slow as trained ones, and of no quality at all.

    python -m bench.export.random_runs FOLDER --data DATA

For trying the bench, or for its times alone, where nothing has been trained.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from segx_core.datasets import open_dataset
from segx_trainer.config import TrainConfig
from segx_trainer.describe import describe
from segx_trainer.networks import build_network
from segx_trainer.state import State, save_best

CONFIGS: dict[str, dict[str, str | int]] = {
    "unet": {"model": "unet", "encoder": "resnet18"},
    "segformer": {"model": "segformer", "encoder": "pvt_v2_b0"},
    "fpn": {"model": "fpn", "encoder": "mobilenet_v2", "decoder_channels": 128},
}
"""The three networks; train them with `segx train --model ... --encoder ...`."""


def main() -> None:
    """Write one run folder each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--data", required=True)
    options = parser.parse_args()
    data = open_dataset(options.data)
    for name, choice in CONFIGS.items():
        torch.manual_seed(0)
        config = TrainConfig.model_validate({"data": options.data, "encoder_weights": "none", **choice})
        network = build_network(config, len(data.classes)).train()
        with torch.no_grad():
            for _ in range(3):  # so that BatchNorm has statistics
                network(torch.randint(0, 256, (4, 3, 128, 128), dtype=torch.uint8))
        run = options.folder / name
        run.mkdir(parents=True, exist_ok=True)
        state = State(
            network, torch.optim.SGD(network.parameters(), lr=0.1), torch.amp.GradScaler("cpu", enabled=False)
        )
        save_best(run, state, config, describe(name, config, data, network, 0.0, 0, 0.0))


if __name__ == "__main__":
    main()
