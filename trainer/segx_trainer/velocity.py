"""The gradient of the last update, which the loss term `momentum` reads. Adds nothing to a gradient itself."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

Gradients = list[Tensor]
"""One tensor a parameter, in the order of `Velocity.pairs`."""


class Velocity:
    """v of every parameter: what its optimizer was last given as gradient, 0 before the first update.

    An optimizer that adds weight decay to the gradient (SGD, Adam; not AdamW) descends along gradient + decay * theta,
    so that sum is its total gradient and is what is kept: with SGD, decay and all, `momentum` is then SGD's own.

    Attributes:
        pairs: (parameter, its v).
    """

    def __init__(self, parameters: Iterable[nn.Parameter]) -> None:
        self.pairs: list[tuple[nn.Parameter, Tensor]] = [(each, torch.zeros_like(each.detach())) for each in parameters]

    def measure(self, optimizer: torch.optim.Optimizer) -> Gradients:
        """The total gradients as they stand, before the optimizer's step; gradients are kept, not copied."""
        decay: dict[nn.Parameter, float] = {}
        for group in optimizer.param_groups:
            coupled = not group.get("decoupled_weight_decay", False)
            decay.update(dict.fromkeys(group["params"], group["weight_decay"] if coupled else 0.0))
        found: Gradients = []
        for parameter, before in self.pairs:
            gradient = before if parameter.grad is None else parameter.grad
            rate = decay[parameter] if parameter.grad is not None else 0.0
            found.append(gradient.add(parameter.detach(), alpha=rate) if rate else gradient)
        return found

    def take(self, gradients: Gradients) -> None:
        """The update of these gradients happened."""
        self.pairs = [(parameter, new) for (parameter, _), new in zip(self.pairs, gradients, strict=True)]

    def state_dict(self) -> Gradients:
        """What `load_state_dict` takes back."""
        return [past for _, past in self.pairs]

    def load_state_dict(self, saved: Gradients) -> None:
        """Raises ValueError or RuntimeError where `saved` is of other parameters."""
        for (_, past), value in zip(self.pairs, saved, strict=True):
            past.copy_(value)
