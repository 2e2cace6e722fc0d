"""The models that one process offers, by name and version. Replaced as a whole when something is loaded or unloaded.

A request that has found its model keeps it to the end, whatever is replaced meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from segx_core.errors import near
from segx_serve.http import RefusalError
from segx_serve.models import Model


class Catalog:
    """Read and replaced on the event loop only."""

    def __init__(self, models: Iterable[Model] = ()) -> None:
        self._models: dict[str, dict[str, Model]] = {}
        self.serial = 0
        """Grows with every change, for those who remember what they found."""
        self.replace(models)

    def __iter__(self) -> Iterator[Model]:
        """Every version of every model, newest version first."""
        for versions in self._models.values():
            yield from versions.values()

    def replace(self, models: Iterable[Model]) -> None:
        """Offer these and no others from now on."""
        found: dict[str, dict[str, Model]] = {}
        for model in sorted(models, key=lambda one: (one.name, _rank(one.version))):
            found.setdefault(model.name, {})[model.version] = model
        self._models = found
        self.serial += 1

    @property
    def names(self) -> list[str]:
        """The models' names."""
        return list(self._models)

    @property
    def newest(self) -> list[Model]:
        """The newest version of each model."""
        return [next(iter(versions.values())) for versions in self._models.values()]

    def versions(self, name: str) -> list[str]:
        """The versions of a model, newest first; none for an unknown name."""
        return list(self._models.get(name, ()))

    def find(self, name: str, version: str = "") -> Model:
        """One version of a model, the newest where none is asked for.

        Raises:
            RefusalError: 404, with the near name or the versions there are.
        """
        versions = self._models.get(name)
        if versions is None:
            raise RefusalError(404, "unknown_model", f"There is no model '{name[:100]}'. {near(name, self._models)}")
        if not version:
            return next(iter(versions.values()))
        if version not in versions:
            known = ", ".join(versions)
            text = f"Model '{name}' has no version '{version[:20]}'. It has: {known}."
            raise RefusalError(404, "unknown_version", text)
        return versions[version]

    def only(self) -> Model:
        """The one model there is.

        Raises:
            RefusalError: 400, there are several; 404, there is none.
        """
        if len(self._models) == 1:
            return self.newest[0]
        if not self._models:
            raise RefusalError(404, "no_model", "No model is loaded.")
        text = f"Several models are served: say which with ?model=NAME. Known: {', '.join(sorted(self._models))}."
        raise RefusalError(400, "model_required", text)


def _rank(version: str) -> tuple[int, int, str]:
    """Numbers before words, the highest first."""
    return (0, -int(version), "") if version.isdecimal() else (1, 0, version)
