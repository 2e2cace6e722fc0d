"""Writes down a run as it goes: metrics.jsonl, TensorBoard, curves and what the terminal shows.

One line of metrics.jsonl a record, `kind` "train", "val" or "unreadable". The file is the truth; everything
else is drawn from it.
"""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from segx_core import atomic
from segx_core.errors import SetupError
from segx_core.progress import console, duration
from segx_trainer.loading import Pictures
from segx_trainer.trackers import Trackers

METRICS = "metrics.jsonl"
_PLAIN_EVERY_S = 20.0  # seconds between lines where there is no terminal


class RunLog:
    """Log of one run. Use as a context manager.

    Args:
        run: the run folder.
        total: optimizer steps the run will take.
        resumed_at: records of later steps are dropped, so that a resumed run's log has no doubles.
        work: what the first n steps cost, in any unit, for n from 0 to `total`; None counts all steps alike.
        trackers: get every number that TensorBoard gets; closed with the log.
    """

    def __init__(
        self,
        run: Path,
        total: int,
        resumed_at: int,
        work: Sequence[int] | None = None,
        trackers: Trackers | None = None,
    ) -> None:
        with warnings.catch_warnings():
            # tensorboard warns about its own imports; a user can do nothing about it
            warnings.simplefilter("ignore", DeprecationWarning)
            from torch.utils.tensorboard.writer import SummaryWriter

        self.path = run / METRICS
        self.records = [record for record in _read(self.path) if record["step"] <= resumed_at]
        atomic.write_text(self.path, "".join(json.dumps(record) + "\n" for record in self.records))
        self.board = SummaryWriter(str(run / "tensorboard"), purge_step=resumed_at + 1 if resumed_at else None)
        self.total = total
        self.work = range(total + 1) if work is None else work
        self.trackers = Trackers({}) if trackers is None else trackers
        self.started_at = resumed_at
        self.started = time.monotonic()
        self._last_line = self.started
        self._progress = Progress(
            TextColumn("train"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            console=console(),
            disable=not console().is_terminal,
        )
        self._task = self._progress.add_task("train", total=total, completed=resumed_at, note="", left="")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()
        self.board.close()
        self.trackers.close()

    def train(
        self, step: int, loss: float, terms: dict[str, float], lr: float, images_per_second: float, skipped: int = 0
    ) -> None:
        """Record the mean loss since the last record, and how many steps so far float16 made the run skip."""
        record = {"kind": "train", "step": step, "loss": loss, "terms": terms, "lr": lr, "skipped": skipped}
        self._append({**record, "images_per_second": round(images_per_second, 3), "time": round(time.time(), 3)})
        numbers = {"loss": loss, **terms, "lr": lr, "images_per_second": images_per_second}
        self._numbers({f"train/{name}": value for name, value in numbers.items()}, step)
        note = f"loss {loss:.4f}  {images_per_second:.1f} pictures/s"
        now = time.monotonic()
        left = f"about {self._left(step, now)} left"
        self._progress.update(self._task, completed=step, note=note, left=left)
        if not console().is_terminal and now - self._last_line >= _PLAIN_EVERY_S:
            self._last_line = now
            console().print(f"step {step}/{self.total}  {note}  {left}")

    def validation(self, step: int, epoch: float, scores: dict[str, Any], best: bool) -> None:
        """Record a validation: `scores` holds miou, pixel_accuracy and per_class_iou by name."""
        self._append({"kind": "val", "step": step, "epoch": round(epoch, 4), **scores, "time": round(time.time(), 3)})
        each = {f"val_iou/{name}": value for name, value in scores["per_class_iou"].items() if value is not None}
        self._numbers({"val/miou": scores["miou"], "val/pixel_accuracy": scores["pixel_accuracy"], **each}, step)
        self.board.flush()
        mark = "  best so far" if best else ""
        console().print(
            f"epoch {epoch:.1f}  step {step}/{self.total}  val mIoU {scores['miou']:.4f}  "
            f"pixel accuracy {scores['pixel_accuracy']:.4f}{mark}"
        )

    def unreadable(self, step: int, pictures: Pictures) -> None:
        """Record the samples that were found unreadable, each once a run."""
        told = {r["sample"] for r in self.records if r["kind"] == "unreadable" and r["split"] == pictures.label}
        for index in sorted(pictures.told):
            name = pictures.samples[index].name
            if name not in told:
                reason = str(pictures.broken[index])
                record = {"kind": "unreadable", "step": step, "split": pictures.label, "sample": name}
                self._append({**record, "reason": reason})

    def _numbers(self, values: dict[str, float], step: int) -> None:
        for name, value in values.items():
            self.board.add_scalar(name, value, step)
        self.trackers.log(values, step)

    def _append(self, record: dict[str, Any]) -> None:
        self.records.append(record)
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
        except OSError as error:
            raise SetupError(
                f"to write {self.path}", error.strerror or str(error), "Free space, then --resume."
            ) from error

    def _left(self, step: int, now: float) -> str:
        done = self.work[step] - self.work[self.started_at]
        return duration((now - self.started) / max(1, done) * (self.work[self.total] - self.work[step]))


def _read(path: Path) -> list[dict[str, Any]]:
    """Records of a log; a last line cut short by a kill is dropped."""
    if not path.is_file():
        return []
    records = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            break
        if isinstance(record, dict) and "step" in record:
            records.append(record)
    return records
