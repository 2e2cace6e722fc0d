"""Writes docs/results.md from the JSON files the benches left. Holds no figure of its own.

python docs/make_results.py
"""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


def render() -> str:
    """The page, from bench/*/results.json."""
    parts = [*setup(load("setup")), *scenes(load("scenes")), *camvid(load("camvid"))]
    if (ROOT / "bench" / "export" / "results.json").is_file():
        parts += [*exporting(load("export")), *planted(load("export", "planted.json"), load("export", "pruning.json"))]
    training = runpy.run_path(str(ROOT / "bench" / "train" / "tables.py"))["render"]()
    parts += [*training, *serving(load("serve")), *gpu()]
    return "\n".join([HEAD, *parts]) + "\n"


def load(part: str, name: str = "results.json") -> dict[str, Any]:
    """What bench/PART/run.py measured."""
    content: dict[str, Any] = json.loads((ROOT / "bench" / part / name).read_text())
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


def exporting(found: dict[str, Any]) -> list[str]:
    """Compressed files beside the plain export."""
    how, versions = found["settings"], ", ".join(f"{name} {text}" for name, text in sorted(found["versions"].items()))
    lines = [
        "## Compressed files beside the plain export",
        "",
        f"`python -m bench.export.run --runs RUNS --data DATA` on {where(found)}",
        f"({' '.join(found['instructions'])}); {versions}. What is measured and how",
        "fair it is stands in [bench/export/README.md](../bench/export/README.md). One thread, batch 1, "
        f"{how['side']}x{how['side']}; {how['rounds']} rounds of {how['runs']} runs in turns. x fp32: median of the "
        "time's ratio to the reference of the same round, with its quartiles; below 1 is faster.",
        f"Quality on {how['val_crops']} crops of val: val flatters here too.",
        "",
    ]
    for one in found["networks"]:
        of_encoder = f"{one['network']} on {one['encoder']}, {one['steps']} steps, val mIoU {one['val_miou']:.4f}"
        for form, title in EXPORT_FORMS.items():
            lines += [f"**{of_encoder}: {title}.**", "", *export_table(one["forms"][form], quality=form == "deploy")]
    return lines


def planted(found: dict[str, Any], cut: dict[str, Any]) -> list[str]:
    """A poor int8 scheme before the gate, and after the search; a pruned network on whole pictures."""
    (before, after), int8 = cut["pruned"]["miou"], cut["int8_miou"][1]
    pruned = (
        f"**Pruned** (`{cut['command']}`): {cut['run']}, val mIoU {before:.4f} to {after:.4f}, its int8 {int8:.4f}."
    )
    said = []
    for name in ("planted", "mended"):
        reasons = "; ".join(found[name]["gate"]["reasons"]) or "passed"
        said.append(f"- {name}: {found[name]['miou_drop_points']:.2f} points lost on val; gate: {reasons}")
    kept, nodes, tried = (found["search"][key] for key in ("kept_float", "nodes", "evaluations"))
    head = (
        f"**A planted failure** (`python -m bench.export.planted`, {found['run']}; S8 activations, one scale a weight):"
    )
    return [pruned, "", f"{head} {len(kept)} of {nodes} nodes float after {len(tried)} evaluations.", "", *said, ""]


EXPORT_FORMS = {
    "deploy": "uint8 picture in, class map out",
    "network": "the network alone, normalised float in, logits out",
}


def export_table(rows: list[dict[str, Any]], *, quality: bool) -> list[str]:
    """One form's table, the fastest first; what could not be run last, with its reason below."""
    heads = ["x fp32", "quartiles", "ms", "x fp32, CPU time", "size"]
    heads += ["mIoU", "drop, points", "same pixels"] if quality else []
    lines, failed = [row("", heads), row("---", ["---"] * len(heads))], [one for one in rows if "error" in one]
    for one in sorted((one for one in rows if "error" not in one), key=lambda one: float(one["ratio"])):
        values = [ratio(one["ratio"]), f"{one['ratio_low']:.2f}-{one['ratio_high']:.2f}", f"{one['ms']:.1f}"]
        values += [ratio(one["cpu_ratio"]), ratio(one["size_ratio"])]
        values += [f"{one['miou']:.4f}", f"{one['drop']:.2f}", f"{one['agreement']:.2%}"] if quality else []
        name = f"**{one['name']}**" if one["name"].startswith("segx") else one["name"]
        lines.append(row(f"{name}, {one['note']}" if one["note"] else name, values))
    reasons = [f"- {one['name']} did not run: {one['error']}" for one in failed]
    return [*lines, "", *reasons, *([""] if reasons else [])]


