"""A search for hyper-parameters: trial after trial, each a whole training of its own, the hopeless ones stopped early.

A trial runs as a process, so that one which runs out of memory costs itself alone. It is judged by what it writes into
its metrics.jsonl: after each validation the median of earlier trials decides whether it goes on. All that is known
lies in FOLDER/study.db, so a search that was stopped goes on, the trial it stopped in included.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import filelock
import yaml

from segx_core import atomic
from segx_core.errors import ConfigError, SegxError, SetupError
from segx_core.progress import console
from segx_trainer import checkpoint
from segx_trainer.config import TrainConfig, build_config, read_yaml
from segx_trainer.runlog import METRICS
from segx_trainer.tune_space import Choices, Range, Space

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.trial import Trial

DATABASE = "study.db"
_NAME = "segx"
_POLL_SECONDS = 0.2
_INTERRUPTED = 130
_FEWEST_TO_COMPARE = 4  # finished trials before one is measured by their median, and before importance means anything

Outcome = Literal["finished", "pruned", "failed"]


@dataclass(frozen=True)
class Search:
    """What is searched for, where, and how long."""

    folder: Path
    command: tuple[str, ...]
    """Starts one training; the data, `--config`, `--out` and `--resume` are appended."""
    data: str
    base: dict[str, Any]
    """Config keys that every trial has."""
    space: Space
    epochs: int
    """Of a trial."""
    trials: int
    """In all, those of earlier calls included."""
    seed: int = 0


def need_optuna() -> None:
    """Refuse, with the cure, where optuna is missing."""
    from importlib.util import find_spec

    if find_spec("optuna") is None:
        raise SetupError("optuna for `segx tune`", "none installed", 'Install it with: pip install "segx[tune]"')


def search(wanted: Search) -> Study:
    """Run trials until there are as many as asked for; call it again to go on where it stopped.

    Raises:
        SetupError: no optuna, or another process searches in the folder.
        ConfigError: the folder holds a search for something else.
        KeyboardInterrupt: stopped by Ctrl-C; the trial that ran is saved and will go on.
        SegxError: every trial failed; the message is the last one's.
    """
    need_optuna()
    atomic.make_folder(wanted.folder)
    lock = filelock.FileLock(wanted.folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise SetupError(
            f"{wanted.folder} to myself", "another process searching there", "Wait for it, or choose another --out."
        ) from None
    try:
        study = open_study(wanted)
        _take_up(study)
        while (done := len(counted(study))) < wanted.trials:
            _one(study, wanted, done)
    finally:
        lock.release()
    errors = [trial.user_attrs["error"] for trial in study.get_trials() if "error" in trial.user_attrs]
    if len(errors) == len(counted(study)):
        raise SegxError("trials that train", f"{len(errors)} that failed: {errors[-1]}", "Try one with segx train.")
    return study


def open_study(wanted: Search) -> Study:
    """The study in a folder, made if absent, with the base's own values as its first trial.

    Raises:
        ConfigError: it searches for something else.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        storage=f"sqlite:///{(wanted.folder / DATABASE).resolve()}",
        study_name=_NAME,
        direction="maximize",
        load_if_exists=True,
        sampler=optuna.samplers.TPESampler(seed=wanted.seed, n_startup_trials=max(3, min(10, wanted.trials // 3))),
        pruner=optuna.pruners.MedianPruner(
            n_startup_trials=_FEWEST_TO_COMPARE, n_warmup_steps=max(1, wanted.epochs // 4)
        ),
    )
    settings = {
        "data": wanted.data,
        "base": wanted.base,
        "epochs": wanted.epochs,
        "space": {key: repr(domain) for key, domain in wanted.space.items()},
    }
    known = study.user_attrs.get("settings")
    if known is None:
        whole = build_config({**wanted.base, "data": wanted.data}).model_dump()  # refuses before anything is kept
        study.set_user_attr("settings", settings)
        usual = {key: whole[key] for key in wanted.space}
        first = {key: value for key, value in usual.items() if wanted.space[key].holds(value)}
        if first:
            study.enqueue_trial(first)
    elif known != json.loads(json.dumps(settings)):
        changed = next(key for key in settings if known.get(key) != json.loads(json.dumps(settings[key])))
        raise ConfigError(
            f"the search's own {changed} ({known[changed]}) in {wanted.folder}",
            str(settings[changed]),
            "Only --trials may change; start another search with another --out.",
        )
    return study


def folder_of(study_folder: Path, number: int, attributes: dict[str, Any]) -> Path:
    """Where a trial lies; one that was taken up again lies where it began."""
    return study_folder / str(attributes.get("folder", f"trial-{number:03}"))


def counted(study: Study) -> list[Any]:
    """Trials that are over: those that came to a score, were pruned, or failed for a reason of their own."""
    from optuna.trial import TrialState

    over = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL))
    return [trial for trial in over if trial.state != TrialState.FAIL or "error" in trial.user_attrs]


def _take_up(study: Study) -> None:
    """Queue again, first of all, the trial that was running when an earlier search stopped."""
    from optuna.trial import TrialState

    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)
        name = folder_of(Path(), trial.number, trial.user_attrs).name
        study.enqueue_trial(trial.params, user_attrs={"folder": name})


