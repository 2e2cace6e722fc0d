from __future__ import annotations

import pytest

from segx_trainer.schedule import factor


def test_warm_up_grows_to_one_and_then_falls() -> None:
    values = [factor(step, 100, 10, "poly") for step in range(100)]
    assert values[0] == pytest.approx(0.1)
    assert values[9] == values[10] == 1.0
    assert values[10:] == sorted(values[10:], reverse=True)
    assert 0 < values[-1] < 0.05


def test_known_points() -> None:
    assert factor(50, 100, 0, "cosine") == pytest.approx(0.5)
    assert factor(50, 100, 0, "poly") == pytest.approx(0.5**0.9)
    assert factor(99, 100, 0, "constant") == 1.0


def test_one_step_is_no_division_by_zero() -> None:
    assert factor(0, 1, 1, "poly") == 1.0
