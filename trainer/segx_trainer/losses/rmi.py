"""Region mutual information: whether the answer's little patches tell the target's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from segx_core.errors import ConfigError
from segx_trainer.losses.shape import Planes, ShapeLoss

SIDE = 3
"""Cells along a patch; the paper's radius."""
RIDGE = 1e-6
"""Added to the diagonal of the covariances, which are singular where a class is drawn with straight edges."""


class RegionMutualInformation(ShapeLoss):
    """mean_c 1/(2d) log det(I + M_c / ridge), M = cov(Y) - cov(Y, Q) (cov(Q) + ridge I)^-1 cov(Q, Y).

    Zhao et al. 2019, arXiv:1910.12037: Y and Q are the d = 9 values of 3x3 patches of target and softmax, after both
    were averaged over blocks of `stride` pixels; M is what is left of Y when Q is known. Without the paper's
    cross-entropy, on softmax instead of sigmoid, covariances over the whole batch, and shifted by the constant
    log det(ridge I), which makes 0 the least. Blocks and patches with an ignored pixel are left out.

    An answer and its negative tell the same, so it must stand beside a loss of pixels.
    """

    defaults: ClassVar[Mapping[str, float]] = {"stride": 3.0}

    def __init__(
        self, num_classes: int, ignore_index: int = 255, class_weights: Tensor | None = None, stride: float = 3.0
    ) -> None:
        super().__init__(num_classes, ignore_index, class_weights)
        if not (stride >= 1 and stride == int(stride)):
            raise ConfigError("a whole number of pixels of at least 1 as the stride of 'rmi'", f"{stride}")
        self.stride = int(stride)

    def each(self, planes: Planes) -> tuple[Tensor, Tensor]:
        """See ShapeLoss.each."""
        height, width = (side // self.stride for side in planes.valid.shape[1:])
        whole = (
            _blocks(planes.valid.unsqueeze(1).to(planes.share.dtype), self.stride) == 1 if height and width else None
        )
        kept = None if whole is None or min(height, width) < SIDE else _patches(whole.double()).amin(dim=(0, 1)) == 1
        if kept is None or not len(planes.classes) or not kept.any():
            values = planes.share.sum(dim=(0, 2, 3)) * 0
            return values, torch.zeros_like(values, dtype=torch.bool)
        answer, truth = (
            _patches(_blocks(one, self.stride).double())[:, :, kept] for one in (planes.share, planes.truth)
        )  # (P, 9, N)
        values = _unexplained(truth, answer).to(planes.share.dtype)
        return values, truth.amax(dim=(1, 2)) > 0


def _blocks(planes: Tensor, stride: int) -> Tensor:
    """(B, P, H, W) -> means of whole blocks (B, P, H // stride, W // stride)."""
    return planes if stride == 1 or not planes.shape[1] else functional.avg_pool2d(planes, stride)


def _patches(planes: Tensor) -> Tensor:
    """(B, P, h, w) -> (P, 9, N) every patch of the batch, a column each."""
    windows = planes.unfold(2, SIDE, 1).unfold(3, SIDE, 1)  # (B, P, h - 2, w - 2, 3, 3)
    return windows.permute(1, 4, 5, 0, 2, 3).reshape(planes.shape[1], SIDE * SIDE, -1)


def _unexplained(truth: Tensor, answer: Tensor) -> Tensor:
    """(P,) float64 of (P, 9, N) patches: half the log det of what the answer leaves open, a dimension."""
    truth, answer = (one - one.mean(dim=2, keepdim=True) for one in (truth, answer))
    count, unit = truth.shape[2], torch.eye(truth.shape[1], dtype=truth.dtype, device=truth.device)
    both = truth @ answer.mT / count
    factor = torch.linalg.cholesky(answer @ answer.mT / count + RIDGE * unit)
    told = torch.linalg.solve_triangular(factor, both.mT, upper=False)  # its square is the explained part
    left = truth @ truth.mT / count - told.mT @ told
    root: Tensor = torch.linalg.cholesky(unit + left / RIDGE)
    return root.diagonal(dim1=1, dim2=2).log().sum(dim=1) / truth.shape[1]
