"""Prints the table of docs/imbalance.md: how often each class occurs, and what each rule makes of it.

Run it as `python docs/make_imbalance.py DATA`. It decides nothing; the rules are in class_weights.py and rare.py.
"""

from __future__ import annotations

import sys

from segx_core.datasets import open_dataset
from segx_core.datasets.scan import scan
from segx_trainer.class_weights import RULES, by_rule
from segx_trainer.rare import class_chances

_TEMPERATURE = 0.01  # of the rare sampler, its default


def table(source: str) -> str:
    """Markdown, a row for each class."""
    data = open_dataset(source)
    train, val = scan(data, "train"), scan(data, "val")
    weights = [by_rule(rule, train, data.task == "multilabel") for rule in RULES]
    chances = class_chances(train, _TEMPERATURE)
    heads = ["class", "train", "pictures", "val", *(f"`{rule}`" for rule in RULES), "drawn by `rare`"]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for index, name in enumerate(data.classes):
        cells = [name, f"{train.shares[index]:.2%}", str(train.class_pictures[index]), f"{val.shares[index]:.2%}"]
        cells += [f"{each[index]:.2f}" for each in weights] + [f"{chances[index]:.0%}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.stdout.write(table(sys.argv[1]) + "\n")
