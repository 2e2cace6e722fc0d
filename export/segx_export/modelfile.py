"""Writes an ONNX model with its card inside, whole or not at all, and reads it back to be sure. One file, always."""

from __future__ import annotations

from pathlib import Path

from onnx import ModelProto, helper

from segx_core import atomic, card_io, onnx_metadata
from segx_core.card import METADATA_KEY, Card
from segx_core.errors import SetupError


def write_model(model: ModelProto, card: Card, path: Path) -> None:
    """Write `model` with `card` under the metadata key `segx.card`; other metadata stays.

    Raises:
        SetupError: full disk or missing permission, or the file does not read back as written.
    """
    text = card_io.to_json(card)
    others = {item.key: item.value for item in model.metadata_props if item.key != METADATA_KEY}
    helper.set_model_props(model, {**others, METADATA_KEY: text})
    with atomic.replacing(path) as temporary:
        temporary.write_bytes(model.SerializeToString())
        if onnx_metadata.read(temporary).get(METADATA_KEY) != text:
            raise SetupError(f"the card inside {path} to read back as written", "another text", "Check the disk.")
