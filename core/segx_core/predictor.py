"""The one way a model file is run: segx's own files and third-party ones, on ONNX Runtime, as their card says.

A native file does everything inside its graph; for a third-party one the runner normalises, brings pictures to a
fixed size or a multiple, upsamples logits and takes the argmax (thirdparty.py, geometry.py). Decoding, batching of
requests, tiles and metrics are others' business. Safe to be used from several threads at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from segx_core import bits, card_io, fitting, geometry, onnx_metadata, runtime, thirdparty
from segx_core.card import METADATA_KEY, Card, InputSpec, OutputSpec
from segx_core.errors import CardError, ModelError, PictureError
from segx_core.feeds import blank, complete
from segx_core.fitting import Port
from segx_core.meaning import meaning
from segx_core.runner import ClassMap, Tensor, UInt8
from segx_core.runtime import ProviderOptions

Float32 = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Predictor:
    """A loaded model. Build it with `Predictor.load`; it is a Runner and a TensorRunner."""

    card: Card
    path: Path
    size_bytes: int
    providers_used: tuple[str, ...]
    """ONNX Runtime's names, the one in charge first; the others take the nodes it lacks."""
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    session: Any
    """The onnxruntime.InferenceSession, for those who bind their own buffers."""

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        provider: str = "auto",
        card: Path | None = None,
        threads: int | None = None,
        spinning: bool = False,
        options: ProviderOptions | None = None,
    ) -> Predictor:
        """Loads an ONNX file and holds its card against its graph.

        Args:
            path: the ONNX file.
            provider: "auto", "cpu", "cuda", "tensorrt" or a full name of ONNX Runtime's.
            card: a YAML or JSON card that takes the place of the one in the file; third-party files have none.
            threads: threads inside one operator; None for all cores.
            spinning, options: see runtime.open_session.

        Raises:
            ModelError: no such file, damaged, or refused by ONNX Runtime.
            CardError: no card, a malformed one, or one that contradicts the graph.
            SetupError: the provider asked for does not load.
        """
        path = Path(path)
        known = card_for_file(path, card)
        chosen = runtime.resolve_provider(provider, known.session.providers)
        session = runtime.open_session(path, known.session, chosen, threads, spinning, options)
        inputs = tuple(Port.of(port.name, port.type, port.shape) for port in session.get_inputs())
        outputs = tuple(Port.of(port.name, port.type, port.shape) for port in session.get_outputs())
        fitting.check(known, inputs, outputs, str(path))
        return cls(known, path, path.stat().st_size, tuple(session.get_providers()), inputs, outputs, session)

    @property
    def provider(self) -> str:
        """ONNX Runtime's name of the provider in charge."""
        return self.providers_used[0]

    def describe(self) -> str:
        """One line for logs and people."""
        card = self.card
        kind = "overlapping classes" if card.task == "multilabel" else "classes"
        size = f"{card.size.height}x{card.size.width}" if card.size.kind == "fixed" else card.size.kind
        return (
            f"{self.path.name}: {len(card.classes)} {kind}, {card.precision}, {self.size_bytes / 1e6:.1f} MB, "
            f"size {size}, on {self.provider}"
        )

    def infer(self, feeds: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Named tensors in, all named outputs out, untouched.

        Args:
            feeds: tensors by the graph's input names, in its element types and layouts. Absent optional inputs are
                filled (see feeds.complete).

        Raises:
            DataError: an unknown or missing name, a wrong element type or shape.
            ModelError: ONNX Runtime failed while running.
        """
        names = [port.name for port in self.outputs]
        return dict(zip(names, self._call(feeds, names), strict=True))

    def run(self, batch: UInt8) -> ClassMap:
        """(N, H, W, 3) uint8 RGB -> (N, H, W) uint8 class indices, uint16 past 256 classes.

        Of a multilabel model bit fields, bit k for class k: uint8, uint16 past 8 classes.

        Raises:
            PictureError: the batch is something else.
            DataError: the graph needs more inputs than the picture.
            ModelError: ONNX Runtime failed while running.
        """
        _is_batch(batch)
        spec = self._prediction
        height, width = batch.shape[1:3]
        if self._straight and self._is_graph_size(height, width):
            return self._run_straight(batch, spec)
        maps = [self._classmap(scores, spec, height, width) for scores in self._outputs(batch, spec)]
        return cast(ClassMap, np.stack(maps) if len(maps) > 1 else maps[0][None])

    def predict(self, picture: UInt8) -> ClassMap:
        """(H, W, 3) uint8 RGB -> (H, W) map as `run` gives it. Raises as `run`."""
        return cast(ClassMap, self.run(np.asarray(picture)[None])[0])

    def takes(self, height: int, width: int) -> bool:
        """Whether pictures of a size go into the graph, and class maps come out, with nothing done outside.

        For those who bind their own buffers to `session`; `as_indices` makes class maps of what comes out.
        """
        return self._bindable and self._is_graph_size(height, width)

    def as_indices(self, maps: Tensor) -> ClassMap:
        """(N, H, W) integers of whatever width the graph gives -> maps as `run` gives them."""
        return cast(ClassMap, maps.astype(self._map_type, copy=False))

    @cached_property
    def prediction_dtype(self) -> np.dtype[Any]:
        """The element type of the output that the class map is made of, as the graph declares it."""
        return np.dtype(self._port(self.outputs, self._prediction.name).dtype)

    def failure(self, feeds: Mapping[str, Tensor], error: Exception) -> ModelError:
        """What ONNX Runtime raised while it ran `feeds`, in this project's words."""
        shapes = ", ".join(f"{name} {list(tensor.shape)}" for name, tensor in feeds.items())
        return ModelError(
            f"{self.path} to run on {shapes}", " ".join(str(error).split())[:500], "Try a smaller picture or batch."
        )

    def probabilities(self, batch: UInt8) -> Float32 | None:
        """(N, H, W, 3) uint8 RGB -> (N, K, H, W) float32 in 0-1, or None for a file that gives class maps alone.

        Raises as `run`.
        """
        _is_batch(batch)
        kinds = {spec.kind: spec for spec in self.card.outputs}
        spec = kinds.get("probabilities") or kinds.get("logits")
        if spec is None:
            return None
        height, width = batch.shape[1:3]
        maps = []
        for scores in self._outputs(batch, spec):
            full = self._full_size(scores, height, width)
            maps.append(self._likely(full) if spec.kind == "logits" else full)
        return np.stack(maps)

    def warm_up(self, height: int, width: int, batch: int = 1) -> None:
        """Runs once on zeros, with every other input filled too, so that the first request does not pay for it."""
        card = self.card
        rows, columns = self._graph_size(height, width)
        given = self._batch_size or batch
        zeros = thirdparty.prepare(np.zeros((given, rows, columns, 3), dtype=np.uint8), self._image)
        sizes = {"N": given, "H": rows, "W": columns}
        others = {spec.name: blank(spec, sizes) for spec in card.inputs if spec.name != self._image.name}
        self._call({self._image.name: zeros, **others}, [self._prediction.name])

    def _likely(self, logits: Float32) -> Float32:
        return thirdparty.sigmoid(logits) if self.card.task == "multilabel" else thirdparty.softmax(logits)

    @cached_property
    def _map_type(self) -> np.dtype[Any]:
        return meaning(self.card.task).map_type(len(self.card.classes))

    @cached_property
    def _straight(self) -> bool:
        """Whether pictures can go into the graph and class maps come out of it as they are: segx's own files."""
        image, spec = self._image, self._prediction
        needs_nothing = image.normalisation is None or image.normalisation.where == "graph"
        (first, *others) = self.inputs
        return (
            not others
            and first.dtype == "uint8"
            and (image.layout, image.color) == ("NHWC", "RGB")
            and needs_nothing
            and self._batch_size is None
            and spec.is_map
            and self.card.size.kind in ("dynamic", "fixed")
        )

    def _run_straight(self, batch: UInt8, spec: OutputSpec) -> ClassMap:
        try:
            (maps,) = self.session.run([spec.name], {self._image.name: batch})
        # ONNX Runtime's exceptions share no base below Exception.
        except Exception as error:
            raise self.failure({self._image.name: batch}, error) from error
        self._check_output(maps, spec, len(batch))
        if maps.shape != batch.shape[:3]:  # a third party's class map at a stride
            height, width = batch.shape[1:3]
            return cast(ClassMap, np.stack([self._classmap(one, spec, height, width) for one in maps]))
        return self.as_indices(maps)

    @cached_property
    def _bindable(self) -> bool:
        """Whether the class map's size, too, is known before a run, because the graph declares it as the picture's."""
        if not self._straight:
            return False
        image = self._port(self.inputs, self._image.name).shape[1:3]
        return None not in image and image == self._port(self.outputs, self._prediction.name).shape[1:]

    @cached_property
    def _image(self) -> InputSpec:
        return self.card.image

    @cached_property
    def _prediction(self) -> OutputSpec:
        return self.card.prediction

    @cached_property
    def _batch_size(self) -> int | None:
        """The one batch size of a graph that takes no other."""
        port = self._port(self.inputs, self._image.name)
        return port.shape[0] if port.shape and isinstance(port.shape[0], int) else None

    @staticmethod
    def _port(ports: Sequence[Port], name: str) -> Port:
        return next(port for port in ports if port.name == name)

    def _is_graph_size(self, height: int, width: int) -> bool:
        """Whether a picture goes into the graph at its own size."""
        return self.card.size.kind == "dynamic" or self._graph_size(height, width) == (height, width)

    def _graph_size(self, height: int, width: int) -> tuple[int, int]:
        """What a picture is resized or padded to."""
        rule = self.card.size
        if rule.height is not None and rule.width is not None:
            return rule.height, rule.width
        return height + -height % rule.multiple, width + -width % rule.multiple

    def _outputs(self, batch: UInt8, spec: OutputSpec) -> Iterator[Tensor]:
        """One output picture by picture: (K, h, w) float32 scores or (h, w) integers, at the graph's own size."""
        batch = thirdparty.bring(batch, self.card.size)
        step = self._batch_size or len(batch)
        for start in range(0, len(batch), step):
            part = batch[start : start + step]
            # A graph with a fixed batch gets its last one filled up with copies, which are then left out.
            filled = part if len(part) == step else np.concatenate([part, np.repeat(part[-1:], step - len(part), 0)])
            (tensor,) = self._call({self._image.name: thirdparty.prepare(filled, self._image)}, [spec.name])
            self._check_output(tensor, spec, step)
            yield from (tensor if spec.is_map else thirdparty.planes(tensor, spec))[: len(part)]

    def _classmap(self, output: Tensor, spec: OutputSpec, height: int, width: int) -> ClassMap:
        """(K, h, w) scores or an (h, w) map -> the (height, width) map."""
        # A padded picture comes back padded and is cropped; a resized one is resized straight to the picture's size.
        rows, columns = (height, width) if self.card.size.kind == "fixed" else self._graph_size(height, width)
        if spec.is_map:
            return geometry.nearest(self.as_indices(output), rows, columns)[:height, :width]
        if self.card.task == "multilabel":
            cuts = [bits.cut(one) if spec.kind == "logits" else one for one in self.card.thresholds]
            return thirdparty.classes_above(output, cuts, rows, columns)[:height, :width]
        return thirdparty.best_class(output, rows, columns)[:height, :width]

    def _full_size(self, scores: Float32, height: int, width: int) -> Float32:
        rows, columns = (height, width) if self.card.size.kind == "fixed" else self._graph_size(height, width)
        return geometry.bilinear(scores, rows, columns)[:, :height, :width]

    def _check_output(self, tensor: Tensor, spec: OutputSpec, batch: int) -> None:
        """What a graph with dynamic axes shows only when it runs."""
        axis = 3 if spec.layout == "NHWC" else 1
        count = len(self.card.classes)
        if tensor.ndim != (3 if spec.is_map else 4) or len(tensor) != batch:
            raise CardError(
                f"output '{spec.name}' of {self.path} to be {spec.kind} of {batch} pictures", str(list(tensor.shape))
            )
        if 0 in tensor.shape:
            raise ModelError(f"an output with pixels from {self.path}", str(list(tensor.shape)), "Use larger pictures.")
        if not spec.is_map and tensor.shape[axis] != count:
            raise CardError(
                f"{count} classes, as the card says, in output '{spec.name}' of {self.path}",
                f"{tensor.shape[axis]} channels (shape {list(tensor.shape)})",
                "List as many classes as the output has channels, in their order.",
            )

    def _call(self, given: Mapping[str, Tensor], names: Sequence[str]) -> list[Tensor]:
        full = complete(given, self.card, self.inputs)
        try:
            return list(self.session.run(list(names), full))
        # ONNX Runtime's exceptions share no base below Exception.
        except Exception as error:
            raise self.failure(full, error) from error


def card_for_file(path: Path, card: Path | None) -> Card:
    """The card that goes with an ONNX file: the one given, or else the one inside.

    Raises:
        ModelError: no such file, or no ONNX file.
        CardError: there is none, or it is malformed.
    """
    metadata = onnx_metadata.read(path)
    if card is not None:
        return card_io.load(card)
    if METADATA_KEY not in metadata:
        raise CardError(
            f"a card inside {path}",
            "an ONNX file without one, made by something else than segx export",
            "Describe it in a small YAML file and give that with --card.",
        )
    return card_io.from_json(metadata[METADATA_KEY], str(path))


def _is_batch(batch: UInt8) -> None:
    if not isinstance(batch, np.ndarray):
        raise PictureError("a NumPy array of pictures", type(batch).__name__, kind="unsupported")
    if batch.dtype != np.uint8 or batch.ndim != 4 or batch.shape[3] != 3 or 0 in batch.shape:
        raise PictureError(
            "pictures as (N, H, W, 3) uint8 RGB",
            f"{batch.dtype} of shape {list(batch.shape)}",
            "segx_core.picture.read gives such a picture.",
            kind="unsupported",
        )
