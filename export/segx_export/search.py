"""Accuracy-aware int8: as much in 8 bits as the loss of mean IoU allows, found in at most ten full evaluations.

Read `search` from top to bottom. One calibration gives ranges by three methods; the one whose scores are nearest to
float32 is taken. All-int8 comes first and usually stays. Where it loses too much, nodes are ranked by the noise each
makes alone, and the number of the worst that go back to float is found by doubling and then halving. The pictures that
decide are training pictures that calibration has not seen; the held-out split is left to the gate, which judges once.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from onnx import ModelProto

from segx_core.card import Card
from segx_core.confusion import target_miou
from segx_core.datasets import Dataset, Sample, spread
from segx_core.predictor import Predictor
from segx_core.runner import UInt8
from segx_export.calibrate import METHODS, Feeds, activations, calibrate
from segx_export.measure import quality
from segx_export.modelfile import write_model
from segx_export.noise import noise, rank, scores
from segx_export.quantize import CPU, Scheme, heavy_nodes, prepare, quantize

EVALUATIONS = 10
"""Most evaluations on the tuning pictures, the first one included."""
TUNING_PICTURES = 48
_NOISE_PICTURES = 2
_MARGIN = 0.25  # part of the allowed loss that tuning accepts: training pictures flatter, and there are few of them


@dataclass(frozen=True)
class Trial:
    """One full evaluation."""

    method: str
    kept_float: int
    """Nodes left in float32."""
    drop: float
    """Loss of mean IoU on the tuning pictures, points."""


@dataclass(frozen=True)
class Searched:
    """An int8 model and how it was found."""

    model: ModelProto
    method: str
    kept_float: tuple[str, ...]
    """Names of the nodes left in float32, the noisiest first."""
    nodes: int
    """Heavy nodes there are."""
    trials: tuple[Trial, ...]
    noise: dict[str, float]
    """Noise of the scores by calibration method, all-int8."""
    noisiest: tuple[tuple[str, float], ...] = ()
    """The worst nodes with the noise each makes alone; empty where no ranking was needed."""

    def to_json(self) -> dict[str, Any]:
        """Plain values; losses in points of mean IoU on the tuning pictures."""
        return {
            "ranges": self.method,
            "noise_by_ranges": self.noise,
            "nodes": self.nodes,
            "kept_float": list(self.kept_float),
            "evaluations": [asdict(trial) for trial in self.trials],
            "noisiest_nodes": [list(item) for item in self.noisiest],
        }

    def recipe(self) -> dict[str, str]:
        """The same for a list on a page: what is told and its value."""
        told = {
            "Ranges": ", ".join(f"{method} (noise {value:.2g})" for method, value in self.noise.items())
            + f"; {self.method} was taken",
            "Left in float": f"{len(self.kept_float)} of {self.nodes} nodes",
            "Evaluations": ", ".join(
                f"{trial.drop:.2f} points lost with {trial.kept_float} nodes float" for trial in self.trials
            ),
        }
        if self.kept_float:
            told["Noisiest nodes"] = ", ".join(f"{name} ({value:.2g})" for name, value in self.noisiest)
        return told

    def sentences(self) -> tuple[str, ...]:
        """For people."""
        compared = ", ".join(f"{method} {value:.2g}" for method, value in self.noise.items())
        told = [f"int8: ranges by {self.method} (noise of the scores: {compared})"]
        if len(self.trials) > 1 or self.kept_float:
            tried = ", ".join(f"{trial.drop:.2f} with {trial.kept_float}" for trial in self.trials)
            told.append(
                f"int8: {len(self.kept_float)} of {self.nodes} nodes stay float; points of mean IoU lost on training "
                f"pictures by nodes left float: {tried}"
            )
        return tuple(told)


@dataclass
class _Search:
    """What is tried, and the best so far."""

    build: Callable[[int], ModelProto]
    """The model with so many of the worst nodes left float."""
    measure: Callable[[ModelProto], float]
    method: str
    target: float
    trials: list[Trial] = field(default_factory=list)
    best: tuple[bool, float, int, ModelProto] | None = None

    def passes(self, count: int) -> bool:
        """Build, evaluate and remember; whether the loss is small enough."""
        model = self.build(count)
        drop = self.measure(model)
        self.trials.append(Trial(self.method, count, drop))
        good = drop <= self.target
        # Among good ones the one with the fewest float nodes, among bad ones the one that loses least.
        better = self.best is None or (
            (good and (not self.best[0] or count < self.best[2])) or (not self.best[0] and drop < self.best[1])
        )
        if better:
            self.best = (good, drop, count, model)
        return good

    @property
    def left(self) -> int:
        return EVALUATIONS - len(self.trials)


def search(
    model: ModelProto,
    card: Card,
    dataset: Dataset,
    images: int,
    max_drop: float,
    scheme: Scheme = CPU,
    feed: Callable[[UInt8], Feeds] | None = None,
) -> Searched:
    """An int8 model of a float32 one, with as few float nodes as its loss on training pictures allows.

    Args:
        model: float32, from deploy_model or a third party.
        card: for the int8 file, its session options included.
        dataset: calibrates and tunes on its training split, which must not be empty.
        images: at most so many calibration pictures.
        max_drop: points of mean IoU the gate will allow.
        scheme: how integers stand for numbers.
        feed: a picture (H, W, 3) as the graph's inputs; None where the graph takes pictures as they are.
    """
    chosen, tuning = split_training(dataset, images)
    name = model.graph.input[0].name
    as_feeds = feed or (lambda picture: {name: picture[None]})
    prepared = prepare(model, raw=not scheme.signed)
    tensors = activations(prepared, scheme.operators)
    ranges = calibrate(prepared, tensors, _feeds(dataset, chosen, as_feeds), len(chosen))
    some = list(_feeds(dataset, spread(tuning, _NOISE_PICTURES), as_feeds))
    truth = scores(prepared, some)
    found = {
        method: noise(truth, scores(quantize(prepared, ranges.bounds[method], scheme), some)) for method in METHODS
    }
    method = min(found, key=lambda key: found[key])
    bounds = ranges.bounds[method]
    nodes = heavy_nodes(prepared, scheme)
    order: list[str] = []
    ranked: list[tuple[str, float]] = []
    hunt = _Search(
        build=lambda count: quantize(prepared, bounds, scheme, keep_float=order[:count]),
        measure=_drop_from(model, card, dataset, tuning),
        method=method,
        target=_MARGIN * max(max_drop, 0.0),
    )
    if not hunt.passes(0):
        ranked = rank(nodes, lambda node: quantize(prepared, bounds, scheme, only=[node]), truth, some)
        order.extend(node for node, _ in ranked)
        _fewest(hunt, len(nodes))
    assert hunt.best is not None
    _, _, count, kept = hunt.best
    return Searched(kept, method, tuple(order[:count]), len(nodes), tuple(hunt.trials), found, tuple(ranked[:12]))


def split_training(dataset: Dataset, images: int) -> tuple[list[Sample], list[Sample]]:
    """Training pictures to calibrate on, and others (the same where there are no others) to tune on."""
    chosen = spread(dataset.split("train"), images)
    seen = {sample.name for sample in chosen}
    others = [sample for sample in dataset.split("train") if sample.name not in seen]
    return list(chosen), list(spread(others or chosen, TUNING_PICTURES))


def _fewest(hunt: _Search, most: int) -> None:
    """Double the number of float nodes until it suffices, then halve the gap, as far as evaluations last."""
    low, count = 0, 1
    while hunt.left and count < most and not hunt.passes(count):
        low, count = count, 2 * count
    high = min(count, most)
    if hunt.left and hunt.best is not None and not hunt.best[0] and high > low + 1:
        high = most  # nothing has sufficed so far: all float does, so look between
        while hunt.left and high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if hunt.passes(middle) else (middle, high)
        return
    while hunt.left and high - low > 1 and hunt.best is not None and hunt.best[0]:
        middle = (low + high) // 2
        if hunt.passes(middle):
            high = middle
        else:
            low = middle


def _drop_from(
    reference: ModelProto, card: Card, dataset: Dataset, samples: Sequence[Sample]
) -> Callable[[ModelProto], float]:
    """A function from a candidate to its loss of mean IoU in points on `samples`; 0 where nothing is labelled."""

    def miou(model: ModelProto) -> float:
        with tempfile.TemporaryDirectory(prefix="segx-") as folder:
            path = Path(folder) / "model.onnx"
            write_model(model, card, path)
            runner = Predictor.load(path, provider="cpu")
            return target_miou(quality([runner], dataset, samples, "tuning int8").matrices[0])

    before = miou(reference)
    return lambda candidate: 0.0 if before != before else (before - miou(candidate)) * 100  # NaN: nothing labelled


def _feeds(dataset: Dataset, samples: Sequence[Sample], feed: Callable[[UInt8], Feeds]) -> Iterator[Feeds]:
    for sample in samples:
        yield feed(dataset.read(sample)[0])
