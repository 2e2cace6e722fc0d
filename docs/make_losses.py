"""Draws docs/pictures/losses.svg: what each per-pixel loss charges for one pixel, and how hard it pulls at its logit.

The losses themselves are run, so the picture is true of the code. python docs/make_losses.py
"""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import torch  # noqa: TID251  the page is about code of torch
from matplotlib.figure import Figure
from torch import Tensor  # noqa: TID251

from segx_trainer import losses

PICTURE = Path(__file__).parent / "pictures" / "losses.svg"
CLASSES = 4
DRAWN = ("ce", "focal", "poly1", "gce", "sce", "mae", "mse", "entmax15", "sparsemax")


def curve(expression: str, likely: Tensor) -> tuple[Tensor, Tensor]:
    """Value, and minus the gradient in the logit of the pixel's class, of one pixel after the other.

    Args:
        expression: a loss.
        likely: (n,) softmax probabilities of the pixel's class; the other classes share the rest equally.
    """
    rest = torch.log((1 - likely) / (CLASSES - 1))
    z = torch.stack([likely.log(), *[rest] * (CLASSES - 1)]).requires_grad_()  # (K, n)
    loss = losses.build(expression, CLASSES)
    target = torch.zeros(1, 1, 1, dtype=torch.int64)
    values = torch.stack([loss(column.view(1, CLASSES, 1, 1), target) for column in z.unbind(1)])
    (slope,) = torch.autograd.grad(values.sum(), z)
    return values.detach(), -slope[0]


def draw() -> Figure:
    """Both panels over the probability."""
    likely = torch.linspace(0.002, 0.998, 150, dtype=torch.float64)
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    for place, name in enumerate(DRAWN):
        values, pull = curve(name, likely)
        style = {"color": f"C{place}", "linewidth": 1.4, "linestyle": "--" if place > 6 else "-"}
        left.plot(likely, values, label=name, **style)
        right.plot(likely, pull, label=name, **style)
    left.set(title="value", ylim=(0, 6), xlabel="probability softmax gives the right class")
    right.set(title="pull at the logit of the right class", ylim=(0, 2), xlabel=left.get_xlabel())
    for panel in (left, right):
        panel.set_xlim(0, 1)
        panel.grid(alpha=0.3)
    figure.legend(*left.get_legend_handles_labels(), loc="outside right center", frameon=False)
    return figure


def main() -> None:
    """Write the picture, the same bytes whenever nothing changed."""
    PICTURE.parent.mkdir(exist_ok=True)
    with mpl.rc_context({"svg.hashsalt": "segx", "path.simplify_threshold": 0.5}):
        draw().savefig(PICTURE, format="svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
