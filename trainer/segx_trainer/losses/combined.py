"""A weighted sum of losses that keeps the value of every term for the log.

It can be taken apart into what belongs to a batch and what belongs to an update, because a loop that adds the gradients
of several batches must not add the second part as often.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from segx_core.errors import ConfigError
from segx_trainer.losses.momentum import Momentum
from segx_trainer.losses.sums import SummedLoss, sum_pixels
from segx_trainer.losses.term import Context, Loss

_COURSE = frozenset({"average_logits", "aux_logits", "velocity"})
_CURES = {
    "teacher_logits": "kd and cwd learn from a teacher: give one, or leave them out.",
    "average_logits": "ema_consistency needs the average of the weights: --set ema=0.999.",
    "aux_logits": "aux needs a head on the encoder, which `segx train` makes.",
    "velocity": "momentum needs the last update's gradient, which `segx train` keeps.",
}


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
        self.names = tuple(names)
        self.weights = tuple(weight for _, weight, _ in terms)
        self.terms = nn.ModuleList([loss for _, _, loss in terms])
        self.needs: frozenset[str] = frozenset().union(*(loss.needs for _, _, loss in terms))
        self.momentum: float = sum(weight * loss.mu for _, weight, loss in terms if isinstance(loss, Momentum))
        self.values: dict[str, Tensor] = {}

    def forward(self, logits: Tensor, target: Tensor, context: Context | None = None) -> Tensor:
        """Logits (B, K, H, W), target (B, H, W) int64 or soft (B, K, H, W) -> scalar.

        Raises:
            ConfigError: a term needs something of the context that is not there.
        """
        self._check(self.needs, context)
        total = self.of_batch(logits, target, context)
        values = self.values
        inertia = self.of_update(context)
        self.values = {label: {**values, **self.values}[label] for label in self.labels}
        return total if inertia is None else total + inertia

    def of_batch(self, logits: Tensor, target: Tensor, context: Context | None = None) -> Tensor:
        """The sum without momentum terms: what is logged as the loss, and what a run may stop on.

        Raises:
            ConfigError: a term needs something of the context that is not there.
        """
        chosen = [one for one in self._each() if not isinstance(one[2], Momentum)]
        self._check(frozenset().union(*(loss.needs for _, _, loss in chosen)), context)
        parts = _parts([loss for _, _, loss in chosen], logits, target, context)
        return self._sum([(label, weight, part) for (label, weight, _), part in zip(chosen, parts, strict=True)])

    def of_update(self, context: Context | None) -> Tensor | None:
        """The sum of momentum terms; None where there are none. Independent of any batch.

        Raises:
            ConfigError: there are, and the context has no velocity.
        """
        parts = [
            (label, weight, loss.inertia(context)) for label, weight, loss in self._each() if isinstance(loss, Momentum)
        ]
        self.values = {}
        return self._sum(parts) if parts else None

    def without_course(self) -> CombinedLoss:
        """The sum, sharing its terms, without those that need what only a whole training keeps: for shorter loops."""
        kept = [
            (name, weight, loss)
            for name, (_, weight, loss) in zip(self.names, self._each(), strict=True)
            if not loss.needs & _COURSE
        ]
        return CombinedLoss(kept)

    def _each(self) -> list[tuple[str, float, Loss]]:
        losses = [loss for loss in self.terms if isinstance(loss, Loss)]
        return list(zip(self.labels, self.weights, losses, strict=True))

    def _check(self, needs: frozenset[str], context: Context | None) -> None:
        missing = sorted(name for name in needs if context is None or getattr(context, name) is None)
        if missing:
            cure = " ".join(_CURES[name] for name in missing if name in _CURES)
            raise ConfigError(f"a context with {', '.join(missing)} for the loss", "none", cure)

    def _sum(self, parts: list[tuple[str, float, Tensor]]) -> Tensor:
        """The weighted sum; `values` becomes theirs."""
        self.values = {label: part.detach() for label, _, part in parts}
        _, weight, part = parts[0]
        total = part * weight
        for _, weight, part in parts[1:]:
            total = total + weight * part
        return total


def _parts(losses: list[Loss], logits: Tensor, target: Tensor, context: Context | None) -> list[Tensor]:
    summed = [loss for loss in losses if isinstance(loss, SummedLoss)]
    if len(summed) < 2 or len({loss.ignore_index for loss in summed}) > 1:
        return [loss(logits, target, context) for loss in losses]
    summed[0].check(logits, target)
    sums = sum_pixels(logits, target, summed[0].ignore_index, summed)
    return [loss.of(sums) if isinstance(loss, SummedLoss) else loss(logits, target, context) for loss in losses]
