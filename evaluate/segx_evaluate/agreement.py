"""Whether a model and a data set speak of the same classes. Scores of two different class lists would mean nothing.

Names and order must agree; only a data set whose classes nobody declared (they were read off the masks) may have fewer
classes than the model and other names. Knows nothing of pixels.
"""

from __future__ import annotations

from itertools import zip_longest

from segx_core.card import Card
from segx_core.datasets import Dataset
from segx_core.errors import DataError

_SHOWN = 5


def agreed_classes(card: Card, dataset: Dataset, model: str) -> tuple[str, ...]:
    """The classes to score, in index order.

    Args:
        card: the model's card.
        dataset: what it is to be measured on.
        model: the model's name, for the message.

    Raises:
        DataError: the tasks or the class lists differ; names the first differences and what mends them.
    """
    if card.task != dataset.task:
        raise DataError(
            f"{card.task} masks in {dataset.source}, for {model} is a {card.task} model",
            f"{dataset.task} ones",
            "Measure the model on data labelled like the data it was trained on.",
        )
    if card.classes == dataset.classes:
        return card.classes
    if dataset.inferred and len(dataset.classes) <= len(card.classes):
        return card.classes
    if dataset.inferred:
        raise DataError(
            f"masks with the {len(card.classes)} classes of {model}: {', '.join(card.classes)}",
            f"{len(dataset.classes)} different values in the masks of {dataset.source}",
            "Measure the model on data labelled like the data it was trained on.",
        )
    differences = [
        f"class {index} is {_named(ours)} in the model and {_named(theirs)} in the data"
        for index, (ours, theirs) in enumerate(zip_longest(card.classes, dataset.classes))
        if ours != theirs
    ]
    listed = "; ".join(differences[:_SHOWN])
    if len(differences) > _SHOWN:
        listed += f"; and {len(differences) - _SHOWN} more"
    if set(card.classes) == set(dataset.classes):
        cure = "The same classes stand in another order: list them in the model's order in the data set's dataset.yaml."
    else:
        cure = (
            "Measure the model on data labelled with its classes. If only the names differ, give the model's names in "
            "the data set's dataset.yaml (or, for a third-party file, the data set's names in its --card)."
        )
    raise DataError(f"the same classes in {model} and in {dataset.source}", listed, cure)


def _named(name: str | None) -> str:
    return "absent" if name is None else f"'{name}'"
