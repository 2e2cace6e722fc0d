"""Sends the numbers of a run to services that keep runs: Weights & Biases, MLflow, Trackio.

Each is an extra of its own, imported when it is asked for. Knows nothing of training: numbers go in by name and step.
A service that fails before the run begins is an error; one that fails later costs one warning and is left out, because
everything stands in metrics.jsonl anyway.
"""

from __future__ import annotations

import importlib
import json
import re
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

from segx_core import atomic
from segx_core.errors import SegxError, SetupError
from segx_core.progress import console

Name = Literal["wandb", "mlflow", "trackio"]

FILE = "trackers.json"
"""In the run folder: under which name each service knows the run, so that a resumed run goes on there."""

_PROJECT = "segx"


class Tracker(Protocol):
    """One service that keeps one run."""

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Send numbers that belong to `step` updates done."""
        ...

    def close(self) -> None:
        """End the run there."""
        ...


class Trackers:
    """All services of one run; none of them can end it.

    Args:
        opened: by name.
    """

    def __init__(self, opened: Mapping[str, Tracker]) -> None:
        self.alive = dict(opened)

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Send numbers to all."""
        for name, tracker in list(self.alive.items()):
            try:
                tracker.log(values, step)
            except Exception as error:  # noqa: BLE001 - whatever another program's client raises, the training goes on
                self._lose(name, error)

    def close(self) -> None:
        """End the run with all."""
        for name, tracker in list(self.alive.items()):
            try:
                tracker.close()
            except Exception as error:  # noqa: BLE001 - as above
                self._lose(name, error)
        self.alive = {}

    def _lose(self, name: str, error: Exception) -> None:
        del self.alive[name]
        reason = f"{type(error).__name__}: {error}"
        console().print(
            f"{name} failed and gets no more numbers of this run; they all stand in metrics.jsonl. {reason}",
            markup=False,
            soft_wrap=True,
        )


def open_trackers(names: Sequence[Name], run: Path, settings: Mapping[str, Any]) -> Trackers:
    """Open the run with each service, or go on with the run it knows from before.

    Args:
        names: of the services.
        run: the run folder; keeps what the services call the run.
        settings: the config, shown beside the numbers.

    Raises:
        SetupError: a service's package is not installed, or it takes no run.
    """
    known = _read(run / FILE)
    opened: dict[str, Tracker] = {}
    for name in names:
        try:
            opened[name], known[name] = _OPEN[name](_import(name), run, known.get(name), settings)
        except SegxError:
            Trackers(opened).close()
            raise
        except Exception as error:
            Trackers(opened).close()
            raise SetupError(
                f"{name} to take the run",
                f"{type(error).__name__}: {error}",
                "Set it up as its manual says, or leave it out of trackers.",
            ) from error
    if names:
        atomic.write_text(run / FILE, json.dumps(known, indent=2) + "\n")
    return Trackers(opened)


class _Wandb:
    """Asynchronous by itself; offline where WANDB_MODE=offline, for `wandb sync` later."""

    def __init__(self, run: Any) -> None:
        self.run = run

    def log(self, values: Mapping[str, float], step: int) -> None:
        self.run.log({**values, "step": step})  # of its own steps none may come twice, as they do after a kill

    def close(self) -> None:
        self.run.finish()


def _wandb(module: Any, run: Path, known: str | None, settings: Mapping[str, Any]) -> tuple[Tracker, str]:
    name = known or uuid.uuid4().hex
    opened = module.init(
        project=_PROJECT, id=name, name=run.resolve().name, dir=str(run), config=dict(settings), resume="allow",
        settings=module.Settings(console="off", disable_git=True, silent=True),
    )  # fmt: skip
    opened.define_metric("*", step_metric="step")
    return _Wandb(opened), name


class _Mlflow:
    """Waits for the server with every record."""

    def __init__(self, module: Any, client: Any, name: str) -> None:
        self.metric = module.entities.Metric
        self.client = client
        self.name = name

    def log(self, values: Mapping[str, float], step: int) -> None:
        now = round(time.time() * 1000)
        metrics = [self.metric(_plain(key), value, now, step) for key, value in values.items()]
        self.client.log_batch(self.name, metrics=metrics)

    def close(self) -> None:
        self.client.set_terminated(self.name)


def _mlflow(module: Any, run: Path, known: str | None, settings: Mapping[str, Any]) -> tuple[Tracker, str]:
    client = module.MlflowClient()
    if known is not None:
        client.update_run(known, status="RUNNING")
        return _Mlflow(module, client, known), known
    found = client.get_experiment_by_name(_PROJECT)
    experiment = client.create_experiment(_PROJECT) if found is None else found.experiment_id
    name = str(client.create_run(experiment, run_name=run.resolve().name).info.run_id)
    for key, value in settings.items():
        client.log_param(name, key, str(value)[:500])
    return _Mlflow(module, client, name), name


def _plain(key: str) -> str:
    """A name of a number that MLflow takes: letters, digits and few signs."""
    return re.sub(r"[^\w\-. /]", "_", key)


class _Trackio:
    """Asynchronous by itself; a database on this machine."""

    def __init__(self, run: Any) -> None:
        self.run = run

    def log(self, values: Mapping[str, float], step: int) -> None:
        self.run.log(dict(values), step=step)

    def close(self) -> None:
        self.run.finish()


def _trackio(module: Any, run: Path, known: str | None, settings: Mapping[str, Any]) -> tuple[Tracker, str]:
    name = known or f"{run.resolve().name}-{uuid.uuid4().hex[:8]}"  # it knows runs by name alone
    return _Trackio(module.init(project=_PROJECT, name=name, resume="allow", config=dict(settings))), name


_OPEN = {"wandb": _wandb, "mlflow": _mlflow, "trackio": _trackio}


def _import(name: Name) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise SetupError(
            f"{name} for trackers", f"none installed ({error})", f"Run: pip install 'segx[{name}]'."
        ) from error


def _read(path: Path) -> dict[str, str]:
    """What `open_trackers` wrote; nothing where there is none."""
    try:
        return {str(key): str(value) for key, value in json.loads(path.read_text(encoding="utf-8")).items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError) as error:
        raise SetupError(f"the names of the run in {path}", str(error), "Delete it: new ones are made.") from error
