"""Reads and writes cards: JSON beside a checkpoint and inside an ONNX file, YAML for third-party files.

The text only. Reaching into an ONNX file is done by Predictor (ONNX Runtime hands the metadata over) and by export
(which owns the `onnx` package); whether a card fits its graph is judged where the graph is, in Predictor.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from segx_core import atomic
from segx_core.card import SCHEMA, Card
from segx_core.card_yaml import YamlCard
from segx_core.errors import CardError
from segx_core.validation import explain

CARD_FILE = "card.json"

_Model = TypeVar("_Model", bound=BaseModel)


def to_json(card: Card) -> str:
    """The card as JSON text, keys in the order of the schema, two spaces of indent."""
    return card.model_dump_json(indent=2) + "\n"


def from_json(text: str, source: str) -> Card:
    """The card in a JSON text.

    Args:
        text: what `to_json` wrote, maybe by another version of segx.
        source: the file it came from, for messages.

    Raises:
        CardError: not JSON, written by a newer segx, or a field is wrong; names the field.
    """
    try:
        fields = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise CardError(
            f"a card in JSON in {source}", f"text that is none ({error})", "Export the model again."
        ) from error
    _is_mapping(fields, source)
    version = fields.get("schema_version", SCHEMA)
    if isinstance(version, int) and version > SCHEMA:
        raise CardError(
            f"a card of schema {SCHEMA} or older in {source}",
            f"schema {version}, written by a newer segx",
            "Upgrade: pip install --upgrade segx.",
        )
    return _validated(Card, fields, source)


def read_yaml(path: Path) -> Card:
    """The card of a third-party ONNX file, written by hand.

    Args:
        path: YAML with `input`, `output`, `classes` and optionally `palette`, `ignore`, `name`, `session`.

    Returns:
        A full card: normalisation to be done by the runner, missing colours filled in.

    Raises:
        CardError: unreadable, not YAML, an unknown key (names the near one), a wrong value.
    """
    source = str(path)
    try:
        fields = yaml.safe_load(_text(path))
    except (yaml.YAMLError, RecursionError) as error:
        where = " ".join(str(error).split())
        raise CardError(f"a card in YAML in {source}", f"text that is none ({where})") from error
    _is_mapping(fields, source)
    short = _validated(YamlCard, fields, source)
    try:
        return short.full(path.stem, source)
    except ValidationError as error:
        raise explain(error, Card, source, CardError) from error


def save(card: Card, path: Path) -> None:
    """Writes the card as JSON, whole or not at all.

    Raises:
        SetupError: the disk is full or the place not writable.
    """
    atomic.write_text(path, to_json(card))


def load(path: Path) -> Card:
    """The card in a JSON file, or in the YAML of a third-party file by its suffix (.yaml, .yml).

    Raises:
        CardError: unreadable or wrong.
    """
    if path.suffix.lower() in (".yaml", ".yml"):
        return read_yaml(path)
    return from_json(_text(path), str(path))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise CardError(f"a readable card at {path}", str(error.strerror or error), "Check the path.") from error
    except UnicodeDecodeError as error:
        raise CardError(f"a card in UTF-8 text at {path}", f"bytes that are none ({error.reason})") from error


def _is_mapping(fields: Any, source: str) -> None:
    if not isinstance(fields, dict):
        raise CardError(f"a card with keys and values in {source}", f"a {type(fields).__name__}")


def _validated(model: type[_Model], fields: dict[str, Any], source: str) -> _Model:
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        raise explain(error, model, source, CardError) from error
