"""A training killed three times ends as one left alone; the comparison itself can fail."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from bench.train import kill


def test_three_kills_change_nothing(tmp_path: Path) -> None:
    report = kill.measure(tmp_path, kills=3, steps=24, seed=1)
    assert len(report["kills"]) == 3
    assert report["different"] == []
    assert report["left_over"] == []
    last = torch.load(tmp_path / "parts" / "last.pt", weights_only=True)
    assert last["average"]["updates"] == last["step"] == 24
    assert any(value.abs().max() > 0 for value in last["velocity"])
    assert set(last["auxiliary"]) == {"score.weight", "score.bias"}
    best = torch.load(tmp_path / "parts" / "checkpoint.pt", weights_only=True)
    assert not any("score" in name for name in best["network"])
    shutil.rmtree(tmp_path / "whole")
    shutil.copytree(tmp_path / "parts", tmp_path / "whole")
    last["average"]["network"]["head.0.bias"][0] += 1e-7
    torch.save(last, tmp_path / "parts" / "last.pt")
    assert kill.differences(tmp_path / "whole", tmp_path / "parts") == ["last.pt/average/network/head.0.bias"]


def test_a_training_that_fails_of_itself_is_told(tmp_path: Path) -> None:
    with pytest.raises(kill.FailedError, match="'steps'"):
        kill.measure(tmp_path, kills=1, steps=-1, seed=0)
