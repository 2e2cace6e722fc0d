"""What is left of a run when saving goes wrong: a full disk, a kill in the middle of writing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from segx_trainer import checkpoint
from segx_trainer.config import to_yaml
from segx_trainer.train import resumed_config, train

SCRIPT = """
import os, signal, sys, torch
torch.set_num_threads(1)
from pathlib import Path
from segx_core.errors import SetupError
from segx_trainer import train as module
from segx_trainer.config import build_config, read_yaml
write = module.save_last
def spoiled(run, state, *rest):
    if state.step > 2:
        PREPARE
    write(run, state, *rest)
module.save_last = spoiled
try:
    module.train(build_config(read_yaml(Path(sys.argv[1]))), Path(sys.argv[2]))
except SetupError as error:
    sys.exit(str(error))
"""
LIMIT = (
    "import resource; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
    "resource.setrlimit(resource.RLIMIT_FSIZE, (100000, 100000))"
)
KILL = "os.fsync = lambda descriptor: os.kill(os.getpid(), signal.SIGKILL)"  # all is written, and not yet in its place


def run_spoiled(config: Any, run: Path, prepare: str) -> subprocess.CompletedProcess[str]:
    source = run.with_suffix(".yaml")
    source.write_text(to_yaml(config))
    command = [sys.executable, "-c", SCRIPT.replace("PREPARE", prepare), str(source), str(run)]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


def test_a_full_disk_is_one_message_and_the_old_file_stays(tmp_path: Path, make_config: Any) -> None:
    pytest.importorskip("resource")
    done = run_spoiled(make_config(save_every=2, ema=0.9), tmp_path / "run", LIMIT)
    assert done.returncode == 1
    assert "last.pt" in done.stderr
    assert "Free some space" in done.stderr
    assert "Traceback" not in done.stderr
    assert checkpoint.read(tmp_path / "run" / "last.pt")["step"] == 2
    assert not list((tmp_path / "run").glob(".*.tmp*"))


def test_a_kill_in_the_middle_of_writing_costs_nothing(tmp_path: Path, make_config: Any) -> None:
    config = make_config(save_every=2, ema=0.9, validate_every=2)
    assert run_spoiled(config, tmp_path / "run", KILL).returncode == -signal.SIGKILL
    assert checkpoint.read(tmp_path / "run" / "last.pt")["step"] == 2
    assert list((tmp_path / "run").glob(".last.*.tmp.pt"))
    train(resumed_config(tmp_path / "run", {}), tmp_path / "run", resume=True)
    assert not list((tmp_path / "run").glob(".*.tmp*"))
    train(config, tmp_path / "whole")
    whole, parts = (checkpoint.read(tmp_path / name / "last.pt") for name in ("whole", "run"))
    for network in ("network", "average"):
        mine, theirs = (one[network].get("network", one[network]) for one in (whole, parts))
        assert all(torch.equal(value, theirs[name]) for name, value in mine.items())
