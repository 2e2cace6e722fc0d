"""Named tensors at the door of a graph: held against what it takes, and absent optional inputs filled in.

Knows the card and the graph's ports; runs nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from segx_core.card import Card, InputSpec
from segx_core.errors import DataError, near
from segx_core.fitting import Port
from segx_core.runner import Tensor


def complete(feeds: Mapping[str, Tensor], card: Card, ports: Iterable[Port]) -> dict[str, Tensor]:
    """The feeds with every absent optional input filled.

    Filled with zeros of the shape the card tells, named axes as long as in what was given (1 where nothing tells).
    `present` (N, M), where absent, says 1 for the modalities that were given and 0 for the others: column m is the
    m-th optional map or audio input in the card's order.

    Args:
        feeds: tensors by input name.
        card: tells which inputs are optional and how axes are named.
        ports: what the graph takes.

    Raises:
        DataError: an unknown name, a required input that is absent, a wrong element type or shape.
    """
    specs = {spec.name: spec for spec in card.inputs}
    for name in feeds:
        if name not in specs:
            raise DataError("inputs the model has", f"'{name}'", near(name, specs))
    for spec in card.inputs:
        if spec.name not in feeds and not spec.optional and spec.kind != "present":
            raise DataError(f"the input '{spec.name}'", f"only {', '.join(sorted(feeds)) or 'nothing'}", "Give it too.")
    for port in ports:
        if port.name in feeds:
            _check(feeds[port.name], port)
    sizes = _axes(feeds, specs)
    full = dict(feeds)
    for spec in card.inputs:
        if spec.name not in full:
            full[spec.name] = blank(spec, sizes)
            if spec.kind == "present":
                _tell(full[spec.name], card, feeds)
    return full


def blank(spec: InputSpec, sizes: Mapping[str, int]) -> Tensor:
    """Zeros for an input: named axes from `sizes`, 1 where it does not tell."""
    shape = [axis if isinstance(axis, int) else sizes.get(axis, 1) for axis in spec.shape]
    return np.zeros(shape, dtype=np.dtype(spec.dtype))


def _check(tensor: Tensor, port: Port) -> None:
    if not isinstance(tensor, np.ndarray) or str(tensor.dtype) != port.dtype:
        got = tensor.dtype if isinstance(tensor, np.ndarray) else type(tensor).__name__
        raise DataError(f"input '{port.name}' to be an array of {port.dtype}", str(got), "Convert it.")
    fits = len(tensor.shape) == len(port.shape) and all(
        not isinstance(want, int) or want == have for want, have in zip(port.shape, tensor.shape, strict=True)
    )
    if port.shape and not fits:
        wanted = ", ".join("?" if axis is None else str(axis) for axis in port.shape)
        raise DataError(f"input '{port.name}' of shape [{wanted}]", str(list(tensor.shape)))


def _axes(feeds: Mapping[str, Tensor], specs: Mapping[str, InputSpec]) -> dict[str, int]:
    """Lengths of named axes; the same name must be the same length everywhere."""
    sizes: dict[str, int] = {}
    where: dict[str, str] = {}
    for name, tensor in feeds.items():
        for axis, length in zip(specs[name].shape, tensor.shape, strict=False):
            if not isinstance(axis, str):
                continue
            if sizes.setdefault(axis, length) != length:
                raise DataError(
                    f"inputs that agree on axis {axis}",
                    f"{sizes[axis]} in '{where[axis]}' and {length} in '{name}'",
                    "Bring them to one size.",
                )
            where.setdefault(axis, name)
    return sizes


def _tell(present: Tensor, card: Card, feeds: Mapping[str, Tensor]) -> None:
    modalities = [spec.name for spec in card.inputs if spec.optional and spec.kind in ("map", "audio")]
    for column, name in enumerate(modalities[: present.shape[-1]]):
        present[..., column] = 1 if name in feeds else 0
