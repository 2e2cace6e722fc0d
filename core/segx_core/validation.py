"""Turns a pydantic ValidationError into one SegxError that names the field, what was expected and what was found.

Knows pydantic models and nothing of cards or data sets: every file segx reads from a user is validated through it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from segx_core.errors import InputError, near


def explain(error: ValidationError, model: type[BaseModel], source: str, kind: type[InputError]) -> InputError:
    """One error for the user from the first thing pydantic found wrong.

    Args:
        error: what `model.model_validate` raised.
        model: the model that was validated; its field names give the advice for a mistyped key.
        source: the file or place the text came from, for the message.
        kind: the class of the error that is returned.

    Returns:
        An error to raise; nothing is raised here.
    """
    # A mistyped key also makes its proper name "missing": the typing mistake is the better message.
    details = sorted(error.errors(include_url=False), key=lambda detail: detail["type"] != "extra_forbidden")
    first = details[0]
    where = _path(first["loc"])
    more = f" ({len(details) - 1} more after this one.)" if len(details) > 1 else ""
    match first["type"]:
        case "extra_forbidden":
            known = _fields(model, first["loc"][:-1])
            return kind(f"only known keys in {source}", f"'{where}'", near(str(first["loc"][-1]), known) + more)
        case "missing":
            return kind(f"'{where}' in {source}", "no such key", "Add it." + more)
        case "value_error":
            message = str(first.get("ctx", {}).get("error", first["msg"]))
            place = f"'{where}' of {source}" if where else source
            return kind(f"a consistent record in {place}", message, more.strip())
        case _:
            need = first["msg"].removeprefix("Input should be ")
            return kind(f"'{where}' in {source} to be {need}", _short(first["input"]), more.strip())


def _path(loc: Sequence[int | str]) -> str:
    text = ""
    for part in loc:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _fields(model: type[BaseModel], loc: Sequence[int | str]) -> list[str]:
    """The keys known at `loc`, an address inside `model`; positions in lists do not change the type looked at."""
    inside: list[type[BaseModel]] = [model]
    for part in loc:
        if isinstance(part, str):
            known = [one.model_fields[part].annotation for one in inside if part in one.model_fields]
            inside = [found for annotation in known for found in _models(annotation)] or inside
    return [name for one in inside for name in one.model_fields]


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for part in get_args(annotation) for found in _models(part)]
