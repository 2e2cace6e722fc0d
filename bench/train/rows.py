"""One row of a grid: the same `segx train` with one thing changed, once for each seed; done once, resumed where killed.

Knows how to run a row and how to sum it up; which rows there are is the grids' business (ablation.py, small.py).
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import statistics
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.train.processes import FailedError, cpu_minutes, run, segx
from segx_core import atomic

RESULT = "result.json"


@dataclass(frozen=True)
class Row:
    """What a row changes."""

    name: str
    options: tuple[str, ...] = ()
    """Words for `segx train`; they come after the common ones and win over them."""
    lacks: str = ""
    """Why it cannot be run, where it cannot."""


@dataclass(frozen=True)
class Grid:
    """What all rows have in common."""

    data: str
    common: tuple[str, ...]
    """Words for `segx train`: network, size, epochs."""
    work: Path
    """A folder for each run: its options are part of its name, so other options are another run."""


def run_all(grid: Grid, rows: Sequence[Row], seeds: Sequence[int], jobs: int) -> dict[str, str]:
    """Run what is not there yet, `jobs` at a time, seed by seed. Returns why rows failed, by name."""
    failed: dict[str, str] = {}

    def attempt(row: Row, seed: int) -> None:
        try:
            found = run_row(grid, row, seed)
        except FailedError as error:
            failed[row.name] = reason(str(error))
            print(f"{row.name}, seed {seed}: failed\n{error}", flush=True)
        else:
            print(f"{row.name}, seed {seed}: mIoU {found['miou']:.4f}, {found['cpu_minutes']:.1f} CPU-min", flush=True)

    with ThreadPoolExecutor(jobs) as pool:
        tasks = [pool.submit(attempt, row, seed) for seed in seeds for row in rows if not row.lacks]
        try:
            for task in tasks:
                task.result()
        except KeyboardInterrupt:
            pool.shutdown(cancel_futures=True)
            raise
    return failed


def reason(said: str) -> str:
    """What a failed command gives as its reason: segx's own message, else the last line that has words."""
    lines = [line.strip(" │╭╮╰╯─") for line in said.splitlines()]
    own = [place for place, line in enumerate(lines) if line.startswith("segx: expected")]
    if own:
        return " ".join(lines[own[-1] :]).removeprefix("segx: ")
    return next((line for line in reversed(lines) if re.search(r"\w", line)), "no words")


def folder_of(grid: Grid, row: Row, seed: int) -> Path:
    """Where a row's run of one seed stands."""
    # A policy that was changed is another row, too.
    words = [Path(word).read_text() if word.endswith(".yaml") else word for word in (*grid.common, *row.options)]
    digest = hashlib.sha256(json.dumps(words).encode()).hexdigest()[:8]
    name = re.sub(r"[^\w.]+", "-", row.name).strip("-")
    return grid.work / f"{name}-{digest}" / f"seed{seed}"


def run_row(grid: Grid, row: Row, seed: int) -> dict[str, Any]:
    """One training, or what is left of it, or what it left.

    Raises:
        FailedError: `segx train` failed; nothing is kept as a result, so that the next call tries again.
    """
    place = folder_of(grid, row, seed)
    if found := result_of(place):
        return found
    out, answer, ledger = place / "run", place / "train.json", place / "cpu.json"
    if (out / "last.pt").is_file():
        command = segx("train", grid.data, "--out", out, "--resume", "--json", answer)
    else:
        shutil.rmtree(out, ignore_errors=True)  # killed before the first state was saved: nothing to go on from
        options = (*grid.common, *row.options)
        command = segx("train", grid.data, "--out", out, *options, "--seed", seed, "--json", answer)
    run(command, place / "log", ledger)
    trained = json.loads(answer.read_text())
    result = {
        "miou": trained["miou"],
        "per_class_iou": trained["per_class_iou"],
        "steps": trained["step"],
        "cpu_minutes": cpu_minutes(ledger),
    }
    atomic.write_text(place / RESULT, json.dumps(result, indent=2) + "\n")
    return result


def result_of(place: Path) -> dict[str, Any] | None:
    """What a finished run left."""
    if not (place / RESULT).is_file():
        return None
    content: dict[str, Any] = json.loads((place / RESULT).read_text())
    return content


def summarise(
    grid: Grid, rows: Sequence[Row], seeds: Sequence[int], rarest: Sequence[str], failed: Mapping[str, str]
) -> list[dict[str, Any]]:
    """A record for each row, run or not: mean and standard deviation over the seeds that are there."""
    lines = []
    for row in rows:
        found = {seed: one for seed in seeds if (one := result_of(folder_of(grid, row, seed)))}
        line: dict[str, Any] = {
            "name": row.name,
            "options": [shown(word) for word in row.options],
            "seeds": sorted(found),
        }
        if found:
            line["miou"] = spread([one["miou"] for one in found.values()])
            line["rarest"] = {name: spread([one["per_class_iou"][name] for one in found.values()]) for name in rarest}
            line["cpu_minutes"] = statistics.mean(one["cpu_minutes"] for one in found.values())
        if reason := row.lacks or failed.get(row.name, ""):
            line["reason"] = reason
        lines.append(line)
    return lines


def shown(word: str) -> str:
    """A word of a command line without the folders of this machine."""
    return Path(word).name if Path(word).is_absolute() else word


def spread(values: Sequence[float | None]) -> dict[str, Any]:
    """Mean, sample standard deviation (None of one value) and the values; an IoU that does not exist counts as 0."""
    numbers = [0.0 if value is None else value for value in values]
    deviation = statistics.stdev(numbers) if len(numbers) > 1 else None
    return {"mean": statistics.mean(numbers), "sd": deviation, "values": numbers}