def _one(study: Study, wanted: Search, done: int) -> None:
    from optuna.trial import TrialState

    trial = study.ask({key: _distribution(domain) for key, domain in wanted.space.items()})
    folder = folder_of(wanted.folder, trial.number, trial.user_attrs)
    chosen = ", ".join(f"{key} {_short(value)}" for key, value in trial.params.items())
    console().print(f"trial {done + 1} of {wanted.trials}: {chosen}", markup=False, soft_wrap=True)
    try:
        values = {**wanted.base, **trial.params, "epochs": wanted.epochs}
        build_config({**values, "data": wanted.data})
    except ConfigError as error:  # keys that do not go together
        outcome: Outcome = "failed"
        reason = str(error)
    else:
        outcome, reason = _run(trial, wanted, values, folder)
    if outcome == "failed":
        trial.set_user_attr("error", reason)
        study.tell(trial, state=TrialState.FAIL)
        console().print(f"  failed: {reason}", markup=False, soft_wrap=True)
        return
    scores = validations(folder)
    trial.set_user_attr("epochs", len(scores))
    if outcome == "pruned":
        study.tell(trial, state=TrialState.PRUNED)
    else:
        study.tell(trial, max(score for _, score in scores))
    best = max(score for _, score in scores)
    console().print(f"  {outcome} with mIoU {best:.4f} after {scores[-1][0]} epochs", markup=False)


def _run(trial: Trial, wanted: Search, values: dict[str, Any], folder: Path) -> tuple[Outcome, str]:
    """Train until the end or until the median of the others is out of reach."""
    atomic.make_folder(folder)
    command = [*wanted.command, wanted.data, "--out", str(folder)]
    if (folder / checkpoint.LAST).is_file():
        command.append("--resume")
    else:
        asked = folder / "asked.yaml"
        atomic.write_text(asked, yaml.safe_dump(values, sort_keys=False))
        command += ["--config", str(asked)]
    pruned = False
    told = 0
    with (folder / "train.log").open("ab") as log:
        # A session of its own: Ctrl-C reaches this process alone, which passes it on once.
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=os.name == "posix")
        try:
            running = True
            while running:
                running = process.poll() is None
                scores = validations(folder)
                for epoch, score in scores[told:]:
                    trial.report(score, epoch)
                told = len(scores)
                if running and scores and scores[-1][0] < wanted.epochs and not pruned and trial.should_prune():
                    pruned = True
                    process.send_signal(signal.SIGINT)
                time.sleep(_POLL_SECONDS if running else 0)
        except KeyboardInterrupt:
            process.send_signal(signal.SIGINT)
            process.wait()
            raise
    code = process.returncode
    if code == _INTERRUPTED and not pruned:
        raise KeyboardInterrupt
    if code not in (0, 1, _INTERRUPTED) or not validations(folder):  # 1: `until` was not reached, which is a result
        return "failed", _last_words(folder / "train.log", code)
    return ("pruned" if code == _INTERRUPTED else "finished"), ""


def validations(folder: Path) -> list[tuple[int, float]]:
    """(epoch, mIoU) of each validation of a run so far; a line that is still being written is left out."""
    path = folder / METRICS
    if not path.is_file():
        return []
    found = []
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        if line.endswith("\n") and (record := json.loads(line))["kind"] == "val":
            found.append((round(record["epoch"]), float(record["miou"])))
    return found


def best_config(wanted: Search, study: Study) -> TrainConfig | None:
    """The whole config of the best finished trial; None where none came to its end."""
    from optuna.trial import TrialState

    if not study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        return None
    best = study.best_trial
    return build_config(read_yaml(folder_of(wanted.folder, best.number, best.user_attrs) / "config.yaml"))


def importance(study: Study) -> dict[str, float]:
    """How much each key explains of the scores, in all 1 (PED-ANOVA, arXiv:2304.10255); empty for too few trials."""
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
    from optuna.trial import TrialState

    finished = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    scores = {trial.value for trial in finished}
    if len(finished) < _FEWEST_TO_COMPARE or len(scores) < 2:
        return {}
    return dict(get_param_importances(study, evaluator=PedAnovaImportanceEvaluator()))


def _distribution(domain: Range | Choices) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(domain, Choices):
        return CategoricalDistribution(domain.values)
    if domain.whole:
        return IntDistribution(int(domain.low), int(domain.high), log=domain.log)
    return FloatDistribution(domain.low, domain.high, log=domain.log)


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _last_words(log: Path, code: int) -> str:
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return f"exit {code}: {' '.join(lines[-3:])}"[:500]
