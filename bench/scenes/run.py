"""Measures how far colour alone goes on the data set `scenes`, and how its classes are spread.

A random forest that sees one pixel's red, green and blue is trained on the train split and scored on val. It bounds
what anything without context can reach; a segmentation network has to do far better. Run from the repository root:

    python bench/scenes/run.py [--pixels 200000] [--json bench/scenes/results.json]
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from pathlib import Path

import numpy as np
import sklearn
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier

from segx_core.datasets.scenes import COUNTS, SEED, VERSION, generate
from segx_core.datasets.scenes_render import IGNORE
from segx_core.datasets.scenes_world import CLASSES
from segx_core.machine import describe

Pixels = NDArray[np.uint8]


def main() -> None:
    """Generate, fit, score, print a table and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pixels", type=int, default=150_000, help="training pixels, drawn at random")
    parser.add_argument("--trees", type=int, default=40)
    parser.add_argument("--json", type=Path, default=Path(__file__).with_name("results.json"))
    options = parser.parse_args()

    started = time.perf_counter()
    splits = {split: load(split, count) for split, count in COUNTS.items()}
    generation_s = time.perf_counter() - started
    shares = {split: share(labels) for split, (_, labels) in splits.items()}

    colours, labels = valid(*splits["train"])
    chosen = np.random.default_rng(0).choice(len(labels), min(options.pixels, len(labels)), replace=False)
    forest = RandomForestClassifier(options.trees, min_samples_leaf=5, random_state=0, n_jobs=1)
    balanced = RandomForestClassifier(
        options.trees, min_samples_leaf=5, random_state=0, n_jobs=1, class_weight="balanced_subsample"
    )
    scores = {}
    for name, model in {"plain": forest, "balanced": balanced}.items():
        model.fit(colours[chosen], labels[chosen])
        seen, truth = valid(*splits["val"])
        scores[name] = iou(truth, model.predict(seen))

    report = {
        "data": VERSION,
        "seed": SEED,
        "pictures": COUNTS,
        "machine": describe(),
        "versions": {"python": platform.python_version(), "numpy": np.__version__, "scikit-learn": sklearn.__version__},
        "generation_seconds": generation_s,
        "class_share": shares,
        "random_forest_on_rgb": {
            name: {
                "split": "val",
                "miou": float(np.mean(values)),
                "per_class_iou": dict(zip(CLASSES, map(float, values), strict=True)),
                "training_pixels": len(chosen),
                "trees": options.trees,
            }
            for name, values in scores.items()
        },
    }
    options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    show(shares, scores)
    print(f"\nmIoU {', '.join(f'{name} {np.mean(v):.3f}' for name, v in scores.items())}; written to {options.json}")


def load(split: str, count: int) -> tuple[Pixels, Pixels]:
    """All pictures (N, H, W, 3) and labels (N, H, W) of a split."""
    pairs = [generate(SEED, index, split) for index in range(count)]
    return np.stack([picture for picture, _ in pairs]), np.stack([labels for _, labels in pairs])


def valid(pictures: Pixels, labels: Pixels) -> tuple[Pixels, Pixels]:
    """Colours (P, 3) and labels (P,) of the pixels that count."""
    counts = labels != IGNORE
    return pictures[counts], labels[counts]


def share(labels: Pixels) -> dict[str, float]:
    """Share of all pixels held by each class, and by the ignored ones."""
    total = np.bincount(labels.ravel(), minlength=256) / labels.size
    return {name: float(total[k]) for k, name in enumerate(CLASSES)} | {"ignored": float(total[IGNORE])}


def iou(truth: Pixels, guess: Pixels) -> NDArray[np.float64]:
    """Intersection over union of each class (K,); every class occurs."""
    k = len(CLASSES)
    matrix = np.bincount(truth.astype(np.int64) * k + guess, minlength=k * k).reshape(k, k)
    hit = np.diag(matrix)
    values: NDArray[np.float64] = hit / (matrix.sum(0) + matrix.sum(1) - hit)
    return values


def show(shares: dict[str, dict[str, float]], scores: dict[str, NDArray[np.float64]]) -> None:
    """Print one line a class."""
    print(f"{'class':<12}" + "".join(f"{split + ' %':>9}" for split in shares) + "".join(f"{n:>12}" for n in scores))
    for k, name in enumerate([*CLASSES, "ignored"]):
        line = f"{name:<12}" + "".join(f"{100 * values[name]:>9.2f}" for values in shares.values())
        print(line + ("".join(f"{v[k]:>12.3f}" for v in scores.values()) if k < len(CLASSES) else ""))


if __name__ == "__main__":
    main()
