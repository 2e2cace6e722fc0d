"""What an export is asked for, validated once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from segx_core.errors import ConfigError, near
from segx_export.deploy import OPSET, Outputs
from segx_export.gate import Limits

PRECISIONS = ("auto", "fp32", "fp16", "w8", "int8", "int8-trt")


@dataclass(frozen=True)
class ExportSettings:
    """One export. Raises ConfigError at construction where values contradict."""

    precision: str | None = None
    """One of PRECISIONS. None: fp32, or with `quantize` int8 and, should that fail the gate, w8."""
    quantize: bool = False
    """A quantized file or an error: int8, else w8. Not together with `precision`."""
    out: Path | None = None
    """The file to write; None: RUN/model.<precision>.onnx. The float reference is always RUN/model.fp32.onnx."""
    data: str | None = None
    """Data to calibrate and judge on; None: what the run was trained on."""
    split: str = "val"
    """Held-out split the gate judges on; "train" is refused."""
    max_drop: float = 0.5
    """Allowed loss of mean IoU in points (0.5 = 0.005)."""
    max_class_drop: float | None = 5.0
    """Allowed loss of any one class's IoU in points; None: any."""
    min_agreement: float | None = None
    """Share of pixels, 0-1, that must keep the class of fp32; None: any."""
    max_latency: float | None = 1.25
    """Most time a picture may take over fp32's, for files made for the provider that is measured; None: any."""
    gate: bool = True
    """False: nothing is measured and the file is marked ungated."""
    outputs: Outputs = "classmap"
    """"classmap" alone, or "probabilities" as well."""
    provider: str = "auto"
    """Where candidates are measured: auto, cpu, cuda ..."""
    calibration_images: int = 96
    """Training pictures for int8, spread evenly over the split."""
    gate_images: int | None = None
    """At most so many held-out pictures, spread evenly; None: all."""
    size: tuple[int, int] | None = None
    """(height, width) the file is fixed to; None: any size. Only for runs: other files have a rule of their own."""
    opset: int = OPSET

    def __post_init__(self) -> None:
        if self.precision is not None and self.precision not in PRECISIONS:
            raise ConfigError("a precision", f"'{self.precision}'", near(self.precision, PRECISIONS))
        if self.quantize and self.precision not in (None, "int8", "w8"):
            raise ConfigError(
                "either --quantize or --precision", f"--quantize with --precision {self.precision}", "Leave one out."
            )
        if self.precision == "auto" and not self.gate:
            raise ConfigError("a gate for --precision auto", "--no-gate", "Nothing is known to be faster unmeasured.")
        if self.outputs not in get_args(Outputs):
            raise ConfigError("outputs", f"'{self.outputs}'", near(self.outputs, get_args(Outputs)))
        if self.split == "train":
            raise ConfigError(
                "a held-out split for the gate", "'train'", "Judge on val or test: weights were fitted to train."
            )
        if self.calibration_images < 1 or (self.gate_images is not None and self.gate_images < 1):
            raise ConfigError("at least one picture", f"{self.calibration_images} and {self.gate_images}")
        if self.size is not None and min(self.size) < 1:
            raise ConfigError("a size of at least one pixel", f"{self.size[0]}x{self.size[1]}")
        if self.min_agreement is not None and not 0 <= self.min_agreement <= 1:
            raise ConfigError("a share of pixels from 0 to 1", str(self.min_agreement))
        if self.opset < 18:
            raise ConfigError("opset 18 or newer", str(self.opset), f"{OPSET} is the default.")

    @property
    def limits(self) -> Limits:
        """What the gate allows."""
        return Limits(self.max_drop, self.max_class_drop, self.min_agreement, self.max_latency)

    @property
    def needs_data(self) -> bool:
        """Whether pictures are needed to build or judge what is asked for."""
        return self.gate or bool({"int8", "int8-trt"} & set(self.attempts))

    @property
    def attempts(self) -> tuple[str, ...]:
        """Precisions to build beside fp32; with `quantize` in the order of preference."""
        if self.precision is None:
            return ("int8", "w8") if self.quantize else ()
        if self.precision == "auto":
            return ("int8", "w8", "fp16")
        return () if self.precision == "fp32" else (self.precision,)


def parse_size(text: str | None) -> tuple[int, int] | None:
    """ "360x480" -> (360, 480); None stays None.

    Raises:
        ConfigError: anything else.
    """
    if text is None:
        return None
    sides = text.lower().split("x")
    if len(sides) != 2 or not all(side.isdecimal() and int(side) > 0 for side in sides):
        raise ConfigError("--size HEIGHTxWIDTH", f"'{text}'", "For example 360x480.")
    return int(sides[0]), int(sides[1])
