"""The wrapper around a hub's network: normalisation, padding, upsampling, and its card."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from segx_core.card import Normalisation, Origin
from segx_export.hub.network import Found, HubNet, distinct


def found(**changes):
    """A convolution of stride 4 as the body."""
    torch.manual_seed(0)
    body = nn.Conv2d(3, 2, 4, stride=4)
    rule = Normalisation(scale=255, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))
    given = {"body": body, "name": "n", "classes": ("a", "b"), "normalisation": rule, "origin": Origin(source="hf:x")}
    return Found(**given | changes)


def test_logits_are_those_of_the_normalised_picture_at_full_size():
    one = found(size_multiple=8)
    image = torch.randint(0, 256, (2, 3, 16, 24), dtype=torch.uint8)
    with torch.no_grad():
        mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in ((0.5, 0.4, 0.3), (0.2, 0.3, 0.4)))
        want = functional.interpolate(one.body((image / 255 - mean) / std), size=(16, 24), mode="bilinear")
        torch.testing.assert_close(HubNet(one)(image), want)


def test_padding_shows_only_near_the_seam():
    net = HubNet(found(size_multiple=8))
    image = torch.randint(0, 256, (1, 3, 16, 16), dtype=torch.uint8)
    with torch.no_grad():
        cropped, whole = net(image[..., :11]), net(image)
    assert cropped.shape == (1, 2, 16, 11)
    torch.testing.assert_close(cropped[..., :5], whole[..., :5])


@pytest.mark.parametrize("fixed", [None, (32, 48)])
def test_the_card_says_what_the_network_is(fixed):
    card = found(fixed_size=fixed, classes=("a", "a")).card()
    assert card.classes == ("a", "a 2")
    assert card.size.kind == ("fixed" if fixed else "dynamic")
    assert card.image.normalisation.mean == (0.5, 0.4, 0.3)
    assert card.origin.source == "hf:x"
    assert found(classes=tuple(map(str, range(300)))).card().ignore_index == 65535


@given(st.lists(st.sampled_from(["a", "a 2", "a 3", "b"]), min_size=1, max_size=8).map(tuple))
def test_names_become_distinct_and_first_ones_stay(names):
    made = distinct(names)
    assert len(set(made)) == len(names)
    for index, name in enumerate(names):
        assert made[index].startswith(name)
        assert made[index] == name or name in names[:index]
