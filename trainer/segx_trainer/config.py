"""Everything that decides how a run trains, as one frozen record with a YAML form and `--set key=value`.

Knows nothing of the command line's own option names beyond these keys.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from segx_core.errors import ConfigError, near
from segx_trainer import budgets
from segx_trainer.augment import Policy, Preset, load
from segx_trainer.trackers import Name

Network = Literal["unet", "fpn", "deeplabv3plus", "segformer"]
RUNTIME_KEYS = frozenset({"device", "workers", "cache", "trackers"})
"""Keys that may differ when a run is resumed: they change how fast it goes and who is told, not what it computes."""


class TrainConfig(BaseModel):
    """One training run. Every key can be set by `--set key=value`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    data: str
    """Folder, dataset.yaml or the built-in name `scenes`."""
    model: Network = "unet"
    encoder: str = "resnet18"
    """A name of segmentation-models-pytorch, or any timm network with features."""
    encoder_weights: str = "imagenet"
    """`imagenet` (an installed package where there is one, else timm's hub), `none`, `package:NAME`, or the path of a
    state dict in the layout of torchvision, timm or efficientnet_pytorch."""
    encoder_depth: int = Field(default=5, ge=3, le=5)
    """Stages of the encoder that are used; each halves the picture. The other networks than unet take all 5."""
    decoder_channels: int | None = Field(default=None, ge=8)
    """Width of the decoder; None takes the network's usual one. U-Net halves it at every finer level."""
    dropout: float | None = Field(default=None, ge=0, lt=1)
    """Dropout in the decoder; None takes the network's usual rate, which is 0 for unet and segformer."""
    drop_path: float = Field(default=0.0, ge=0, lt=1)
    """Stochastic depth (arXiv:1603.09382): how often the encoder's last residual path is dropped, earlier ones less."""
    teacher: str | None = None
    """A run folder or an ONNX file with a card whose answers are learnt from, through kd and cwd in the loss."""
    init: str | None = None
    """A run folder to start from: its weights, and of the head the rows of classes that have the same name."""
    loss: str = "ce"
    """An expression; where none is given, "bce" for multilabel data."""
    class_weights: str = "none"
    """What classes count in the loss: none, inverse, median, enet, effective, or a YAML file of names and weights."""
    sampler: Literal["uniform", "rare"] = "uniform"
    """Which pictures and places are drawn: all alike, or those with rare classes more often."""
    sampler_share: float = Field(default=0.5, gt=0, le=1)
    """Of rare: share of a batch that is drawn for a class; the rest is drawn uniformly."""
    sampler_temperature: float = Field(default=0.01, gt=0)
    """Of rare: the smaller, the more the rarest classes are preferred; large values draw all classes alike."""
    augment: Preset | Policy = "light"
    """none, light, strong, or a policy: the path of its YAML file, or its keys. A file becomes part of the config."""
    scale: tuple[float, float] | None = None
    """Range of the random zoom in training, for example [0.5, 2.0]; None takes the preset's, [1, 1] is none."""
    size: tuple[int, int] | None = None
    """(height, width) of training crops; None takes the largest multiple of 32 that fits, 512 at most."""
    progressive: tuple[float, float] | None = None
    """[0.5, 0.7]: crops begin at half their sides and are full from 0.7 of all updates on; None: full throughout."""
    epochs: int | None = Field(default=None, ge=1)
    steps: int | None = Field(default=None, ge=1)
    """Optimizer steps; give epochs or steps. Neither: 50 epochs."""
    batch_size: int = Field(default=8, ge=1)
    optimizer: Literal["adamw", "adam", "sgd"] = "adamw"
    lr: float = Field(default=1e-3, gt=0)
    encoder_lr_factor: float = Field(default=1.0, gt=0)
    """Factor on the learning rate of the encoder."""
    weight_decay: float = Field(default=0.01, ge=0)
    """Decoupled for AdamW; never on biases and normalisation."""
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """Of SGD."""
    schedule: Literal["poly", "cosine", "constant"] = "poly"
    warmup: float = Field(default=0.05, ge=0, lt=1)
    """Share of all steps with a linearly growing learning rate."""
    accumulate: int = Field(default=1, ge=1)
    """Batches whose gradients are averaged into one step: the effect of a larger batch in the memory of one."""
    ema: float | None = Field(default=None, gt=0, lt=1)
    """Decay of a running average of the weights, for example 0.999, which is then what is validated and exported."""
    clip: float = Field(default=5.0, ge=0)
    """Largest norm of the gradient; 0 is no clipping."""
    amp: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Mixed precision; auto: bf16 or fp16 on CUDA, fp32 on the CPU."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    workers: int | None = Field(default=None, ge=0)
    """Loader processes; None chooses by the number of cores."""
    cache: Literal["auto", "always", "never"] = "auto"
    """Keep decoded pictures in memory; auto: while they take less than 2 GiB."""
    unreadable: Literal["stop", "skip"] = "stop"
    """At a picture or mask that cannot be read: stop, or say so and go on with another one in its place."""
    deterministic: bool = False
    """Only operations that give the same bits every time, on a GPU too and at its cost; the CPU's always do."""
    compile: bool = False
    """Compile the network for training with torch.compile: minutes at the start, and other rounding."""
    trackers: tuple[Name, ...] = ()
    """Services that get the run's numbers besides TensorBoard: wandb, mlflow, trackio."""
    validate_every: int = Field(default=1, ge=1)
    """Epochs between validations."""
    save_every: int = Field(default=200, ge=1)
    """Steps between writes of last.pt, besides the end of every epoch."""
    patience: int | None = Field(default=None, ge=1)
    """Stop after so many validations without a better mIoU."""
    until: float | None = Field(default=None, gt=0, le=1)
    """Stop as soon as the validation mIoU reaches this fraction."""
    seed: int = Field(default=0, ge=0)

    @field_validator("augment", mode="before")
    @classmethod
    def _load_policy(cls, value: Any) -> Any:
        return load(value)

    @field_validator("trackers", mode="before")
    @classmethod
    def _parse_trackers(cls, value: Any) -> Any:
        return [part.strip() for part in value.split(",")] if isinstance(value, str) else value

    @field_validator("size", mode="before")
    @classmethod
    def _parse_size(cls, value: Any) -> Any:
        if isinstance(value, str):
            parts = value.lower().split("x")
            return tuple(int(part) for part in parts) if all(part.isdigit() for part in parts) else value
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.epochs is not None and self.steps is not None:
            raise ValueError("give epochs or steps, not both")
        if self.encoder_depth != 5 and self.model != "unet":
            raise ValueError("encoder_depth other than 5 needs model 'unet'")
        if self.scale is not None and not 0 < self.scale[0] <= self.scale[1]:
            raise ValueError("scale must be two factors above 0, the smaller one first")
        if self.progressive is not None and not all(0 < share <= 1 for share in self.progressive):
            raise ValueError("progressive must be two shares above 0 and at most 1, such as [0.5, 0.7]")
        if self.size is not None and min(self.size) < 32:
            raise ValueError("size must be at least 32x32")
        return self


