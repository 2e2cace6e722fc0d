"""Joint augmentation of pictures and label maps on torchvision.transforms.v2 and OpenCV; labels are never interpolated.

`load` gives a policy, `survey` what it must know of the data, `preset` the steps of one size, and `apply` does them.
All random numbers of a visit come from one generator, `stream(seed, epoch, index)`; nothing global is drawn from.
"""

from segx_trainer.augment.draw import Draw, Pair, Pool, Transform
from segx_trainer.augment.geometry import ScaleCrop
from segx_trainer.augment.labels import Labels, survey
from segx_trainer.augment.pipeline import apply, preset, stream
from segx_trainer.augment.policy import Policy, Preset, load, named, to_yaml

__all__ = [
    "Draw",
    "Labels",
    "Pair",
    "Policy",
    "Pool",
    "Preset",
    "ScaleCrop",
    "Transform",
    "apply",
    "load",
    "named",
    "preset",
    "stream",
    "survey",
    "to_yaml",
]
