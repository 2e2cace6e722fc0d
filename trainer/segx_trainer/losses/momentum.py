"""Momentum written as a loss: the last update's gradient as a linear term in the parameters.

It knows neither optimizer nor batch; who keeps the gradients, and when they count as taken, is velocity.py's business.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from segx_core.errors import ConfigError
from segx_trainer.losses.links import Link
from segx_trainer.losses.term import Context, Loss


class Momentum(Loss):
    """mu * <stopgrad(v), theta>, v the total gradient of the last update, 0 before the first.

    Its gradient is mu * v, so with plain gradient descent, theta -= lr * v_t with v_t = g_t + mu * v_(t-1), this is the
    heavy ball of Polyak (1964). It is unbounded below and says nothing about how well a network does: the training loop
    adds its gradient once an update, after the clip, and neither logs it as the loss nor stops on it. Being no
    criterion over pixels, it is the same whatever the logits are, also where nothing is valid.
    """

    defaults: ClassVar[Mapping[str, float]] = {"mu": 0.9}
    needs = frozenset({"velocity"})
    supervised: ClassVar[bool] = False
    link: ClassVar[Link | None] = None

    def __init__(
        self, num_classes: int, ignore_index: int = 255, class_weights: Tensor | None = None, mu: float = 0.9
    ) -> None:
        super().__init__(num_classes, ignore_index, class_weights)
        if not 0.0 <= mu < 1.0:
            raise ConfigError("mu of 'momentum' in [0, 1)", f"{mu}")
        self.mu = mu

    def forward(self, logits: Tensor, target: Tensor, context: Context | None = None) -> Tensor:
        """See Loss.forward; needs `context.velocity`."""
        self.check(logits, target)
        return self.inertia(context)

    def inertia(self, context: Context | None) -> Tensor:
        """The same without logits and target, neither of which it looks at.

        Raises:
            ConfigError: no velocity.
        """
        if context is None or context.velocity is None:
            raise ConfigError("the last update's gradient in the context", "none", "'momentum' is for `segx train`.")
        products = [(past.detach() * parameter).sum() for parameter, past in context.velocity]
        return torch.stack(products).sum() * self.mu if products else torch.zeros(())
