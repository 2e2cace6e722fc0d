"""Whether tuning leaves a good network alone and finds the stem that a planted one needs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from segx_core.card import Card, InputSpec, OutputSpec
from segx_core.datasets import open_dataset
from segx_core.palette import default_palette
from segx_export.deploy import deploy_card, deploy_model
from segx_export.placement import placement
from segx_export.tune import quantize_tuned

COLOURS = np.array([[90, 90, 90], [200, 40, 40], [40, 180, 60], [50, 60, 210]], np.float32) / 255


class NearestColour(nn.Module):
    """Logit of a class = 2 c.x - |c|^2, after a first layer whose channels have ranges as unlike as `spread`."""

    num_classes, size_multiple = 4, 1

    def __init__(self, spread: float) -> None:
        super().__init__()
        first, second, *rest = (nn.Conv2d(n, 4, 1) for n in (3, 4, 4, 4))
        with torch.no_grad():
            first.bias.zero_()
            first.weight.copy_(torch.cat([spread * torch.ones(1, 3), torch.eye(3)]).view(4, 3, 1, 1))
            second.weight.zero_()
            second.weight[:, 1:, 0, 0] = 2 * torch.from_numpy(COLOURS)
            second.bias.copy_(1 - torch.from_numpy((COLOURS**2).sum(1)))  # + 1 keeps them above the ReLU
            for layer in rest:
                layer.weight.copy_(torch.eye(4).view(4, 4, 1, 1))
                layer.bias.zero_()
        self.layers = nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), rest[0], nn.ReLU(), rest[1])

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.layers(image.float() / 255)


def tuned(spread: float, data, max_drop: float = 0.5):
    dataset = open_dataset(data)
    model = deploy_model(NearestColour(spread).eval())
    card = Card(
        name="nearest",
        classes=dataset.classes,
        palette=default_palette(4),
        inputs=(InputSpec(name="image"),),
        outputs=(OutputSpec(name="classmap"),),
    )
    card = deploy_card(card, "classmap")
    return quantize_tuned(model, card, dataset, 8, max_drop), card


def test_a_network_that_loses_little_stays_int8_throughout(data):
    found, card = tuned(1.0, data, max_drop=2.0)
    assert found.stem == 0
    assert list(found.drops) == [0]
    assert placement(found.model, card.session).float == 0


def test_a_stem_of_unlike_ranges_is_left_float(data):
    found, card = tuned(3000.0, data)
    assert found.drops[0] > 20
    assert found.stem == 2
    assert found.drops[2] == pytest.approx(0, abs=0.25)
    kernels = placement(found.model, card.session)
    assert kernels.float == 2
    assert kernels.int8 == 2
