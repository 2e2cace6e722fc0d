"""What a user writes for a network of a hub: `torchvision:NAME?weights=none`, `hf:OWNER/NAME?size=512x512`.

Text only; whether there is such a network is its hub's business.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl

from segx_core.errors import ConfigError, near

HUBS: dict[str, tuple[str, ...]] = {"torchvision": ("weights",), "hf": ("weights", "revision", "size")}
"""Hubs and the options their addresses take."""


@dataclass(frozen=True)
class Address:
    """One network of one hub."""

    hub: str
    name: str
    """A network's name, a repository's id, or a folder."""
    options: dict[str, str] = field(default_factory=dict)

    @property
    def random(self) -> bool:
        """Whether random weights were asked for, for a try."""
        return self.options.get("weights") == "none"

    @property
    def folder(self) -> Path | None:
        """The folder of a name that is a path; None for a network of the hub itself."""
        return Path(self.name).expanduser() if self.name.startswith((".", "/", "~")) else None

    @property
    def stem(self) -> str:
        """What names of files begin with."""
        return self.folder.resolve().name if self.folder else self.name.rpartition("/")[2]

    @property
    def size(self) -> tuple[int, int] | None:
        """(height, width) asked for. Raises ConfigError where it is none."""
        text = self.options.get("size")
        if text is None:
            return None
        height, _, width = text.partition("x")
        if not (height.isdecimal() and width.isdecimal() and int(height) and int(width)):
            raise ConfigError("a size as HEIGHTxWIDTH", f"'{text}'", "For example ?size=512x512.")
        return int(height), int(width)

    def __str__(self) -> str:
        return f"{self.hub}:{self.name}"


def is_address(source: str) -> bool:
    """Whether a source names a network of a hub, and not a path."""
    return source.partition(":")[0] in HUBS


def parse(source: str) -> Address:
    """The address in a text that is one.

    Raises:
        ConfigError: no name, or an option the hub does not take.
    """
    hub, _, rest = source.partition(":")
    name, _, query = rest.partition("?")
    if not name.strip("/"):
        raise ConfigError(f"a network after '{hub}:'", f"'{source}'", "For example torchvision:deeplabv3_resnet50.")
    options = dict(parse_qsl(query, keep_blank_values=True))
    for key in options:
        if key not in HUBS[hub]:
            raise ConfigError(f"an option of '{hub}:'", f"'{key}' in '{source}'", near(key, HUBS[hub]))
    return Address(hub, name, options)
