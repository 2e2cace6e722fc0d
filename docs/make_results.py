"""Writes docs/results.md from the JSON files the benches left. Holds no figure of its own.

python docs/make_results.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


def render() -> str:
    """The page, from bench/*/results.json."""
    return "\n".join([HEAD, *setup(load("setup")), *scenes(load("scenes")), *camvid(load("camvid")), *gpu()]) + "\n"


def load(part: str) -> dict[str, Any]:
    """What bench/PART/run.py measured."""
    content: dict[str, Any] = json.loads((ROOT / "bench" / part / "results.json").read_text())
    return content


HEAD = """# Results

Written by `python docs/make_results.py` from the JSON each bench leaves beside its script; nothing is typed by hand.
mIoU is the mean of IoU per class over one confusion matrix of the whole split, classes absent from both left out.
"""


def setup(found: dict[str, Any]) -> list[str]:
    """A stranger's two commands."""
    rows = [row(name, [f"{seconds / 60:.1f} min"]) for name, seconds in found["seconds"].items()]
    helped = found["help_ms"]
    demo = [row(split, [f"{score:.4f}" for score in scores.values()]) for split, scores in found["demo"].items()]
    return [
        "## Fresh clone, fresh environment",
        "",
        f"`python bench/setup/run.py` on {where(found)}.",
        "",
        "| step | time |",
        "|---|---|",
        *rows,
        f"| segx --help | {helped['median']} ms (median of {helped['runs']}, slowest {helped['largest']}) |",
        "",
        "What that `make demo` reached on `scenes`, from scratch (test holds textures that training never saw):",
        "",
        row("mIoU", list(found["demo"]["val"])),
        row("---", ["---"] * len(found["demo"]["val"])),
        *demo,
        "",
    ]


def scenes(found: dict[str, Any]) -> list[str]:
    """How far colour alone goes on the generated data."""
    rarest = ", ".join(f"{split} {shares['beacon']:.2%}" for split, shares in found["class_share"].items())
    return [
        "## `scenes` is not solved by colour",
        "",
        f"`python bench/scenes/run.py` on {where(found)}: a random forest on single-pixel RGB.",
        "",
        row("", ["plain", "class-balanced"]),
        row("---", ["---", "---"]),
        row("mIoU, val", [f"{forest['miou']:.3f}" for forest in found["random_forest_on_rgb"].values()]),
        "",
        f"Share of pixels of the rarest class, `beacon`: {rarest}.",
        "",
    ]


def camvid(found: dict[str, Any]) -> list[str]:
    """CamVid through the command."""
    results = found["val"]
    recipe = " ".join(f"{key} {value!r}" if " " in str(value) else f"{key} {value}" for key, value in recipe_of(found))
    names = [result["model"] for result in results]
    rows = [
        row("mIoU", [f"{result['miou']:.4f}" for result in results]),
        row("pixel accuracy", [f"{result['pixel_accuracy']:.4f}" for result in results]),
        row("boundary F1", [f"{result['boundary_f1']:.4f}" for result in results]),
        row("p50, ms", [f"{result['latency_ms']['p50']:.1f}" for result in results]),
        row("size, MB", [f"{result['size_bytes'] / 1e6:.2f}" for result in results]),
        *(
            row(f"IoU {name}", [share(result["per_class_iou"][name]) for result in results])
            for name in results[0]["classes"]
        ),
    ]
    return [
        "## CamVid, 360x480, 11 classes, val",
        "",
        f"`python bench/camvid/run.py --data DATA --weights FILE --run RUN` on {where(found)}.",
        "",
        f"Recipe: `segx train DATA --out RUN --encoder-weights FILE {recipe}`: {found['train_steps']} steps, "
        f"{found['train_minutes']:.0f} minutes with one thread on a busy machine.",
        "",
        "**val lies within seconds of train frames of the same drive, so these figures flatter.**",
        "",
        row("", names),
        row("---", ["---"] * len(names)),
        *rows,
        "",
        f"torch's own validation: {found['torch_val_miou']:.6f}; ONNX minus torch {found['onnx_minus_torch']:+.1e}; "
        f"int8 minus fp32 {found['int8_minus_fp32']:+.4f}.",
        "",
        f"The service's PNG is byte for byte that of `segx predict`: {found['service_equals_predict']} pictures.",
        "",
    ]


def gpu() -> list[str]:
    """The GPU smoke test, or that it was not run."""
    path = ROOT / "bench" / "gpu" / "smoke.json"
    lines = ["## NVIDIA GPU", "", "`python bench/gpu/smoke.py`", ""]
    if not path.is_file():
        return [*lines, "Not run: no GPU could be had yet."]
    found = json.loads(path.read_text())
    rows = [
        f"| {row['model']} | {row['precision']} | {row['agreement']:.4%} | {row['latency_ms']:.2f} | "
        f"{row['raw_session_ms']:.2f} |"
        for row in found["results"]
    ]
    return [
        *lines,
        f"On {where(found)}.",
        "",
        "| model | precision | pixels as on the CPU | ms | raw session, ms |",
        "|---|---|---|---|---|",
        *rows,
    ]


def row(name: str, values: list[str]) -> str:
    """One line of a table."""
    return f"| {' | '.join([name, *values])} |"


def share(value: float | None) -> str:
    """An IoU, or a dash where the class is absent."""
    return "-" if value is None else f"{value:.3f}"


def where(found: dict[str, Any]) -> str:
    """The machine in a few words."""
    facts = found["machine"]
    gpu = f", {facts['gpu']}" if "gpu" in facts else ""
    return f"{facts['cpu']}, {facts['cores']} cores{gpu}, ONNX Runtime {facts['onnxruntime']}"


def recipe_of(found: dict[str, Any]) -> list[tuple[str, str]]:
    """Options and settings in order."""
    recipe = dict(found["recipe"])
    settings = recipe.pop("--set")
    return [*recipe.items(), *(("--set", setting) for setting in settings)]


if __name__ == "__main__":
    (ROOT / "docs" / "results.md").write_text(render())
