"""Class maps of pictures, folders and videos as files: what `segx predict` does.

Which file goes where is decided in plan.py, how it is written in answers.py. A picture that cannot be read does not
stop the others; all such are told at the end. Every file appears whole or not at all, so Ctrl-C leaves good ones only.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from segx_core import atomic, picture
from segx_core.errors import PictureError
from segx_core.meaning import meaning
from segx_core.progress import console, track
from segx_core.runner import UInt8
from segx_evaluate.answers import Format, known_format, writer
from segx_evaluate.model import Model
from segx_evaluate.plan import Job, plan
from segx_evaluate.prefetch import prefetch
from segx_evaluate.video import overlay_video

__all__ = ["Format", "Summary", "predict_files"]

_TOLD = 10  # broken inputs named in the message


@dataclass(frozen=True)
class Summary:
    """What was done."""

    pictures: int
    videos: int
    frames: int
    """Of all videos together."""
    written: tuple[Path, ...]
    seconds: float


def predict_files(
    model: Model,
    inputs: Sequence[Path],
    out: Path,
    *,
    overlay: bool = False,
    format: str = "png",
    opacity: float = 0.5,
    limits: picture.Limits = picture.Limits(),  # noqa: B008  frozen, so sharing it is safe
) -> Summary:
    """Segment every picture and video among the inputs.

    Args:
        model: usually a Predictor.
        inputs: pictures, videos, and folders, which are searched below and mirrored in `out`.
        out: the folder to write to, made if absent: `<stem>.png` for "png", `<stem>/<class>.png` for "masks",
            `<stem>.json` for "polygons", one `predictions.json` for "coco", `<stem>.mp4` for a video (overlaid, without
            its sound, in any format).
        overlay: also write `overlay/<stem>.png`, the picture with its classes laid over it.
        format: the form of the answers for pictures: png, masks, coco or polygons.
        opacity: of overlays, 0..1.
        limits: what a picture may cost.

    Raises:
        PictureError: some inputs could not be read; raised after all others were written, or before anything is
            when an input is missing or of no known kind.
        ConfigError: no such format, or answers would overwrite inputs or each other.
        SetupError: an answer cannot be written.
    """
    begin = time.perf_counter()
    reader = meaning(model.card.task)
    form = known_format(format)  # before any work, also where only videos are given
    jobs = plan(inputs, out)
    stills = [job for job in jobs if not job.video]
    films = [job for job in jobs if job.video]
    broken: list[PictureError] = []
    written: list[Path] = []
    frames = 0

    def load(job: Job) -> UInt8 | PictureError:
        try:
            return picture.read(job.source, limits)
        except PictureError as error:
            return error

    if stills:
        with writer(form, model.card, out) as answers:
            ready = track(prefetch(stills, load), "predicting", total=len(stills), unit="pictures")
            for job, pixels in ready:
                if isinstance(pixels, PictureError):
                    broken.append(pixels)
                    continue
                classmap = model.predict(pixels)
                written += answers.add(job, classmap)
                if overlay:
                    laid = reader.overlay(pixels, classmap, model.card.palette, opacity)
                    atomic.write_bytes(job.overlay(out), picture.encode_png(laid))
                    written.append(job.overlay(out))
    if films:
        console().print("The sound of videos is left out.", markup=False)
    for job in films:
        try:
            target = job.target(out, ".mp4")
            frames += overlay_video(model.predict, job.source, target, model.card.palette, opacity, reader)
            written.append(target)
        except PictureError as error:
            broken.append(error)
    if broken:
        raise _told(broken, len(jobs), out)
    return Summary(len(stills), len(films), frames, tuple(dict.fromkeys(written)), time.perf_counter() - begin)


def _told(broken: Sequence[PictureError], total: int, out: Path) -> PictureError:
    """One error for all inputs that could not be read."""
    listed = "\n".join(f"  {error.got}" for error in broken[:_TOLD])
    more = f"\n  and {len(broken) - _TOLD} more" if len(broken) > _TOLD else ""
    done = total - len(broken)
    cure = f"The other {done} are done, in {out}" if done else "Nothing was written"
    return PictureError(
        "inputs that can all be read",
        f"{len(broken)} of {total} that cannot:\n{listed}{more}\n",
        f"{cure}.",
        kind=broken[0].kind,
    )
