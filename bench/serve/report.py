"""Medians over rounds, and ratios paired round by round: to a reference contestant, and to the floor of that round.

    python -m bench.serve.report FILE.jsonl [--reference fastapi]

Paired, because on a shared machine both sides of a ratio must have seen the same weather. For `sim` the share of the
batched ceiling stands beside: what the simulated device could do if it were always given full batches.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

Row = dict[str, Any]
FLOORS = ("floor", "floor_peers")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--reference", default="fastapi")
    given = parser.parse_args()
    rows = [json.loads(line) for line in given.file.read_text().splitlines()]
    print(table(summarise(rows, given.reference)))


def ceiling() -> float:
    """Pictures a second of the simulated device at full batches: 8 / (1.5 + 0.25 x 8) ms by default."""
    batch = int(os.environ.get("MAX_BATCH", "8"))
    milliseconds = float(os.environ.get("SIM_A", "1.5")) + float(os.environ.get("SIM_B", "0.25")) * batch
    return batch / milliseconds * 1e3


def summarise(rows: Iterable[Row], reference: str) -> list[Row]:
    """One summary a contestant and number of connections; floors first.

    Args:
        rows: what bench.py printed.
        reference: the contestant that ratios are against; where it is absent they are null.
    """
    groups: dict[tuple[str, int], dict[int, Row]] = defaultdict(dict)
    for row in rows:
        groups[row["name"], row["connections"]][row["round"]] = row
    return [
        _summary(name, count, groups, reference) for name, count in sorted(groups, key=lambda key: key[0] not in FLOORS)
    ]


def _summary(name: str, count: int, groups: dict[tuple[str, int], dict[int, Row]], reference: str) -> Row:
    mine = groups[name, count]
    some = next(iter(mine.values()))

    def middle(key: str, digits: int = 3) -> float:
        return round(float(statistics.median(row[key] for row in mine.values())), digits)

    def paired(other: dict[int, Row], ratio: Callable[[Row, Row], float]) -> float | None:
        pairs = [ratio(row, other[turn]) for turn, row in mine.items() if turn in other]
        return round(statistics.median(pairs), 3) if pairs else None

    def cpu_ratio(row: Row, base: Row) -> float:
        return float(row["cpu_ms"] / base["cpu_ms"]) if base["cpu_ms"] else 0.0

    summary: Row = {
        "workload": some["workload"],
        "name": name,
        "connections": count,
        "rounds": len(mine),
        "rps": middle("rps", 1),
        "cpu_ms": middle("cpu_ms"),
        "cpu_ms_range": [round(pick(row["cpu_ms"] for row in mine.values()), 3) for pick in (min, max)],
    }
    if name in FLOORS:
        return summary
    base = groups.get((reference, count), {})
    summary |= {
        "p50_ms": middle("p50"),
        "p99_ms": middle("p99"),
        "pss_mib": middle("pss_mib", 0),
        "errors": sum(row["bad"] for row in mine.values()),
        "other_cores": max(row["other"] for row in mine.values()),
        "processes": some["processes"],
        "start_seconds": some["start_seconds"],
        "rps_to_reference": paired(base, lambda row, one: float(row["rps"] / one["rps"]) if one["rps"] else 0.0),
        "cpu_to_reference": paired(base, cpu_ratio),
        "cpu_to_floor": paired(_floor("floor", count, groups), cpu_ratio),
        "cpu_to_floor_peers": paired(_floor("floor_peers", count, groups), cpu_ratio),
    }
    if some["workload"] == "sim":
        summary["share_of_ceiling"] = round(summary["rps"] / ceiling(), 3)
    return summary


def _floor(name: str, connections: int, groups: dict[tuple[str, int], dict[int, Row]]) -> dict[int, Row]:
    """The floor to hold against: one process for one connection, else as many as were measured."""
    measured = sorted(count for floor, count in groups if floor == name)
    if not measured:
        return {}
    return groups[name, measured[0] if connections == 1 else measured[-1]]


def table(summaries: list[Row]) -> str:
    """The summaries as text."""
    heads: tuple[str, ...] = (
        "name",
        "conn",
        "req/s",
        "CPU-ms",
        "p50",
        "p99",
        "PSS",
        "bad",
        "other",
        "x rps",
        "x CPU",
        "x floor",
        "share",
    )
    keys = (
        "name", "connections", "rps", "cpu_ms", "p50_ms", "p99_ms", "pss_mib", "errors", "other_cores",
        "rps_to_reference", "cpu_to_reference", "cpu_to_floor", "share_of_ceiling",
    )  # fmt: skip
    lines = [heads]
    for row in summaries:
        lines.append(tuple("" if row.get(key) is None else str(row[key]) for key in keys))
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)


if __name__ == "__main__":
    main()
