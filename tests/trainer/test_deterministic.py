from __future__ import annotations

import os

import pytest
import torch

from segx_core.errors import ConfigError
from segx_trainer.deterministic import deterministic


def _settings() -> tuple[object, ...]:
    cudnn = torch.backends.cudnn
    return (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        cudnn.deterministic,
        cudnn.benchmark,
        os.environ.get("CUBLAS_WORKSPACE_CONFIG"),
    )


def test_settings_hold_within_and_are_restored() -> None:
    before = _settings()
    with deterministic(True):
        assert _settings() == (True, False, True, False, os.environ["CUBLAS_WORKSPACE_CONFIG"])
    assert _settings() == before
    with deterministic(False):
        assert _settings() == before


def test_settings_are_restored_after_an_error() -> None:
    before = _settings()
    with pytest.raises(ZeroDivisionError), deterministic(True):
        _ = 1 // 0
    assert _settings() == before


def test_a_workspace_somebody_chose_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    with deterministic(True):
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":16:8"
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":16:8"


def test_an_operation_without_a_deterministic_form_is_named() -> None:
    values = torch.zeros(4)
    with pytest.raises(ConfigError, match="put_"), deterministic(True):
        values.put_(torch.tensor([0, 0]), torch.tensor([1.0, 2.0]))  # which of the two wins is left to chance
    with pytest.raises(RuntimeError, match="shape"), deterministic(True):
        torch.zeros(2).reshape(3)
