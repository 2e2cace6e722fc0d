from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file

from segx_core.errors import ConfigError, SetupError
from segx_trainer.networks import build_network
from segx_trainer.weights import load_encoder_weights


def test_torchvisions_layout(make_config: Any, tmp_path: Path) -> None:
    donor = torchvision.models.mobilenet_v2(weights=None)
    path = tmp_path / "weights.pth"
    torch.save(donor.state_dict(), path)
    network = build_network(make_config(encoder="mobilenet_v2"), 3)
    load_encoder_weights(network.encoder, "mobilenet_v2", str(path))
    assert torch.equal(network.encoder.state_dict()["features.5.conv.0.0.weight"], donor.features[5].conv[0][0].weight)


@pytest.mark.parametrize(
    "wrap", [lambda state: {"state_dict": state}, lambda state: {f"module.{k}": v for k, v in state.items()}]
)
def test_wrapped_and_prefixed_state_dicts(make_config: Any, tmp_path: Path, wrap: Any) -> None:
    donor = torchvision.models.resnet18(weights=None)
    path = tmp_path / "weights.pt"
    torch.save(wrap(donor.state_dict()), path)
    network = build_network(make_config(encoder="resnet18"), 3)
    load_encoder_weights(network.encoder, "resnet18", str(path))
    assert torch.equal(network.encoder.state_dict()["layer1.0.conv1.weight"], donor.layer1[0].conv1.weight)


def test_timms_layout(make_config: Any, tmp_path: Path) -> None:
    donor = timm.create_model("mobilenetv3_small_050", pretrained=False)
    path = tmp_path / "weights.safetensors"
    save_file(donor.state_dict(), path)
    network = build_network(make_config(encoder="mobilenetv3_small_050"), 3)
    load_encoder_weights(network.encoder, "mobilenetv3_small_050", str(path))
    assert torch.equal(network.encoder.state_dict()["model.conv_stem.weight"], donor.conv_stem.weight)


def test_weights_of_another_network_are_refused_whole(make_config: Any, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save(torchvision.models.resnet34(weights=None).state_dict(), path)
    network = build_network(make_config(encoder="resnet18"), 3)
    before = {key: value.clone() for key, value in network.encoder.state_dict().items()}
    with pytest.raises(ConfigError, match="unknown"):
        load_encoder_weights(network.encoder, "resnet18", str(path))
    assert all(torch.equal(value, before[key]) for key, value in network.encoder.state_dict().items())


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 broken"])
def test_damaged_files_are_named(make_config: Any, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"weights\.pth"):
        load_encoder_weights(build_network(make_config(encoder="resnet18"), 3).encoder, "resnet18", str(path))


def test_a_missing_file_is_named(make_config: Any) -> None:
    with pytest.raises(ConfigError, match="not there"):
        load_encoder_weights(build_network(make_config(encoder="resnet18"), 3).encoder, "resnet18", "/nowhere/w.pth")


def test_without_a_hub_the_cure_is_told(make_config: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(SetupError, match="--encoder-weights none"):
        load_encoder_weights(build_network(make_config(encoder="resnet18"), 3).encoder, "resnet18", "imagenet")
