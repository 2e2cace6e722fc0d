"""From logits to probabilities: softmax, and two maps that give exact zeros. Knows nothing of losses or graphs."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Link = Literal["softmax", "sparsemax", "entmax15"]


def probabilities(link: Link, logits: Tensor) -> Tensor:
    """(B, K, ...) float logits -> probabilities over axis 1, of the same type."""
    match link:
        case "softmax":
            return logits.softmax(1)
        case "sparsemax":
            return sparsemax(logits)
        case "entmax15":
            return entmax15(logits)


def sparsemax(logits: Tensor) -> Tensor:
    """The point of the simplex nearest to the logits: max(z - tau, 0), over axis 1.

    Martins and Astudillo 2016, arXiv:1602.02068. tau is exact, from the sorted logits.
    """
    scores = _near(logits)
    sums = scores.sort(1, descending=True).values.cumsum(1)
    rank = _ranks(scores)
    taus = (sums - 1) / rank  # of a support of 1, 2, ... K classes
    # The largest of them is the right one: adding a class below tau only lowers it.
    return (scores - taus.amax(1, keepdim=True)).clamp(min=0)


def entmax15(logits: Tensor) -> Tensor:
    """1.5-entmax, between softmax and sparsemax: max(z / 2 - tau, 0)^2, over axis 1.

    Peters et al. 2019, arXiv:1905.05702. tau is exact, from the sorted logits.
    """
    scores = _near(logits / 2)
    ordered = scores.sort(1, descending=True).values
    rank = _ranks(scores)
    mean = ordered.cumsum(1) / rank
    spread = ordered.square().cumsum(1) / rank - mean.square()
    # Of a support of k classes tau solves sum (z - tau)^2 = 1 over its k largest; it is the last one that is not above
    # its own smallest class.
    taus = mean - ((1 - rank * spread) / rank).clamp(min=0).sqrt()
    support = (taus <= ordered).sum(1, keepdim=True)
    return (scores - taus.gather(1, support - 1)).clamp(min=0).square()


def _near(scores: Tensor) -> Tensor:
    """Scores over axis 1 with the largest at 0 and none below -1, where no tau lies: sums of them stay exact."""
    return (scores - scores.amax(1, keepdim=True)).clamp(min=-1)


def _ranks(scores: Tensor) -> Tensor:
    """1, 2, ... K along axis 1."""
    count = scores.shape[1]
    places = torch.arange(1, count + 1, device=scores.device, dtype=scores.dtype)
    return places.view(-1, *[1] * (scores.ndim - 2))
