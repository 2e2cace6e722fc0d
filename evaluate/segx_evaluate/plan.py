"""Which files `segx predict` reads and where each answer goes, decided and checked before anything is written.

Pictures and videos named one by one go straight into the output folder; of a folder everything below it is taken and
its sub-folders are mirrored. No output may stand in a folder that holds an input; no two inputs may share an output.
Knows nothing of what is written into the files.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from segx_core.errors import ConfigError, PictureError
from segx_core.picture import PICTURE_SUFFIXES

VIDEO_SUFFIXES: frozenset[str] = frozenset({".mp4", ".avi", ".mov", ".mkv", ".webm"})
"""Lower-case endings of files that are read as video."""

OVERLAY = "overlay"
"""The folder of overlays inside the output folder."""


@dataclass(frozen=True)
class Job:
    """One input and its place in the output."""

    source: Path
    place: Path
    """Relative to the output folder, without suffix: "street/0001"."""

    @property
    def video(self) -> bool:
        """Whether the source is a video by its name."""
        return self.source.suffix.lower() in VIDEO_SUFFIXES

    def target(self, out: Path, suffix: str) -> Path:
        """The answer's file, for example out/street/0001.png."""
        return out / self.place.with_name(self.place.name + suffix)

    def overlay(self, out: Path) -> Path:
        """The overlay's file, for example out/overlay/street/0001.png."""
        return self.target(out / OVERLAY, ".png")


def plan(inputs: Sequence[Path], out: Path) -> list[Job]:
    """Every picture and video among the inputs, with its place.

    Raises:
        PictureError: an input is missing or of no known kind, or a folder holds no picture.
        ConfigError: two inputs would be written to one file, or an output folder holds inputs.
    """
    jobs = [job for path in inputs for job in _found(path, out)]
    if not jobs:
        raise PictureError("pictures, videos or folders of them", "nothing", "Name at least one.")
    _refuse_clashes(jobs, out)
    _refuse_overwriting(jobs, out)
    return jobs


def _found(path: Path, out: Path) -> Iterator[Job]:
    known = PICTURE_SUFFIXES | VIDEO_SUFFIXES
    if path.is_dir():
        # Answers of an earlier run, in an output folder inside the input folder, are no inputs.
        results = out.resolve()
        skip_results = results != path.resolve()
        paths = [
            file
            for file in sorted(path.rglob("*"))
            if file.suffix.lower() in known
            and file.is_file()
            and not _hidden(file.relative_to(path))
            and not (skip_results and file.resolve().is_relative_to(results))
        ]
        if not paths:
            raise PictureError(f"pictures or videos in {path}", "none", f"Known endings: {_list(known)}.")
        yield from (Job(file, file.relative_to(path).with_suffix("")) for file in paths)
    elif not path.exists():
        raise PictureError("a picture, a video or a folder", f"{path}, which does not exist", "Check the path.")
    elif path.suffix.lower() in known:
        yield Job(path, Path(path.stem))
    else:
        raise PictureError("a picture or a video", f"{path}", f"Known endings: {_list(known)}.", kind="unsupported")


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _refuse_clashes(jobs: Iterable[Job], out: Path) -> None:
    taken: dict[Path, Path] = {}
    for job in jobs:
        for target in (job.target(out, ""), job.overlay(out).with_suffix("")):
            other = taken.setdefault(target, job.source)
            if other is not job.source:
                raise ConfigError(
                    "inputs whose answers have different names",
                    f"{other} and {job.source}, both of which would become {target}.*",
                    "Rename one, name their common folder (its sub-folders are mirrored), or predict them in two runs.",
                )


def _refuse_overwriting(jobs: Sequence[Job], out: Path) -> None:
    read_from = {job.source.resolve().parent for job in jobs}
    for job in jobs:
        for target in (job.target(out, ""), job.overlay(out)):
            if target.parent.resolve() in read_from:
                raise ConfigError(
                    "an output folder apart from the inputs",
                    f"{target.parent}, which holds pictures to be read",
                    "Choose another --out, so that no input can be overwritten.",
                )


def _list(suffixes: Iterable[str]) -> str:
    return " ".join(sorted(suffixes))
