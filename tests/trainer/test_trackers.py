from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from segx_core.errors import ConfigError, SetupError
from segx_trainer.trackers import FILE, Trackers, open_trackers
from segx_trainer.train import resumed_config, train


class _Fails:
    """A service that is gone after some records."""

    def __init__(self, after: int) -> None:
        self.seen: list[int] = []
        self.after = after

    def log(self, values: Mapping[str, float], step: int) -> None:
        if len(self.seen) == self.after:
            raise ConnectionError("gone")
        self.seen.append(step)

    def close(self) -> None:
        raise ConnectionError("gone too")


def test_a_service_that_fails_is_left_out_with_one_warning(capsys: pytest.CaptureFixture[str]) -> None:
    fails, lives = _Fails(2), _Fails(9)
    trackers = Trackers({"first": fails, "second": lives})
    for step in range(5):
        trackers.log({"loss": 1.0}, step)
    assert fails.seen == [0, 1]
    assert lives.seen == [0, 1, 2, 3, 4]
    text = capsys.readouterr().err
    assert text.count("first failed") == 1
    assert "ConnectionError: gone" in text
    trackers.close()
    assert "second failed" in capsys.readouterr().err


def test_a_missing_package_is_named_with_its_extra(tmp_path: Path) -> None:
    if importlib.util.find_spec("trackio") is not None:
        pytest.skip("trackio is installed")
    with pytest.raises(SetupError, match=r"segx\[trackio\]"):
        open_trackers(["trackio"], tmp_path, {})


def test_names_of_services_in_a_config(make_config: Any) -> None:
    assert make_config(trackers="wandb, mlflow").trackers == ("wandb", "mlflow")
    assert make_config(trackers=["trackio"]).trackers == ("trackio",)
    with pytest.raises(ConfigError, match="trackers"):
        make_config(trackers="wandbb")


def test_damaged_names_are_an_error(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("[")
    with pytest.raises(SetupError, match=r"trackers\.json"):
        open_trackers(["wandb"], tmp_path, {})


@pytest.mark.filterwarnings("ignore")  # of wandb and its dependencies, about themselves
def test_a_run_goes_to_wandb_and_a_resumed_one_to_the_same(
    tmp_path: Path, make_config: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb", reason="wandb is not installed")
    monkeypatch.setenv("WANDB_MODE", "offline")
    config = make_config(trackers=["wandb"], epochs=4, until=1e-9)
    train(config, tmp_path / "run")
    name = json.loads((tmp_path / "run" / FILE).read_text())["wandb"]
    source = tmp_path / "run" / "config.yaml"
    source.write_text(source.read_text().replace("until: 1.0e-09", "until: null"))
    train(resumed_config(tmp_path / "run", {}), tmp_path / "run", resume=True)
    assert json.loads((tmp_path / "run" / FILE).read_text())["wandb"] == name
    kept = [path.read_bytes() for path in (tmp_path / "run" / "wandb").glob(f"offline-run-*/run-{name}.wandb")]
    assert len(kept) == 2
    for number in (b"train/loss", b"val/miou", b"val_iou/class_"):
        assert all(number in content for content in kept)
    assert resumed_config(tmp_path / "run", {"trackers": []}).trackers == ()
