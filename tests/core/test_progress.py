from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from segx_core import progress

ROOT = Path(__file__).parents[2]


def test_items_come_through_and_the_end_is_said_on_stderr(capsys):
    assert list(progress.track([3, 1, 2], "reading [masks]", unit="masks")) == [3, 1, 2]
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("reading [masks]: 3 masks done in ")


def test_things_without_a_length(capsys):
    assert list(progress.track(iter("ab"), "letters")) == ["a", "b"]
    assert list(progress.track([], "nothing")) == []
    assert "nothing: 0 it done" in capsys.readouterr().err


def test_an_early_break_and_an_error_pass_through():
    for item in progress.track(range(5), "some"):
        if item == 2:
            break
    assert item == 2
    with pytest.raises(ZeroDivisionError):
        list(progress.track((1 // value for value in (1, 0)), "dividing"))


@pytest.mark.parametrize(
    ("since", "total", "seconds", "expected"),
    [
        (1, 1000, 10.0, True),
        (1, None, 10.0, True),
        (100, 1000, 1.0, True),
        (100, 1000, 0.5, False),
        (99, 1000, 9.0, False),
        (99, None, 9.0, False),
    ],
)
def test_lines_come_every_ten_seconds_or_tenth(since, total, seconds, expected):
    assert progress.due(since, total, seconds) is expected


def test_a_line_says_how_far_and_how_long_still():
    assert progress.line("epoch 1", 25, 100, "batches", 10.0) == (
        "epoch 1: 25/100 batches (25%), 2.5 batches/s, about 30 s left"
    )
    assert progress.line("epoch 1", 2, 10, "batches", 40.0).endswith("20.0 s per item, about 2 min 40 s left")
    assert progress.line("frames", 50, None, "frames", 5.0) == "frames: 50 frames, 10.0 frames/s"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.6, "1 min 0 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")]
)
def test_durations(seconds, text):
    assert progress.duration(seconds) == text


def test_a_bar_with_time_left_on_a_terminal():
    """In a real pseudo-terminal: the bar, the count and the message printed meanwhile."""
    pty = pytest.importorskip("pty")
    code = (
        "from segx_core.progress import console, track\n"
        "for item in track(range(40), 'working', unit='steps'):\n"
        "    if item == 20: console().print('half way')\n"
    )
    parent, child = pty.openpty()
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "core"), "TERM": "xterm-256color", "COLUMNS": "100"}
    process = subprocess.Popen([sys.executable, "-c", code], stderr=child, env=environment)
    os.close(child)
    shown = b""
    while True:
        try:
            part = os.read(parent, 65536)
        except OSError:  # how Linux says that the other end of a terminal is closed
            break
        if not part:
            break
        shown += part
    os.close(parent)
    assert process.wait() == 0
    text = shown.decode()
    assert "working" in text
    assert "40/40" in text
    assert "steps" in text
    assert "half way" in text
