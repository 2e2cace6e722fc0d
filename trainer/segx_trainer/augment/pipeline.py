"""From a policy to the steps of one size, and the steps of one visit."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from segx_trainer.augment import mixes, pixels
from segx_trainer.augment.draw import Draw, Pair, Pool, Sometimes, Transform, run
from segx_trainer.augment.geometry import Mirror, ScaleCrop, Turn
from segx_trainer.augment.labels import Labels
from segx_trainer.augment.paste import Paste
from segx_trainer.augment.policy import Policy, Preset, named

_VISITS = 1  # keeps the streams of visits apart from those of other draws of (seed, epoch)


def preset(
    policy: Preset | Policy,
    size: tuple[int, int],
    labels: Labels | int,
    scale: tuple[float, float] | None = None,
) -> list[Transform]:
    """The steps of a preset or policy; all end in pictures of `size` (height, width). Cheap: nothing is read.

    Args:
        policy: a preset's name, or what `load` gave.
        size: (height, width) of the results.
        labels: what `survey` gave, or the ignore index alone; then nothing is pasted and nothing can be swapped.
        scale: takes the place of the policy's range of zoom.

    Raises:
        ConfigError: swap names a class that `labels` has not.
    """
    chosen = policy if isinstance(policy, Policy) else named(policy)
    known = labels if isinstance(labels, Labels) else Labels(labels)
    ignored = known.ignore_index
    steps: list[Transform] = [ScaleCrop(size, scale or chosen.scale, ignored, chosen.aspect)]
    if chosen.flip or chosen.vertical_flip:
        steps.append(Mirror(chosen.flip, chosen.vertical_flip, known.mirrored(chosen.swap)))
    if chosen.warp:
        steps.append(Sometimes(chosen.warp.p, Turn(chosen.warp, ignored)))
    before = tuple(steps)
    if chosen.mosaic:
        steps.append(Sometimes(chosen.mosaic.p, mixes.Four(before)))
    if chosen.cutmix:
        steps.append(Sometimes(chosen.cutmix.p, mixes.Cut(chosen.cutmix, before)))
    if chosen.classmix:
        steps.append(Sometimes(chosen.classmix.p, mixes.Classes(before, ignored)))
    if chosen.copy_paste and known.donors:
        paste = Paste(chosen.copy_paste, known.donors, ignored, known.multilabel)
        steps.append(Sometimes(chosen.copy_paste.p, paste))
    if chosen.color:
        steps.append(Sometimes(chosen.color.p, pixels.Recolor(chosen.color)))
    if chosen.blur:
        steps.append(Sometimes(chosen.blur.p, pixels.Smooth(chosen.blur)))
    if chosen.noise:
        steps.append(Sometimes(chosen.noise.p, pixels.Grain(chosen.noise)))
    if chosen.jpeg:
        steps.append(Sometimes(chosen.jpeg.p, pixels.Compress(chosen.jpeg)))
    if chosen.erase:
        steps.append(Sometimes(chosen.erase.p, pixels.Blank(chosen.erase, ignored)))
    return steps


def apply(
    transforms: list[Transform],
    image: Tensor,
    mask: Tensor,
    focus: tuple[int, int] | None = None,
    rng: np.random.Generator | None = None,
    pool: Pool | None = None,
) -> Pair:
    """Do all steps in order.

    Args:
        transforms: the steps.
        image: (3, H, W) uint8; neither it nor the mask is changed.
        mask: (H, W) int64.
        focus: (row, column) of a pixel that the window must hold.
        rng: all randomness; None takes a generator seeded from torch's.
        pool: the training pictures, for mixes; None leaves the picture to be mixed with itself.

    Returns:
        (3, h, w) uint8 and (h, w) int64.
    """
    if rng is None:
        rng = np.random.default_rng(int(torch.randint(1 << 62, ())))
    return run(transforms, image, mask, Draw(rng, [(image, mask)] if pool is None else pool, focus))


def stream(seed: int, epoch: int, index: int, draw: int = 0) -> np.random.Generator:
    """The generator of one visit to one sample: independent of all others, the same in any process or thread.

    `draw` tells visits to one sample within one epoch apart.
    """
    return np.random.default_rng([seed, epoch, index, draw, _VISITS])
