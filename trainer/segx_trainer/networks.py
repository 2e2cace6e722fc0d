"""Networks of segmentation-models-pytorch and timm behind one contract: raw uint8 picture in, full-size logits out.

Normalisation and padding to the size multiple happen inside, so no caller holds a second copy of mean, std or the
multiple. Where encoder weights come from is in weights.py.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, cast

import timm
import torch
from segmentation_models_pytorch import FPN, DeepLabV3Plus, Segformer, Unet
from segmentation_models_pytorch.encoders import encoders as smp_encoders
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.layers.drop import DropPath
from torch import Tensor, nn
from torch.nn import functional

from segx_core.errors import ConfigError, near
from segx_trainer.config import TrainConfig
from segx_trainer.weights_layouts import Statistics

_UNET_CHANNELS = 256  # width of U-Net's coarsest decoder stage in segmentation-models-pytorch
_SHARED_LEVEL = 4  # the encoder's stage of stride 16
_NOT_FREE = ("mit_b", "mobileone_")  # encoders whose weights may not be used freely


class SegmentationNet(nn.Module):
    """A network with its preprocessing inside.

    Attributes:
        num_classes: K.
        size_multiple: sides are padded to a multiple of this before the encoder, and the logits cropped back.
        pruned: whether channels were removed, so that layers are narrower than those `build_network` makes.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        body: nn.Module,
        mean: tuple[float, float, float],
        std: tuple[float, float, float],
        num_classes: int,
        size_multiple: int,
    ) -> None:
        super().__init__()
        self.encoder = cast(nn.Module, body.encoder)
        self.decoder = cast(nn.Module, body.decoder)
        self.head = cast(nn.Module, body.segmentation_head)
        self.num_classes = num_classes
        self.size_multiple = size_multiple
        self.pruned = False
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1) * 255)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1) * 255)

    def expect(self, statistics: Statistics) -> None:
        """Normalise pictures to another mean and standard deviation (of values in 0-1): those of other weights."""
        for buffer, values in zip((self.mean, self.std), statistics, strict=True):
            buffer.copy_(torch.tensor(values).view(1, 3, 1, 1) * 255)

    def expects(self) -> Statistics:
        """Mean and standard deviation (of values in 0-1) pictures are normalised to."""
        mean, std = ([float(value) / 255 for value in buffer.flatten()] for buffer in (self.mean, self.std))
        return (mean[0], mean[1], mean[2]), (std[0], std[1], std[2])

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) uint8 RGB, any H and W -> (B, K, H, W) float logits."""
        return self.with_features(image)[0]

    def with_features(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """The logits, and what the encoder saw at stride 16 (8 with depth 3) of the padded picture, (B, C, h, w)."""
        height, width = image.shape[-2:]
        scaled = (image.float() - self.mean) / self.std
        # Zero after normalisation is the mean colour; only the right and the bottom grow, so pixels keep their place.
        below, right = -height % self.size_multiple, -width % self.size_multiple
        padded = functional.pad(scaled, (0, right, 0, below))
        features = self.encoder(padded)
        logits = self.head(self.decoder(features))
        return cast(Tensor, logits[..., :height, :width]), features[min(_SHARED_LEVEL, len(features) - 1)]


def build_network(config: TrainConfig, num_classes: int) -> SegmentationNet:
    """The network a config names, with random weights.

    Raises:
        ConfigError: unknown encoder, one that does not fit the network, or one that cannot drop paths.
    """
    name = _encoder_name(config.encoder)
    mean, std = statistics(config.encoder)
    width, rate = config.decoder_channels, config.dropout
    options: dict[str, Any] = {"encoder_name": name, "encoder_weights": None, "classes": num_classes}
    if config.drop_path:
        options |= _path_options(name, config.drop_path)
    body: nn.Module
    try:
        match config.model:
            case "unet":
                top, depth = width or _UNET_CHANNELS, config.encoder_depth
                options["encoder_depth"] = depth
                options["decoder_channels"] = tuple(max(8, top >> level) for level in range(depth))
                body = Unet(**options)
            case "fpn":
                if width is not None:
                    # Its group normalisation has 32 groups.
                    segmentation = max(32, width // 64 * 32)
                    options |= {"decoder_pyramid_channels": width, "decoder_segmentation_channels": segmentation}
                if rate is not None:
                    options["decoder_dropout"] = rate
                body = FPN(**options)
            case "deeplabv3plus":
                if width is not None:
                    options["decoder_channels"] = width
                if rate is not None:
                    options["decoder_aspp_dropout"] = rate
                body = DeepLabV3Plus(**options)
            case "segformer":
                # The MLP decoder of SegFormer (arXiv:2105.15203); meant for transformer encoders, takes any.
                if width is not None:
                    options["decoder_segmentation_channels"] = width
                body = Segformer(**options)
    except (ValueError, KeyError, RuntimeError, AttributeError, TypeError) as error:
        raise ConfigError(
            f"an encoder that fits model '{config.model}'", f"'{config.encoder}' ({error})", "Try 'resnet18'."
        ) from error
    if config.drop_path and not any(isinstance(module, DropPath) for module in body.modules()):
        raise _no_paths(config.encoder, config.drop_path)
    if rate and config.model in ("unet", "segformer"):  # the others have a place of their own for it
        body.segmentation_head = _with_dropout(cast(nn.Module, body.segmentation_head), rate)
    return SegmentationNet(body, mean, std, num_classes, size_multiple=2**config.encoder_depth)


def _path_options(encoder: str, rate: float) -> dict[str, Any]:
    """What makes a timm encoder drop paths; segmentation-models-pytorch's own encoders would ignore it silently."""
    if not encoder.startswith("tu-") or not _drops_paths(encoder.removeprefix("tu-")):
        raise _no_paths(encoder, rate)
    return {"drop_path_rate": rate}


