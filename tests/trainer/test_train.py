"""Real trainings on a tiny folder: the run folder, exact resume, interruption, refusals."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import pytest
import torch
from PIL import Image

from segx_core import card_io
from segx_core.confusion import miou
from segx_core.datasets import open_dataset
from segx_core.errors import ConfigError, DataError, ModelError, SetupError
from segx_trainer import checkpoint
from segx_trainer.loading import Pictures
from segx_trainer.train import resumed_config, train
from segx_trainer.validate import validate


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Path:
    from segx_trainer.config import build_config

    run = tmp_path_factory.mktemp("runs") / "finished"
    config = build_config(
        {
            "data": str(tiny_data), "model": "fpn", "encoder": "test_resnet", "encoder_weights": "none",
            "decoder_channels": 64, "size": (64, 80), "augment": "none", "batch_size": 4, "epochs": 20, "lr": 3e-3,
            "loss": "ce + 0.5*dice", "validate_every": 10, "device": "cpu",
        }
    )  # fmt: skip
    result = train(config, run)
    assert result.ending == "finished"
    return run


def test_it_learns(finished: Path) -> None:
    records = [json.loads(line) for line in (finished / "metrics.jsonl").read_text().splitlines()]
    scores = [record["miou"] for record in records if record["kind"] == "val"]
    assert max(scores) > 0.8
    losses = [record["loss"] for record in records if record["kind"] == "train"]
    assert losses[-1] < 0.5 * losses[0]


def test_the_run_folder_holds_what_it_should(finished: Path) -> None:
    for name in ("checkpoint.pt", "last.pt", "card.json", "config.yaml", "metrics.jsonl", "curves.png", "preview.png"):
        assert (finished / name).stat().st_size > 0, name
    assert list((finished / "tensorboard").glob("events*"))


def test_the_checkpoint_scores_what_its_card_says(finished: Path, tiny_data: Path) -> None:
    loaded = checkpoint.load_run(finished)
    data = open_dataset(tiny_data)
    pictures = Pictures(data, data.split("val"), "auto", "val")
    score = miou(validate(loaded.network, pictures, torch.device("cpu"), 1))
    assert loaded.card.training is not None
    assert loaded.card.training.val_miou == pytest.approx(score, abs=1e-12)
    assert card_io.load(finished / "card.json") == loaded.card
    assert not loaded.network.training


def test_resume_is_bit_equal_to_never_stopping(tmp_path: Path, make_config: Any) -> None:
    config = make_config(epochs=3, augment="strong", save_every=2)
    train(config, tmp_path / "whole")
    _train_until_step(tmp_path / "parts", config, 4)
    stopped = checkpoint.read(tmp_path / "parts" / "last.pt")["step"]
    assert 0 < stopped < 9
    result = train(resumed_config(tmp_path / "parts", {}), tmp_path / "parts", resume=True)
    assert result.ending == "finished"
    whole, parts = (checkpoint.read(tmp_path / name / "last.pt") for name in ("whole", "parts"))
    assert whole["best"] == parts["best"]
    for key, value in whole["network"].items():
        assert torch.equal(value, parts["network"][key]), key
    whole_log, parts_log = (
        [
            (record["kind"], record["step"], record.get("loss"), record.get("miou"))
            for record in map(json.loads, (tmp_path / name / "metrics.jsonl").read_text().splitlines())
            if record["kind"] == "val"
        ]
        for name in ("whole", "parts")
    )
    assert whole_log == parts_log


def _train_until_step(run: Path, config: Any, step: int) -> None:
    """Train in a process of its own that is killed hard right after writing last.pt at `step` or later."""
    script = (
        "import os, signal, sys, torch; torch.set_num_threads(1)\n"
        "from pathlib import Path\n"
        "from segx_trainer import train as module\n"
        "from segx_trainer.config import build_config, read_yaml\n"
        "write = module.save_last\n"
        "def write_and_die(run, state, *rest):\n"
        "    write(run, state, *rest)\n"
        "    if state.step >= int(sys.argv[3]): os.kill(os.getpid(), signal.SIGKILL)\n"
        "module.save_last = write_and_die\n"
        "module.train(build_config(read_yaml(Path(sys.argv[1]))), Path(sys.argv[2]))\n"
    )
    from segx_trainer.config import to_yaml

    source = run.with_suffix(".yaml")
    source.write_text(to_yaml(config))
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", script, str(source), str(run), str(step)]
    done = subprocess.run(command, env=env, stderr=subprocess.DEVNULL, check=False)
    assert done.returncode == -signal.SIGKILL


def test_ctrl_c_saves_the_step_it_stopped_at(tmp_path: Path, make_config: Any) -> None:
    from segx_trainer.runlog import RunLog

    config = make_config(epochs=50)
    original = RunLog.train

    def press(self: RunLog, *values: Any) -> None:
        original(self, *values)
        signal.raise_signal(signal.SIGINT)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunLog, "train", press)
        result = train(config, tmp_path / "run")
    assert result.ending == "interrupted"
    assert checkpoint.read(tmp_path / "run" / "last.pt")["step"] == result.step < result.total_steps


def test_until_and_patience_stop_early(tmp_path: Path, make_config: Any) -> None:
    assert train(make_config(epochs=5, until=0.01), tmp_path / "until").ending == "until"
    still = make_config(epochs=9, lr=1e-12, patience=2, warmup=0)
    assert train(still, tmp_path / "patience").step < 9 * 3


def test_a_run_is_never_overwritten(finished: Path, make_config: Any) -> None:
    with pytest.raises(ConfigError, match="holds a run"):
        train(make_config(), finished)


def test_resume_refuses_other_settings_and_other_folders(finished: Path, tmp_path: Path) -> None:
    assert resumed_config(finished, {"workers": 1}).workers == 1
    with pytest.raises(ConfigError, match="lr"):
        resumed_config(finished, {"lr": 0.5})
    with pytest.raises(ModelError, match="to resume"):
        resumed_config(tmp_path, {})


def test_two_trainings_in_one_folder(tmp_path: Path, make_config: Any) -> None:
    (tmp_path / "run").mkdir()
    with filelock.FileLock(tmp_path / "run" / ".lock"), pytest.raises(SetupError, match="another process"):
        train(make_config(), tmp_path / "run")


def test_a_loss_that_explodes_is_diagnosed(tmp_path: Path, make_config: Any) -> None:
    with pytest.raises(ModelError, match="finite training loss"):
        train(make_config(lr=1e30, clip=0, warmup=0, optimizer="sgd", epochs=8, augment="none"), tmp_path / "run")


@pytest.mark.parametrize("content", [b"", b"x" * 100, b"\x80\x02}q\x00.", b"PK\x03\x04" + b"\x00" * 60, b"(lp0\n."])
def test_a_damaged_checkpoint_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "checkpoint.pt").write_bytes(content)
    with pytest.raises(ModelError, match=r"checkpoint\.pt"):
        checkpoint.load_run(tmp_path)


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="run folder"):
        checkpoint.load_run(tmp_path)


def test_cuda_that_is_not_there_is_an_error(tmp_path: Path, make_config: Any) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(SetupError, match="NVIDIA"):
        train(make_config(device="cuda"), tmp_path / "run")


def test_a_checkpoint_of_another_network_is_named(finished: Path, tmp_path: Path) -> None:
    content = checkpoint.read(finished / "checkpoint.pt")
    del content["format"]
    checkpoint.save(tmp_path / "checkpoint.pt", {**content, "config": {**content["config"], "decoder_channels": 128}})
    with pytest.raises(ModelError, match="fits its own config"):
        checkpoint.load_run(tmp_path)
    checkpoint.save(tmp_path / "checkpoint.pt", {"config": content["config"]})
    with pytest.raises(ModelError, match="fits its own config"):
        checkpoint.load_run(tmp_path)


def test_resume_refuses_data_that_changed(tiny_data: Path, tmp_path: Path, make_config: Any) -> None:
    folder = tmp_path / "data"
    shutil.copytree(tiny_data, folder)
    train(make_config(data=str(folder), epochs=1), tmp_path / "run")
    for kind in ("images", "masks"):
        shutil.copy(folder / "train" / kind / "00.png", folder / "train" / kind / "99.png")
    with pytest.raises(DataError, match="other pictures"):
        train(resumed_config(tmp_path / "run", {}), tmp_path / "run", resume=True)


def test_resuming_a_run_that_reached_its_aim_changes_nothing(tmp_path: Path, make_config: Any) -> None:
    first = train(make_config(epochs=5, until=0.01), tmp_path / "run")
    again = train(resumed_config(tmp_path / "run", {}), tmp_path / "run", resume=True)
    assert (again.ending, again.step, again.miou) == ("until", first.step, first.miou)


@pytest.mark.parametrize("model", ["unet", "fpn", "deeplabv3plus", "segformer"])
def test_a_batch_too_small_for_batch_statistics_is_refused_before_the_work(
    model: str, tmp_path: Path, make_config: Any
) -> None:
    with pytest.raises(ConfigError, match="at least 2 pictures a batch"):
        train(make_config(model=model, batch_size=1, size=(32, 32)), tmp_path / "run")


def test_a_batch_too_small_for_the_first_of_growing_crops_is_refused_before_the_work(
    tmp_path: Path, make_config: Any
) -> None:
    with pytest.raises(ConfigError, match="at least 2 pictures a batch for fpn in crops of 32x32"):
        train(make_config(batch_size=1, size=(64, 64), progressive=(0.5, 0.7)), tmp_path / "run")


def test_a_val_split_without_labels_is_told(tiny_data: Path, tmp_path: Path, make_config: Any) -> None:
    folder = tmp_path / "data"
    shutil.copytree(tiny_data, folder)
    (folder / "dataset.yaml").write_text(
        "classes: [ground, square, disc]\nsplits:\n"
        + "".join(
            f"  {name}: {{images: {name}/images/*.png, masks: {name}/masks/*.png}}\n" for name in ("train", "val")
        )
    )
    for mask in (folder / "val" / "masks").iterdir():
        Image.fromarray(np.full((64, 80), 255, np.uint8)).save(mask)
    with pytest.raises(DataError, match="only ignored"):
        train(make_config(data=str(folder), epochs=1), tmp_path / "run")
