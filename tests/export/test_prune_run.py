"""Pruning a run: into a folder that loads, exports and resumes like any other."""

from __future__ import annotations

import json
import shutil
import signal
from dataclasses import replace

import pytest
import torch

from segx_core import card_io
from segx_core.errors import ConfigError, DataError, ModelError
from segx_export.prune_cost import count_macs
from segx_export.prune_run import prepare, prune_run
from segx_export.prune_settings import PruneSettings
from segx_trainer import checkpoint
from segx_trainer.checkpoint import load_run
from segx_trainer.config import build_config, read_yaml
from segx_trainer.train import train
from segx_trainer.update import compute_loss, update

SETTINGS = PruneSettings(0.5, epochs=3, rounds=2)


@pytest.fixture(scope="session")
def pruned(trained):
    return prune_run(trained, SETTINGS)


@pytest.fixture
def copy_of(trained, tmp_path):
    """The run without what was pruned from it."""
    shutil.copytree(trained, tmp_path / "run", ignore=shutil.ignore_patterns("pruned-*"))
    return tmp_path / "run"


def test_half_of_the_multiply_adds_are_gone_and_the_report_says_so(trained, pruned):
    assert pruned.folder == trained / "pruned-050"
    before, after = load_run(trained).network, load_run(pruned.folder).network
    assert pruned.macs == (count_macs(before, (32, 64)), count_macs(after, (32, 64)))
    assert pruned.macs[1] <= 0.5 * pruned.macs[0]
    assert pruned.parameters[1] < pruned.parameters[0]
    assert pruned.miou[0] == load_run(trained).card.training.val_miou
    assert pruned.miou[1] == load_run(pruned.folder).card.training.val_miou
    assert min(pruned.latency_ms) > 0
    assert json.loads(json.dumps(pruned.to_json()))["miou_drop_points"] == pytest.approx(pruned.drop)
    assert "multiply-adds" in pruned.told()[0]


def test_the_folder_is_a_run_like_any_other(pruned):
    names = {path.name for path in pruned.folder.iterdir()}
    assert {"checkpoint.pt", "last.pt", "card.json", "config.yaml", "metrics.jsonl", "pruning.json"} <= names
    assert "between.pt" not in names
    config = build_config(read_yaml(pruned.folder / "config.yaml"))
    assert config.loss == "ce + kd + cwd"
    assert card_io.load(pruned.folder / card_io.CARD_FILE).training.loss == config.loss
    network = load_run(pruned.folder).network
    assert network.pruned
    assert network(torch.zeros((1, 3, 41, 50), dtype=torch.uint8)).shape == (1, 4, 41, 50)


def test_the_same_call_finds_it_done_and_another_is_refused(trained, pruned):
    stamp = (pruned.folder / "checkpoint.pt").stat().st_mtime_ns
    assert prune_run(trained, SETTINGS) == pruned
    assert (pruned.folder / "checkpoint.pt").stat().st_mtime_ns == stamp
    with pytest.raises(ConfigError, match="epochs"):
        prune_run(trained, PruneSettings(0.5, epochs=4, rounds=2))


def test_training_further_makes_the_pruning_stale(pruned, copy_of):
    shutil.copytree(pruned.folder, copy_of / "pruned-050")
    content = checkpoint.read(copy_of / "checkpoint.pt")
    content["step"] += 1
    checkpoint.save(copy_of / "checkpoint.pt", {key: value for key, value in content.items() if key != "format"})
    with pytest.raises(ModelError, match="another one"):
        prune_run(copy_of, SETTINGS)


def test_an_interrupted_pruning_ends_as_an_uninterrupted_one(copy_of, pruned, monkeypatch):
    """A real signal in the middle of the short training, and another in the last one; then it runs to its end."""

    def interrupted_at(call, place, function):
        count = 0

        def compute(*arguments, **named):
            nonlocal count
            count += 1
            if count == call:
                signal.raise_signal(signal.SIGINT)
            return function(*arguments, **named)

        with monkeypatch.context() as patch:
            patch.setattr(f"{place}.{function.__name__}", compute)
            with pytest.raises(KeyboardInterrupt):
                prune_run(copy_of, SETTINGS)

    folder = copy_of / "pruned-050"
    scoring = 64 // 4  # batches that channels are scored on before each cut
    interrupted_at(scoring + 1, "segx_export.prune_run", compute_loss)
    assert not (folder / "between.pt").exists()
    interrupted_at(
        scoring + 2 + scoring - 1, "segx_export.prune_run", compute_loss
    )  # while the second cut scores channels
    assert checkpoint.read(folder / "between.pt")["round"] == 1
    interrupted_at(3, "segx_trainer.train", update)
    assert checkpoint.read(folder / "last.pt")["step"] == 3
    report = prune_run(copy_of, SETTINGS)
    assert (report.macs, report.miou) == (pruned.macs, pruned.miou)
    states = [load_run(each.folder).network.state_dict() for each in (report, pruned)]
    torch.testing.assert_close(*states, rtol=0, atol=0)


def test_without_distillation_the_loss_is_the_runs_own(trained, tmp_path):
    work = prepare(tmp_path, load_run(trained), PruneSettings(0.3, distill=False))
    assert work.config.loss == "ce"
    assert work.config.lr == load_run(trained).config.lr / 2


def test_a_tenth_of_the_steps_follows_each_cut_but_the_last(trained, tmp_path):
    work = prepare(tmp_path, load_run(trained), PruneSettings(0.3, epochs=10, rounds=3))
    assert (work.between, work.config.steps) == (6, 60 - 2 * 6)
    shortest = prepare(tmp_path, load_run(trained), PruneSettings(0.3, epochs=1, rounds=9))
    assert (shortest.between, shortest.config.steps) == (1, 1)


def test_epochs_stay_epochs_where_a_step_takes_several_batches(trained, tmp_path):
    loaded = load_run(trained)
    gathering = replace(loaded, config=loaded.config.model_copy(update={"accumulate": 2}))
    work = prepare(tmp_path, gathering, PruneSettings(0.3, epochs=10, rounds=3))
    assert (work.between, work.config.steps) == (6, (60 - 2 * 6) // 2)
    assert (
        work.config.validate_every
        == prepare(tmp_path, loaded, PruneSettings(0.3, epochs=10, rounds=3)).config.validate_every
    )


def test_a_pruned_run_is_not_resumed_as_a_training(pruned):
    config = build_config(read_yaml(pruned.folder / "config.yaml"))
    with pytest.raises(ConfigError, match="teacher"):
        train(config, pruned.folder, resume=True)
    with pytest.raises(ModelError, match="--prune"):
        train(config.model_copy(update={"loss": "ce"}), pruned.folder, resume=True)


def test_damaged_notes_and_other_classes_are_said(copy_of, data):
    other = copy_of.parent / "other.yaml"
    text = f"root: {data}\n" + (data / "dataset.yaml").read_text().replace("red", "crimson")
    other.write_text(text)
    with pytest.raises(DataError, match="crimson"):
        prune_run(copy_of, PruneSettings(0.2, data=str(other)))
    (copy_of / "pruned-020" / "pruning.json").write_text("{")
    with pytest.raises(ModelError, match="Remove"):
        prune_run(copy_of, PruneSettings(0.2))


@pytest.mark.parametrize(
    "changes", [{"amount": 1.0}, {"amount": 0.5, "importance": "l2"}, {"amount": 0.5, "epochs": 0}]
)
def test_settings_that_mean_nothing_are_refused(changes):
    with pytest.raises(ConfigError):
        PruneSettings(**changes)
