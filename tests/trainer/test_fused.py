"""The pass in chunks against the same losses each for itself, and against plain torch."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from segx_trainer import losses
from segx_trainer.losses import fused

K, IGNORE = 5, 255
WEIGHTS = [1.0, 0.5, 3.0, 2.0, 0.1]


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused, "CACHED", K * 16)  # so that pictures of 63 pixels take four, the last one short


def example(dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn((3, K, 7, 9), generator=generator, dtype=torch.float64) * 3
    target = torch.randint(0, K - 1, (3, 7, 9), generator=generator)
    target[torch.rand(target.shape, generator=generator) < 0.3] = IGNORE
    return logits.to(dtype), target


def plain(logits: torch.Tensor, target: torch.Tensor, smoothing: float, weights: torch.Tensor) -> torch.Tensor:
    """Cross-entropy and dice of whole tensors, by autograd."""
    valid = target != IGNORE
    known = target.masked_fill(~valid, 0)
    each = functional.cross_entropy(
        logits, target, weights, ignore_index=IGNORE, reduction="sum", label_smoothing=smoothing
    )
    ce = each / (weights[known] * valid).sum()
    share = logits.softmax(1) * valid.unsqueeze(1)
    truth = functional.one_hot(known, K).permute(0, 3, 1, 2) * valid.unsqueeze(1)
    overlap, size, area = ((one).sum((0, 2, 3)) for one in (share * truth, share + truth, truth))
    here = area > 0
    dice = 1 - 2 * overlap[here] / size[here]
    return ce + 0.5 * (dice * weights[here]).sum() / weights[here].sum()


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_value_and_gradient_are_those_of_whole_tensors(smoothing: float, layout: torch.memory_format) -> None:
    logits, target = example()
    logits = logits.contiguous(memory_format=layout).requires_grad_()
    weights = torch.tensor(WEIGHTS, dtype=torch.float64)
    wanted = plain(logits, target, smoothing, weights)
    found = losses.build(f"ce[smoothing={smoothing}] + 0.5*dice", K, IGNORE, weights)(logits, target)
    assert found.item() == pytest.approx(wanted.item(), rel=1e-7)  # build keeps class weights in float32
    slopes = [torch.autograd.grad(loss, logits)[0] for loss in (found, wanted)]
    torch.testing.assert_close(*slopes, rtol=1e-6, atol=1e-9)
    assert slopes[0].is_contiguous(memory_format=layout)


@pytest.mark.parametrize("expression", ["ce + 0.3*ce[smoothing=0.1] + dice + jaccard + 2*tversky[alpha=0.2]"])
def test_a_sum_in_one_pass_is_the_sum_of_its_terms(expression: str) -> None:
    logits, target = example()
    logits.requires_grad_()
    loss = losses.build(expression, K, IGNORE, WEIGHTS)
    together = loss(logits, target)
    values = dict(loss.values)
    apart = [term(logits, target) for term in loss.terms]
    total = sum(weight * term for weight, term in zip(loss.weights, apart, strict=True))
    assert isinstance(total, torch.Tensor)
    assert together.item() == pytest.approx(total.item(), rel=1e-12)
    assert [value.item() for value in values.values()] == pytest.approx([term.item() for term in apart], rel=1e-12)
    slopes = [torch.autograd.grad(one, logits)[0] for one in (together, total)]
    torch.testing.assert_close(*slopes, rtol=1e-9, atol=1e-12)


def test_gradient_of_a_sum_is_that_of_finite_differences() -> None:
    logits, target = example()
    loss = losses.build("ce[smoothing=0.1] + 0.5*dice + 0.1*kd", K, IGNORE, WEIGHTS)
    context = losses.Context(teacher_logits=logits.roll(1, 0).clone())
    assert torch.autograd.gradcheck(
        lambda z: loss(z, target, context), (logits[:1].repeat(3, 1, 1, 1).requires_grad_(),)
    )


def test_chunks_do_not_change_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    logits, target = example(torch.float32)
    loss = losses.build("ce + dice", K, IGNORE)
    small = loss(logits, target).item()
    monkeypatch.setattr(fused, "CACHED", 1 << 16)
    assert loss(logits, target).item() == pytest.approx(small, rel=1e-6)


def test_half_precision_gets_its_gradient_in_half_precision() -> None:
    logits, target = example(torch.bfloat16)
    logits.requires_grad_()
    (slope,) = torch.autograd.grad(losses.build("ce + dice", K, IGNORE)(logits, target), logits)
    exact = logits.detach().double().requires_grad_()
    (wanted,) = torch.autograd.grad(losses.build("ce + dice", K, IGNORE)(exact, target), exact)
    assert slope.dtype == torch.bfloat16
    torch.testing.assert_close(slope.double(), wanted, rtol=1e-2, atol=1e-5)


def test_backward_leaves_one_tensor_of_the_logits_size(monkeypatch: pytest.MonkeyPatch) -> None:
    logits, target = example(torch.float32)
    logits = logits.repeat(4, 1, 4, 4).requires_grad_()
    target = target.repeat(4, 4, 4)
    loss = losses.build("ce + 0.5*dice", K, IGNORE)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        torch.autograd.grad(loss(logits, target), logits)
    large = [event for event in profile.events() if event.self_cpu_memory_usage >= logits.nbytes]
    assert len(large) == 1  # the gradient


def test_a_label_beyond_the_classes_is_an_error() -> None:
    logits, target = example()
    target[0, 0, 0] = K
    with pytest.raises((RuntimeError, IndexError)):
        losses.build("ce + dice", K, IGNORE)(logits, target)
