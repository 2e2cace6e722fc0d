"""`segx train` where it ends early: Ctrl-C and resume in real processes, a full disk, a run that is there already."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from segx_trainer import checkpoint


def test_ctrl_c_exits_130_and_resume_finishes(kit: SimpleNamespace, pictures: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    # Forty steps, validated once at the end: time enough to be stopped after the first epoch's last.pt.
    arguments = ("train", pictures, "--out", run, *kit.tiny, "--steps", "40", "--set", "validate_every=100")
    process = kit.start(*arguments)
    try:
        deadline = time.monotonic() + 200
        while not (run / "last.pt").exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, err
    assert "Traceback" not in out + err
    assert "everything written so far is kept" in err
    assert "--resume" in err
    assert 0 < checkpoint.read(run / "last.pt")["step"] < 40

    resumed = kit.call("train", pictures, "--out", run, "--resume")
    assert resumed.code == 0, resumed
    assert checkpoint.read(run / "last.pt")["step"] == 40
    assert (run / "checkpoint.pt").is_file()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 6 MB: room for the best weights, but not for last.pt, which holds the optimizer's moments too."""
    disk = tmp_path / "disk"
    disk.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(disk)], capture_output=True, text=True, check=False
    )
    if made.returncode:
        pytest.skip(f"no small disk can be mounted here: {made.stderr.strip()}")
    try:
        yield disk
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_is_told_and_costs_no_earlier_checkpoint(
    kit: SimpleNamespace, pictures: Path, small_disk: Path
) -> None:
    run = small_disk / "run"
    message = kit.call("train", pictures, "--out", run, *kit.tiny, "--epochs", "2").refused()
    assert "last.pt" in message
    assert "Free some space" in message
    assert checkpoint.load_run(run).card.classes == ("background", "foreground")
    assert not list(run.glob(".*tmp*"))


def test_an_existing_run_is_left_alone(kit: SimpleNamespace, trained: Any, pictures: Path) -> None:
    before = (trained.run / "checkpoint.pt").read_bytes()
    message = kit.call("train", pictures, "--out", trained.run, *kit.tiny).refused()
    assert "--resume" in message
    assert (trained.run / "checkpoint.pt").read_bytes() == before
