"""Naive versions of the losses that look at where a class lies, by brute force."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.trainer.oracles.plain import Array, pixels, softmax, truth
from tests.trainer.oracles.region import mean

Mask = NDArray[np.bool_]


def lovasz(logits: Array, target: Any, ignore: int, weights: Array) -> float:
    z, p = pixels(logits, target, ignore)
    present = [k for k in range(logits.shape[1]) if p[:, k].sum() > 0]
    each = []
    for k in present:
        mine = p[:, k] > 0
        error = np.abs(p[:, k] - softmax(z)[:, k])
        wrong: set[int] = set()
        value = before = 0.0
        for pixel in np.argsort(-error):
            wrong.add(int(pixel))
            lost = len(wrong) / len(wrong | set(np.flatnonzero(mine).tolist()))  # 1 - IoU with these pixels wrong
            value, before = value + error[pixel] * (lost - before), lost
        each.append(value)
    return mean(each, weights, present)


def signed(inside: Mask, valid: Mask) -> Array:
    """Distance to the nearest valid pixel on the other side, negative inside; 0 without an edge."""
    result = np.zeros(inside.shape)
    for here in zip(*np.nonzero(valid), strict=True):
        across = np.argwhere(valid & (inside != inside[here]))
        if len(across):
            nearest = np.sqrt(((across - np.array(here)) ** 2).sum(1)).min()
            result[here] = -nearest if inside[here] else nearest
    return result


def boundary(logits: Array, target: Any, ignore: int, weights: Array) -> float:
    p, valid = truth(target, ignore, logits.shape[1])
    present, q = [k for k in range(logits.shape[1]) if p[:, k].any()], softmax(logits)
    each = []
    for k in present:
        total = 0.0
        for b in range(len(logits)):
            distance = signed(p[b, k] > 0, valid[b])
            level = np.where(distance < 0, distance + 1, distance)
            total += (level * (q[b, k] - p[b, k]))[valid[b]].sum()
        each.append(total / valid.sum())
    return mean(each, weights, present)


def hausdorff(logits: Array, target: Any, ignore: int, weights: Array) -> float:
    p, valid = truth(target, ignore, logits.shape[1])
    present, q = [k for k in range(logits.shape[1]) if p[:, k].any()], softmax(logits)
    each = []
    for k in present:
        total = 0.0
        for b in range(len(logits)):
            regions = (p[b, k] > 0, logits[b].argmax(0) == k)
            far = sum(signed(region & valid[b], valid[b]) ** 2 for region in regions)
            total += ((q[b, k] - p[b, k]) ** 2 * far)[valid[b]].sum()
        each.append(total / valid.sum())
    return mean(each, weights, present)


def around(plane: Array, valid: Mask, row: int, column: int, *, corners: bool) -> list[float]:
    """The valid values of a pixel and its neighbours."""
    steps = [(r, c) for r in (-1, 0, 1) for c in (-1, 0, 1) if corners or r * c == 0]
    places = [(row + r, column + c) for r, c in steps]
    height, width = plane.shape
    return [plane[r, c] for r, c in places if 0 <= r < height and 0 <= c < width and valid[r, c]]


def skeleton(plane: Array, valid: Mask, iterations: int) -> Array:
    result = np.zeros(plane.shape)
    for _ in range(iterations + 1):
        eroded, opened = np.zeros(plane.shape), np.zeros(plane.shape)
        for here in zip(*np.nonzero(valid), strict=True):
            eroded[here] = min(around(plane, valid, *here, corners=False))
        for here in zip(*np.nonzero(valid), strict=True):
            opened[here] = max(around(eroded, valid, *here, corners=True))
        result += (1 - result) * np.maximum(plane - opened, 0) * valid
        plane = eroded
    return result


def cldice(logits: Array, target: Any, ignore: int, weights: Array, *, iterations: float = 3) -> float:
    p, valid = truth(target, ignore, logits.shape[1])
    q = softmax(logits) * valid[:, None]
    present = [k for k in range(logits.shape[1]) if p[:, k].any()]
    each = []
    for k in present:
        thin, true_thin = (
            np.stack([skeleton(one[b, k], valid[b], int(iterations)) for b in range(len(q))]) for one in (q, p)
        )
        precision = ((thin * p[:, k]).sum() + 1) / (thin.sum() + 1)
        sensitivity = ((true_thin * q[:, k]).sum() + 1) / (true_thin.sum() + 1)
        each.append(1 - 2 / (1 / precision + 1 / sensitivity))
    return mean(each, weights, present)


def rmi(logits: Array, target: Any, ignore: int, weights: Array, *, stride: float = 3) -> float:
    p, valid = truth(target, ignore, logits.shape[1])
    q, s, ridge = softmax(logits), int(stride), 1e-6
    rows, columns = logits.shape[2] // s, logits.shape[3] // s
    corners = []  # of the 3x3 patches of blocks without an ignored pixel
    for b, r, c in np.ndindex(len(q), max(rows - 2, 0), max(columns - 2, 0)):
        if valid[b, r * s : (r + 3) * s, c * s : (c + 3) * s].all():
            corners.append((b, r * s, c * s))

    def patches(planes: Array, k: int) -> Array:
        found = []
        for b, r, c in corners:
            patch = planes[b, k, r : r + 3 * s, c : c + 3 * s]
            found.append([patch[i * s : i * s + s, j * s : j * s + s].mean() for i in range(3) for j in range(3)])
        return np.array(found)

    present = [k for k in range(logits.shape[1]) if corners and patches(p, k).any()]
    each = []
    for k in present:
        y, x = patches(p, k), patches(q, k)
        y, x = y - y.mean(0), x - x.mean(0)
        n, unit = len(corners), np.eye(9)
        inverse = np.linalg.inv(x.T @ x / n + ridge * unit)
        left = y.T @ y / n - (y.T @ x / n) @ inverse @ (x.T @ y / n)
        each.append(0.5 * np.linalg.slogdet(unit + left / ridge)[1] / 9)
    return mean(each, weights, present)


ORACLES: dict[str, Callable[..., float]] = {
    "lovasz": lovasz,
    "boundary": boundary,
    "hausdorff": hausdorff,
    "cldice": cldice,
    "rmi": rmi,
}

VARIANTS = {"cldice": ("cldice[iterations=1]",), "rmi": ("rmi[stride=1]",)}

EDGES = "a region with an edge has no soft form"
PLACE = "it looks at where pixels lie"
EXCEPTIONS = {
    "lovasz": {"soft": EDGES},
    "boundary": {"soft": EDGES, "pixels": PLACE},
    "hausdorff": {"soft": EDGES, "pixels": PLACE},
    "cldice": {"pixels": PLACE},
    "rmi": {"pixels": PLACE},
}
