"""The card: one frozen, versioned, validated record of what a model file is, travelling inside that file.

It describes; it runs nothing. The ONNX metadata key and the YAML form for third-party files are in card_io.py.
Everything later work needs has a place here from the first schema on: several inputs (text, modalities, state),
several outputs, and session options per file.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

SCHEMA = 1
METADATA_KEY = "segx.card"
MOST_LABELS = 16
"""Classes of a multilabel model: what fits into a 16-bit PNG and the tensors that are served."""

Precision = Literal["fp32", "fp16", "w8", "int8", "int8-trt"]
Color = Annotated[tuple[int, int, int], Field(description="RGB, each 0-255")]
Axis = int | str
Task = Literal["multiclass", "multilabel"]
"""One class a pixel, or any number of them."""


class Frozen(BaseModel):
    """Base of every part of the card: immutable, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Normalisation(Frozen):
    """(pixel / scale - mean) / std, per channel in the picture's channel order."""

    scale: float = Field(default=255.0, gt=0)
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    where: Literal["graph", "runner"] = "graph"
    """"graph": documentation only, the file does it itself. "runner": whoever runs the file must do it."""

    @model_validator(mode="after")
    def _same_channels(self) -> Self:
        if len(self.mean) != len(self.std):
            raise ValueError(f"mean has {len(self.mean)} channels, std has {len(self.std)}")
        if any(value <= 0 for value in self.std):
            raise ValueError("every std must be above 0")
        return self


class InputSpec(Frozen):
    """One input of the graph."""

    name: str
    kind: Literal["image", "map", "audio", "text", "state", "present"] = "image"
    dtype: Literal["uint8", "uint16", "int64", "float16", "float32"] = "uint8"
    shape: tuple[Axis, ...] = ("N", "H", "W", 3)
    """Fixed axes as numbers, dynamic ones as names; equal names are equal sizes."""
    layout: Literal["NHWC", "NCHW"] | None = "NHWC"
    """Axis order of pictures and aligned maps; None for anything else."""
    color: Literal["RGB", "BGR", "GRAY"] = "RGB"
    normalisation: Normalisation | None = None
    unit: str = ""
    """Physical unit of a map ("m", "K"), or of audio ("Hz" of its sample rate lies in `rate`)."""
    rate: float | None = None
    """Sample rate of audio, frames per second of video; None elsewhere."""
    optional: bool = False
    """True: the runner fills it when absent (zeros, with `present` 0)."""


class OutputSpec(Frozen):
    """One output of the graph."""

    name: str
    kind: Literal["classmap", "labels", "logits", "probabilities", "state", "embedding"] = "classmap"
    """classmap: class indices. labels: bit fields of a multilabel model, bit k for class k."""
    dtype: Literal["uint8", "uint16", "int32", "int64", "float16", "float32"] = "uint8"
    shape: tuple[Axis, ...] = ("N", "H", "W")
    layout: Literal["NHWC", "NCHW"] | None = None
    """Axis order of logits and probabilities; None for a map."""
    stride: int = Field(default=1, ge=1)
    """Input pixels per output pixel along one side."""

    @property
    def is_map(self) -> bool:
        """Whether it is the decided map itself, (N, H, W) integers, and no scores."""
        return self.kind in ("classmap", "labels")


class SizeRule(Frozen):
    """Which picture sizes the graph takes."""

    kind: Literal["dynamic", "multiple", "fixed"] = "dynamic"
    multiple: int = Field(default=1, ge=1)
    height: int | None = Field(default=None, ge=1)
    width: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _fixed_has_a_size(self) -> Self:
        if (self.kind == "fixed") != (self.height is not None and self.width is not None):
            raise ValueError("kind 'fixed' needs height and width, and only 'fixed' takes them")
        return self


class Session(Frozen):
    """How this file wants to be run. Predictor obeys; an explicit argument of the caller wins."""

    providers: tuple[Literal["cpu", "cuda", "tensorrt"], ...] = ("cuda", "cpu")
    """The providers this file is meant for, best first."""
    config: dict[str, str] = Field(default_factory=dict)
    """ONNX Runtime session configuration entries, for example {"session.disable_quant_qdq": "1"}."""
    optimization: Literal["disable", "basic", "extended", "layout", "all"] = "all"


class OpenVocabulary(Frozen):
    """What an open-vocabulary file needs to turn prompts into its `text` input."""

    encoder: str
    encoder_sha256: str
    dimension: int = Field(ge=1)
    templates: tuple[str, ...] = ("{}",)
    seen: tuple[str, ...] = ()


