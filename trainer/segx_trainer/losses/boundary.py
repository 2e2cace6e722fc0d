"""Losses that weigh an error by its distance to an edge: of the target (boundary), and of the answer (hausdorff)."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from segx_trainer.losses.distances import signed_distances
from segx_trainer.losses.shape import Planes, ShapeLoss, every


class Boundary(ShapeLoss):
    """mean_c mean_pixels phi_c (q_c - p_c), phi the signed distance to the edge of class c in the target, in pixels.

    Kervadec et al. 2018, arXiv:1812.07032, with phi as its authors compute it: 0 on the outermost pixels inside,
    negative further in, positive outside. The paper leaves out the constant -phi p; with it a right answer costs 0 and
    every other more. A picture in which the class has no edge adds nothing: use it beside a loss of regions.
    """

    soft: ClassVar[bool] = False

    def __init__(self, num_classes: int, ignore_index: int = 255, class_weights: Tensor | None = None) -> None:
        super().__init__(num_classes, ignore_index, class_weights)

    def each(self, planes: Planes) -> tuple[Tensor, Tensor]:
        """See ShapeLoss.each."""
        distance = signed_distances(planes.truth > 0, planes.valid).to(planes.share.dtype)
        level = distance.where(distance >= 0, distance + 1)
        values = (level * (planes.share - planes.truth)).sum(dim=(0, 2, 3)) / planes.valid.sum().clamp(min=1)
        return values, every(values)


class Hausdorff(ShapeLoss):
    """mean_c mean_pixels (q_c - p_c)^2 (d_c^2 + e_c^2), d and e distances to the edge of target and answer, in pixels.

    Karimi and Salcudean 2019, arXiv:1904.10030 (HausdorffDT, alpha 2). The answer's region of a class is where it has
    the largest logit, which for two classes is the paper's q > 0.5; no gradient goes through it.
    """

    soft: ClassVar[bool] = False

    def __init__(self, num_classes: int, ignore_index: int = 255, class_weights: Tensor | None = None) -> None:
        super().__init__(num_classes, ignore_index, class_weights)

    def each(self, planes: Planes) -> tuple[Tensor, Tensor]:
        """See ShapeLoss.each."""
        said = planes.winner.unsqueeze(1) == planes.classes.view(1, -1, 1, 1)
        far = sum(signed_distances(region, planes.valid).square() for region in (planes.truth > 0, said))
        error = (planes.share - planes.truth).square() * far
        values = error.sum(dim=(0, 2, 3)) / planes.valid.sum().clamp(min=1)
        return values, every(values)
