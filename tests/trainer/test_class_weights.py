from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segx_core.datasets.scan import PLACES, Found, Scan, gather
from segx_core.errors import ConfigError
from segx_trainer.class_weights import RULES, by_rule, from_file

CLASSES = ("sky", "road", "pole")


def counted(pixels: list[list[int]], ignored: int = 0) -> Scan:
    """The scan of pictures with so many pixels of each class."""
    found = []
    for row in pixels:
        there = [index for index, number in enumerate(row) if number]
        numbers = np.array([row[index] for index in there], np.int64)
        places = np.zeros((len(there), PLACES, 2), np.int32)
        found.append(Found(np.array(there, np.int64), numbers, places, ignored, (1, sum(row) + ignored)))
    return gather(found, len(pixels[0]))


PICTURES = [[600, 300, 100], [900, 0, 100], [700, 300, 0]]  # in all 2200, 600, 200


def naive(rule: str) -> list[float]:
    """The definitions, written out for PICTURES."""
    shares = [2200 / 3000, 600 / 3000, 200 / 3000]
    match rule:
        case "inverse":
            raw = [1 / share for share in shares]
        case "median":
            frequency = [2200 / 3000, 600 / 2000, 200 / 2000]
            raw = [sorted(frequency)[1] / one for one in frequency]
        case "enet":
            raw = [1 / math.log(1.02 + share) for share in shares]
        case _:
            beta = (600 - 1) / 600
            raw = [(1 - beta) / (1 - beta**number) for number in (2200, 600, 200)]
    mean = sum(weight * share for weight, share in zip(raw, shares, strict=True))
    return [weight / mean for weight in raw]


@pytest.mark.parametrize("rule", RULES)
def test_each_rule_is_its_definition(rule: str) -> None:
    np.testing.assert_allclose(by_rule(rule, counted(PICTURES, ignored=7)), naive(rule), rtol=1e-9)


@given(
    st.sampled_from(RULES),
    st.lists(st.lists(st.integers(0, 10**9), min_size=4, max_size=4), min_size=1, max_size=4),
    st.booleans(),
)
@settings(max_examples=100)
def test_weights_are_finite_keep_the_mean_and_never_favour_the_frequent(
    rule: str, pixels: list[list[int]], multilabel: bool
) -> None:
    scan = counted([[*row[:-1], max(1, row[-1])] for row in pixels])
    weights = by_rule(rule, scan, multilabel)
    assert np.isfinite(weights).all()
    assert (weights > 0).all()
    there = scan.class_pixels > 0
    assert (weights[~there] == 1).all()
    mean = weights[there].mean() if multilabel else (weights * scan.shares).sum()
    assert mean == pytest.approx(1)
    if rule != "median":  # which goes by the pictures that hold a class
        order = np.argsort(scan.class_pixels[there])
        assert (np.diff(weights[there][order]) <= 1e-9 * weights.max()).all()


def test_nothing_labelled_is_refused() -> None:
    with pytest.raises(ConfigError, match="labelled pixels"):
        by_rule("inverse", counted([[0, 0]], ignored=4))
    with pytest.raises(ConfigError, match="Did you mean 'inverse'"):
        by_rule("invers", counted([[1, 1]]))


@pytest.mark.parametrize("text", ["pole: 4\nsky: 0.5\n", json.dumps({"pole": 4.0, "sky": 0.5})])
def test_a_file_is_taken_as_it_is(tmp_path: Path, text: str) -> None:
    path = tmp_path / "weights.yaml"
    path.write_text(text)
    assert from_file(path, CLASSES).tolist() == [0.5, 1.0, 4.0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("poles: 4", "'poles'. Did you mean 'pole'"),
        ("pole: 0", "a number above 0, of float32's range, for 'pole'"),
        ("pole: 1.0e+39", "a number above 0, of float32's range, for 'pole'"),
        ("pole: .inf", "a number above 0, of float32's range, for 'pole'"),
        ("pole: yes", "a number above 0, of float32's range, for 'pole'"),
        ("pole: much", "'much'"),
        ("[1, 2, 3]", "list"),
        ("{", "readable YAML"),
    ],
)
def test_files_that_make_no_sense_are_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "weights.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        from_file(path, CLASSES)
    assert said in str(caught.value)


def test_a_mistyped_rule_is_told_the_rules(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="inverse, median"):
        from_file(tmp_path / "inverted", CLASSES)
