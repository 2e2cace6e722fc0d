from __future__ import annotations

from pathlib import Path

from segx_trainer.progressive import Growth
from segx_trainer.runlog import RunLog


def test_time_left_counts_pixels(tmp_path: Path) -> None:
    work = Growth((128, 128), 100, 0.5, 1.0).pixels()
    with RunLog(tmp_path / "grows", 100, 0, work) as grows, RunLog(tmp_path / "even", 100, 0) as even:
        # 50 steps took 100 seconds: the other half of even steps takes as long, of growing ones longer.
        assert even._left(50, even.started + 100) == "1 min 40 s"
        seconds = 100 * (work[100] - work[50]) / work[50]
        assert grows._left(50, grows.started + 100) == f"{round(seconds) // 60} min {round(seconds) % 60} s"
        assert seconds > 150
    with RunLog(tmp_path / "late", 100, 60, work) as late:  # only what this process did counts
        assert late._left(100, late.started + 7) == "0 s"
