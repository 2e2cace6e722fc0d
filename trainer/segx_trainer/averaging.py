"""A running average of a network's weights. Knows no optimizer and no schedule: whoever steps calls it afterwards."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor

from segx_trainer.networks import SegmentationNet


class Average:
    """The exponential moving average of a network (Polyak averaging; the teacher of arXiv:1703.01780).

    BatchNorm's running statistics are averaged like the weights, and not taken from the network or measured anew: those
    of the network belong to other weights than the averaged ones, and measuring would read the training data once more
    before every validation. Both halves then lag by the same number of updates. Integers (the count of batches seen)
    are copied.

    Attributes:
        network: the averaged network, in eval mode and without gradients.
        updates: how many were averaged so far.
    """

    def __init__(self, network: SegmentationNet, decay: float) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.decay = decay
        self.updates = 0

    def update(self, network: SegmentationNet) -> None:
        """Move the average towards `network` by 1 - min(decay, (1 + t) / (10 + t)), t the updates so far.

        The second factor forgets the random first weights soon, so that short runs are not dominated by them.
        """
        rest = 1.0 - min(self.decay, (1 + self.updates) / (10 + self.updates))
        theirs = network.state_dict()
        averaged: list[Tensor] = []
        current: list[Tensor] = []
        with torch.no_grad():
            for name, mine in self.network.state_dict().items():
                if mine.is_floating_point():
                    averaged.append(mine)
                    current.append(theirs[name])
                else:
                    mine.copy_(theirs[name])
            torch._foreach_lerp_(averaged, current, rest)
        self.updates += 1

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` takes back."""
        return {"network": self.network.state_dict(), "updates": self.updates}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Raises RuntimeError or KeyError where `saved` is of another network."""
        self.network.load_state_dict(saved["network"])
        self.updates = int(saved["updates"])
