"""Reads the metadata of an ONNX file without loading the model.

The card says how the session that loads the file is to be built, so it has to be read before there is one. Only the
top level of the protobuf is walked (ModelProto, field 14 = metadata_props, each a key = 1 and a value = 2); the weights
are skipped over unread. Of what the metadata means it knows only under which key a card stands.
https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

from segx_core.card import METADATA_KEY
from segx_core.errors import ModelError

_GRAPH, _METADATA = 7, 14
_LARGEST_ENTRY = 64 << 20  # bytes; a card is some kilobytes, and a damaged length must not become an allocation


def read(path: Path) -> dict[str, str]:
    """The metadata of an ONNX file, key to value.

    Raises:
        ModelError: no such file, not an ONNX file, or one that is cut off.
    """
    try:
        with path.open("rb") as file:
            return _walk(file, os.fstat(file.fileno()).st_size)
    except OSError as error:
        cure = "A run folder is exported first: segx export RUN." if path.is_dir() else "Check the path."
        raise ModelError(f"an ONNX file at {path}", str(error.strerror or error), cure) from error
    except ValueError as error:
        raise ModelError(f"a whole ONNX file at {path}", str(error), "Export or download it again.") from error


def card_for(path: Path, card: Path | None, files: int) -> Path | None:
    """Which card `Predictor.load` is to be given for `path`, one of `files` model files opened together.

    A card given for a single file replaces that file's own; of several files only those without one get it.

    Raises:
        ModelError: as `read`.
    """
    if card is None or files == 1:
        return card
    return None if METADATA_KEY in read(path) else card


def _walk(file: BinaryIO, size: int) -> dict[str, str]:
    found: dict[str, str] = {}
    seen: set[int] = set()
    while file.tell() < size:
        tag = _varint(file)
        field, wire = tag >> 3, tag & 7
        if wire == 0:
            _varint(file)
        elif wire == 2:
            length = _varint(file)
            if length > size - file.tell():
                missing = length - (size - file.tell())
                raise ValueError(f"one that is cut off ({missing} bytes missing)" if field == _GRAPH else _STRANGE)
            if field == _METADATA:
                if length > _LARGEST_ENTRY:
                    raise ValueError(_STRANGE)
                key, value = _entry(file.read(length))
                found[key] = value
            else:
                file.seek(length, os.SEEK_CUR)
        elif wire in (1, 5):
            file.seek(8 if wire == 1 else 4, os.SEEK_CUR)
        else:
            raise ValueError(_STRANGE)
        seen.add(field)
    if _GRAPH not in seen:
        raise ValueError("an empty file" if not size else _STRANGE)
    return found


_STRANGE = "bytes that are no ONNX model, or a damaged one"


def _varint(file: BinaryIO) -> int:
    value = 0
    for shift in range(0, 70, 7):
        byte = file.read(1)
        if not byte:
            raise ValueError(_STRANGE)
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
    raise ValueError(_STRANGE)


def _entry(body: bytes) -> tuple[str, str]:
    texts = {1: "", 2: ""}
    position = 0
    while position < len(body):
        tag, position = body[position], position + 1
        length = shift = 0
        while True:
            if position >= len(body) or shift > 35:
                raise ValueError(_STRANGE)
            byte, position = body[position], position + 1
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        if tag & 7 != 2 or position + length > len(body):
            raise ValueError(_STRANGE)
        texts[tag >> 3] = body[position : position + length].decode("utf-8")
        position += length
    return texts[1], texts[2]
