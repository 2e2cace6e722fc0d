"""The tables of docs/results.md about training, from the JSON the scripts beside this file left. Standard library only.

What was not run says so. It holds no figure of its own.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
NOT_RUN = "not run"


def render() -> list[str]:
    """The section's lines."""
    lines = ["## Training", "", "How, and how fair it is: [bench/train/README.md](../bench/train/README.md).", ""]
    for name, title, show in (
        ("camvid.json", "**The recipe beside the plain loop, CamVid val** (`python -m bench.train.camvid`)", camvid),
        ("camvid-0001TP.json", "**The same, drive 0001TP held out and scored** (`--held-out 0001TP`)", camvid),
        (
            "ablation.json",
            "**One thing changed at a time, CamVid at 180x240** (`python -m bench.train.ablation`)",
            grid,
        ),
        ("ablation-gpu.json", "**The same, longer and with more seeds** (`--gpu`)", grid),
        ("small.json", "**Sixty training pictures at 180x240** (`python -m bench.train.small`)", small),
        ("kill.json", "**Killed at random and resumed** (`python -m bench.train.kill`)", killed),
        ("peers.json", "**Values of other projects' losses and metrics** (`python -m bench.train.peers`)", peers),
    ):
        path = HERE / name
        if path.is_file():
            found = json.loads(path.read_text())
            lines += [f"{title}, on {where(found)}.", "", *show(found), ""]
        else:
            lines += [f"{title}: {NOT_RUN}.", ""]
    return [*lines, *fused(_load("memory.json"), _load("loss_speed.json"))]


