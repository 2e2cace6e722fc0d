"""Searches: one of real trainings, and some whose trainer is a small program with a known outcome for every value."""

from __future__ import annotations

import _thread
import json
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from segx_core.errors import ConfigError, SegxError, SetupError
from segx_trainer import tune_report
from segx_trainer.config import build_config, read_yaml
from segx_trainer.tune import Search, counted, importance, open_study, search, validations
from segx_trainer.tune_space import Choices, Range

# Obeys the trainer's contract in the options, metrics.jsonl, exit codes and Ctrl-C; the score follows from lr alone.
PROGRAM = """
import json, pathlib, signal, sys, time
import yaml
options = dict(zip(sys.argv[2::2], sys.argv[3::2]))
out = pathlib.Path(options["--out"])
resumed = "--resume" in sys.argv
values = yaml.safe_load((out / "asked.yaml").read_text())
if values["lr"] > 0.5:
    sys.exit("out of memory")
(out / "config.yaml").write_text(yaml.safe_dump({**values, "data": sys.argv[1]}))
stopped = []
signal.signal(signal.SIGINT, lambda *_: stopped.append(1))
metrics = out / "metrics.jsonl"
done = len(metrics.read_text().splitlines()) if resumed else 0
for epoch in range(done + 1, values["epochs"] + 1):
    with metrics.open("a") as file:
        file.write(json.dumps({"kind": "val", "epoch": epoch, "miou": values["lr"] * epoch / 4}) + "\\n")
    (out / "last.pt").write_text(str(epoch))
    if values["lr"] < 0.01 and not resumed:
        end = time.monotonic() + 30
        while time.monotonic() < end and not stopped:
            time.sleep(0.02)
    if stopped:
        sys.exit(130)
"""


@pytest.fixture
def wanted(tmp_path: Path) -> Any:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)

    def make(**changes: Any) -> Search:
        values: dict[str, Any] = {
            "folder": tmp_path / "search", "command": (sys.executable, str(program)), "data": "nowhere",
            "base": {"model": "fpn"}, "space": {"lr": Range(0.1, 0.4)}, "epochs": 4, "trials": 4,
        }  # fmt: skip
        return Search(**{**values, **changes})

    return make


def test_the_best_value_is_found_and_written(wanted: Any) -> None:
    what = wanted(trials=5)
    study = search(what)
    found = tune_report.write(what, study)
    assert [row["outcome"] for row in found["trials"]] == ["finished"] * 5
    scores = [row["miou"] for row in found["trials"]]
    assert scores == sorted(scores, reverse=True)
    best = build_config(read_yaml(what.folder / "best.yaml"))
    assert best.lr == pytest.approx(scores[0])
    assert best.model == "fpn"
    assert found["importance"] == {"lr": pytest.approx(1.0)}
    text = (what.folder / "tuning.html").read_text()
    assert f"{scores[0]:.4f}" in text
    assert (what.folder / "tuning.png").read_bytes().startswith(b"\x89PNG")


def test_a_refused_search_leaves_nothing_that_binds_the_next_one(wanted: Any) -> None:
    what = wanted(base={"model": "fpn", "weight_decay": "much"})
    what.folder.mkdir()
    with pytest.raises(ConfigError, match="weight_decay"):
        open_study(what)
    assert open_study(wanted()).user_attrs["settings"]["base"] == {"model": "fpn"}


def test_poor_trials_are_stopped_and_do_not_win(wanted: Any) -> None:
    space, base = {"lr": Range(0.001, 0.4)}, {"lr": 0.2}
    what = wanted(space=space, base=base)
    what.folder.mkdir()
    study = open_study(what)  # its first trial is the base's own
    for value in (0.3, 0.25, 0.35, 0.001):
        study.enqueue_trial({"lr": value})
    done = counted(search(wanted(space=space, base=base, trials=5)))
    assert [trial.params["lr"] for trial in done] == [0.2, 0.3, 0.25, 0.35, 0.001]
    assert [trial.state.name for trial in done] == ["COMPLETE"] * 4 + ["PRUNED"]


