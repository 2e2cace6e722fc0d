"""The OpenAPI document and its page, of the models served at the moment; made anew only when those change.

Models come and go while the service runs, and a front-end starts with none. It knows nothing of what a document says.
"""

from __future__ import annotations

from segx_serve import docs, openapi, pages
from segx_serve.catalog import Catalog
from segx_serve.http import Reply, as_json
from segx_serve.settings import Settings

_Models = dict[str, tuple[str, ...]]


class Described:
    """One for each process; used on its event loop."""

    def __init__(self, catalog: Catalog, settings: Settings) -> None:
        self._catalog = catalog
        self._settings = settings
        self._of: _Models | None = None
        self._document = self._page = Reply(200, b"", "")

    def document(self) -> Reply:
        """The document."""
        self._make()
        return self._document

    def page(self) -> Reply:
        """The document as a page."""
        self._make()
        return self._page

    def _make(self) -> None:
        models = {name: tuple(self._catalog.versions(name)) for name in self._catalog.names}
        if models == self._of:
            return
        document = openapi.document(models, self._settings)
        self._document = as_json(document)
        self._page = pages.html(docs.render(document))
        self._of = models
