"""The page in a real browser."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from segx_core.predictor import Predictor

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: apt-get install chromium")
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as driver:
        made = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield made
        made.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1100, "height": 800})
    one = context.new_page()
    problems: list[str] = []
    one.on("pageerror", lambda error: problems.append(str(error)))
    elsewhere: list[str] = []
    one.on("request", lambda request: elsewhere.append(request.url))
    yield one
    assert not problems
    assert not [url for url in elsewhere if not url.startswith(("http://127.0.0.1", "blob:", "data:"))]
    context.close()


@pytest.fixture
def running(kit: SimpleNamespace, serve: Any, tmp_path: Path) -> Any:
    (tmp_path / "sample.png").write_bytes(kit.as_png(kit.picture(2, 60, 80)))
    files = {name: kit.write_model(tmp_path / f"{name}.onnx", kit.card(name)) for name in ("one", "two")}
    return serve(
        {name: Predictor.load(path, provider="cpu") for name, path in files.items()}, sample=tmp_path / "sample.png"
    )


def choose(page: Page, name: str, data: bytes) -> None:
    page.set_input_files("#file", files=[{"name": name, "mimeType": "image/png", "buffer": data}])


def drawn(page: Page) -> Any:
    """The overlay as (H, W, 4) RGBA."""
    size, values = page.evaluate(
        """() => { const canvas = document.getElementById("classes"); const {width, height} = canvas;
        return [[height, width], [...canvas.getContext("2d").getImageData(0, 0, width, height).data]]; }"""
    )
    return np.array(values, np.uint8).reshape(*size, 4)


def test_a_chosen_picture_is_shown_with_its_classes(kit: SimpleNamespace, running: Any, page: Page) -> None:
    pixels = kit.picture(1, 48, 64)
    expected = kit.Brightness().run(pixels[None])[0]
    page.goto(running.url)
    choose(page, "a.png", kit.as_png(pixels))
    page.wait_for_selector("#result:not([hidden])")
    colors = np.array(kit.PALETTE, np.uint8)[expected]
    np.testing.assert_array_equal(drawn(page)[..., :3], colors)
    rows = page.locator("#legend li").all_inner_texts()
    counts = np.bincount(expected.ravel(), minlength=4)
    assert len(rows) == np.count_nonzero(counts)
    assert kit.CLASSES[counts.argmax()] in rows[0]
    assert f"{counts.max() / expected.size * 100:.1f} %" in rows[0]
    assert "Model" in page.locator("#timing").inner_text()

    page.locator("#legend input").first.uncheck()
    hidden = drawn(page)[..., 3] == 0
    np.testing.assert_array_equal(hidden, expected == counts.argmax())
    page.locator("#none").click()
    assert not drawn(page)[..., 3].any()
    page.locator("#all").click()
    assert drawn(page)[..., 3].all()

    page.locator("#opacity").fill("25")
    assert page.locator("#classes").evaluate("element => element.style.opacity") == "0.25"
    with page.expect_download() as download:
        page.locator("#save").click()
    assert download.value.suggested_filename == "a.png"
    np.testing.assert_array_equal(kit.from_png(download.value.path().read_bytes()), expected)


def test_an_error_is_shown_in_words_and_the_next_picture_clears_it(
    kit: SimpleNamespace, running: Any, page: Page
) -> None:
    page.goto(running.url)
    choose(page, "broken.png", kit.as_png(kit.picture())[:-40])
    page.wait_for_selector("#message:not([hidden])")
    assert page.locator("[role=alert]").inner_text().startswith("broken.png: ")
    assert page.locator("#result").is_hidden()
    choose(page, "fine.png", kit.as_png(kit.picture()))
    page.wait_for_selector("#result:not([hidden])")
    assert page.locator("#message").is_hidden()


def test_the_sample_and_the_choice_of_models(kit: SimpleNamespace, running: Any, page: Page) -> None:
    page.goto(running.url)
    page.locator("#sample").click()
    page.wait_for_selector("#result:not([hidden])")
    with page.expect_request(lambda request: "model=two" in request.url):
        page.locator("#model").select_option("two")
    assert "two" in page.locator("#facts").inner_text()


def test_a_pasted_and_a_dropped_picture_are_taken(kit: SimpleNamespace, running: Any, page: Page) -> None:
    page.goto(running.url)
    for event, carrier in (("paste", "clipboardData"), ("drop", "dataTransfer")):
        with page.expect_response("**/segment*") as answer:
            page.evaluate(
                """([event, carrier, bytes]) => {
                const data = new DataTransfer();
                data.items.add(new File([new Uint8Array(bytes)], "a.png", { type: "image/png" }));
                const kind = event === "paste" ? ClipboardEvent : DragEvent;
                document.body.dispatchEvent(new kind(event, { [carrier]: data, bubbles: true, cancelable: true }));
                }""",
                [event, carrier, list(kit.as_png(kit.picture(3)))],
            )
        assert answer.value.status == 200


def test_large_pictures_are_made_smaller_unless_asked_not_to(kit: SimpleNamespace, running: Any, page: Page) -> None:
    page.goto(running.url)
    choose(page, "large.png", kit.as_png(kit.picture(4, 700, 1400)))
    page.wait_for_selector("#result:not([hidden])")
    assert "1024 \u00d7 512" in page.locator("#timing").inner_text()
    page.locator("#size").select_option("0")
    page.locator("#timing", has_text="1400 \u00d7 700").wait_for()


def test_it_works_by_keyboard_and_every_control_has_a_name(kit: SimpleNamespace, running: Any, page: Page) -> None:
    page.goto(running.url)
    with page.expect_file_chooser() as chooser:
        page.locator("#choose").focus()
        page.keyboard.press("Enter")
    chooser.value.set_files(files=[{"name": "a.png", "mimeType": "image/png", "buffer": kit.as_png(kit.picture())}])
    page.wait_for_selector("#result:not([hidden])")
    for control in page.locator("button, select, input").all():
        named = control.evaluate("e => Boolean(e.textContent.trim() || e.labels?.length || e.ariaLabel)")
        assert named, control.evaluate("e => e.outerHTML")
    assert page.locator("#status").get_attribute("aria-live") == "polite"
    page.locator("#legend input").first.focus()
    page.keyboard.press("Space")
    assert (drawn(page)[..., 3] == 0).any()


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_nothing_sticks_out_on_a_phone(kit: SimpleNamespace, running: Any, page: Page, path: str) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    page.goto(running.url + path)
    if path == "/":
        choose(page, "a.png", kit.as_png(kit.picture()))
        page.wait_for_selector("#result:not([hidden])")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
