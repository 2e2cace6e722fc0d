"""Mistakes that other tools make with losses, labels and counts, each beside the value that is right.

Where segmentation-models-pytorch is the one, its own loss is run; of others the formula is written here in a few lines.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import segmentation_models_pytorch.losses as smp
import torch
from torch import Tensor, nn
from torch.nn import functional

from segx_core.confusion import confusion, miou
from segx_trainer import augment, losses

IGNORE = 255


def logits_of(labels: Tensor, classes: int, size: float) -> Tensor:
    """(B, K, H, W) float32 that are `size` at the labels and 0 elsewhere."""
    return functional.one_hot(labels, classes).permute(0, 3, 1, 2).float() * size


def mostly_ignored() -> tuple[Tensor, Tensor]:
    """A picture in which 87.5 % of the pixels are ignored and each other one costs 1.841."""
    z = torch.zeros(1, 2, 8, 8)
    z[:, 1] = math.log(math.exp(1.841) - 1)
    y = torch.full((1, 8, 8), IGNORE)
    y[:, :1] = 0
    return z, y


def test_ignored_pixels_are_not_in_the_mean() -> None:
    z, y = mostly_ignored()
    assert smp.SoftCrossEntropyLoss(smooth_factor=0.0, ignore_index=IGNORE)(z, y).item() == pytest.approx(
        0.230, abs=1e-3
    )
    assert functional.cross_entropy(z, y, ignore_index=IGNORE).item() == pytest.approx(1.841, rel=1e-6)
    for expression in ("ce", "poly1[epsilon=0]", "focal[gamma=0]", "ohem[keep=1]", "logit_adjust[tau=0]"):
        assert losses.build(expression, 2, class_prior=[1, 1])(z, y).item() == pytest.approx(1.841, rel=1e-5)


def test_a_loss_with_its_defaults_runs() -> None:
    z, y = torch.zeros(1, 3, 4, 4), torch.zeros(1, 4, 4, dtype=torch.int64)
    with pytest.raises(TypeError):
        smp.SoftCrossEntropyLoss()(z, y)
    assert losses.build("ce", 3)(z, y).item() == pytest.approx(math.log(3))


def test_focal_of_softmax_does_not_see_a_shift() -> None:
    torch.manual_seed(0)
    z, y = torch.randn(2, 5, 32, 32), torch.randint(0, 5, (2, 32, 32))
    theirs = smp.FocalLoss("multiclass")
    assert theirs(z, y).item() == pytest.approx(0.35, abs=0.01)
    assert theirs(z + 5, y).item() == pytest.approx(3.95, abs=0.03)
    ours = losses.build("focal", 5)
    assert ours(z + 5, y).item() == pytest.approx(ours(z, y).item(), rel=1e-5)


def flattened_dice(q: Tensor, p: Tensor) -> float:
    """One Dice of a picture whose classes were flattened together."""
    return float(1 - 2 * (q * p).sum() / (q.sum() + p.sum()))


def test_a_missed_small_class_is_a_missed_class() -> None:
    y = torch.zeros(1, 10, 10, dtype=torch.int64)
    y[0, 0, 0] = 1
    z = logits_of(torch.zeros_like(y), 2, 100)
    hot = functional.one_hot(y, 2).permute(0, 3, 1, 2)
    assert flattened_dice(z.softmax(1), hot) == pytest.approx(0.01, abs=1e-6)
    assert losses.build("dice", 2)(z, y).item() == pytest.approx(0.5, abs=0.01)


def test_ignored_pixels_are_no_wrong_pixels_of_dice() -> None:
    y = torch.arange(4).repeat(4, 1)[None]
    z = logits_of(y, 4, 100)
    y = y.clone()
    y[:, :2] = IGNORE
    valid = y != IGNORE
    hot = functional.one_hot(y.masked_fill(~valid, 0), 4).permute(0, 3, 1, 2) * valid.unsqueeze(1)
    assert flattened_dice(z.softmax(1), hot) == pytest.approx(0.333, abs=1e-3)
    assert losses.build("dice", 4)(z, y).item() == pytest.approx(0.0, abs=1e-6)


def test_absent_classes_are_not_in_the_mean_of_dice() -> None:
    y = torch.arange(4).repeat_interleave(16 * 128).view(1, 64, 128)
    z = logits_of(y, 19, 10)  # right everywhere, with 4 of 19 classes
    q, hot = z.softmax(1), functional.one_hot(y, 19).permute(0, 3, 1, 2)
    both, sizes = (q * hot).sum((2, 3)), (q + hot).sum((2, 3))
    assert (1 - (2 * both + 1) / (sizes + 1)).mean().item() == pytest.approx(0.214, abs=1e-3)
    assert losses.build("dice", 19)(z, y).item() < 1e-3


@pytest.mark.parametrize("name", ["ce", "focal", "ohem", "dice"])
def test_a_batch_of_ignored_pixels_is_no_nan(name: str) -> None:
    z, y = torch.zeros(1, 3, 8, 8), torch.full((1, 8, 8), IGNORE)
    assert functional.cross_entropy(z, y, ignore_index=IGNORE).isnan()
    assert losses.build(name, 3)(z, y).item() == 0.0


def test_mean_absolute_error_is_not_divided_by_the_classes() -> None:
    y = torch.zeros(1, 4, 4, dtype=torch.int64)
    z = torch.zeros(1, 10, 4, 4)
    hot = functional.one_hot(y, 10).permute(0, 3, 1, 2).float()
    assert nn.L1Loss()(z.softmax(1), hot).item() == pytest.approx(0.18)
    assert losses.build("mae", 10)(z, y).item() == pytest.approx(1.8)


def test_a_term_for_sparse_predictions_has_a_gradient() -> None:
    z = torch.randn(1, 5, 4, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    (nothing,) = torch.autograd.grad(z.softmax(1).abs().sum(1).mean(), z)
    assert nothing.abs().max().item() == pytest.approx(0, abs=1e-7)  # the L1 norm of a softmax is 1
    y = torch.zeros(1, 4, 4, dtype=torch.int64)
    entropy = losses.build("ce + entropy", 5).terms[1]
    (some,) = torch.autograd.grad(entropy(z, y), z)
    assert some.abs().max().item() > 1e-3


def test_labels_are_never_mixed() -> None:
    mask = torch.zeros(64, 64, dtype=torch.int64)
    mask[:, 32:] = 10
    image = torch.zeros(3, 64, 64, dtype=torch.uint8)
    mixed = functional.interpolate(mask[None, None].float(), scale_factor=1.5, mode="bilinear").long()
    assert len(mixed.unique()) > 2  # classes that are nowhere in the picture
    torch.manual_seed(0)
    for _ in range(5):
        _, found = augment.apply([augment.ScaleCrop((80, 80), (0.5, 2.0), IGNORE)], image, mask)
        assert set(found.unique().tolist()) <= {0, 10, IGNORE}


def test_counts_do_not_wrap_at_256() -> None:
    random = np.random.default_rng(0)
    target, guess = (random.integers(0, 19, 500).astype(np.uint8) for _ in range(2))
    wrapped = np.bincount(target * np.uint8(19) + guess, minlength=361)  # 18 * 19 + 18 does not fit into 8 bits
    found = confusion(target, guess, 19)
    wanted = np.zeros((19, 19), np.int64)
    for t, g in zip(target, guess, strict=True):
        wanted[t, g] += 1
    assert (found == wanted).all()
    assert (wrapped.reshape(19, 19) != wanted).any()


def test_counts_are_exact_past_what_float32_holds() -> None:
    pixels = 2**24 + 1
    assert np.float32(2**24) + np.float32(1) == np.float32(2**24)
    found = confusion(np.zeros(pixels, np.uint8), np.zeros(pixels, np.uint8), 2)
    assert found[0, 0] == pixels


def test_mean_iou_is_that_of_the_data_set_and_not_of_its_pictures() -> None:
    target, guess = np.zeros((2, 10, 10), np.uint8), np.zeros((2, 10, 10), np.uint8)
    target[0] = guess[0] = 1
    target[1, 0, 0] = 1  # one pixel missed, the only one of its class in the picture
    each = [miou(confusion(t, g, 2)) for t, g in zip(target, guess, strict=True)]
    assert np.mean(each) == pytest.approx((1 + 0.99 / 2) / 2)
    whole = sum(confusion(t, g, 2) for t, g in zip(target, guess, strict=True))
    assert miou(np.asarray(whole)) == pytest.approx((0.99 + 100 / 101) / 2)


def test_the_ignore_index_may_be_a_class_number() -> None:
    target = np.array([0, 0, 1, 1], np.uint8)
    guess = np.array([0, 1, 1, 1], np.uint8)
    found = confusion(target, guess, 2, ignore_index=0)
    assert found.tolist() == [[0, 0], [0, 2]]
    z, y = logits_of(torch.from_numpy(guess).long().view(1, 1, 4), 2, 5), torch.from_numpy(target).long().view(1, 1, 4)
    assert losses.build("ce", 2, ignore_index=0)(z, y).item() == pytest.approx(math.log(1 + math.exp(-5)), rel=1e-5)
