"""Choosing channels: importance against its definition, costs against torch's own counter, the target met."""

from __future__ import annotations

import copy

import pytest
import torch
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from segx_core.errors import ConfigError
from segx_export.prune import prune
from segx_export.prune_cost import count_macs
from segx_export.prune_groups import MULTIPLE, find_groups
from segx_export.prune_importance import batch_norm_scale, taylor

SIZE = (64, 96)


@pytest.fixture(scope="module")
def network(real_network):
    return real_network("unet", encoder_depth=3, decoder_channels=32)


@pytest.fixture(scope="module")
def groups(network):
    return find_groups(network)


def batches(count=2):
    generator = torch.Generator().manual_seed(3)
    for _ in range(count):
        pictures = torch.randint(0, 256, (2, 3, 32, 32), generator=generator, dtype=torch.uint8)
        yield pictures, torch.randint(0, 4, (2, 32, 32), generator=generator)


def loss_of(network, batch):
    return functional.cross_entropy(network(batch[0]), batch[1])


@pytest.mark.parametrize(("model", "encoder"), [("unet", "mobilenet_v2"), ("deeplabv3plus", "test_resnet")])
def test_multiply_adds_are_torchs_own_count(model, encoder, real_network):
    network = real_network(model, encoder)
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network(torch.zeros((1, 3, *SIZE), dtype=torch.uint8))
    assert count_macs(network, SIZE) == counter.get_total_flops() // 2


def test_taylor_is_the_squared_slope_of_the_loss_in_a_factor_on_the_channel(network, groups):
    network = copy.deepcopy(network).double()
    scores = taylor(network, groups, list(batches()), loss_of)
    for index in (0, len(groups) // 2):
        group = groups[index]
        for channel in (0, 5):
            squares = []
            for batch in batches():
                slopes = []
                for step in (1e-5, -1e-5):
                    other = copy.deepcopy(network)
                    with torch.no_grad():
                        for slot in group.readers(other):
                            other.get_submodule(slot.layer).weight[:, sorted(slot.at([channel]))] *= 1 + step
                        slopes.append(loss_of(other, batch).item())
                squares.append(((slopes[0] - slopes[1]) / 2e-5) ** 2)
            assert scores[index][channel].item() == pytest.approx(sum(squares) / 2, rel=1e-3, abs=1e-14)


def test_a_channel_nobody_reads_has_no_importance_and_goes_first(network, groups, noise):
    network = copy.deepcopy(network)
    group = next(group for group in groups if group.channels >= 16)
    dead = list(range(3, 11))
    with torch.no_grad():
        for slot in group.readers(network):
            network.get_submodule(slot.layer).weight[:, sorted(slot.at(dead))] = 0
    before = network(noise)
    scores = taylor(network, [group], batches(), loss_of)
    assert scores[0][dead].max().item() == 0.0
    prune(network, [group], scores, count_macs(network, SIZE) - 1, SIZE)
    torch.testing.assert_close(network(noise), before, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("amount", [0.2, 0.5])
def test_the_target_is_met_closely_in_multiples_of_eight(network, groups, amount, noise):
    network = copy.deepcopy(network)
    before = count_macs(network, SIZE)
    left = prune(network, groups, taylor(network, groups, batches(), loss_of), round(before * (1 - amount)), SIZE)
    assert left == count_macs(network, SIZE)
    assert before * (1 - amount - 0.1) < left <= before * (1 - amount)
    for group in groups:
        assert network.get_submodule(group.name).weight.shape[0] % MULTIPLE == 0
    assert network(noise).shape == (1, 4, 45, 70)


def test_a_quarter_of_the_first_width_stays_however_often_it_is_cut(network, groups):
    first, network = network, copy.deepcopy(network)
    group = max(groups, key=lambda group: group.channels)
    assert group.channels == 48
    widths = []

    def cut_one_block():
        again = next(other for other in find_groups(network) if other.name == group.name)
        widths.append(again.channels)
        scores = [torch.arange(again.channels, dtype=torch.float64)]
        prune(network, [again], scores, count_macs(network, SIZE) - 1, SIZE, first)

    for _ in range(4):
        cut_one_block()
    with pytest.raises(ConfigError, match="at most 0"):
        cut_one_block()
    assert widths == [48, 40, 32, 24, 16]  # 12 is a quarter, and no multiple of 8


def test_what_cannot_go_is_said(network, groups):
    with pytest.raises(ConfigError, match="at most 0"):
        prune(copy.deepcopy(network), groups, taylor(network, groups, batches(1), loss_of), 1000, SIZE)


def test_scales_of_batch_norms_are_importance_where_there_are_any(network, groups):
    network = copy.deepcopy(network)
    scores = batch_norm_scale(network, groups)
    scored = [index for index, score in enumerate(scores) if score is not None]
    assert scored
    group = groups[scored[0]]
    norms = [slot.layer for slot in group.slots if isinstance(network.get_submodule(slot.layer), torch.nn.BatchNorm2d)]
    mean = sum(network.get_submodule(norm).weight.detach().double().abs() for norm in norms) / len(norms)
    torch.testing.assert_close(scores[scored[0]], mean)
    before = count_macs(network, SIZE)
    assert prune(network, groups, scores, round(before * 0.7), SIZE) <= before * 0.7


def test_without_a_batch_norm_its_scale_is_refused(real_network):
    network = real_network("segformer", "pvt_v2_b0", decoder_channels=32)
    groups = [group for group in find_groups(network) if ".mlp." in group.name]
    assert groups
    with pytest.raises(ConfigError, match="taylor"):
        batch_norm_scale(network, groups)
