"""Times in turns and quality of contestants that are loaded in workers. Builds nothing and knows no network.

A round gives each contestant one turn of several runs and keeps the median; its ratio is to the reference of the same
round. The order changes from round to round, so that nobody always follows the same neighbour.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.export.contestants import REFERENCE, Contestant
from bench.export.workers import Worker, WorkerError
from segx_core.confusion import confusion, miou

Rounds = dict[str, list[dict[str, float]]]
"""By contestant: "ms" and "cpu_ms" of each round."""


def load(contestants: Sequence[Contestant], workers: dict[str, Worker]) -> tuple[list[Contestant], dict[str, str]]:
    """Load each where it runs; those that cannot be loaded come back with the reason."""
    able, failed = [], {}
    for one in contestants:
        try:
            answer = workers[one.runtime].ask("load", name=key(one), path=one.path, config=one.config)
            able.append(replace(one, note=", ".join(filter(None, (one.note, answer["note"])))))
        except WorkerError as error:
            print(f"{one.name}, {one.form}: {error}", file=sys.stderr)
            failed[one.name] = str(error)
    return able, failed


def take_turns(
    contestants: Sequence[Contestant], workers: dict[str, Worker], picture: Path, rounds: int, runs: int
) -> Rounds:
    """Milliseconds of each contestant of one form, round by round."""
    found: Rounds = {one.name: [] for one in contestants}
    order = np.random.default_rng(0)
    for _ in range(rounds):
        for index in order.permutation(len(contestants)):
            one = contestants[int(index)]
            answer = workers[one.runtime].ask("time", name=key(one), pictures=picture, runs=runs)
            found[one.name].append({unit: statistics.median(answer[unit]) for unit in ("ms", "cpu_ms")})
    return found


def summarise(rounds: Rounds, reference: str = REFERENCE) -> dict[str, dict[str, float]]:
    """Medians over rounds: of milliseconds, and of the ratio to the reference with its quartiles.

    Args:
        rounds: from `take_turns`, all of the same length.
        reference: whose turn of the same round is the denominator.
    """
    table = {}
    for name, turns in rounds.items():
        row: dict[str, float] = {}
        for unit, ratio in (("ms", "ratio"), ("cpu_ms", "cpu_ratio")):
            ratios = [turn[unit] / base[unit] for turn, base in zip(turns, rounds[reference], strict=True)]
            low, middle, high = np.percentile(ratios, (25, 50, 75))
            row[unit] = round(statistics.median(turn[unit] for turn in turns), 3)
            row |= {ratio: round(float(middle), 4)}
            row |= {f"{ratio}_low": round(float(low), 4), f"{ratio}_high": round(float(high), 4)}
        table[name] = row
    return table


def class_maps(
    contestants: Sequence[Contestant], workers: dict[str, Worker], pictures: NDArray[np.uint8], folder: Path
) -> dict[str, NDArray[np.generic]]:
    """(N, S, S) class maps of each contestant of the deploy form."""
    source = folder / "val.npy"
    np.save(source, pictures)
    found = {}
    for one in contestants:
        out = folder / "maps.npy"
        workers[one.runtime].ask("maps", name=key(one), pictures=source, out=out)
        found[one.name] = np.load(out)
    return found


def scores(
    maps: dict[str, NDArray[Any]], targets: NDArray[np.uint8], classes: int, ignore: int, reference: str = REFERENCE
) -> dict[str, dict[str, float]]:
    """Mean IoU, its drop in points and the share of pixels with the reference's class, of each contestant."""
    found = {name: miou(confusion(targets, one, classes, ignore)) for name, one in maps.items()}
    return {
        name: {
            "miou": round(found[name], 6),
            "drop": round((found[reference] - found[name]) * 100, 4),
            "agreement": round(float((one == maps[reference]).mean()), 6),
        }
        for name, one in maps.items()
    }


def key(one: Contestant) -> str:
    """A contestant's name in its worker."""
    return f"{one.form}/{one.name}"
