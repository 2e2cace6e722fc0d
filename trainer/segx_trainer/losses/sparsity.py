"""L1 on the scales of BatchNorms, so that channels which matter little fade and can be pruned. Prunes nothing."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from segx_core.errors import ConfigError
from segx_trainer.losses.links import Link
from segx_trainer.losses.term import Context, Loss


class BatchNormL1(Loss):
    """sum |gamma| over the scales of every BatchNorm of the network.

    Network slimming (Liu et al. 2017, arXiv:1708.06519), where its weight is 1e-5 to 1e-4. The gradient of a scale is
    its sign, and 0 at 0. It looks at weights alone: the same whatever the batch holds.
    """

    needs = frozenset({"network"})
    supervised: ClassVar[bool] = False
    link: ClassVar[Link | None] = None

    def __init__(self, num_classes: int, ignore_index: int = 255, class_weights: Tensor | None = None) -> None:
        super().__init__(num_classes, ignore_index, class_weights)

    def forward(self, logits: Tensor, target: Tensor, context: Context | None = None) -> Tensor:
        """See Loss.forward; needs `context.network`.

        Raises:
            ConfigError: no network, or one without BatchNorms.
        """
        self.check(logits, target)
        if context is None or context.network is None:
            raise ConfigError("the network in the context", "none", "'l1_bn' looks at its BatchNorms.")
        norms = [module for module in context.network.modules() if isinstance(module, _BatchNorm) and module.affine]
        if not norms:
            raise ConfigError("a network with BatchNorms for 'l1_bn'", "one without any", "Leave 'l1_bn' out.")
        return torch.stack([norm.weight.abs().sum() for norm in norms]).sum()
