"""A real browser, the page open in it, and a service with two models. Nothing may go to another host."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from segx_core.predictor import Predictor

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
NEIGHBOUR = "http://neighbour.test:"
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream=device-count=2",
    # A name that is this machine and yet neither localhost nor https: the page as the neighbours see it.
    "--host-resolver-rules=MAP neighbour.test 127.0.0.1",
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One Chromium for the tests of a file; an event loop runs in this thread while it lives.

    Its cameras are two made-up ones; each context says whether it may use them.
    """
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        made = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield made
        made.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A browser profile of its own, whose pages must throw nothing and stay on this machine."""
    made = browser.new_context(viewport={"width": 1100, "height": 800}, has_touch=True)
    problems: list[str] = []
    made.on("weberror", lambda error: problems.append(str(error.error)))
    elsewhere: list[str] = []
    made.on("request", lambda request: elsewhere.append(request.url))
    yield made
    made.close()
    assert not problems
    assert not [url for url in elsewhere if not url.startswith(("http://127.0.0.1:", NEIGHBOUR, "blob:", "data:"))]


@pytest.fixture
def page(context: BrowserContext) -> Page:
    """An empty tab."""
    one = context.new_page()
    one.set_default_timeout(15_000)
    return one


@pytest.fixture
def running(kit: SimpleNamespace, serve: Any, tmp_path: Path) -> Any:
    """A service with the brightness model under two names, and a sample."""
    (tmp_path / "sample.png").write_bytes(kit.as_png(kit.picture(2, 60, 80)))
    files = {name: kit.write_model(tmp_path / f"{name}.onnx", kit.card(name)) for name in ("one", "two")}
    return serve(
        {name: Predictor.load(path, provider="cpu") for name, path in files.items()}, sample=tmp_path / "sample.png"
    )


def choose(page: Page, name: str, data: bytes, media_type: str = "image/png") -> None:
    """Give the page a file and wait for nothing."""
    page.set_input_files("#file", files=[{"name": name, "mimeType": media_type, "buffer": data}])


def canvas(page: Page, name: str) -> Any:
    """A canvas as (H, W, 4) uint8 RGBA."""
    size, address = page.evaluate(
        """name => new Promise(resolve => {
        const canvas = document.getElementById(name);
        const { width, height } = canvas;
        const reader = new FileReader();
        reader.onload = () => resolve([[height, width], reader.result]);
        reader.readAsDataURL(new Blob([canvas.getContext("2d").getImageData(0, 0, width, height).data]));
        })""",
        name,
    )
    return np.frombuffer(base64.b64decode(address.partition(",")[2]), np.uint8).reshape(*size, 4)


def ready(page: Page) -> None:
    """Wait until an answer is shown."""
    page.wait_for_selector("#legend li")
    page.wait_for_selector("body:not(.busy)")


@pytest.fixture(scope="session")
def hand() -> SimpleNamespace:
    """What tests of the page do with it."""
    return SimpleNamespace(choose=choose, canvas=canvas, ready=ready, neighbour=NEIGHBOUR)
