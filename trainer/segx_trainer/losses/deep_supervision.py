"""Cross-entropy of a second, early answer of the network. The head that gives it is in auxiliary.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor

from segx_core.errors import ConfigError
from segx_trainer.losses.cross_entropy import CrossEntropy
from segx_trainer.losses.links import Link
from segx_trainer.losses.term import Context, Loss


class DeepSupervision(Loss):
    """`ce` of the auxiliary head's logits in the place of the network's (PSPNet, arXiv:1612.01105, weight 0.4).

    The network's own logits get no gradient from it; its encoder does, by a shorter way. Class weights and `smoothing`
    as for `ce`.
    """

    needs = frozenset({"aux_logits"})
    supervised: ClassVar[bool] = False  # alone it would leave the decoder as it was
    link: ClassVar[Link | None] = None  # its head is never served
    defaults: ClassVar[Mapping[str, float]] = CrossEntropy.defaults

    def __init__(
        self, num_classes: int, ignore_index: int = 255, class_weights: Tensor | None = None, smoothing: float = 0.0
    ) -> None:
        super().__init__(num_classes, ignore_index, class_weights)
        # Not a base class: its sums over pixels are of other logits than those that terms share.
        self.entropy = CrossEntropy(num_classes, ignore_index, class_weights, smoothing)

    def forward(self, logits: Tensor, target: Tensor, context: Context | None = None) -> Tensor:
        """See Loss.forward; needs `context.aux_logits` (B, K, H, W).

        Raises:
            ConfigError: no auxiliary logits.
            ValueError: shapes that do not fit.
        """
        self.check(logits, target)
        if context is None or context.aux_logits is None:
            raise ConfigError("the auxiliary head's logits in the context", "none", "'aux' is for `segx train`.")
        if context.aux_logits.shape != logits.shape:
            raise ValueError(f"expected auxiliary logits {tuple(logits.shape)}, got {tuple(context.aux_logits.shape)}")
        value: Tensor = self.entropy(context.aux_logits, target)
        return value
