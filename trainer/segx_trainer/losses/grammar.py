"""The grammar of `--loss`: a weighted sum of named terms. Knows the shape of expressions, not which names exist.

sum        = product { "+" product }
product    = [ number "*" ] term
term       = name [ "[" setting { "," setting } "]" ]
setting    = name "=" number
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field

from segx_core.errors import ConfigError

_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|(?P<name>[A-Za-z_]\w*)|(?P<mark>[-+*\[\],=]))"
)
_EXAMPLE = 'Write for example "ce + 0.5*dice" or "ce[smoothing=0.1]".'


@dataclass(frozen=True)
class Term:
    """One product of the sum."""

    name: str
    weight: float = 1.0
    parameters: dict[str, float] = field(default_factory=dict)


def parse(expression: str) -> tuple[Term, ...]:
    """Parse a loss expression; ConfigError points at the place that does not fit."""
    reader = _Reader(expression)
    terms = [_product(reader)]
    while reader.take("+"):
        terms.append(_product(reader))
    reader.end()
    return tuple(terms)


class _Reader:
    """Tokens one after the other, with an error that shows where it stopped."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens: list[tuple[str, str, int]] = []
        position = 0
        while text[position:].strip():
            match = _TOKEN.match(text, position)
            if match is None:
                start = position + len(text[position:]) - len(text[position:].lstrip())
                raise self.error(f"'{text[start]}'", start)
            kind = str(match.lastgroup)
            self.tokens.append((kind, match.group(kind), match.start(kind)))
            position = match.end()
        self.index = 0

    def error(self, got: str, position: int, expected: str = "a loss expression") -> ConfigError:
        return ConfigError(expected, f'{got} at position {position + 1} of "{self.text}"', _EXAMPLE)

    def peek(self) -> tuple[str, str, int]:
        return self.tokens[self.index] if self.index < len(self.tokens) else ("end", "the end", len(self.text))

    def take(self, mark: str) -> bool:
        found = self.peek()[:2] == ("mark", mark)
        self.index += found
        return found

    def need(self, kind: str, value: str | None = None) -> str:
        got_kind, got, position = self.peek()
        if got_kind != kind or (value is not None and got != value):
            raise self.error(f"'{got}'", position, f"'{value}'" if value else f"a {kind}")
        self.index += 1
        return got

    def end(self) -> None:
        kind, got, position = self.peek()
        if kind != "end":
            raise self.error(f"'{got}'", position, "'+' or the end")


def _product(reader: _Reader) -> Term:
    weight = 1.0
    if reader.peek()[0] == "number":
        position = reader.peek()[2]
        weight = float(reader.need("number"))
        if not 0 < weight < math.inf:
            raise reader.error(f"{weight:g}", position, "a finite weight above 0")
        reader.need("mark", "*")
    name = reader.need("name")
    parameters: dict[str, float] = {}
    if reader.take("["):
        while True:
            key = reader.need("name")
            if key in parameters:
                raise reader.error(f"'{key}' twice", reader.peek()[2], "each parameter once")
            reader.need("mark", "=")
            sign = -1.0 if reader.take("-") else 1.0
            parameters[key] = sign * float(reader.need("number"))
            if not reader.take(","):
                break
        reader.need("mark", "]")
    return Term(name, weight, parameters)
