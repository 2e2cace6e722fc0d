from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segx_core.errors import ConfigError
from segx_trainer.losses.grammar import Term, parse


def test_one_name() -> None:
    assert parse("ce") == (Term("ce"),)


def test_weights_and_parameters() -> None:
    assert parse(" ce[smoothing=0.1] + 0.5*dice+ 2e-1 * tversky[alpha=.3, beta=-1] ") == (
        Term("ce", 1.0, {"smoothing": 0.1}),
        Term("dice", 0.5),
        Term("tversky", 0.2, {"alpha": 0.3, "beta": -1.0}),
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  ",
        "+ce",
        "ce +",
        "ce dice",
        "0.5 dice",
        "0.5*",
        "ce[",
        "ce[]",
        "ce[a]",
        "ce[a=]",
        "ce[a=1,]",
        "ce[a=1",
        "ce]",
        "ce*2",
        "ce - dice",
        "ce[a=1,a=2]",
        "ce?",
        "0*ce",
        "1e999*ce",
    ],
)
def test_what_is_not_an_expression_is_refused_with_its_place(text: str) -> None:
    with pytest.raises(ConfigError, match="position"):
        parse(text)


@given(
    st.lists(
        st.tuples(
            st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True),
            st.floats(0.001, 1000),
            st.dictionaries(st.from_regex(r"[a-z]{1,5}", fullmatch=True), st.floats(-50, 50), max_size=3),
        ),
        min_size=1,
        max_size=5,
    )
)
@settings(deadline=None, derandomize=True)
def test_what_is_written_is_read_back(terms: list[tuple[str, float, dict[str, float]]]) -> None:
    def settings_of(values: dict[str, float]) -> str:
        return "[" + ",".join(f"{key}={value!r}" for key, value in values.items()) + "]" if values else ""

    text = " + ".join(f"{weight!r} * {name}{settings_of(values)}" for name, weight, values in terms)
    assert parse(text) == tuple(Term(name, weight, values) for name, weight, values in terms)