def build_config(values: dict[str, Any]) -> TrainConfig:
    """Validate; ConfigError names the key, what it may be, and the near key of a misspelt one."""
    try:
        return TrainConfig(**budgets.resolve(values))
    except ValidationError as error:
        raise _translate(error) from None


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a config file as plain values."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError("a readable YAML config", f"{path}: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise ConfigError("a YAML mapping of config keys", f"{path} holding {type(values).__name__}")
    return {str(key): value for key, value in values.items()}


def to_yaml(config: TrainConfig) -> str:
    """Every key with its value, in the order of the class."""
    values = config.model_dump(mode="json")
    values["size"] = None if config.size is None else f"{config.size[0]}x{config.size[1]}"
    return yaml.safe_dump(values, sort_keys=False)


def parse_assignments(assignments: list[str]) -> dict[str, Any]:
    """`["lr=3e-4", "clip=1"]` -> values; YAML rules for what a value is."""
    values: dict[str, Any] = {}
    for text in assignments:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise ConfigError("--set key=value", f"'{text}'")
        values[key.strip()] = _scalar(value.strip())
    return values


def _scalar(text: str) -> Any:
    try:
        return float(text) if "e" in text.lower() else yaml.safe_load(text)  # YAML 1.1 reads 3e-4 as text
    except (ValueError, yaml.YAMLError):
        return text


def _translate(error: ValidationError) -> ConfigError:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return ConfigError("a config key", f"'{key}'", near(key, TrainConfig.model_fields))
    message = str(first["msg"]).removeprefix("Value error, ").lower()
    if not key:
        return ConfigError("a consistent config", message)
    return ConfigError(f"a valid '{key}' ({message})", repr(first["input"]))