def _drops_paths(name: str) -> bool:
    """Whether a timm network takes a rate. Shapes only: nothing is allocated."""
    try:
        with torch.device("meta"):
            timm.create_model(name, pretrained=False, drop_path_rate=0.0)
    except TypeError:
        return False
    return True


def _no_paths(encoder: str, rate: float) -> ConfigError:
    like = f"tu-{encoder}"
    cure = f"Try '{like}', the same network from timm, or leave" if timm.is_model(encoder) else "Leave"
    return ConfigError(
        "an encoder with residual paths that can be dropped", f"'{encoder}' with drop_path {rate}", f"{cure} it out."
    )


def _with_dropout(head: nn.Module, rate: float) -> nn.Sequential:
    """The head behind a dropout of whole channels. Its tensors keep their names, so weights fit with and without."""
    return nn.Sequential(OrderedDict([("dropout", nn.Dropout2d(rate)), *head.named_children()]))


def _encoder_name(name: str) -> str:
    """The name segmentation-models-pytorch knows an encoder by; timm networks get the prefix it wants."""
    if name.startswith(_NOT_FREE):
        raise ConfigError("an encoder whose weights are free to use", f"'{name}'", "Try 'resnet18' or 'mobilenet_v2'.")
    if name in smp_encoders:
        return name
    plain = name.removeprefix("tu-")
    if timm.is_model(plain.partition(".")[0]):
        return f"tu-{plain}"
    known = [known for known in (*smp_encoders, *timm.list_models()) if not known.startswith(("timm-", *_NOT_FREE))]
    raise ConfigError("the name of an encoder", f"'{name}'", near(name, known) if _is_close(name, known) else _HINT)


_HINT = "Try 'resnet18', 'mobilenet_v2', 'efficientnet-b0' or any timm network with features."


def _is_close(name: str, known: list[str]) -> bool:
    return near(name, known).startswith("Did you mean")


def statistics(encoder: str) -> Statistics:
    """Mean and standard deviation (of values in 0-1) the encoder's published weights were trained with.

    Weights from elsewhere may expect others: `weights.load_encoder_weights` says so.
    """
    if encoder in smp_encoders:
        settings: dict[str, Any] = next(iter(smp_encoders[encoder]["pretrained_settings"].values()), {})
        mean, std = settings.get("mean", IMAGENET_DEFAULT_MEAN), settings.get("std", IMAGENET_DEFAULT_STD)
    else:
        published = timm.get_pretrained_cfg(encoder.removeprefix("tu-"), allow_unregistered=True)
        mean = published.mean if published else IMAGENET_DEFAULT_MEAN
        std = published.std if published else IMAGENET_DEFAULT_STD
    return (mean[0], mean[1], mean[2]), (std[0], std[1], std[2])