WORKLOADS = {
    "tiny": "Trivial network, 64x64 pictures: the server itself is the cost",
    "sim": "Simulated GPU: 1.5 + 0.25 x batch ms, one batch at a time, no CPU",
    "real256": "MobileNetV2-class network, 256x256 pictures: the same work for all",
    "real": "The same network, 640x480 pictures: segx answers at the picture's own size, peers at 256x256",
}
NAMES = {
    "floor": "decode + ONNX Runtime, no server",
    "floor_peers": "the same as the peers do it",
    "segx": "**segx serve**",
    "segx_w2": "**segx serve --workers 2**",
    "segx_inproc": "**segx, one process** (create_app)",
    "triton_py": "tritonserver (python backend)",
    "fastapi": "FastAPI",
    "lit": "LitServe",
    "lit_batch": "LitServe, batched",
    "bento": "BentoML",
    "mlserver": "MLServer",
    "pytriton": "PyTriton",
    "robyn": "Robyn",
}


def serving(found: dict[str, Any]) -> list[str]:
    """The service beside its peers, and what was done to it."""
    parts = found["parts"]
    lines = [
        "## `segx serve` beside other servers",
        "",
        f"`python -m bench.serve.run` on {where(found)}; what is measured and how fair it is stands in",
        "[bench/serve/README.md](../bench/serve/README.md). CPU-ms: processor time of the whole process tree a",
        "request, median of the rounds; ratios are paired within a round.",
        "",
    ]
    for workload, title in WORKLOADS.items():
        if workload in parts:
            lines += workload_table(workload, title, parts[workload]["result"])
    for part, show in (("abuse", abused), ("conformance", conformance), ("soak", soaked), ("memory", grown)):
        if part in parts:
            lines += show(parts[part]["result"])
    return lines


def workload_table(workload: str, title: str, result: dict[str, Any]) -> list[str]:
    """One workload's table, a line for each server and number of connections."""
    heads = ["connections", "requests/s", "CPU-ms", "of FastAPI's", "of the floor", "p50 ms", "p99 ms", "PSS MiB"]
    if workload == "sim":
        heads.append("of the ceiling")
    lines = [f"**{title}.**", "", row("", heads), row("---", ["---"] * len(heads))]
    for one in sorted(result["rows"], key=lambda line: (line["connections"], line["cpu_ms"])):
        values = [one["connections"], f"{one['rps']:.0f}", f"{one['cpu_ms']:.3f}"]
        if "p50_ms" in one:
            values += [ratio(one["cpu_to_reference"]), ratio(one["cpu_to_floor"]), one["p50_ms"], one["p99_ms"]]
            values += [f"{one['pss_mib']:.0f}"]
            values += [f"{one['share_of_ceiling']:.1%}"] if workload == "sim" else []
        else:
            values += ["-"] * (len(heads) - 3)
        lines.append(row(NAMES.get(one["name"], one["name"]), [str(value) for value in values]))
    return [*lines, ""]


