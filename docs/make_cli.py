"""Writes docs/cli.md from what `segx --help` says, at a fixed width, without colour. Run it after changing an option.

It knows no option itself; tests/segx/test_surface.py fails while the page is stale.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from segx.cli import app  # noqa: TID251  the page is about the command

PAGE = Path(__file__).with_name("cli.md")
_WIDTH = 110
_HEAD = """# The command

Made from `segx --help` by `python docs/make_cli.py`; do not edit.

Exit codes: 0 ok, 1 a quality gate failed, 2 bad input or machine (one message on stderr), 130 Ctrl-C.
"""


def page() -> str:
    """The whole page as Markdown."""
    root: Any = typer.main.get_command(app)
    parts = [_HEAD, _section("segx", _help(root, None))]
    parent = _context(root, None)
    for name, command in root.commands.items():
        parts.append(_section(f"segx {name}", _help(command, parent)))
        inner = _context(command, parent)
        for word, verb in getattr(command, "commands", {}).items():
            parts.append(_section(f"segx {name} {word}", _help(verb, inner)))
    return "\n".join(parts)


def _section(title: str, text: str) -> str:
    return f"## {title}\n\n```text\n{text}\n```\n"


def _help(command: Any, parent: Any) -> str:
    command.rich_markup_mode = None  # plain text instead of rich's boxes, the same on every machine
    lines = command.get_help(_context(command, parent)).splitlines()
    return "\n".join(line.rstrip() for line in lines)


def _context(command: Any, parent: Any) -> Any:
    name = "segx" if parent is None else command.name
    kinds = {**command.context_settings, "terminal_width": _WIDTH, "max_content_width": _WIDTH}
    return command.context_class(command, info_name=name, parent=parent, **kinds)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
