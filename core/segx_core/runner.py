"""The two protocols through which anything that maps pictures to class maps can be served and measured.

They say nothing of ONNX Runtime: a simulated device or another runtime is a Runner as good as Predictor is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

UInt8 = NDArray[np.uint8]
ClassMap = NDArray[np.uint8] | NDArray[np.uint16]
"""Of a multilabel model bit fields, bit k for class k."""
Tensor = NDArray[Any]


class Runner(Protocol):
    """Maps a batch of pictures of one size to class maps of that size."""

    def run(self, batch: UInt8) -> ClassMap:
        """(N, H, W, 3) uint8 RGB -> (N, H, W) uint8 class indices, uint16 past 256 classes."""
        ...


@runtime_checkable
class TensorRunner(Protocol):
    """A runner that also takes named tensors: text embeddings, modalities, recurrent state."""

    def run(self, batch: UInt8) -> ClassMap:
        """As Runner.run."""
        ...

    def infer(self, feeds: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Tensors by the graph's input names -> tensors by its output names. Absent optional inputs are filled."""
        ...
