"""What is summed up over the pictures of a split for one model. Fed arrays; knows nothing of files or time."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from segx_core import bits
from segx_core.card import Task
from segx_core.meaning import meaning
from segx_core.runner import ClassMap
from segx_evaluate.boundary import boundary_f1
from segx_evaluate.calibration import Calibration

_IGNORED = 255  # in maps of one class of several

Probabilities = NDArray[np.floating[Any]]


class Score:
    """Running sums of one model; further metrics of one pass are added here."""

    def __init__(self, num_classes: int, ignore_index: int, task: Task = "multiclass") -> None:
        self._task: Task = task
        self._num_classes = num_classes
        self._ignore_index = ignore_index
        self.matrix = meaning(task).no_counts(num_classes)
        """Rows = target, as `meaning` of the task counts."""
        self.boundary: list[NDArray[np.float64]] = []
        """One (K,) row of boundary F1 a picture."""
        self.calibration: Calibration | None = None
        """None until a picture came with probabilities."""

    def add(self, target: ClassMap, prediction: ClassMap, probabilities: Probabilities | None = None) -> None:
        """Count one picture.

        Args:
            target: (H, W) class indices or bit fields, or the ignore index.
            prediction: (H, W) class indices or bit fields.
            probabilities: (K, H, W) float, where the model gives them.

        Raises:
            DataError: the shapes differ, or a value is no class.
        """
        self.matrix += meaning(self._task).count(target, prediction, self._num_classes, self._ignore_index)
        if probabilities is not None and self.calibration is None:
            self.calibration = Calibration()
        if self._task == "multilabel":
            self._add_labels(target, prediction, probabilities)
            return
        self.boundary.append(boundary_f1(target, prediction, self._num_classes, self._ignore_index))
        if probabilities is not None and self.calibration is not None:
            self.calibration.add(probabilities, target, self._ignore_index)

    def _add_labels(self, target: ClassMap, prediction: ClassMap, probabilities: Probabilities | None) -> None:
        """Each class for itself, as a map of absent (0) and there (1)."""
        truth = bits.unpack(target, self._num_classes).astype(np.uint8)  # (K, H, W)
        truth[:, target == self._ignore_index] = _IGNORED
        guess = bits.unpack(prediction, self._num_classes)
        each = zip(truth, guess, strict=True)
        self.boundary.append(
            np.array([boundary_f1(one, other.astype(np.uint8), 2, _IGNORED)[1] for one, other in each])
        )
        if probabilities is not None and self.calibration is not None:
            self.calibration.add(np.stack([1 - probabilities, probabilities]), truth, _IGNORED)  # (2, K, H, W)
