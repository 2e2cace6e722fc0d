"""Runs candidates side by side on held-out pictures and gives each its row and verdict.

Quality, speed, agreement, the provider in charge and the kernels ONNX Runtime really uses: everything that is measured
meets everything that is allowed here. What follows from a verdict is compress.py's business.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx

from segx_core import machine, runtime
from segx_core.card import Gate, Measurement
from segx_core.confusion import iou
from segx_core.datasets import Dataset, spread
from segx_core.errors import DataError
from segx_core.predictor import Predictor
from segx_core.runner import UInt8
from segx_export.candidates import Candidate
from segx_export.gate import judge
from segx_export.measure import Milliseconds, Quality, latencies, quality, slowdown
from segx_export.modelfile import write_model
from segx_export.placement import Placement, placement
from segx_export.report import FileReport
from segx_export.report_pictures import StripPicture, strip
from segx_export.settings import ExportSettings

_HOMES = {"fp16": runtime.CUDA, "int8-trt": runtime.TENSORRT}
"""Where files are fast that are not made for every provider; elsewhere their speed is measured but not judged."""
_QUANTIZED_SHARE = 0.9  # of the nodes meant to be int8 that must really run so; a last product may fuse otherwise


@dataclass(frozen=True)
class _Bench:
    """What all candidates of one comparison share."""

    found: Quality
    times: tuple[Milliseconds, ...]
    """Milliseconds of one picture, turn by turn, by runner."""
    picture: UInt8
    provider: str
    """Of the reference."""
    settings: ExportSettings
    dataset: Dataset


def judge_all(
    candidates: dict[str, Candidate], settings: ExportSettings, dataset: Dataset, folder: Path
) -> tuple[list[FileReport], dict[str, tuple[StripPicture, ...]]]:
    """Write the files to `folder`, run them side by side, judge all but the first, which they are compared with.

    Returns:
        The reports in the candidates' order, and the pictures on which each file differs most from the first (with the
        first alone: the first from the truth), by precision.

    Raises:
        DataError: nothing is labelled in the split.
        SetupError: the provider asked for does not load.
    """
    names = list(candidates)
    paths = [folder / f"{name}.onnx" for name in names]
    for name, path in zip(names, paths, strict=True):
        write_model(candidates[name].model, candidates[name].card, path)
        onnx.checker.check_model(str(path), full_check=True)
    runners = [Predictor.load(path, provider=settings.provider) for path in paths]
    samples = list(spread(dataset.split(settings.split), settings.gate_images))
    found = quality(runners, dataset, samples, f"judging {' and '.join(names)} on '{settings.split}'")
    if math.isnan(found.miou[0]):
        raise DataError(f"labelled pixels in the split '{settings.split}'", "only ignored ones", "Check the masks.")
    picture = dataset.read(samples[0])[0]
    bench = _Bench(found, latencies(runners, picture), picture, runners[0].provider, settings, dataset)
    reports = [
        _report(name, candidates[name], runner, index, bench)
        for index, (name, runner) in enumerate(zip(names, runners, strict=True))
    ]
    base, *others = runners
    pictures = {
        name: strip(base, runner, dataset, samples, found.differing[index])
        for index, (name, runner) in enumerate(zip(names[1:], others, strict=True), start=1)
    }
    return reports, pictures or {names[0]: strip(base, None, dataset, samples, tuple(found.wrong[0]))}


def describe(precision: str, candidate: Candidate, gate: Gate) -> FileReport:
    """The report of a file that nothing was measured of."""
    searched = candidate.searched
    recipe = searched.recipe() if searched else {}
    return FileReport(precision, None, candidate.model.ByteSize(), gate, searched=searched, recipe=recipe)


def _report(name: str, candidate: Candidate, runner: Predictor, index: int, bench: _Bench) -> FileReport:
    """One file's row and verdict."""
    found, settings, dataset = bench.found, bench.settings, bench.dataset
    row = Measurement(
        precision=name,
        provider=runner.provider,
        machine=machine.summary(),
        split=settings.split,
        images=found.images,
        miou=found.miou[index],
        per_class_iou={
            label: None if math.isnan(value) else float(value)
            for label, value in zip(dataset.classes, iou(found.matrices[index]), strict=True)
        },
        latency_ms=float(np.median(bench.times[index])),
        size_bytes=runner.size_bytes,
        height=bench.picture.shape[0],
        width=bench.picture.shape[1],
    )
    if index == 0:
        return replace(describe(name, candidate, Gate(status="reference")), measurement=row)
    # A file for the CPU beside a float one on the GPU says nothing of either.
    at_home = _HOMES.get(name, runner.provider) == runner.provider == bench.provider
    kernels = placement(candidate.model, candidate.card.session)
    verdict = judge(
        found.matrices[0],
        found.matrices[index],
        dataset.classes,
        settings.limits,
        found.agreement[index],
        slowdown(bench.times[0], bench.times[index]) if at_home else None,
        _misplaced(name, candidate, kernels),
    )
    return replace(
        describe(name, candidate, verdict.gate),
        measurement=row,
        placement=kernels,
        drop=verdict.drop,
        drop_interval=found.interval(index),
        worst_class=verdict.worst_class,
        worst_drop=verdict.worst_drop,
        agreement=verdict.agreement,
        at_home=at_home,
    )


def _misplaced(name: str, candidate: Candidate, kernels: Placement) -> list[str]:
    """Whether int8 nodes run in float after all, in words."""
    if name != "int8" or candidate.searched is None:
        return []
    meant = candidate.searched.nodes - len(candidate.searched.kept_float)
    if kernels.int8 >= _QUANTIZED_SHARE * meant:
        return []
    return [f"ONNX Runtime uses int8 kernels for {kernels.int8} of {meant} quantized nodes"]
