"""A weighted sum of losses that keeps the value of every term for the log."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from segx_core.errors import ConfigError
from segx_trainer.losses.sums import SummedLoss, sum_pixels
from segx_trainer.losses.term import Context, Loss


class CombinedLoss(nn.Module):
    """sum_i w_i * L_i(logits, target). `values` holds each unweighted L_i of the last call, detached.

    Terms that need no more than sums over the pixels (ce, dice and their like) share one pass over the logits.
    """

    def __init__(self, terms: Sequence[tuple[str, float, Loss]]) -> None:
        super().__init__()
        names = [name for name, _, _ in terms]
        # The second "ce" of a sum is logged as "ce_2", not over the first.
        self.labels = tuple(
            name if names[:place].count(name) == 0 else f"{name}_{names[:place].count(name) + 1}"
            for place, name in enumerate(names)
        )
        self.weights = tuple(weight for _, weight, _ in terms)
        self.terms = nn.ModuleList([loss for _, _, loss in terms])
        self.needs: frozenset[str] = frozenset().union(*(loss.needs for _, _, loss in terms))
        self.values: dict[str, Tensor] = {}

    def forward(self, logits: Tensor, target: Tensor, context: Context | None = None) -> Tensor:
        """Logits (B, K, H, W), target (B, H, W) int64 or soft (B, K, H, W) -> scalar.

        Raises:
            ConfigError: a term needs something of the context that is not there.
        """
        missing = sorted(name for name in self.needs if context is None or getattr(context, name) is None)
        if missing:
            cure = (
                "kd and cwd learn from a teacher: give one, or leave them out." if "teacher_logits" in missing else ""
            )
            raise ConfigError(f"a context with {', '.join(missing)} for the loss", "none", cure)
        parts = self._parts(logits, target, context)
        self.values = {name: part.detach() for name, part in zip(self.labels, parts, strict=True)}
        total = parts[0] * self.weights[0]
        for weight, part in zip(self.weights[1:], parts[1:], strict=True):
            total = total + weight * part
        return total

    def _parts(self, logits: Tensor, target: Tensor, context: Context | None) -> list[Tensor]:
        summed = [loss for loss in self.terms if isinstance(loss, SummedLoss)]
        if len(summed) < 2 or len({loss.ignore_index for loss in summed}) > 1:
            return [loss(logits, target, context) for loss in self.terms]
        summed[0].check(logits, target)
        sums = sum_pixels(logits, target, summed[0].ignore_index, summed)
        return [loss.of(sums) if isinstance(loss, SummedLoss) else loss(logits, target, context) for loss in self.terms]
