"""How much each class counts in the loss: weights made of how often it occurs, or read from a file.

Numbers in, numbers out: it scans nothing and trains nothing. The balance of a run is put together in balance.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from segx_core.datasets.scan import Scan
from segx_core.errors import ConfigError, near

Weights = NDArray[np.float64]

RULES = ("inverse", "median", "enet", "effective")
"""Ways to make weights of frequencies."""

_ENET_OFFSET = 1.02
_LEAST, _MOST = float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max)  # losses weigh in float32


def by_rule(rule: str, scan: Scan, multilabel: bool = False) -> Weights:
    """Weights from how often classes occur in the training split.

    inverse: 1 / p, with p the class's share of all labelled pixels.
    median: median(f) / f, with f its share of the labelled pixels of those pictures that hold it (median frequency
        balancing, Eigen and Fergus 2015, arXiv:1411.4734).
    enet: 1 / ln(1.02 + p) (Paszke et al. 2016, arXiv:1606.02147); no class ever weighs over 36 times another.
    effective: 1 / E with E = (1 - b^n) / (1 - b), b = (N - 1) / N and n the class's pixels (Cui et al. 2019,
        arXiv:1901.05555). N, the number of pixels that are worth seeing, is that of the median class: the paper counts
        pictures of objects, and with its b of 0.9 to 0.9999 all classes would have seen enough pixels. Classes rarer
        than the median are weighted nearly as by `inverse`, more frequent ones all nearly alike.

    They are scaled so that the loss keeps its size: to a mean of 1 over the labelled pixels, and of multilabel data,
    where every pixel asks about every class, over the classes. A class that does not occur gets 1: it has no pixel to
    weigh.

    Returns:
        (K,) finite, above 0.

    Raises:
        ConfigError: no pixel is labelled.
    """
    pixels, total = scan.class_pixels, int(scan.labelled.sum())
    there = pixels > 0
    if not there.any():
        raise ConfigError(f"labelled pixels in the training split for class weights '{rule}'", "none")
    share = pixels[there] / total
    match rule:
        case "inverse":
            raw = 1 / share
        case "median":
            frequency = pixels[there] / scan.pixels_beside[there]
            raw = np.median(frequency) / frequency
        case "enet":
            raw = 1 / np.log(_ENET_OFFSET + share)
        case "effective":
            volume = max(2.0, float(np.median(pixels[there])))
            raw = -1 / np.expm1(pixels[there] * math.log1p(-1 / volume))  # 1 / E but for the factor 1 / (1 - b)
        case _:
            raise ConfigError("class weights by a rule that segx knows", f"'{rule}'", near(rule, RULES))
    weights = np.ones(scan.num_classes)
    weights[there] = raw / (raw.mean() if multilabel else (raw * share).sum() / share.sum())
    return weights


def from_file(path: Path, classes: Sequence[str]) -> Weights:
    """Weights from a YAML or JSON file that maps names of classes to numbers; a class it leaves out gets 1.

    They are taken as they are, not scaled.

    Raises:
        ConfigError: unreadable, not such a mapping, an unknown name, or a weight that is no number above 0 within
            float32's range.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))  # YAML reads JSON, too
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        cure = "Name one of none, inverse, median, enet, effective, or a file."
        got = f"{path}: {' '.join(str(error).split())}"
        raise ConfigError("a readable YAML or JSON file of class weights", got, cure) from None
    if not isinstance(content, dict):
        raise ConfigError(f"names of classes with weights in {path}", type(content).__name__, "Write `road: 1.5`.")
    weights = np.ones(len(classes))
    for name, value in content.items():
        if name not in classes:
            raise ConfigError(f"names of classes in {path}", f"'{name}'", near(str(name), classes))
        weights[classes.index(name)] = _number(name, value, path)
    return weights


def _number(name: str, value: Any, path: Path) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not _LEAST <= value <= _MOST:
        raise ConfigError(f"a number above 0, of float32's range, for '{name}' in {path}", repr(value))
    return float(value)