def _load(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((HERE / name).read_text())
    return found


def camvid(found: dict[str, Any]) -> list[str]:
    """Scores, and differences with their intervals."""
    scores, trained, plain, drawn = found["scores"], found["segx"], found["plain"], found["bootstrap"]
    names = list(scores)
    first = scores[names[0]]
    lines = [row("", names), row("---", ["---"] * len(names))]
    for label, key in (("mIoU", "miou"), ("pixel accuracy", "pixel_accuracy"), ("boundary F1", "boundary_f1")):
        lines.append(row(label, [f"{scores[name][key]:.4f}" for name in names]))
    lines.append(row("p50, ms", [f"{scores[name]['latency_ms']['p50']:.1f}" for name in names]))
    lines.append(row("size, MB", [f"{scores[name]['size_bytes'] / 1e6:.2f}" for name in names]))
    for one in first["classes"]:
        lines.append(row(f"IoU {one}", [share(scores[name]["per_class_iou"][one]) for name in names]))
    pictures = found["pictures"]
    lines += [
        "",
        f"{pictures['train']} pictures trained on, {pictures['scored']} scored. Processor minutes: segx "
        f"{trained['cpu_minutes']:.1f} for {trained['step']} steps, validations included; the plain loop "
        f"{plain['cpu_minutes']:.1f} for {plain['steps']} steps, its validations not counted. int8: gate "
        f"{found['int8_gate']}. Differences in mIoU, 95 % interval of {drawn['draws']} bootstrap draws of "
        f"{drawn['blocks']} blocks of about {drawn['frames_a_block']} frames:",
        "",
    ]
    for pair in drawn["pairs"]:
        inside = f"{pair['low']:+.4f} to {pair['high']:+.4f}"
        lines.append(f"- {pair['second']} minus {pair['first']}: {pair['difference']:+.4f} ({inside})")
    return lines


def killed(found: dict[str, Any]) -> list[str]:
    """How often, where, and what it changed."""
    kills = found["kills"]
    writing = sum(kill["while_writing"] for kill in kills)
    unlike = ", ".join(found["different"]) or "nothing"
    return [
        f"`{found['command']}`, {found['steps']} steps: {len(kills)} SIGKILLs at random moments, {writing} of them "
        f"while a file was being written, each followed by `--resume`. Beside a run left alone, "
        f"{', '.join(found['compared'])} compared bit for bit, weights, average, momentum, optimizer and generators: "
        f"{unlike} differs."
    ]


def grid(found: dict[str, Any]) -> list[str]:
    """Mean and standard deviation of each row; rows that were not run say so."""
    shares = found["train_share"]
    rarest = sorted(shares, key=lambda name: float(shares[name]))[:3]
    heads = ["seeds", "mIoU", "minus baseline", *(f"IoU {name}" for name in rarest), "CPU-min"]
    lines = [row("", heads), row("---", ["---"] * len(heads))]
    base = next((one["miou"]["mean"] for one in found["rows"] if one["name"] == "baseline" and "miou" in one), None)
    for one in found["rows"]:
        if "miou" not in one:
            lines.append(row(one["name"], [NOT_RUN, *["-"] * (len(heads) - 1)]))
            continue
        gain = "-" if base is None else f"{one['miou']['mean'] - base:+.4f}"
        rare = [spread(one["rarest"][name]) for name in rarest]
        minutes = f"{one['cpu_minutes']:.1f}"
        lines.append(row(one["name"], [str(len(one["seeds"])), spread(one["miou"]), gain, *rare, minutes]))
    reasons = [f"- {one['name']}: {one['reason']}" for one in found["rows"] if "reason" in one]
    told = f"{found['pictures']['train']} pictures; `segx train DATA {' '.join(found['common'])}`. Mean ± standard"
    rare_shares = ", ".join(f"{name} {shares[name]:.2%}" for name in rarest)
    lines += ["", f"{told} deviation over seeds. Rarest classes, share of pixels: {rare_shares}."]
    return [*lines, *(["", *reasons] if reasons else [])]


def small(found: dict[str, Any]) -> list[str]:
    """Rows of few pictures, and whether strong's gain is more than luck."""
    lines = [row("augmentation", ["seeds", "mIoU"]), row("---", ["---", "---"])]
    for one in found["rows"]:
        cells = [str(len(one["seeds"])), spread(one["miou"])] if "miou" in one else [NOT_RUN, "-"]
        lines.append(row(one["name"], cells))
    pictures = found["pictures"]
    lines += ["", f"{pictures['train']} pictures trained on, {pictures['val']} scored; {verdict(found['rows'])}"]
    return [*lines, *(f"- {one['name']}: {one['reason']}" for one in found["rows"] if "reason" in one)]


def verdict(rows: list[dict[str, Any]]) -> str:
    """The gap of strong to flips only beside the sum of their standard deviations."""
    scores = {one["name"]: one["miou"] for one in rows if "miou" in one}
    weak, strong = scores.get("flips only"), scores.get("strong")
    if weak is None or strong is None or weak["sd"] is None or strong["sd"] is None:
        return "fewer than two seeds of both, so nothing follows."
    gap, luck = strong["mean"] - weak["mean"], strong["sd"] + weak["sd"]
    more = "more" if abs(gap) > luck else "not more"
    return f"strong minus flips only {gap:+.4f}, {more} than both standard deviations together ({luck:.4f})."


def peers(found: dict[str, Any]) -> list[str]:
    """Cases with the peer's, the right and segx's value."""
    heads = ["project", "its value", "right", "segx"]
    lines = [row("case", heads), row("---", ["---"] * len(heads))]
    for one in found["rows"]:
        value = number(one["value"]) if "value" in one else NOT_RUN
        lines.append(row(one["case"], [one["peer"], value, number(one["right"]), number(one["segx"])]))
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    return [*lines, "", f"{versions}."]


def number(value: float | str | None) -> str:
    """Four decimals; words as they are; what segx does not have yet is a dash."""
    if value is None or isinstance(value, str):
        return value or "-"
    return f"{value + 0.0:.4f}"


def spread(one: dict[str, Any]) -> str:
    """Mean ± standard deviation, where there is one."""
    return f"{one['mean']:.4f}" + ("" if one["sd"] is None else f" ± {one['sd']:.4f}")


def share(value: float | None) -> str:
    """An IoU, or a dash where the class is absent."""
    return "-" if value is None else f"{value:.3f}"


def row(name: str, values: list[str]) -> str:
    """One line of a table."""
    return f"| {' | '.join([name, *values])} |"


def where(found: dict[str, Any]) -> str:
    """The machine in a few words."""
    facts = found["machine"]
    gpu = f", {facts['gpu']}" if "gpu" in facts else ""
    return f"{facts['cpu']}, {facts['cores']} cores{gpu}"


def fused(memory: dict[str, Any], speed: dict[str, Any]) -> list[str]:
    """Cross-entropy plus dice: memory and time of a forward and backward pass."""
    taken, smp = memory["results"], memory["results"]["SMP"]
    heads = ["peak, MiB", "of SMP's", "without the inputs, MiB", "of SMP's"]
    keys = ("peak_mib", "beyond_inputs_mib")
    rows = [
        row(name, [text for key in keys for text in (str(one[key]), f"{one[key] / smp[key]:.2f}x")])
        for name, one in taken.items()
    ]
    layouts = speed["results"]
    times = [
        row(
            name,
            [text for way in layouts.values() for text in (f"{way[name]['cpu_ms']:.0f}", f"{way[name]['ratio']:.2f}x")],
        )
        for name in layouts["planes"]
    ]
    columns = [text for layout in layouts for text in (f"{layout}, CPU ms", "ratio")]
    return [
        f"**Memory of cross-entropy plus dice**, forward and backward on logits {tuple(memory['shape'])}, "
        f"{smp['logits_mib']} MiB (`python -m bench.train.memory`, torch {memory['versions']['torch']}, "
        f"on {where(memory)}).",
        "",
        row("", heads),
        row("---", ["---"] * len(heads)),
        *rows,
        "",
        f"**Its processor time**, forward and backward on {tuple(speed['shape'])}, one thread, median of "
        f"{speed['rounds']} rounds in turns, ratio to plain torch's of its round (`python -m bench.train.loss_speed`, "
        f"on {where(speed)}).",
        "",
        row("", columns),
        row("---", ["---"] * len(columns)),
        *times,
        "",
    ]
