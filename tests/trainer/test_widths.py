"""Networks take the widths of other weights, and refuse those they cannot."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from segx_trainer.widths import take_widths


def block(width: int) -> nn.Sequential:
    torch.manual_seed(width)
    return nn.Sequential(
        nn.Conv2d(3, width, 3, bias=False),
        nn.BatchNorm2d(width),
        nn.Conv2d(width, width, 3, groups=width),
        nn.GroupNorm(4, width),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.LayerNorm(width),
        nn.Linear(width, 5),
    )


def test_a_wide_network_becomes_the_narrow_one() -> None:
    wide, narrow = block(24).eval(), block(16).eval()
    take_widths(wide, narrow.state_dict())
    wide.load_state_dict(narrow.state_dict())
    image = torch.rand(2, 3, 8, 8)
    torch.testing.assert_close(wide(image), narrow(image))
    assert repr(wide) == repr(narrow)


def test_equal_widths_touch_nothing() -> None:
    network = block(16)
    before = copy.deepcopy(network.state_dict())
    take_widths(network, block(16).state_dict())
    torch.testing.assert_close(network.state_dict(), before)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda n: nn.Sequential(nn.Conv2d(8, n, 3, groups=4)), "0: a grouped"),
        (lambda n: nn.Sequential(nn.GroupNorm(4 if n == 8 else 3, n)), "multiple"),
        (lambda n: nn.Sequential(nn.PReLU(n)), "PReLU"),
    ],
)
def test_other_layers_keep_their_shapes(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        take_widths(make(8), make(12 if "multiple" not in message else 9).state_dict())