def abused(results: list[dict[str, Any]]) -> list[str]:
    """What hostile clients and kills did."""
    heads = [
        "garbage, truncated, empty", "PNG bomb", "grew MiB", "64 MiB body", "half-open left", "p99 at 32", "p99 at 256",
        "shed", "killed: back after s", "hung",
    ]  # fmt: skip
    lines = [
        "**Robustness** (`python -m bench.serve.abuse NAME`).",
        "",
        row("", heads),
        row("---", ["---"] * len(heads)),
    ]
    for one in results:
        if "error" in one:
            lines.append(row(NAMES.get(one["name"], one["name"]), [one["error"], *["-"] * (len(heads) - 1)]))
            continue
        bodies, crowd = one["bodies"], one["crowd"]
        values = [
            f"{bodies['garbage']}, {bodies['truncated']}, {bodies['empty']}",
            f"{one['bomb']['status']}",
            f"{one['bomb']['growth_mib']}",
            f"{one['large_body']['status']} in {one['large_body']['seconds']} s",
            f"{one['half_open']['open_after_12_s']} of {one['half_open']['opened']}",
            f"{crowd['few']['p99_ms']} ms",
            f"{crowd['insistent']['p99_ms']} ms",
            str(sum(count for status, count in crowd["insistent"]["statuses"].items() if status in ("503", "429"))),
            ", ".join(str(kill["recovered_seconds"]) for kill in one["kills"]) or "one process",
            str(sum(kill["hung"] for kill in one["kills"])),
        ]
        lines.append(row(NAMES.get(one["name"], one["name"]), values))
    return [*lines, ""]


def conformance(result: dict[str, Any]) -> list[str]:
    """The stock clients."""
    total = result["passed"] + len(result["failed"])
    over = "HTTP and gRPC" if result["grpc"] else "HTTP"
    failed = f"; failed: {', '.join(result['failed'])}" if result["failed"] else ""
    text = f"{result['passed']} of {total} lines of `conformance.py` OK with tritonclient over {over}{failed}"
    return [f"**Open Inference Protocol**: {text}.", ""]


def soaked(one: dict[str, Any]) -> list[str]:
    """Minutes of mixed load."""
    growth = one["growth_mib_after_warm_up"] / one["pss_mib_after_warm_up"]
    return [
        f"**{one['minutes']:g} minutes of mixed load** with a reload every 20 s (`python -m bench.serve.soak`, "
        f"{' '.join(one['options']) or 'default options'}): {one['good_masks']} masks compared with `segx predict`, "
        f"{one['wrong_masks']} wrong; {one['errors_5xx']} answers of 5xx other than 503, {one['shed_503']} of 503, "
        f"{one['transport_errors']} broken connections, {one['hung']} hung; {one['reloads']} reloads, "
        f"{one['reloads_failed']} failed, the longest {one['reload_seconds_max']} s; memory (PSS of all processes) "
        f"{one['pss_mib_after_warm_up']:.0f} MiB after the first minute, {growth:+.1%} from there by a robust fit.",
        "",
    ]


def grown(results: list[dict[str, Any]]) -> list[str]:
    """Memory over many requests."""
    told = [
        f"{NAMES[one['name']]} {one['pss_mib_after_warm_up']:.0f} MiB after warm-up, {one['growth_mib']:+.1f} MiB over "
        f"{one['requests']} requests"
        for one in results
    ]
    return [f"**Memory growth** (`python -m bench.serve.memory`): {'; '.join(told)}.", ""]


def ratio(value: float | None) -> str:
    """A ratio, or a dash where it was not measured."""
    return "-" if value is None else f"{value:.2f}x"


GPU_BENCHES = {
    "smoke": ("python bench/gpu/smoke.py", "does CUDA load, agree with the CPU, and what do fp32 and fp16 cost"),
    "serve": ("python -m bench.gpu.serve", "fp16 served, beside a raw loop with IOBinding, p50 and p99"),
    "export": ("python -m bench.gpu.export", "fp16 on CUDA and int8 on TensorRT beside fp32 on CUDA"),
    "overlap": ("python -m bench.gpu.overlap", "how much of the copies runs hide, with and without recorded graphs"),
}


def gpu() -> list[str]:
    """What each GPU bench left, or that it was not run."""
    lines = ["## NVIDIA GPU", ""]
    for name, (command, question) in GPU_BENCHES.items():
        path = ROOT / "bench" / "gpu" / f"{name}.json"
        told = "not run: no GPU could be had yet."
        if path.is_file():
            found = json.loads(path.read_text())
            told = f"on {where(found)}, see [{name}.json](../bench/gpu/{name}.json)."
        lines.append(f"- `{command}` ({question}): {told}")
    return lines


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
