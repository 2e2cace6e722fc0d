"""What an export did, as a value: for the terminal, for `--json`, for whoever called from Python. Measures nothing."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.table import Table

from segx_core.card import Gate, Measurement
from segx_core.errors import GateError
from segx_export.parity import Parity
from segx_export.placement import Placement
from segx_export.search import Searched


@dataclass(frozen=True)
class FileReport:
    """One file that was built."""

    precision: str
    path: Path | None
    """None: built and measured by `auto`, not kept."""
    size_bytes: int
    gate: Gate
    measurement: Measurement | None = None
    placement: Placement | None = None
    drop: float | None = None
    """Loss of mean IoU against fp32, points."""
    drop_interval: tuple[float, float] | None = None
    """95 % confidence interval of `drop` over pictures, points; None where none was computed."""
    worst_class: str | None = None
    worst_drop: float | None = None
    """Loss of that class's IoU, points."""
    agreement: float | None = None
    """Share of pixels with fp32's class, 0-1."""
    at_home: bool = True
    """False: measured on another provider than the file is made for."""
    searched: Searched | None = None
    """How an int8 file was found."""
    recipe: dict[str, str] = field(default_factory=dict)
    """How it was made, in words: what is told (calibration, nodes left in float ...) and its value."""

    def to_json(self) -> dict[str, Any]:
        """Plain values, as `ExportReport.to_json` gives them of each self."""
        return {
            "precision": self.precision,
            "path": None if self.path is None else str(self.path),
            "size_bytes": self.size_bytes,
            "gate": self.gate.model_dump(mode="json"),
            "measurement": None if self.measurement is None else self.measurement.model_dump(mode="json"),
            "kernels": None if self.placement is None else asdict(self.placement),
            "miou_drop_points": self.drop,
            "miou_drop_interval_points": None if self.drop_interval is None else list(self.drop_interval),
            "worst_class": self.worst_class,
            "worst_class_drop_points": self.worst_drop,
            "pixel_agreement": self.agreement,
            "at_home": self.at_home,
            "search": None if self.searched is None else self.searched.to_json(),
        }


@dataclass(frozen=True)
class ExportReport:
    """Everything an export has to say."""

    kept: str
    """Precision of the file the user asked for."""
    path: Path
    """That file."""
    files: tuple[FileReport, ...]
    """fp32 first."""
    parity: Parity
    machine: dict[str, str]
    notes: tuple[str, ...] = ()
    """Sentences for people: why a file was passed over, which provider was measured."""
    page: Path | None = None
    """The HTML report; None where nothing was measured."""

    @property
    def measurements(self) -> tuple[Measurement, ...]:
        """The measured rows, fp32 first."""
        return tuple(file.measurement for file in self.files if file.measurement is not None)

    @property
    def gate(self) -> Gate:
        """The verdict on the file that was kept."""
        return next(file.gate for file in self.files if file.precision == self.kept)

    def to_json(self) -> dict[str, Any]:
        """Plain values for json.dumps; fractions, milliseconds and bytes, unrounded."""
        return {
            "kept": self.kept,
            "path": str(self.path),
            "page": None if self.page is None else str(self.page),
            "files": [file.to_json() for file in self.files],
            "parity": asdict(self.parity),
            "machine": self.machine,
            "notes": list(self.notes),
        }

    def table(self) -> Table:
        """The same for people."""
        table = Table(title="Exported")
        for name in ("file", "MB", "mIoU", "drop", "worst class", "same", "ms", "x fp32", "gate"):
            table.add_column(name, justify="left" if name in ("file", "worst class", "gate") else "right")
        base = self.files[0].measurement
        for file in self.files:
            row = file.measurement
            table.add_row(
                f"{file.precision}, not kept" if file.path is None else file.precision,
                f"{file.size_bytes / 1e6:.2f}",
                "" if row is None else f"{row.miou:.4f}",
                _loss(file),
                "" if file.worst_drop is None else f"{file.worst_class} {file.worst_drop:.2f}",
                "" if file.agreement is None else f"{file.agreement:.2%}",
                "" if row is None else f"{row.latency_ms:.1f}",
                "" if row is None or base is None else f"{row.latency_ms / base.latency_ms:.2f}",
                file.gate.status,
            )
        return table


def _loss(file: FileReport) -> str:
    if file.drop is None:
        return ""
    within = "" if file.drop_interval is None else f" ({file.drop_interval[0]:.2f} to {file.drop_interval[1]:.2f})"
    return f"{file.drop:.2f}{within}"


class ExportRejectedError(GateError):
    """The gate refused every file that was asked for; `report` says what was measured, as for a good export."""

    def __init__(self, report: ExportReport, expected: str, got: str, cure: str = "") -> None:
        super().__init__(expected, got, cure)
        self.report = report
