"""What the losses of shape say of pictures whose answer is known; what they keep alike is in test_loss_contract.py."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from segx_core.errors import ConfigError
from segx_trainer import losses
from segx_trainer.losses.cldice import soft_skeleton
from segx_trainer.losses.distances import signed_distances

IGNORE = 255


def sure(labels: torch.Tensor, classes: int = 2) -> torch.Tensor:
    """Logits of an answer without doubt."""
    return functional.one_hot(labels, classes).permute(0, 3, 1, 2).double() * 1000


def square(first: int, last: int, side: int = 12) -> torch.Tensor:
    """(1, side, side): class 1 in rows and columns first ... last - 1."""
    labels = torch.zeros((1, side, side), dtype=torch.int64)
    labels[:, first:last, first:last] = 1
    return labels


def loss_of(expression: str, answer: torch.Tensor, target: torch.Tensor) -> float:
    return losses.build(expression, 2, IGNORE)(sure(answer), target).item()


@pytest.mark.parametrize("expression", ["lovasz", "boundary", "hausdorff"])
def test_a_right_answer_costs_nothing(expression: str) -> None:
    target = square(3, 8)
    target[0, 0] = IGNORE
    answer = target.where(target != IGNORE, torch.tensor(1))
    assert loss_of(expression, answer, target) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("expression", ["lovasz", "boundary", "hausdorff", "cldice"])
def test_a_nearer_answer_costs_less(expression: str) -> None:
    target = square(2, 8)
    steps = (3, 4) if expression == "cldice" else (1, 3)  # the centre line leaves the square only then
    near, far = (loss_of(expression, target.roll(step, 2), target) for step in steps)
    assert 0 <= loss_of(expression, target, target) < near < far


def test_lovasz_of_a_sure_answer_is_the_jaccard_loss() -> None:
    answer, target = square(2, 7), square(3, 9)
    both, either = 16, 25 + 36 - 16
    wanted = 1 - (both / either + (144 - either) / (144 - both)) / 2
    assert loss_of("lovasz", answer, target) == pytest.approx(wanted, rel=1e-12)
    assert loss_of("jaccard", answer, target) == pytest.approx(wanted, rel=1e-12)


def test_lovasz_keeps_its_digits_among_a_million_pixels() -> None:
    generator = torch.Generator().manual_seed(0)
    target = torch.randint(0, 2, (1, 1000, 1000), generator=generator)
    logits = torch.randn((1, 2, 1000, 1000), generator=generator)
    loss = losses.build("lovasz", 2, IGNORE)
    assert loss(logits, target).item() == pytest.approx(loss(logits.double(), target).item(), rel=1e-6)


def test_boundary_is_the_mean_distance_of_what_is_wrong() -> None:
    target = torch.tensor([[[1, 1, 1, 0, 0, 0]]])
    answer = torch.tensor([[[1, 1, 1, 1, 1, 0]]])
    # Class 1 invents pixels at distances 1 and 2; class 0 misses the same, there 0 and 1 deep.
    assert loss_of("boundary", answer, target) == pytest.approx((3 + 1) / 6 / 2)


def test_hausdorff_counts_both_edges() -> None:
    target = torch.tensor([[[1, 1, 1, 0, 0, 0]]])
    answer = torch.tensor([[[1, 1, 1, 1, 1, 0]]])
    # The two wrong pixels lie 1 and 2 beyond the target's edge, and 2 and 1 within the answer's, for both classes.
    assert loss_of("hausdorff", answer, target) == pytest.approx((1 + 4 + 4 + 1) / 6)


def test_distances_are_exact_and_know_no_edge_to_ignored_pixels() -> None:
    generator = np.random.default_rng(0)
    labels = torch.from_numpy(generator.random((1, 1, 23, 31)) < 0.02)
    valid = torch.from_numpy(generator.random((1, 23, 31)) < 0.9)
    found = signed_distances(labels, valid)[0, 0].numpy()
    inside, counted = labels[0, 0].numpy(), valid[0].numpy()
    for here in np.ndindex(inside.shape):
        across = np.argwhere(counted & (inside != inside[here]))
        nearest = np.sqrt(((across - np.array(here)) ** 2).sum(1).min()) if counted[here] else 0.0
        assert found[here] == pytest.approx(-nearest if inside[here] else nearest, rel=1e-6)


def test_a_class_beside_ignored_pixels_alone_has_no_boundary() -> None:
    target = torch.full((1, 8, 8), IGNORE)
    target[:, 2:6, 2:6] = 1
    logits = torch.zeros((1, 2, 8, 8), requires_grad=True)
    for name in ("boundary", "hausdorff"):
        loss = losses.build(name, 2, IGNORE)(logits, target)
        (slope,) = torch.autograd.grad(loss, logits)
        assert loss.item() == 0.0
        assert slope.abs().max().item() == 0.0


def test_a_skeleton_is_the_line_in_the_middle() -> None:
    plane = torch.zeros((1, 1, 9, 20))
    plane[..., 2:7, 2:18] = 1  # five high
    found = soft_skeleton(plane, torch.zeros((1, 1, 9, 20), dtype=torch.bool), 3)[0, 0]
    assert found[4, 6:14].tolist() == [1.0] * 8
    assert found[[2, 3, 5, 6], 6:14].abs().max().item() == 0.0


def test_cldice_minds_a_gap_more_than_dice_does() -> None:
    # A wide block and a thin line: the answer breaks the line, or loses as many pixels at the block's corner.
    target = torch.zeros((1, 30, 30), dtype=torch.int64)
    target[:, 4:15, 4:15] = 1
    target[:, 22, 2:28] = 1
    gap, corner = target.clone(), target.clone()
    gap[:, 22, 10:19] = 0
    corner[:, 4:7, 4:7] = 0
    dice = [loss_of("dice", answer, target) for answer in (gap, corner)]
    lines = [loss_of("cldice[iterations=6]", answer, target) for answer in (gap, corner)]
    assert dice[0] == pytest.approx(dice[1])
    assert lines[0] > 2 * lines[1]


def test_rmi_of_an_answer_that_tells_nothing_is_the_entropy_of_the_target() -> None:
    target = torch.from_numpy(np.random.default_rng(0).integers(0, 2, (1, 20, 20)))
    found = losses.build("rmi[stride=1]", 2, IGNORE)(torch.zeros((1, 2, 20, 20), dtype=torch.float64), target).item()
    windows = np.lib.stride_tricks.sliding_window_view(target[0].numpy(), (3, 3)).reshape(-1, 9)
    covariance = np.cov(windows.T, bias=True)
    assert found == pytest.approx(np.linalg.slogdet(np.eye(9) + covariance / 1e-6)[1] / 18, rel=1e-9)


def test_rmi_grows_with_the_noise_of_the_answer() -> None:
    generator = torch.Generator().manual_seed(0)
    target = torch.randint(0, 2, (2, 40, 40), generator=generator)
    noise = torch.randn((2, 2, 40, 40), generator=generator, dtype=torch.float64)
    loss = losses.build("rmi[stride=1]", 2, IGNORE)
    found = [loss(sure(target) / 500 + size * noise, target).item() for size in (0.0, 0.3, 1.0, 3.0)]
    # Without noise the answer is the target times a = tanh 1, of which the ridge leaves ridge / a^2 a dimension.
    assert found[0] == pytest.approx(np.log(1 + 1 / np.tanh(1) ** 2) / 2, rel=1e-3)
    assert found == sorted(found)


def test_rmi_of_a_picture_smaller_than_a_patch_is_nothing() -> None:
    logits = torch.zeros((1, 2, 8, 2), requires_grad=True)
    loss = losses.build("rmi", 2, IGNORE)(logits, torch.ones((1, 8, 2), dtype=torch.int64))
    (slope,) = torch.autograd.grad(loss, logits)
    assert loss.item() == 0.0
    assert slope.abs().max().item() == 0.0


@pytest.mark.parametrize("name", ["lovasz", "boundary", "hausdorff"])
def test_soft_labels_are_refused_where_an_edge_is_needed(name: str) -> None:
    soft = torch.full((1, 2, 4, 4), 0.5)
    with pytest.raises(ConfigError, match="hard labels"):
        losses.build(name, 2, IGNORE)(torch.zeros((1, 2, 4, 4)), soft)


@pytest.mark.parametrize("expression", ["cldice[iterations=0]", "cldice[iterations=1.5]", "rmi[stride=0]"])
def test_parts_of_a_round_are_refused(expression: str) -> None:
    with pytest.raises(ConfigError, match="whole number"):
        losses.build(expression, 2, IGNORE)
