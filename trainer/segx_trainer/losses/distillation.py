"""Learning from a teacher: each pixel's classes (kd), or where in the picture each class lies (cwd).

Both read the teacher's logits from the context; who the teacher is and when it runs is the loop's business. Neither
looks at the labels, except to leave ignored pixels out, so class weights change nothing here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from segx_core.errors import ConfigError
from segx_trainer.losses.links import Link
from segx_trainer.losses.term import Context, Loss, full_precision, valid_pixels


class _Distillation(Loss):
    """What both share: a temperature above 0, and a teacher of the student's shape."""

    defaults: ClassVar[Mapping[str, float]] = {"temperature": 4.0}
    needs = frozenset({"teacher_logits"})
    link: ClassVar[Link | None] = None
    """Logits are drawn to the teacher's, whatever makes probabilities of both."""

    def __init__(
        self, num_classes: int, ignore_index: int = 255, class_weights: Tensor | None = None, temperature: float = 4.0
    ) -> None:
        super().__init__(num_classes, ignore_index, class_weights)
        if not temperature > 0:
            raise ConfigError("a temperature above 0 for distillation", f"{temperature}")
        self.temperature = temperature

    def softened(self, logits: Tensor, target: Tensor, context: Context | None) -> tuple[Tensor, Tensor]:
        """Student and teacher logits (B, K, H, W) over the temperature; the teacher's without gradient.

        Raises:
            ConfigError: no teacher's logits.
            ValueError: they, or the target, have another shape.
        """
        self.check(logits, target)
        if context is None or context.teacher_logits is None:
            raise ConfigError("the teacher's logits in the context", "none", "Distillation needs a teacher network.")
        teacher = context.teacher_logits
        if teacher.shape != logits.shape:
            raise ValueError(f"expected teacher logits {tuple(logits.shape)}, got {tuple(teacher.shape)}")
        scores = full_precision(logits)
        return scores / self.temperature, teacher.detach().to(scores.dtype) / self.temperature


class PixelDistillation(_Distillation):
    """T^2 * KL(teacher || student) of the classes at temperature T, mean over valid pixels.

    Hinton et al. 2015, arXiv:1503.02531; T^2 keeps the size of the gradient whatever T is.
    """

    def forward(self, logits: Tensor, target: Tensor, context: Context | None = None) -> Tensor:
        """See Loss.forward; needs `context.teacher_logits` (B, K, H, W)."""
        student, teacher = self.softened(logits, target, context)
        valid = valid_pixels(target, self.ignore_index)  # (B, H, W)
        per_pixel = _divergence(student, teacher, dim=1).masked_fill(~valid, 0.0)
        return per_pixel.sum() / valid.sum().clamp(min=1) * self.temperature**2


class ChannelDistillation(_Distillation):
    """T^2 * KL(teacher || student) of where each class lies: softmax over the valid pixels of a picture, a class each.

    Mean over classes and over pictures with a valid pixel. Shu et al. 2021, arXiv:2011.13256.
    """

    def forward(self, logits: Tensor, target: Tensor, context: Context | None = None) -> Tensor:
        """See Loss.forward; needs `context.teacher_logits` (B, K, H, W)."""
        student, teacher = self.softened(logits, target, context)
        valid = valid_pixels(target, self.ignore_index).flatten(1)  # (B, H*W)
        some = valid.any(1)  # (B,)
        # Of an ignored pixel no probability is left; a finite number, because -inf minus -inf would be NaN. A picture
        # without valid pixels becomes constant: divergence 0, and masked_fill gives its logits no gradient.
        lowest = torch.finfo(student.dtype).min / 4
        hidden = ~valid.unsqueeze(1)  # (B, 1, H*W)
        student, teacher = (scores.flatten(2).masked_fill(hidden, lowest) for scores in (student, teacher))
        per_class = _divergence(student, teacher, dim=2)  # (B, K)
        return per_class.sum() / (some.sum().clamp(min=1) * self.num_classes) * self.temperature**2


def _divergence(student: Tensor, teacher: Tensor, dim: int) -> Tensor:
    """KL(softmax(teacher) || softmax(student)) along `dim`."""
    log_teacher, log_student = teacher.log_softmax(dim), student.log_softmax(dim)
    return (log_teacher.exp() * (log_teacher - log_student)).sum(dim)
