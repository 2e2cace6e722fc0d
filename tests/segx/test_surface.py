"""The command's words, frozen: a name that changes here breaks other people's scripts."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import typer

from segx.cli import app

HERE = Path(__file__).parent
DOCS = HERE.parents[1] / "docs"


def test_the_results_page_is_what_the_benches_left() -> None:
    assert runpy.run_path(str(DOCS / "make_results.py"))["render"]() == (DOCS / "results.md").read_text()


def live() -> str:
    """A line for each verb: its arguments and options."""
    root: Any = typer.main.get_command(app)
    lines = ["segx " + " ".join(_words(root))]
    lines += [f"segx {name} " + " ".join(_words(command)) for name, command in _verbs(root)]
    return "\n".join(lines) + "\n"


def _verbs(root: Any) -> list[tuple[str, Any]]:
    """Every verb by its words, those of groups with the group's word before."""
    verbs = []
    for name, command in sorted(root.commands.items()):
        inner = getattr(command, "commands", None)
        verbs += (
            [(name, command)] if inner is None else [(f"{name} {word}", verb) for word, verb in sorted(inner.items())]
        )
    return verbs


def _words(command: Any) -> list[str]:
    arguments = [one.name.upper() for one in command.params if one.param_type_name == "argument"]
    options = [word for one in command.params if one.param_type_name == "option" for word in one.opts]
    return [*arguments, *sorted(options)]


def test_the_surface_is_as_promised() -> None:
    assert live() == (HERE / "surface.txt").read_text(encoding="utf-8"), "other tools call these names"


def test_the_page_about_the_command_is_fresh() -> None:
    page = runpy.run_path(str(DOCS / "make_cli.py"))["page"]()
    assert page == (DOCS / "cli.md").read_text(encoding="utf-8"), "run: python docs/make_cli.py"


def test_every_verb_has_an_example_and_every_option_a_word_of_help() -> None:
    root: Any = typer.main.get_command(app)
    for name, command in _verbs(root):
        assert f"Example: segx {name}" in command.help
        for one in command.params:
            assert one.help, f"{name} {one.name}"
