"""Channels that belong together: what is cut computes what the uncut network does when nobody reads those channels."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from segx_export.prune_groups import MULTIPLE, channels_of_parts, cut, depthwise, find_groups


def silenced(network, removed):
    """A copy in which the layers that read the channels give them no weight."""
    other = copy.deepcopy(network)
    with torch.no_grad():
        for group, channels in removed:
            for slot in group.readers(other):
                other.get_submodule(slot.layer).weight[:, sorted(slot.at(channels))] = 0
    return other


@pytest.mark.parametrize("model", ["unet", "deeplabv3plus", "segformer"])
def test_all_groups_cut_at_once_equal_the_network_nobody_reads_them_in(model, real_network, noise):
    network = real_network(model, **({"encoder_depth": 3, "decoder_channels": 32} if model == "unet" else {}))
    groups = find_groups(network)
    assert len(groups) > 8
    removed = [(group, range(1, group.channels, 3)) for group in groups]
    expected = silenced(network, removed)(noise)
    narrow = copy.deepcopy(network)
    cut(narrow, removed)
    torch.testing.assert_close(narrow(noise), expected, rtol=1e-3, atol=1e-4)
    assert narrow.pruned
    assert not network.pruned


def test_the_classes_are_in_no_group(real_network):
    network = real_network("unet", encoder_depth=3, decoder_channels=32)
    heads = {f"head.{name}" for name, module in network.head.named_modules() if isinstance(module, nn.Conv2d)}
    outputs = {slot.layer for group in find_groups(network) for slot in group.slots if slot.side == "out"}
    assert heads
    assert not heads & outputs


def test_group_normalisation_keeps_its_groups_equal(real_network, noise):
    network = real_network("fpn", decoder_channels=128)
    groups = [group for group in find_groups(network) if group.parts > 1]
    assert groups
    group = groups[0]
    assert group.block % group.parts == 0
    assert group.block % MULTIPLE == 0
    gone = channels_of_parts(group, reversed(range(group.channels)), 1)
    assert len(gone) == group.parts
    cut(network, [(group, gone)])
    assert network(noise).shape == (1, 4, 45, 70)


def test_attention_stays_and_the_layers_around_it_go(real_network, noise):
    network = real_network("segformer", "pvt_v2_b0", decoder_channels=32)
    groups = find_groups(network)
    touched = {slot.layer for group in groups for slot in group.slots}
    assert not any(".attn." in layer for layer in touched)
    assert any(".mlp.fc1" in layer for layer in touched)
    assert any(layer.startswith("decoder.") for layer in touched)
    cut(network, [(group, range(group.block)) for group in groups])
    assert network(noise).shape == (1, 4, 45, 70)


def test_depthwise_convolutions_follow_their_channels(real_network, noise):
    network = real_network("unet", "mobilenet_v2", encoder_depth=3, decoder_channels=32)
    groups = find_groups(network)
    inside = [group for group in groups if any(depthwise(network.get_submodule(slot.layer)) for slot in group.slots)]
    assert inside
    removed = [(inside[0], range(8))]
    expected = silenced(network, removed)(noise)
    cut(network, removed)
    torch.testing.assert_close(network(noise), expected, rtol=1e-3, atol=1e-4)


def test_the_network_asked_about_is_left_as_it_is(real_network):
    network = real_network("unet", encoder_depth=3, decoder_channels=32)
    before = copy.deepcopy(network.state_dict())
    find_groups(network)
    torch.testing.assert_close(network.state_dict(), before)
    assert not network.pruned
