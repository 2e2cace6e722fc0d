"""One tiny run, trained and exported through the command once per session, and ways to call the command."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from PIL import Image

from segx.cli import main

TINY = (
    "--encoder", "test_resnet", "--encoder-weights", "none", "--set", "decoder_channels=64", "--batch-size", "4",
    "--lr", "0.01", "--device", "cpu", "--set", "workers=0", "--augment", "none",
)  # fmt: skip
"""Options of a training that takes seconds."""


@dataclass(frozen=True)
class Outcome:
    """How a call of the command ended."""

    code: int
    out: str
    err: str

    def refused(self, code: int = 2) -> str:
        """Check that it ended with `code` and one clear message; returns that, blanks and line breaks made one."""
        assert self.code == code, self
        assert self.err.count("segx: expected") == 1, self
        assert "Traceback" not in self.err
        return " ".join(self.err.split())


def call(*arguments: object) -> Outcome:
    """`segx ARGUMENTS` in this process, where torch is loaded once for all tests."""
    out, err = StringIO(), StringIO()
    with (
        patch.object(sys, "argv", ["segx", *map(str, arguments)]),
        redirect_stdout(out),
        redirect_stderr(err),
        pytest.raises(SystemExit) as end,
    ):
        main()  # Typer leaves with SystemExit, also where all went well
    return Outcome(int(end.value.code or 0), out.getvalue(), err.getvalue())


def start(*arguments: object) -> subprocess.Popen[str]:
    """`segx ARGUMENTS` as users start it: a process of its own, outside the checkout's folder."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.Popen(
        [sys.executable, "-m", "segx", *map(str, arguments)],
        env={**environment, "OMP_NUM_THREADS": "1", "COLUMNS": "120"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(sys.prefix),
    )


def draw(root: Path, count: int, suffix: str = ".png") -> Path:
    """`count` pictures of 64x80 with one bright rectangle each, and masks that are 0 and 255; no dataset.yaml."""
    rng = np.random.default_rng(3)
    for kind in ("images", "masks"):
        (root / kind).mkdir(parents=True)
    for index in range(count):
        mask = np.zeros((64, 80), np.uint8)
        y, x = rng.integers(4, 24), rng.integers(4, 32)
        mask[y : y + rng.integers(20, 36), x : x + rng.integers(24, 44)] = 255
        light = np.where(mask[..., None] > 0, 190, 60)
        picture = np.clip(light + rng.normal(0, 15, (64, 80, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(picture).save(root / "images" / f"p{index:02}{suffix}")
        Image.fromarray(mask).save(root / "masks" / f"p{index:02}.png")
    return root


@pytest.fixture(scope="session")
def kit() -> SimpleNamespace:
    """What the tests call."""
    return SimpleNamespace(call=call, start=start, draw=draw, tiny=TINY)


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 16 pictures and 0/255 masks."""
    return draw(tmp_path_factory.mktemp("pictures") / "shapes", 16)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, pictures: Path) -> Any:
    """A run that asked for more than it could reach: exit 1, and all of it there."""
    run = tmp_path_factory.mktemp("runs") / "tiny"
    numbers = run.parent / "train.json"
    wish = ("--epochs", "4", "--set", "validate_every=2", "--until", "miou=0.9999", "--json", numbers)
    outcome = call("train", pictures, "--out", run, *TINY, *wish)
    return SimpleNamespace(run=run, outcome=outcome, numbers=numbers)


@pytest.fixture(scope="session")
def exported(trained: Any) -> Any:
    """That run, quantized."""
    numbers = trained.run.parent / "export.json"
    outcome = call("export", trained.run, "--quantize", "--max-drop", 100, "--json", numbers)
    assert outcome.code == 0, outcome
    return SimpleNamespace(
        outcome=outcome, numbers=numbers, fp32=trained.run / "model.fp32.onnx", int8=trained.run / "model.int8.onnx"
    )


@pytest.fixture(scope="session")
def rejected(trained: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The same run under a gate nothing can pass."""
    path = tmp_path_factory.mktemp("rejected") / "bad.onnx"
    outcome = call("export", trained.run, "--precision", "w8", "--max-drop", -100, "--out", path)
    return SimpleNamespace(outcome=outcome, path=path)
