from __future__ import annotations

from typing import Any

import pytest
import torch
from timm.layers.drop import DropPath

from segx_core.errors import ConfigError
from segx_trainer.networks import build_network


@pytest.mark.parametrize(
    ("model", "encoder"),
    [
        ("unet", "resnet18"),
        ("fpn", "mobilenet_v2"),
        ("deeplabv3plus", "resnet18"),
        ("fpn", "mobilenetv3_small_050"),
        ("segformer", "pvt_v2_b0"),
    ],
)
def test_any_size_in_the_same_size_out(make_config: Any, model: str, encoder: str) -> None:
    network = build_network(make_config(model=model, encoder=encoder), 5).eval()
    with torch.inference_mode():
        for height, width in ((32, 64), (33, 50), (64, 31)):
            image = torch.randint(0, 256, (1, 3, height, width), dtype=torch.uint8)
            assert network(image).shape == (1, 5, height, width)


def test_the_network_normalises_its_own_input(make_config: Any) -> None:
    network = build_network(make_config(encoder="resnet18"), 3).eval()
    image = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)
    mean, std = network.mean.flatten() / 255, network.std.flatten() / 255
    assert mean.tolist() == pytest.approx([0.485, 0.456, 0.406], abs=1e-6)
    by_hand = (image / 255 - mean.view(1, 3, 1, 1)) / std.view(1, 3, 1, 1)
    with torch.inference_mode():
        assert torch.allclose(network(image), network.head(network.decoder(network.encoder(by_hand))), atol=1e-4)


def test_dropout_and_width_reach_the_network(make_config: Any) -> None:
    narrow, wide = (build_network(make_config(decoder_channels=n), 3) for n in (16, 64))
    assert sum(p.numel() for p in narrow.decoder.parameters()) < sum(p.numel() for p in wide.decoder.parameters())
    dropped = build_network(make_config(dropout=0.37), 3)
    assert 0.37 in {module.p for module in dropped.modules() if isinstance(module, torch.nn.Dropout2d)}


@pytest.mark.parametrize(
    ("encoder", "message"),
    [("resnet81", "resnet"), ("mit_b0", "free"), ("xyzzy", "Try"), ("vit_tiny_patch16_224", "fits")],
)
def test_an_encoder_that_is_none_is_named(make_config: Any, encoder: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_network(make_config(encoder=encoder), 3)


@pytest.mark.parametrize("model", ["unet", "segformer"])
def test_dropout_before_the_head_changes_no_name_and_nothing_in_evaluation(make_config: Any, model: str) -> None:
    plain = build_network(make_config(model=model), 3)
    dropping = build_network(make_config(model=model, dropout=0.5), 3)
    assert dropping.head[0].p == 0.5  # type: ignore[index, union-attr, unused-ignore]
    dropping.load_state_dict(plain.state_dict())
    image = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    with torch.inference_mode():
        assert torch.equal(plain.eval()(image), dropping.eval()(image))
        dropping.head.train()
        assert not torch.equal(plain(image), dropping(image))


def test_paths_are_dropped_more_often_the_deeper_and_never_in_evaluation(make_config: Any) -> None:
    network = build_network(make_config(drop_path=0.3), 3)
    rates = [module.drop_prob for module in network.modules() if isinstance(module, DropPath)]
    assert rates == sorted(rates)
    assert rates[-1] == pytest.approx(0.3)
    plain = build_network(make_config(), 3)
    plain.load_state_dict(network.state_dict())
    image = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)
    with torch.inference_mode():
        assert torch.equal(plain.eval()(image), network.eval()(image))


@pytest.mark.parametrize(("encoder", "cure"), [("resnet18", "tu-resnet18"), ("tu-vgg11", "Leave it out")])
def test_an_encoder_without_paths_to_drop_is_refused(make_config: Any, encoder: str, cure: str) -> None:
    with pytest.raises(ConfigError, match=cure):
        build_network(make_config(model="unet", encoder=encoder, drop_path=0.1), 3)


def test_a_network_says_what_it_was_told_to_expect(make_config: Any) -> None:
    network = build_network(make_config(), 3)
    network.expect(((0.1, 0.2, 0.3), (0.4, 0.5, 0.6)))
    assert network.expects()[0] == pytest.approx((0.1, 0.2, 0.3))
    assert network.expects()[1] == pytest.approx((0.4, 0.5, 0.6))
    assert network.mean.shape == (1, 3, 1, 1)
