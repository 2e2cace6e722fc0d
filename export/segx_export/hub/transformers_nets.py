"""Semantic segmentation networks of the Hugging Face hub, or of a folder in its layout, through transformers.

Networks that give logits a class and pixel are taken as they are; those that answer with queries (EoMT, MaskFormer,
Mask2Former) get the arithmetic of their published post-processing. SegFormer takes any size, others the one they were
trained at. Code that lies in a repository is never run.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from segx_core.card import Normalisation
from segx_core.errors import ConfigError, ModelError, SetupError
from segx_export.hub.address import Address
from segx_export.hub.model_card import origin_of
from segx_export.hub.network import Found
from segx_export.quiet import quiet

_ANY_SIZE = {"segformer": 32}
"""Types that take any size, and the multiple their sides must be of."""
_SMALLEST = 1e-30
"""Scores below it count as this much, so that logarithms stay finite."""
_QUERIES = frozenset({"eomt", "eomt_dinov3", "maskformer", "mask2former"})
"""Types whose output is a class and a mask a query."""


class Logits(nn.Module):
    """A network that gives logits a class and pixel, at its own stride."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, h, w) -> (B, K, h', w')."""
        return cast(Tensor, self.network(pixel_values=x).logits)


class Queries(nn.Module):
    """A network that gives a class and a mask a query, as scores a class and pixel.

    The published post-processing: masks at full size, class probabilities without "no object", summed over queries
    (MaskFormer, arXiv:2107.06278, section 3.4).

    Args:
        network: gives `class_queries_logits` and `masks_queries_logits`.
        logarithm: give logarithms of scores, whose softmax is the scores divided by their sum.
    """

    def __init__(self, network: nn.Module, *, logarithm: bool) -> None:
        super().__init__()
        self.network = network
        self.logarithm = logarithm

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, h, w) -> (B, K, h, w) scores, not negative, or their logarithms."""
        answer = self.network(pixel_values=x)
        masks = functional.interpolate(
            answer.masks_queries_logits, size=x.shape[-2:], mode="bilinear", align_corners=False
        )
        chances = answer.class_queries_logits.softmax(-1)[..., :-1]
        scores = torch.einsum("bqc,bqhw->bchw", chances, masks.sigmoid())
        return scores.clamp(min=_SMALLEST).log() if self.logarithm else scores


def find(address: Address, *, logarithm: bool = False) -> Found:
    """The network an address names.

    Args:
        address: a repository or folder.
        logarithm: see Queries; wanted where probabilities are to be made of the answer.

    Raises:
        ModelError: no such repository or folder, no semantic segmentation network, weights that are not all there.
        SetupError: transformers is missing, or the hub cannot be reached.
    """
    try:
        import transformers
    except ImportError as error:
        raise SetupError("the library transformers", "none", 'Install it with: pip install "segx[hub]"') from error

    library: Any = transformers
    where: dict[str, Any] = {"revision": address.options["revision"]} if "revision" in address.options else {}
    folder = address.folder
    if folder is not None and not (folder / "config.json").is_file():
        raise ModelError(f"a folder with config.json at {folder}", "none", "Check the path.")
    name = str(folder or address.name)
    with quiet():
        try:
            config = library.AutoConfig.from_pretrained(name, **where)
            processor = library.AutoImageProcessor.from_pretrained(name, **where)
            network = _load(library, name, config, address, where)
        except (OSError, ValueError, ImportError, KeyError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:400]
            raise ModelError(
                f"a semantic segmentation network of transformers at {address}",
                reason,
                "Check the name and the connection; a folder is named as hf:./folder.",
            ) from error
    kind = str(config.model_type)
    queries = kind in _QUERIES
    if queries:
        _freeze_masks(network)
    fixed = address.size
    if fixed is None and kind not in _ANY_SIZE:
        fixed = _trained_size(config, processor)
    classes = tuple(str(config.id2label[index]) for index in range(len(config.id2label)))
    return Found(
        body=Queries(network, logarithm=logarithm) if queries else Logits(network),
        name=address.stem,
        classes=classes,
        normalisation=_normalisation(processor),
        origin=origin_of(address, name, config, fixed),
        size_multiple=1 if fixed else _ANY_SIZE[kind],
        fixed_size=fixed,
    )


def _load(library: Any, name: str, config: Any, address: Address, where: dict[str, Any]) -> nn.Module:
    if type(config) in library.MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING:
        family = library.AutoModelForSemanticSegmentation
    elif config.model_type in _QUERIES:
        family = library.AutoModelForUniversalSegmentation
    else:
        raise ValueError(f"a network of type '{config.model_type}' ({', '.join(config.architectures or ['unnamed'])})")
    if address.random:
        return cast(nn.Module, family.from_config(config, attn_implementation="eager").eval())
    network, told = family.from_pretrained(
        name, config=config, dtype=torch.float32, attn_implementation="eager", output_loading_info=True, **where
    )
    absent = sorted(key for key in {*told["missing_keys"]} if "auxiliary" not in key)
    if absent:
        raise ModelError(
            f"weights for every layer of {type(network).__name__} in {address}",
            f"none for {', '.join(absent[:3])}" + (f" and {len(absent) - 3} more" if len(absent) > 3 else ""),
            "Give a network that was trained for segmentation; this one was trained for something else.",
        )
    return cast(nn.Module, network.eval())


def _freeze_masks(network: Any) -> None:
    """EoMT asks a tensor whether queries are still masked; tracing needs the answer as a plain number."""
    chances = getattr(network, "attn_mask_probs", None)
    if chances is None:
        return
    values = tuple(float(value) for value in chances)
    if any(0 < value < 1 for value in values):
        raise ModelError(
            "a network whose masking has ended", f"chances of {values}, drawn anew each time", "Train it to the end."
        )
    del network.attn_mask_probs
    network.attn_mask_probs = values


def _normalisation(processor: Any) -> Normalisation:
    """What the image processor does to a pixel, in RGB order."""
    # A processor that does not rescale hands on 0-255.
    scale = 1 / float(processor.rescale_factor) if getattr(processor, "do_rescale", True) else 1.0
    scale = round(scale) if abs(scale - round(scale)) < 1e-6 * scale else scale  # 1 / (1 / 255) is not quite 255
    if not getattr(processor, "do_normalize", True):
        return Normalisation(scale=scale)
    mean, std = ((*values,) for values in (processor.image_mean, processor.image_std))
    return Normalisation(scale=scale, mean=mean, std=std)


def _trained_size(config: Any, processor: Any) -> tuple[int, int]:
    """(height, width) the network was trained at, from its config, else from its image processor."""
    for size in (getattr(config, "image_size", None), getattr(processor, "crop_size", None), processor.size):
        if isinstance(size, int):
            return size, size
        if isinstance(size, list | tuple) and len(size) == 2:
            return int(size[0]), int(size[1])
        if size is not None and not isinstance(size, list | tuple):
            height, width = (size.get(key) or size.get("shortest_edge") for key in ("height", "width"))
            if height and width:
                return int(height), int(width)
    raise ConfigError("the size the network was trained at", "none in its config", "State it: ?size=512x512.")
