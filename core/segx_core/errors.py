"""The one exception tree of segx. Knows nothing of the command line or HTTP; both translate from here.

    SegxError                 anything a user can mend; the command prints it without a traceback
    ├── InputError            what was given is wrong                               exit 2
    │   ├── DataError         a data set: layout, masks, labels, missing pictures
    │   ├── PictureError      one picture: unreadable, truncated, too large
    │   ├── CardError         a card: missing, malformed, contradicting the model
    │   ├── ModelError        an ONNX file or a run folder that cannot be used
    │   └── ConfigError       an option, a config key, a loss expression
    ├── SetupError            the machine: a library, provider, disk or permission  exit 2
    └── GateError             work was done and its quality was refused             exit 1

Every message says what was expected, what was found, and what mends it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import ClassVar


class SegxError(Exception):
    """Something the user can mend.

    Args:
        expected: what segx needed, as a full clause ("a mask for every picture").
        got: what it found instead, naming the file, field or value.
        cure: what to do about it. Empty only where nothing sensible can be advised.
    """

    exit_code: ClassVar[int] = 2

    def __init__(self, expected: str, got: str, cure: str = "") -> None:
        super().__init__(expected, got, cure)
        self.expected = expected
        self.got = got
        self.cure = cure

    def __str__(self) -> str:
        text = f"expected {self.expected}, got {self.got}"
        return f"{text}. {self.cure}" if self.cure else text


class InputError(SegxError):
    """What was given is wrong."""


class DataError(InputError):
    """A data set that cannot be read as one."""


class PictureError(InputError):
    """One picture that cannot be used.

    `kind` tells the service which answer fits: "broken" (400), "too_large" (413), "unsupported" (415).
    """

    def __init__(self, expected: str, got: str, cure: str = "", *, kind: str = "broken") -> None:
        super().__init__(expected, got, cure)
        self.kind = kind


class CardError(InputError):
    """A card that is missing, malformed, or contradicts its model."""


class ModelError(InputError):
    """An ONNX file or a run folder that cannot be used."""


class ConfigError(InputError):
    """An option, a configuration key or a loss expression that means nothing."""


class SetupError(SegxError):
    """The machine lacks something: a library, a provider, disk space, a permission."""


class GateError(SegxError):
    """The work was done, measured, and found not good enough."""

    exit_code: ClassVar[int] = 1


def near(name: str, known: Iterable[str]) -> str:
    """Advice that names the known word closest to `name`, else all of them."""
    words = sorted(known)
    close = difflib.get_close_matches(name, words, n=1)
    return f"Did you mean '{close[0]}'?" if close else f"Known: {', '.join(words)}."
