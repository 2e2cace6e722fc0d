"""What is summed up over the pictures of a split for one model. Fed arrays; knows nothing of files or time."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from segx_core.confusion import confusion
from segx_core.runner import ClassMap
from segx_evaluate.boundary import boundary_f1
from segx_evaluate.calibration import Calibration

Probabilities = NDArray[np.floating[Any]]


class Score:
    """Running sums of one model; further metrics of one pass are added here."""

    def __init__(self, num_classes: int, ignore_index: int) -> None:
        self._num_classes = num_classes
        self._ignore_index = ignore_index
        self.matrix = np.zeros((num_classes, num_classes), np.int64)
        """(K, K), rows = target."""
        self.boundary: list[NDArray[np.float64]] = []
        """One (K,) row of boundary F1 a picture."""
        self.calibration: Calibration | None = None
        """None until a picture came with probabilities."""

    def add(self, target: ClassMap, prediction: ClassMap, probabilities: Probabilities | None = None) -> None:
        """Count one picture.

        Args:
            target: (H, W) class indices or the ignore index.
            prediction: (H, W) class indices.
            probabilities: (K, H, W) float, where the model gives them.

        Raises:
            DataError: the shapes differ, or a value is no class.
        """
        self.matrix += confusion(target, prediction, self._num_classes, self._ignore_index)
        self.boundary.append(boundary_f1(target, prediction, self._num_classes, self._ignore_index))
        if probabilities is not None:
            if self.calibration is None:
                self.calibration = Calibration()
            self.calibration.add(probabilities, target, self._ignore_index)