class Training(Frozen):
    """Where the weights come from."""

    data: str
    data_sha256: str
    network: str
    encoder: str
    encoder_weights: str
    loss: str
    teacher: str = ""
    """The run or file that was learnt from; empty for labels alone."""
    init: str = ""
    """The run whose weights it started from; empty where it was not started from one."""
    seed: int
    epochs: float
    """Passes over the training split up to the weights that were kept."""
    steps: int
    val_miou: float | None = None
    """torch's own validation mIoU of the weights that were kept, a fraction."""
    versions: dict[str, str] = Field(default_factory=dict)


class Origin(Frozen):
    """Where a network came from that segx did not train."""

    source: str
    """What was exported: "torchvision:lraspp_mobilenet_v3_large", "hf:owner/name", or the name of an ONNX file."""
    revision: str = ""
    """Which version of it: the name of the weights, or a commit of the repository."""
    licence: str = ""
    """What is known of the licence of the weights, in words."""
    notes: tuple[str, ...] = ()
    """What a user of the weights should know, each a full sentence."""


class Measurement(Frozen):
    """One measured row: this or a sister file on one machine with one provider."""

    precision: str
    provider: str
    machine: str
    split: str
    images: int
    miou: float
    per_class_iou: dict[str, float | None]
    latency_ms: float
    """Median of one picture, decode not counted."""
    size_bytes: int
    height: int
    width: int


class Gate(Frozen):
    """What the quality gate said of this file."""

    status: Literal["reference", "passed", "rejected", "ungated"] = "ungated"
    max_drop: float | None = None
    """Allowed loss in mIoU points (0.5 = 0.005)."""
    reasons: tuple[str, ...] = ()
    """Why it was rejected; empty otherwise."""


_DECIDING = {"multiclass": ("classmap", "probabilities", "logits"), "multilabel": ("labels", "probabilities", "logits")}


class Card(Frozen):
    """Everything a stranger must know to run, judge and trace one model file."""

    schema_version: int = SCHEMA
    name: str
    task: Task = "multiclass"
    thresholds: tuple[float, ...] = ()
    """Multilabel only: the probability above which each class is there."""
    classes: tuple[str, ...] = Field(min_length=1)
    palette: tuple[Color, ...]
    ignore_index: int = Field(default=255, ge=0)
    inputs: tuple[InputSpec, ...] = Field(min_length=1)
    outputs: tuple[OutputSpec, ...] = Field(min_length=1)
    size: SizeRule = SizeRule()
    precision: Precision = "fp32"
    opset: int | None = None
    session: Session = Session()
    vocabulary: OpenVocabulary | None = None
    training: Training | None = None
    origin: Origin | None = None
    measurements: tuple[Measurement, ...] = ()
    gate: Gate = Gate()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.schema_version != SCHEMA:
            raise ValueError(f"card schema {self.schema_version} is not {SCHEMA}, the one this segx reads")
        if len(set(self.classes)) != len(self.classes):
            raise ValueError("class names must differ from each other")
        if len(self.palette) != len(self.classes):
            raise ValueError(f"palette has {len(self.palette)} colours for {len(self.classes)} classes")
        if any(not 0 <= value <= 255 for color in self.palette for value in color):
            raise ValueError("palette values must lie in 0-255")
        if self.ignore_index < len(self.classes):
            raise ValueError(f"ignore index {self.ignore_index} is also the class '{self.classes[self.ignore_index]}'")
        if sum(spec.kind == "image" for spec in self.inputs) != 1:
            raise ValueError("exactly one input of kind 'image' is needed")
        if not any(spec.kind in _DECIDING[self.task] for spec in self.outputs):
            raise ValueError(f"one output of a {self.task} model must be {' or '.join(_DECIDING[self.task])}")
        if self.task == "multilabel":
            self._several_labels()
        elif self.thresholds:
            raise ValueError("thresholds make no sense for a multiclass model, whose best class wins")
        return self

    def _several_labels(self) -> None:
        if len(self.classes) > MOST_LABELS:
            raise ValueError(f"a multilabel model has at most {MOST_LABELS} classes, not {len(self.classes)}")
        if len(self.thresholds) != len(self.classes):
            raise ValueError(f"thresholds has {len(self.thresholds)} values for {len(self.classes)} classes")
        if not all(0 < value < 1 for value in self.thresholds):
            raise ValueError("every threshold must lie between 0 and 1")

    @property
    def image(self) -> InputSpec:
        """The picture input."""
        return next(spec for spec in self.inputs if spec.kind == "image")

    @property
    def prediction(self) -> OutputSpec:
        """The output the map comes from: the map itself where there is one, else probabilities or logits."""
        order = _DECIDING[self.task]
        return min((spec for spec in self.outputs if spec.kind in order), key=lambda spec: order.index(spec.kind))
