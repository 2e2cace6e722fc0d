"""The short card that a user writes by hand for a third-party ONNX file, and how it becomes a full one.

Validation and defaults only: reading the file is in card_io.py, the arithmetic it asks for in thirdparty.py.
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from segx_core import bits
from segx_core.card import Axis, Card, Color, Frozen, InputSpec, Normalisation, OutputSpec, Session, SizeRule, Task
from segx_core.errors import CardError, near
from segx_core.palette import default_palette


class YamlInput(Frozen):
    """The picture input: what must be done to an RGB uint8 picture before the graph takes it."""

    name: str
    layout: Literal["NHWC", "NCHW"] = "NCHW"
    dtype: Literal["uint8", "float16", "float32"] = "float32"
    scale: float | None = Field(default=None, gt=0)
    """Pixels are divided by this first; 255 where it is not given, 1 for uint8."""
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    color: Literal["RGB", "BGR", "GRAY"] = "RGB"
    """Order of channels the graph wants; mean and std are in this order."""
    size: tuple[int, int] | None = None
    """(height, width) of a graph that takes one size only."""
    multiple: int = Field(default=1, ge=1)
    """Height and width must be multiples of this; the runner pads."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.size and self.multiple > 1:
            raise ValueError("size and multiple exclude each other")
        if self.size and min(self.size) < 1:
            raise ValueError(f"size {list(self.size)} must be [height, width], both above 0")
        if self.dtype == "uint8" and (self.scale is not None or self.mean is not None or self.std is not None):
            raise ValueError("scale, mean and std make no sense for a uint8 input; state dtype float32 or drop them")
        for key, values in (("mean", self.mean), ("std", self.std)):
            if values is not None and len(values) != self.channels:
                raise ValueError(f"{key} has {len(values)} values for {self.channels} channels ({self.color})")
        if self.std is not None and any(value <= 0 for value in self.std):
            raise ValueError("every std must be above 0")
        return self

    @property
    def channels(self) -> int:
        """Channels of the input tensor."""
        return 1 if self.color == "GRAY" else 3


class YamlOutput(Frozen):
    """The output the class map comes from."""

    name: str
    kind: Literal["logits", "probabilities", "classmap", "labels"] = "logits"
    layout: Literal["NHWC", "NCHW"] = "NCHW"
    stride: int = Field(default=1, ge=1)
    """Input pixels per output pixel along one side."""


class YamlCard(Frozen):
    """A third-party card as the user writes it."""

    task: Task = "multiclass"
    """multilabel: a pixel may belong to several classes; logits are taken through a sigmoid each."""
    threshold: float | tuple[float, ...] = 0.5
    """Multilabel only: the probability above which a class is there, one for all or one a class."""

    input: YamlInput
    output: YamlOutput
    classes: tuple[str, ...] = Field(min_length=1)
    palette: dict[str, Color] = Field(default_factory=dict)
    ignore: int | None = Field(default=None, ge=0)
    name: str | None = None
    session: Session = Session()

    @model_validator(mode="after")
    def _of_one_task(self) -> Self:
        if self.task == "multiclass" and "threshold" in self.model_fields_set:
            raise ValueError("threshold is for task multilabel; of a multiclass model the best class wins")
        if self.task == "multilabel" and self.ignore is not None:
            raise ValueError("ignore is no part of a multilabel card: its ignored pixels have a bit of their own")
        return self

    def full(self, name: str, source: str) -> Card:
        """The complete card.

        Args:
            name: the card's name where the YAML has none.
            source: the file, for messages.

        Raises:
            CardError: a palette entry for a class that is not there.
            ValidationError: whatever Card itself finds wrong.
        """
        for key in self.palette:
            if key not in self.classes:
                raise CardError(f"palette keys in {source} to be classes", f"'{key}'", near(key, self.classes))
        filled = zip(self.classes, default_palette(len(self.classes)), strict=True)
        default = 65535 if len(self.classes) > 255 else 255
        thresholds: tuple[float, ...] = ()
        if self.task == "multilabel":
            default = bits.ignored(len(self.classes))
            one = self.threshold
            thresholds = one if isinstance(one, tuple) else (one,) * len(self.classes)
        return Card(
            name=self.name or name,
            classes=self.classes,
            palette=tuple(self.palette.get(key, color) for key, color in filled),
            ignore_index=self.ignore if self.ignore is not None else default,
            task=self.task,
            thresholds=thresholds,
            inputs=(self._input(),),
            outputs=(self._output(),),
            size=self._size(),
            session=self.session,
        )

    def _input(self) -> InputSpec:
        given = self.input
        blank = Normalisation(
            scale=given.scale or 255.0,
            mean=given.mean or (0.0,) * given.channels,
            std=given.std or (1.0,) * given.channels,
            where="runner",
        )
        sides: tuple[Axis, Axis] = given.size or ("H", "W")
        nchw: tuple[Axis, ...] = ("N", given.channels, *sides)
        nhwc: tuple[Axis, ...] = ("N", *sides, given.channels)
        return InputSpec(
            name=given.name,
            dtype=given.dtype,
            shape=nchw if given.layout == "NCHW" else nhwc,
            layout=given.layout,
            color=given.color,
            normalisation=None if given.dtype == "uint8" else blank,
        )

    def _output(self) -> OutputSpec:
        given, count = self.output, len(self.classes)
        # No dtype: the YAML does not state one, and Predictor checks only what a card states.
        if given.kind in ("classmap", "labels"):
            return OutputSpec(name=given.name, kind=given.kind, shape=("N", "h", "w"), stride=given.stride)
        shape: tuple[Axis, ...] = ("N", count, "h", "w") if given.layout == "NCHW" else ("N", "h", "w", count)
        return OutputSpec(name=given.name, kind=given.kind, shape=shape, layout=given.layout, stride=given.stride)

    def _size(self) -> SizeRule:
        if self.input.size:
            return SizeRule(kind="fixed", height=self.input.size[0], width=self.input.size[1])
        if self.input.multiple > 1:
            return SizeRule(kind="multiple", multiple=self.input.multiple)
        return SizeRule()