def test_a_search_goes_on_with_the_trial_it_stopped_in(wanted: Any) -> None:
    what = wanted(space={"lr": Choices((0.001,))}, trials=2, base={})
    _interrupt_when(what.folder / "trial-000" / "last.pt")
    with pytest.raises(KeyboardInterrupt):
        search(what)
    assert validations(what.folder / "trial-000") == [(1, 0.001 / 4)]
    more = wanted(space={"lr": Choices((0.001,))}, trials=1, base={})
    study = search(more)
    assert len(counted(study)) == 1
    assert validations(what.folder / "trial-000") == [(epoch, 0.001 * epoch / 4) for epoch in range(1, 5)]
    assert tune_report.document(more, study)["trials"][0]["trial"] == "trial-000"
    assert not (what.folder / "trial-001").exists()


def _interrupt_when(path: Path) -> None:
    """Ctrl-C in this process as soon as a file is there."""

    def watch() -> None:
        while not path.exists():
            time.sleep(0.02)
        _thread.interrupt_main()

    threading.Thread(target=watch, daemon=True).start()


def test_a_trial_that_fails_costs_itself_alone(wanted: Any) -> None:
    what = wanted(space={"lr": Choices((0.9, 0.3))}, trials=6)
    study = search(what)
    found = tune_report.document(what, study)["trials"]
    assert {row["outcome"] for row in found} == {"finished", "failed"}
    assert all("out of memory" in row["error"] for row in found if row["outcome"] == "failed")
    assert found[0]["values"] == {"lr": 0.3}
    assert b"PNG" in tune_report.draw(tune_report.document(what, study))


def test_when_all_fail_the_last_reason_is_told(wanted: Any) -> None:
    with pytest.raises(SegxError, match="out of memory"):
        search(wanted(space={"lr": Choices((0.9,))}, trials=1))


def test_another_search_in_the_folder_is_refused(wanted: Any) -> None:
    search(wanted(trials=1))
    with pytest.raises(ConfigError, match="own epochs"):
        search(wanted(trials=1, epochs=5))
    assert len(counted(search(wanted(trials=2)))) == 2
    assert importance(search(wanted(trials=2))) == {}


def test_two_searches_do_not_share_a_folder(wanted: Any) -> None:
    import filelock

    what = wanted()
    what.folder.mkdir()
    with filelock.FileLock(what.folder / ".lock"), pytest.raises(SetupError, match="another process"):
        search(what)


def test_without_optuna_the_cure_is_told(wanted: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(SetupError, match=r"segx\[tune\]"):
        search(wanted())


def test_a_page_shows_what_it_was_given_as_text() -> None:
    row = {"trial": "t", "outcome": "failed", "miou": None, "validations": 0, "values": {"loss": "<b>"}, "error": '"'}
    found = {"data": "<script>", "epochs": 1, "seed": 0, "trials": [row], "importance": {}}
    text = tune_report.page(found, tune_report.draw(found))
    assert "<script>" not in text
    assert "&lt;b&gt;" in text


def test_real_trainings(tiny_data: Path, tmp_path: Path) -> None:
    base = {
        "model": "fpn", "encoder": "test_resnet", "encoder_weights": "none", "decoder_channels": 32, "size": "32x64",
        "batch_size": 4, "device": "cpu",
    }  # fmt: skip
    command = (sys.executable, "-m", "segx", "train")
    what = Search(tmp_path / "search", command, str(tiny_data), base, {"lr": Choices((1e-3, 1e-2))}, 1, 1)
    found = tune_report.write(what, search(what))
    (row,) = found["trials"]
    assert (row["outcome"], row["validations"], row["values"]) == ("finished", 1, {"lr": 1e-3})
    log = (what.folder / "trial-000" / "metrics.jsonl").read_text().splitlines()
    assert row["miou"] == max(json.loads(line)["miou"] for line in log if '"val"' in line)
    assert (what.folder / "trial-000" / "checkpoint.pt").is_file()
