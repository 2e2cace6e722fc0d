from __future__ import annotations

import dataclasses

import pytest

from segx_core.errors import DataError
from segx_evaluate.agreement import agreed_classes


def test_many_differences_are_counted(load, make_data) -> None:
    names = tuple(f"c{index}" for index in range(9))
    card, dataset = load().card, make_data(1, classes=names)
    with pytest.raises(DataError, match=r"class 4 is absent in the model and 'c4' in the data; and 4 more"):
        agreed_classes(card, dataset, "m.onnx")


def test_undeclared_classes_may_be_fewer_but_not_more(load, make_data) -> None:
    card, dataset = load().card, make_data(1)
    fewer = dataclasses.replace(dataset, classes=("class0", "class1"), inferred=True)
    assert agreed_classes(card, fewer, "m.onnx") == card.classes
    more = dataclasses.replace(dataset, classes=tuple("abcd"), inferred=True)
    with pytest.raises(DataError, match="4 different values"):
        agreed_classes(card, more, "m.onnx")
