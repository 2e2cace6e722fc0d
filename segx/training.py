"""`segx train` past its options: config file, `--set`, resume, and what is said at the end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from segx_core import atomic
from segx_core.errors import ConfigError, GateError
from segx_core.progress import console
from segx_trainer.config import build_config, parse_assignments, read_yaml
from segx_trainer.train import TrainResult, resumed_config
from segx_trainer.train import train as fit


def run_training(
    options: dict[str, Any], config: Path | None, assignments: list[str], out: Path, resume: bool, report: Path | None
) -> TrainResult:
    """Train, and say how it ended.

    Args:
        options: config keys given as options of their own.
        config: YAML file of config keys; `assignments` win over it, and `options` over both.
        assignments: "key=value" texts.
        out: the run folder.
        resume: continue the run there.
        report: where to write the numbers as JSON, if anywhere.

    Raises:
        KeyboardInterrupt: stopped by Ctrl-C, after saving.
        GateError: the level asked for with `until` was not reached.
    """
    if "until" in options:
        options = {**options, "until": _level(options["until"])}
    values = {**(read_yaml(config) if config else {}), **parse_assignments(assignments), **options}
    chosen = resumed_config(out, values) if resume else build_config(values)
    result = fit(chosen, out, resume)
    if report:
        atomic.write_text(report, json.dumps(_document(result), indent=2) + "\n")
    if result.ending == "interrupted":
        console().print(f"Stopped at step {result.step} of {result.total_steps}; go on with --resume.")
        raise KeyboardInterrupt
    console().print(f"Best validation mIoU {result.miou:.4f} after {result.seconds / 60:.1f} minutes; all in {out}")
    if chosen.until is not None and result.miou < chosen.until:
        raise GateError(
            f"a validation mIoU of {chosen.until:.4f}",
            f"{result.miou:.4f} after {result.step} steps",
            "The best weights are kept. Train longer, or try another network, loss or augmentation.",
        )
    console().print(f"Next: segx export {out} --quantize")
    return result


def _level(text: str) -> float:
    name, equals, value = text.partition("=")
    try:
        if name.strip() == "miou" and equals:
            return float(value)
    except ValueError:
        pass
    raise ConfigError("--until miou=FRACTION, for example miou=0.70", f"'{text}'")


def _document(result: TrainResult) -> dict[str, Any]:
    miou = result.miou if result.miou == result.miou else None  # NaN has no place in JSON
    return {
        "run": str(result.run),
        "ending": result.ending,
        "miou": miou,
        "per_class_iou": result.per_class_iou,
        "step": result.step,
        "total_steps": result.total_steps,
        "seconds": result.seconds,
    }
