"""Where a network of the Hugging Face hub comes from and under which licence, as its own model card states it.

What a card does not state is called not stated; nothing is guessed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from segx_core.card import Origin
from segx_export.hub.address import Address

UNSTATED = "not stated in the model card"


def origin_of(address: Address, place: str, config: Any, fixed: tuple[int, int] | None) -> Origin:
    """What a file's card keeps of it.

    Args:
        address: as the user wrote it.
        place: the repository's id, or a folder.
        config: of transformers.
        fixed: the size of a network that takes one only.
    """
    notes = []
    if fixed is not None:
        notes.append(f"Pictures are resized to {fixed[0]}x{fixed[1]}, the size the network takes.")
    if address.random:
        return Origin(source=str(address), revision="random weights", notes=("The weights are random.", *notes))
    revision = str(getattr(config, "_commit_hash", None) or address.options.get("revision", ""))
    return Origin(source=str(address), revision=revision, licence=licence_of(place, revision), notes=tuple(notes))


def licence_of(place: str, revision: str = "") -> str:
    """The licence that the model card of a repository or folder states, in words.

    A repository whose model card cannot be fetched, though its weights could, has stated none.
    """
    from huggingface_hub import ModelCard, hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, LocalEntryNotFoundError

    if Path(place).is_dir():
        readme = Path(place) / "README.md"
        if not readme.is_file():
            return UNSTATED
    else:
        try:
            readme = Path(hf_hub_download(place, "README.md", revision=revision or None))
        except (EntryNotFoundError, LocalEntryNotFoundError, HfHubHTTPError):
            return UNSTATED
    data = ModelCard.load(readme, ignore_metadata_errors=True).data
    name = getattr(data, "license_name", None) or getattr(data, "license", None)
    if not name:
        return UNSTATED
    name = ", ".join(name) if isinstance(name, list) else str(name)
    link = getattr(data, "license_link", None)
    return f"{name} ({link})" if link else name
