"""The page's files as they are served; tests/serve/page has the page in a browser."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import PurePosixPath

import pytest

from segx_serve import pages

FILES = pages.page_files()
TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}


def test_every_file_of_the_page_is_served_and_nothing_else() -> None:
    there = {entry.name for entry in (files("segx_serve") / "page").iterdir()}
    served = {"index.html" if path == "/" else path.removeprefix("/page/") for path in FILES}
    assert served == there
    assert all("/" not in name for name in served)


@pytest.mark.parametrize("path", FILES)
def test_a_file_has_its_type_and_is_asked_for_again(path: str) -> None:
    reply = FILES[path]
    suffix = PurePosixPath(path).suffix or ".html"
    assert reply.media_type == f"{TYPES[suffix]}; charset=utf-8"
    assert (b"cache-control", b"no-cache") in reply.headers
    assert reply.body


@pytest.mark.parametrize("path", FILES)
def test_a_file_names_only_files_that_are_served_and_no_other_host(path: str) -> None:
    text = FILES[path].body.decode()
    named = re.findall(r"""(?:src|href)="([^"]+)"|from "([^"]+)"|\burl\(([^)]+)\)""", text)
    for target in filter(None, (name for names in named for name in names)):
        if target.startswith("data:"):
            continue
        found = f"/page/{target[2:]}" if target.startswith("./") else target
        assert found in {*FILES, "/docs"}, target
    # The namespace of SVG is a name, not an address.
    assert set(re.findall(r"https?://[^\s'\"`,;]+", text)) <= {"http://www.w3.org/2000/svg"}


@pytest.mark.parametrize("path", [path for path in FILES if path.endswith(".js")])
def test_a_script_says_what_it_is_and_stays_small(path: str) -> None:
    text = FILES[path].body.decode()
    assert text.startswith("// ")
    assert len(text.splitlines()) <= 350
    # Texts of the service and of files never become markup or code.
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", text)
