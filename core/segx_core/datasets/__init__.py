"""Data sets: `open_dataset(DATA)` gives a Dataset of samples by split. Never imports torch."""

from __future__ import annotations

from segx_core.datasets.dataset import Dataset, Modality, Sample, spread
from segx_core.datasets.masks import MaskEncoding
from segx_core.datasets.open import open_dataset

__all__ = ["Dataset", "MaskEncoding", "Modality", "Sample", "open_dataset", "spread"]
