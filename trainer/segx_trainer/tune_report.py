"""What a search found, for people: best.yaml, tuning.png and tuning.html; and for programs as plain values.

Reads the study; runs nothing.
"""

from __future__ import annotations

import base64
import html
import io
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure

from segx_core import atomic
from segx_trainer.config import to_yaml
from segx_trainer.tune import Search, best_config, counted, folder_of, importance

if TYPE_CHECKING:
    from optuna import Study

BEST, CHART, PAGE = "best.yaml", "tuning.png", "tuning.html"
_STATES = {"COMPLETE": "finished", "PRUNED": "pruned", "FAIL": "failed"}
_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color:#222}"
    "table{border-collapse:collapse}th,td{padding:.25rem .8rem;text-align:left;border-bottom:1px solid #ddd}"
    "td.n{text-align:right;font-variant-numeric:tabular-nums}img{max-width:100%}tr.best{font-weight:600}"
)


def document(wanted: Search, study: Study) -> dict[str, Any]:
    """Every trial, best first, and the importance of every key, as JSON takes it.

    A trial: its folder under the search's, its outcome, its best mIoU (of a pruned one so far; None where it failed),
    how many validations it had, and its values.
    """
    rows = []
    for trial in counted(study):
        scores = [trial.value] if trial.value is not None else []
        reached = [*scores, *trial.intermediate_values.values()]
        rows.append(
            {
                "trial": folder_of(wanted.folder, trial.number, trial.user_attrs).name,
                "outcome": _STATES[trial.state.name],
                "miou": max(reached) if reached else None,
                "validations": len(trial.intermediate_values),
                "values": dict(trial.params),
                "error": trial.user_attrs.get("error"),
            }
        )
    # A pruned trial may have been ahead of a finished one when it was stopped; it is no result all the same.
    order = {"finished": 0, "pruned": 1, "failed": 2}
    rows.sort(key=lambda row: (order[row["outcome"]], -(row["miou"] or 0.0)))
    return {
        "data": wanted.data,
        "epochs": wanted.epochs,
        "seed": wanted.seed,
        "trials": rows,
        "importance": importance(study),
    }


def write(wanted: Search, study: Study) -> dict[str, Any]:
    """Write the files into the search's folder; the values of `document`."""
    found = document(wanted, study)
    best = best_config(wanted, study)
    if best is not None:
        atomic.write_text(wanted.folder / BEST, to_yaml(best))
    chart = draw(found)
    atomic.write_bytes(wanted.folder / CHART, chart)
    atomic.write_text(wanted.folder / PAGE, page(found, chart))
    return found


def draw(found: dict[str, Any]) -> bytes:
    """A PNG: every trial's mIoU in the order they ran with the best so far, and the importance of the keys."""
    figure = Figure(figsize=(11, 4), layout="constrained")
    scores, weights = figure.subplots(1, 2)
    rows = sorted((row for row in found["trials"] if row["miou"] is not None), key=lambda row: str(row["trial"]))
    for outcome, color in (("finished", "tab:blue"), ("pruned", "tab:gray")):
        at = [place for place, row in enumerate(rows, 1) if row["outcome"] == outcome]
        if at:
            scores.scatter(at, [rows[place - 1]["miou"] for place in at], color=color, label=outcome, s=24, zorder=3)
    best, so_far = float("nan"), []
    for row in rows:
        if row["outcome"] == "finished":
            best = row["miou"] if best != best else max(best, row["miou"])
        so_far.append(best)
    scores.step(range(1, len(rows) + 1), so_far, where="post", color="tab:orange", label="best so far")
    scores.set(title="best validation mIoU of a trial", xlabel="trial", ylabel="mIoU")
    scores.xaxis.get_major_locator().set_params(integer=True)
    scores.grid(alpha=0.3)
    scores.legend(frameon=False)
    shares = sorted(found["importance"].items(), key=lambda item: item[1])
    weights.barh([key for key, _ in shares], [share for _, share in shares], color="tab:blue")
    weights.set(title="share of the differences a key explains", xlim=(0, 1))
    if not shares:
        weights.text(0.5, 0.5, "too few finished trials to tell", ha="center", transform=weights.transAxes)
        weights.set_yticks([])
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()


def page(found: dict[str, Any], chart: bytes) -> str:
    """The search as one HTML file that needs no other."""
    keys = sorted({key for row in found["trials"] for key in row["values"]})
    lines = []
    for place, row in enumerate(found["trials"]):
        best = ' class="best"' if place == 0 and row["outcome"] == "finished" else ""
        score = "" if row["miou"] is None else f"{row['miou']:.4f}"
        cells = [f"<td>{_safe(row['trial'])}</td><td>{row['outcome']}</td><td class=n>{score}</td>"]
        cells += [f"<td>{_safe(_shown(row['values'].get(key, '')))}</td>" for key in keys]
        title = f' title="{_safe(row["error"])}"' if row["error"] else ""
        lines.append(f"<tr{best}{title}>{''.join(cells)}</tr>")
    heads = "".join(f"<th>{_safe(one)}</th>" for one in ("trial", "outcome", "mIoU", *keys))
    picture = base64.b64encode(chart).decode()
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>segx tune</title><style>{_STYLE}</style>"
        f"<h1>Search on {_safe(found['data'])}</h1><p>{len(found['trials'])} trials of up to {found['epochs']} epochs. "
        f"The best finished one is {BEST}; a pruned one shows the best mIoU it had reached.</p>"
        f'<img alt="mIoU of the trials, importance of the keys" src="data:image/png;base64,{picture}">'
        f"<table><tr>{heads}</tr>{''.join(lines)}</table></html>\n"
    )


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _safe(text: Any) -> str:
    return html.escape(str(text))
