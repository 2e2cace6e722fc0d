"""What one model scored on one split: the sums as they were counted, and every figure derived from them on demand."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segx_core.card import Gate
from segx_evaluate import metrics
from segx_evaluate.boundary import mean_boundary_f1
from segx_evaluate.timing import Latency


@dataclass(frozen=True, eq=False)
class Result:
    """One model on one split. Figures are fractions; NaN means that there was nothing to measure."""

    model: str
    """The file's name, with its folder where two files share the name."""
    provider: str
    """The ONNX Runtime provider that really ran it."""
    classes: tuple[str, ...]
    names: tuple[str, ...]
    """The pictures' names, in the order of `boundary`'s rows."""
    matrix: NDArray[np.int64]
    """Rows = target, as `confusion.tallies` takes it."""
    boundary: NDArray[np.float64]
    """(pictures, K) boundary F1, NaN where a class has no boundary in a picture."""
    ece: float | None
    """None where the file gives no probabilities; so with `brier`."""
    brier: float | None
    latency: Latency
    """The model alone, measured with nothing running beside it."""
    images_per_second: float
    """The whole way: reading, decoding, running, scoring, overlapped as the evaluation does it."""
    size_bytes: int
    gate: Gate

    @property
    def images(self) -> int:
        """How many pictures were scored."""
        return len(self.names)

    @property
    def miou(self) -> float:
        """Mean IoU over classes present in target or prediction of the whole split."""
        return metrics.miou(self.matrix)

    @property
    def per_class_iou(self) -> dict[str, float]:
        """IoU by class name, NaN for a class in neither target nor prediction."""
        return dict(zip(self.classes, metrics.iou(self.matrix).tolist(), strict=True))

    @property
    def boundary_f1(self) -> float:
        """Mean boundary F1 over classes, then pictures."""
        return mean_boundary_f1(self.boundary)
