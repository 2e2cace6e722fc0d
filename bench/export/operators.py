"""Where a file's time goes: ONNX Runtime's own profile, summed by operator and listed by node.

    python -m bench.export.operators MODEL.onnx [OTHER.onnx ...] [--side 256] [--runs 30] [--nodes 15]

The card's session options are obeyed where the file has a card. Profiling itself costs some microseconds a node, so
totals are a little higher than latencies; compare shares. Measures no quality and compares with nothing.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from segx_core import card_io, onnx_metadata
from segx_core.card import METADATA_KEY, Session


@dataclass(frozen=True)
class Spent:
    """Milliseconds a run, and how many nodes share them."""

    name: str
    milliseconds: float
    nodes: int


def main() -> None:
    """Print each file's table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--nodes", type=int, default=15, help="slowest nodes to list")
    options = parser.parse_args()
    for path in options.models:
        events = record(path, options.side, options.runs, options.threads)
        print(f"\n{path}: {sum(row.milliseconds for row in by(events, 'op')):.2f} ms a run")
        for row in by(events, "op"):
            print(f"  {row.milliseconds:8.3f} ms  {row.nodes:4d} x {row.name}")
        for row in by(events, "node")[: options.nodes]:
            print(f"  {row.milliseconds:8.3f} ms  {row.name}")


def record(path: Path, side: int, runs: int, threads: int = 1) -> list[dict[str, Any]]:
    """The kernel events of `runs` runs, each with `node`, `op` and `ms` per run; one picture, `side` x `side`."""
    text = onnx_metadata.read(path).get(METADATA_KEY)
    wish = card_io.from_json(text, str(path)).session if text else Session()
    with tempfile.TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.enable_profiling, options.profile_file_prefix = True, str(Path(folder) / "profile")
        for key, value in wish.config.items():
            options.add_session_config_entry(key, value)
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        feeds = {item.name: picture(item.shape, item.type, side) for item in session.get_inputs()}
        for _ in range(runs):
            session.run(None, feeds)
        return kernel_events(json.loads(Path(session.end_profiling()).read_text()), runs)


def picture(shape: list[Any], kind: str, side: int) -> Any:
    """Random content for an input whose free axes are 1 (the first) and `side` (the others)."""
    sizes = [size if isinstance(size, int) else (1 if axis == 0 else side) for axis, size in enumerate(shape)]
    random = np.random.default_rng(0)
    if kind == "tensor(uint8)":
        return random.integers(0, 256, sizes, np.uint8)
    return random.standard_normal(sizes).astype(np.float32)


def kernel_events(profile: list[dict[str, Any]], runs: int) -> list[dict[str, Any]]:
    """What ONNX Runtime's profile says of kernels: an event a node and run, microseconds to milliseconds per run."""
    return [
        {
            "node": event["name"].removesuffix("_kernel_time"),
            "op": event["args"]["op_name"],
            "ms": event["dur"] / 1e3 / runs,
        }
        for event in profile
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time")
    ]


def by(events: list[dict[str, Any]], key: str) -> list[Spent]:
    """Sums by "op" or "node", the largest first; a node says its operator too."""
    time: dict[str, float] = defaultdict(float)
    nodes: dict[str, set[str]] = defaultdict(set)
    for event in events:
        name = event["op"] if key == "op" else f"{event['op']} {event['node']}"
        time[name] += event["ms"]
        nodes[name].add(event["node"])
    return sorted(
        (Spent(name, spent, len(nodes[name])) for name, spent in time.items()), key=lambda row: -row.milliseconds
    )


if __name__ == "__main__":
    main()
