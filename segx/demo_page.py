"""The page `segx demo` leaves behind: one self-contained HTML file, pictures inside, nothing loaded from elsewhere."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from pathlib import Path
from string import Template

import numpy as np

from segx_core import atomic
from segx_core.datasets import Dataset
from segx_core.picture import encode_png, overlay
from segx_core.predictor import Predictor
from segx_evaluate.result import Result

_ROWS = 5

_PAGE = Template("""<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>segx demo</title>
<style>
:root { color-scheme: light dark; --line: color-mix(in srgb, currentColor 18%, transparent); }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { margin-bottom: 0; } h2 { margin-top: 2.5rem; font-size: 1.15rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .6rem; border-bottom: 1px solid var(--line); text-align: right; }
th:first-child, td:first-child { text-align: left; }
.strip { display: grid; grid-template-columns: repeat(4, 1fr); gap: .4rem; }
.strip img { width: 100%; image-rendering: pixelated; border-radius: .3rem; display: block; }
.strip b { font-weight: 600; font-size: .85rem; }
.swatch { display: inline-block; width: .8em; height: .8em; border-radius: .2em; margin-right: .5em; }
.curves { width: 100%; border-radius: .4rem; background: white; }
.scroll { overflow-x: auto; } .quiet { opacity: .7; }
</style>
<h1>segx demo</h1>
<p class="quiet">Trained from scratch on generated pictures, exported, quantized and served on this machine.</p>
<h2>The two files, measured through ONNX Runtime</h2>
<div class="scroll"><table><thead><tr><th></th>$model_names</tr></thead><tbody>$rows</tbody></table></div>
<p>The service answered one picture in $milliseconds ms over HTTP; its PNG $same byte for byte equal to that of
<code>segx predict</code>.</p>
<h2>Validation pictures</h2>
<div class="strip"><b>picture</b><b>truth</b><b>$first</b><b>$second</b>$pictures</div>
<h2>IoU per class</h2>
<div class="scroll"><table><thead><tr><th>class</th>$model_names</tr></thead><tbody>$classes</tbody></table></div>
<h2>How training went</h2>
<img class="curves" alt="Curves of training loss and validation scores" src="$curves">
</html>
""")


def write_page(
    out: Path,
    data: Dataset,
    files: Sequence[Path],
    results: Sequence[Result],
    unseen: Sequence[Result],
    milliseconds: float,
    same: bool,
) -> Path:
    """Write OUT/index.html for a float file and a compressed one; returns its path.

    Args:
        out: the folder of the demo.
        data: what the files were evaluated on.
        files: the float file and the compressed one.
        results: of both on val.
        unseen: of both on test.
        milliseconds: the service needed for one picture.
        same: whether its answer equalled `segx predict`'s.
    """
    names = [path.name for path in files]
    page = _PAGE.substitute(
        model_names="".join(f"<th>{html.escape(name)}</th>" for name in names),
        first=html.escape(names[0]),
        second=html.escape(names[1]),
        rows="".join(
            _row(label, values)
            for label, values in (
                ("mIoU, val", [f"{result.miou:.4f}" for result in results]),
                ("mIoU, test (unseen textures)", [f"{result.miou:.4f}" for result in unseen]),
                ("boundary F1, val", [f"{result.boundary_f1:.4f}" for result in results]),
                ("median latency, ms", [f"{result.latency.p50:.2f}" for result in results]),
                ("size, MiB", [f"{result.size_bytes / 2**20:.2f}" for result in results]),
            )
        ),
        milliseconds=f"{milliseconds:.0f}",
        same="is" if same else "is NOT",
        pictures=_pictures(data, [Predictor.load(path) for path in files]),
        classes="".join(
            _row(
                f'<span class="swatch" style="background:rgb{color}"></span>{html.escape(name)}',
                [f"{result.per_class_iou[name]:.3f}" for result in results],
            )
            for name, color in zip(data.classes, data.palette, strict=True)
        ),
        curves=_inline((files[0].parent / "curves.png").read_bytes()),
    )
    path = out / "index.html"
    atomic.write_text(path, page)
    return path


def _row(label: str, values: Sequence[str]) -> str:
    return f"<tr><td>{label}</td>{''.join(f'<td>{value}</td>' for value in values)}</tr>"


def _pictures(data: Dataset, predictors: Sequence[Predictor]) -> str:
    samples = data.split("val")
    picks = np.linspace(0, len(samples) - 1, min(_ROWS, len(samples))).round().astype(int)
    cells = []
    for index in picks:
        picture, truth = data.read(samples[int(index)])
        maps = [truth, *(predictor.predict(picture) for predictor in predictors)]
        shown = [picture, *(overlay(picture, labels, data.palette, 0.65) for labels in maps)]
        cells += [f'<img alt="" src="{_inline(encode_png(cell))}">' for cell in shown]
    return "".join(cells)


def _inline(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
