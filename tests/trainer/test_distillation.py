"""kd and cwd against plain float64 NumPy versions, and what they do with ignored pixels and without a teacher."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from segx_core.errors import ConfigError
from segx_trainer import losses

K, IGNORE = 3, 255
Array = NDArray[np.float64]


def softmax(z: Array) -> Array:
    e = np.exp(z - z.max())
    return np.asarray(e / e.sum())


def naive_kd(z: Array, t: Array, y: NDArray[np.int64], temperature: float) -> float:
    total = count = 0.0
    for b, r, c in np.ndindex(y.shape):
        if y[b, r, c] != IGNORE:
            p, q = softmax(t[b, :, r, c] / temperature), softmax(z[b, :, r, c] / temperature)
            total += (p * (np.log(p) - np.log(q))).sum()
            count += 1
    return temperature**2 * total / count


def naive_cwd(z: Array, t: Array, y: NDArray[np.int64], temperature: float) -> float:
    total = count = 0.0
    for b in range(len(y)):
        valid = y[b] != IGNORE
        for k in range(K if valid.any() else 0):
            p, q = softmax(t[b, k][valid] / temperature), softmax(z[b, k][valid] / temperature)
            total += (p * (np.log(p) - np.log(q))).sum()
            count += 1
    return temperature**2 * total / count


NAIVE = {"kd": naive_kd, "cwd": naive_cwd}


def example(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    z, t = rng.normal(0, 3, (2, 3, K, 4, 5))
    y = rng.integers(0, K, (3, 4, 5))
    y[rng.random(y.shape) < 0.3] = IGNORE
    y[1] = IGNORE  # a picture without a labelled pixel
    return torch.from_numpy(z), torch.from_numpy(t), torch.from_numpy(y)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
@pytest.mark.parametrize("name", NAIVE)
def test_equals_the_naive_version(name: str, temperature: float) -> None:
    z, t, y = example()
    loss = losses.build(f"{name}[temperature={temperature}]", K, IGNORE)
    expected = NAIVE[name](z.numpy(), t.numpy(), y.numpy(), temperature)
    assert loss(z, y, losses.Context(teacher_logits=t)).item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("name", NAIVE)
def test_gradient_is_right_and_does_not_reach_the_teacher(name: str) -> None:
    z, t, y = example()
    loss = losses.build(name, K, IGNORE)
    t.requires_grad_()
    context = losses.Context(teacher_logits=t)
    assert torch.autograd.gradcheck(lambda logits: loss(logits, y, context), (z.requires_grad_(),))
    loss(z, y, context).backward()
    assert t.grad is None


@pytest.mark.parametrize("name", NAIVE)
def test_ignored_pixels_change_nothing_and_get_no_gradient(name: str) -> None:
    z, t, y = example()
    loss = losses.build(name, K, IGNORE)
    hidden = (y == IGNORE).unsqueeze(1)
    value = loss(z, y, losses.Context(teacher_logits=t)).item()
    other = loss(z.where(~hidden, z * -9 + 7), y, losses.Context(teacher_logits=t.where(~hidden, t * 5 - 3)))
    assert other.item() == pytest.approx(value, rel=1e-12)
    z.requires_grad_()
    loss(z, y, losses.Context(teacher_logits=t)).backward()
    assert z.grad is not None
    assert z.grad.masked_select(hidden).abs().max().item() == 0.0


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("name", NAIVE)
def test_nothing_valid_is_zero_with_zero_gradient(name: str, half: torch.dtype) -> None:
    z, t, y = example()
    z = z.to(half).requires_grad_()
    value = losses.build(name, K, IGNORE)(z, torch.full_like(y, IGNORE), losses.Context(teacher_logits=t.to(half)))
    value.backward()
    assert value.item() == 0.0
    assert z.grad is not None
    assert z.grad.abs().max().item() == 0.0


@pytest.mark.parametrize("name", NAIVE)
def test_the_teachers_own_answer_costs_nothing(name: str) -> None:
    z, _, y = example()
    assert losses.build(name, K, IGNORE)(z, y, losses.Context(teacher_logits=z)).item() == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("name", NAIVE)
def test_a_missing_teacher_is_named(name: str) -> None:
    z, _, y = example()
    loss = losses.build(f"ce + {name}", K, IGNORE)
    assert loss.needs == {"teacher_logits"}
    for context in (None, losses.Context(step=3)):
        with pytest.raises(ConfigError, match="teacher"):
            loss(z, y, context)
    with pytest.raises(ConfigError, match="teacher"):
        losses.TERMS[name](K)(z, y)


def test_a_teacher_of_other_classes_and_a_cold_temperature_are_refused() -> None:
    z, t, y = example()
    with pytest.raises(ValueError, match="teacher logits"):
        losses.build("kd", K, IGNORE)(z, y, losses.Context(teacher_logits=t[:, :2]))
    with pytest.raises(ConfigError, match="temperature"):
        losses.build("cwd[temperature=0]", K, IGNORE)
