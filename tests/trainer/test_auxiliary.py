"""The head for deep supervision: where it reads, what it trains, and that nothing of it is deployed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from segx_trainer import checkpoint, losses
from segx_trainer.auxiliary import build_aux_head
from segx_trainer.device import Arithmetic
from segx_trainer.networks import build_network
from segx_trainer.state import begin
from segx_trainer.train import train
from segx_trainer.update import update

K, IGNORE = 3, 255


@pytest.mark.parametrize(
    ("model", "encoder"),
    [("unet", "resnet18"), ("fpn", "pvt_v2_b0"), ("deeplabv3plus", "mobilenet_v2"), ("segformer", "test_resnet")],
)
def test_it_reads_stride_16_and_answers_at_the_size_of_the_picture(model: str, encoder: str, make_config: Any) -> None:
    network = build_network(make_config(model=model, encoder=encoder, decoder_channels=None), K).eval()
    head = build_aux_head(network)
    images = torch.randint(0, 256, (2, 3, 70, 90), dtype=torch.uint8)  # padded to 96x96
    logits, early = head.both(network, images)
    assert logits.shape == early.shape == (2, K, 70, 90)
    assert torch.equal(logits, network(images))
    assert network.with_features(images)[1].shape[-2:] == (6, 6)


def test_a_shallow_encoder_gives_its_last_stage(make_config: Any) -> None:
    config = make_config(model="unet", encoder="resnet18", encoder_depth=3, decoder_channels=32)
    network = build_network(config, K).train()
    _, early = build_aux_head(network).both(network, torch.zeros((1, 3, 32, 64), dtype=torch.uint8))
    assert network.training
    assert early.shape == (1, K, 32, 64)


def test_its_loss_is_ce_of_its_own_logits_and_spares_the_decoder(make_config: Any) -> None:
    torch.manual_seed(0)
    network = build_network(make_config(), K).train()
    head = build_aux_head(network)
    images = torch.randint(0, 256, (2, 3, 32, 64), dtype=torch.uint8)
    target = torch.randint(0, K, (2, 32, 64))
    target[:, :9] = IGNORE
    logits, early = head.both(network, images)
    early.retain_grad()
    both = losses.build("ce + aux[smoothing=0.1]", K, IGNORE)
    both(logits, target, losses.Context(aux_logits=early))
    alone = losses.build("ce[smoothing=0.1]", K, IGNORE)(early, target)
    assert both.values["aux"].item() == pytest.approx(alone.item(), rel=1e-6)
    torch.autograd.backward(both.terms[1](logits, target, losses.Context(aux_logits=early)))
    assert early.grad is not None
    assert early.grad[:, :, :9].abs().max().item() == 0.0
    assert early.grad[:, :, 9:].abs().max().item() > 0.0
    assert next(network.encoder.parameters()).grad is not None
    assert all(parameter.grad is None for parameter in network.head.parameters())


def test_nothing_valid_is_zero_with_zero_gradient() -> None:
    early = torch.randn(1, K, 4, 5, requires_grad=True)
    loss = losses.build("ce + aux", K, IGNORE)
    value = loss(early.detach(), torch.full((1, 4, 5), IGNORE), losses.Context(aux_logits=early))
    value.backward()
    assert value.item() == 0.0
    assert early.grad is not None
    assert early.grad.abs().max().item() == 0.0


def test_the_optimizer_trains_it_with_the_network(make_config: Any) -> None:
    config = make_config(weight_decay=0.3)
    network = build_network(config, K).train()
    objective = losses.build("ce + 0.4*aux", K)
    cpu = Arithmetic(torch.device("cpu"), None)
    state = begin(network, config, objective, cpu)
    assert state.auxiliary is not None
    before = state.auxiliary.score.weight.detach().clone()
    update(state, objective, cpu, torch.zeros((2, 3, 32, 64), dtype=torch.uint8), torch.zeros((2, 32, 64)).long())
    assert not torch.equal(state.auxiliary.score.weight, before)
    decays = {id(one): group["weight_decay"] for group in state.optimizer.param_groups for one in group["params"]}
    assert decays[id(state.auxiliary.score.weight)] == 0.3
    assert decays[id(state.auxiliary.score.bias)] == 0.0


def test_the_checkpoint_is_that_of_a_network_without_it(tmp_path: Path, make_config: Any) -> None:
    train(make_config(loss="ce + 0.4*aux", epochs=1), tmp_path / "run")
    assert set(checkpoint.read(tmp_path / "run" / "last.pt")["auxiliary"]) == {"score.weight", "score.bias"}
    loaded = checkpoint.load_run(tmp_path / "run")
    assert set(loaded.network.state_dict()) == set(build_network(make_config(), K).state_dict())
