"""Training on int8 grids: the grids are ONNX Runtime's, gradients pass, and what is learnt stays in a float run."""

from __future__ import annotations

import copy
import shutil

import numpy as np
import onnxruntime.quantization.quant_utils as quant_utils
import pytest
import torch
from onnx import TensorProto
from torch import nn

from segx_core.errors import ConfigError
from segx_export.qat import InputGrid, WeightGrid, quantization_simulated
from segx_export.qat_run import qat_run
from segx_trainer import checkpoint
from segx_trainer.checkpoint import load_run


def test_weights_lie_on_the_grid_onnx_runtime_will_use():
    weight = torch.randn((6, 4, 3, 3), generator=torch.Generator().manual_seed(0))
    found = WeightGrid(0)(weight).numpy()
    for channel in range(6):
        values = weight[channel].numpy()
        zero, scale, integers = quant_utils.quantize_data(
            values.ravel(), TensorProto.INT8, symmetric=True, reduce_range=True
        )[-3:]
        expected = (integers.astype(np.float32) - zero) * scale
        np.testing.assert_allclose(found[channel].ravel(), expected, atol=float(scale) * 1e-3)


def test_inputs_lie_on_256_steps_and_zero_is_one_of_them():
    grid = InputGrid()
    value = torch.rand((1, 3, 20, 20), generator=torch.Generator().manual_seed(1)) * 5 - 1
    (found,) = grid(nn.Identity(), (value,))
    step = (grid.high - grid.low) / 255
    steps = (found - grid.low.where(found == 0, grid.low)) / step
    assert len(found.unique()) <= 256
    assert (found - value).abs().max() <= step
    assert steps.max() <= 256
    (zero,) = grid(nn.Identity(), (torch.zeros(4),))
    assert zero.tolist() == [0.0] * 4


def test_ranges_follow_the_batches_until_they_are_held():
    grid = InputGrid()
    grid(nn.Identity(), (torch.tensor([0.0, 1.0]),))
    grid(nn.Identity(), (torch.tensor([0.0, 3.0]),))
    assert grid.high.item() == pytest.approx(1 + 0.05 * 2)
    grid.observing = False
    grid(nn.Identity(), (torch.tensor([-9.0, 9.0]),))
    assert grid.high.item() == pytest.approx(1.1)
    assert grid.low.item() == 0.0


def test_gradients_pass_and_the_network_is_whole_afterwards(real_network, noise):
    network = real_network("unet", encoder_depth=3, decoder_channels=32)
    before, keys = network(noise), set(network.state_dict())
    with quantization_simulated(network) as grids:
        simulated = network(noise)
        simulated.square().mean().backward()
        learnt = [parameter.grad for parameter in network.parameters()]
        assert all(gradient is not None and gradient.abs().max() > 0 for gradient in learnt)
        assert all(grid.high is not None for grid in grids)
    assert set(network.state_dict()) == keys
    torch.testing.assert_close(network(noise), before)
    assert 0 < (simulated - before).abs().mean() < 0.2 * before.abs().mean()


def test_steps_taken_on_the_grids_stay_in_the_float_network(real_network, noise):
    network = real_network("unet", encoder_depth=3, decoder_channels=32)
    before = copy.deepcopy(network.state_dict())
    with quantization_simulated(network):
        optimizer = torch.optim.SGD(network.parameters(), lr=1e-3)
        network(noise).square().mean().backward()
        optimizer.step()
    changed = [key for key, value in network.state_dict().items() if not torch.equal(value, before[key])]
    assert any(key.startswith("encoder.") and key.endswith("weight") for key in changed)
    assert not any("running" in key for key in changed)


def test_a_run_trained_for_int8_is_a_run(trained, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(trained, run, ignore=shutil.ignore_patterns("pruned-*"))
    content = checkpoint.read(run / "checkpoint.pt")
    report = qat_run(run, 8)
    assert report.folder == run / "qat"
    assert report.miou[0] == pytest.approx(content["miou"])
    again = load_run(report.folder)
    assert again.card.training.val_miou == report.miou[1]
    assert again.card.training.steps == 8
    assert again.config.loss == "ce + kd + cwd"
    assert report.simulated_miou > 0
    assert qat_run(run, 8) == report


def test_no_steps_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="at least 1"):
        qat_run(tmp_path, 0)
