"""What the page does when the service wants a key, is busy or is gone, and how its answers are taken away."""

from __future__ import annotations

import json
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page, Route


def lock(page: Page, right: str) -> list[str | None]:
    """Refuse whatever comes without the right key, as a service with a key does; returns the keys that came."""
    came: list[str | None] = []

    def guard(route: Route) -> None:
        key = route.request.header_value("x-api-key")
        came.append(key)
        if key == right:
            route.continue_()
        else:
            told = {"error": {"code": "unauthorized", "message": "This service wants a key."}}
            route.fulfill(status=401, json=told)

    for path in ("**/models", "**/segment*", "**/sample"):
        page.route(path, guard)
    return came


def enter(page: Page, key: str) -> None:
    page.locator("#key-form").wait_for()
    assert "This service wants a key." in page.locator("#key-message").inner_text()
    page.keyboard.type(key)  # the field has the focus
    page.keyboard.press("Enter")


def test_a_key_is_asked_for_once_and_kept_for_the_tab(
    kit: SimpleNamespace, running: Any, page: Page, hand: SimpleNamespace
) -> None:
    came = lock(page, "open-sesame")
    page.goto(running.url)
    enter(page, "wrong")
    page.locator("#key-message", has_text="not taken").wait_for()
    enter(page, "open-sesame")
    page.locator("#facts", has_text="one").wait_for()
    assert page.locator("#key-form").is_hidden()
    hand.choose(page, "a.png", kit.as_png(kit.picture()))
    hand.ready(page)
    assert came == [None, "wrong", "open-sesame", "open-sesame"]

    page.locator("#curl").click()
    command = page.locator("#command").input_value()
    assert "X-Api-Key: YOUR_KEY" in command
    assert "open-sesame" not in command

    page.reload()
    page.locator("#facts", has_text="one").wait_for()
    assert page.locator("#key-form").is_hidden()
    assert "open-sesame" not in page.content()


def test_a_refusal_that_comes_after_the_key_was_entered_is_not_asked_about(
    kit: SimpleNamespace, running: Any, page: Page, hand: SimpleNamespace
) -> None:
    told = {"error": {"code": "unauthorized", "message": "This service wants a key."}}
    late: list[Route] = []

    def guard(route: Route) -> None:
        if route.request.header_value("x-api-key") == "right":
            route.continue_()
        elif page.locator("#key-form").is_visible():
            late.append(route)
        else:
            route.fulfill(status=401, json=told)

    page.route("**/models", guard)
    page.goto(running.url)
    page.locator("#key-form").wait_for()
    hand.choose(page, "a.png", kit.as_png(kit.picture()))
    for _ in range(200):
        if late:
            break
        page.wait_for_timeout(25)
    enter(page, "right")
    page.locator("#facts", has_text="one").wait_for()
    late[0].fulfill(status=401, json=told)
    hand.ready(page)
    assert page.locator("#key-form").is_hidden()


def test_a_key_that_ends_meanwhile_is_asked_for_anew_and_the_picture_goes_again(
    kit: SimpleNamespace, running: Any, page: Page, hand: SimpleNamespace
) -> None:
    page.goto(running.url)
    page.locator("#facts", has_text="one").wait_for()
    lock(page, "new")
    hand.choose(page, "a.png", kit.as_png(kit.picture()))
    enter(page, "new")
    hand.ready(page)
    assert page.locator("#message").is_hidden()


def test_a_busy_service_is_asked_again_and_the_page_says_so(
    kit: SimpleNamespace, serve: Any, page: Page, hand: SimpleNamespace
) -> None:
    slow = kit.Gated()
    running = serve({"m": slow}, warm=False, engines=1, max_queue=1)
    data = kit.as_png(kit.picture())
    page.goto(running.url)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(running.segment, data)
        kit.until(lambda: running.engine("m").depth == 1)
        hand.choose(page, "a.png", data)
        page.locator("#status", has_text="The service is busy. Trying again in 1 s (1 of 4)").wait_for()
        slow.gate.set()
        assert first.result().status_code == 200
    hand.ready(page)
    assert "found, mostly" in page.locator("#status").inner_text()


def test_a_service_that_is_gone_is_said_to_be_gone(
    kit: SimpleNamespace, running: Any, page: Page, hand: SimpleNamespace
) -> None:
    page.goto(running.url)
    page.locator("#facts", has_text="one").wait_for()
    running.stop()
    hand.choose(page, "a.png", kit.as_png(kit.picture()))
    page.wait_for_selector("#message:not([hidden])")
    assert page.locator("#message").inner_text() == "The service does not answer. Is it still running?"
    assert not page.locator("body.busy").count()


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl on this machine")
@pytest.mark.parametrize("form", ["classes", "overlay", "json", "raw"])
def test_the_curl_command_gives_what_the_page_saves(
    kit: SimpleNamespace, running: Any, page: Page, hand: SimpleNamespace, tmp_path: Path, form: str
) -> None:
    name = "my dog's $HOME.png"
    data = kit.as_png(kit.picture(5))
    page.goto(running.url)
    page.locator("#model").select_option("two")
    hand.choose(page, name, data)
    hand.ready(page)
    page.locator("#form").select_option(form)
    with page.expect_download() as download:
        page.locator("#save").click()
    page.locator("#curl").click()
    command = page.locator("#command").input_value()
    assert f"{running.url}/segment?model=two" in command
    folder = tmp_path / "terminal"
    folder.mkdir()
    (folder / name).write_bytes(data)
    subprocess.run(["sh", "-c", command], cwd=folder, check=True, capture_output=True, timeout=60)
    (made,) = (path for path in folder.iterdir() if path.name != name)
    assert made.read_bytes() == download.value.path().read_bytes()
    # Browsers write other letters for some that a disk may not take.
    assert download.value.suggested_filename.endswith(made.name[-8:])
    if form == "json":
        assert json.loads(made.read_bytes())["model"] == "two"
    if form == "classes":
        expected = kit.Brightness().run(kit.from_png(data)[None])[0]
        np.testing.assert_array_equal(kit.from_png(made.read_bytes()), expected)


def test_the_command_goes_to_the_clipboard(
    kit: SimpleNamespace, running: Any, context: BrowserContext, page: Page, hand: SimpleNamespace
) -> None:
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(running.url)
    hand.choose(page, "a.png", kit.as_png(kit.picture()))
    hand.ready(page)
    page.locator("#curl").click()
    page.locator("#copied", has_text="Copied.").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == page.locator("#command").input_value()


def test_without_a_clipboard_the_command_is_there_to_be_copied(
    kit: SimpleNamespace, running: Any, page: Page, hand: SimpleNamespace
) -> None:
    page.goto(f"{hand.neighbour}{running.port}")
    assert page.evaluate("navigator.clipboard") is None
    hand.choose(page, "a.png", kit.as_png(kit.picture()))
    hand.ready(page)
    page.locator("#curl").click()
    page.locator("#copied", has_text="Ctrl+C").wait_for()
    command = page.locator("#command").input_value()
    assert f"{hand.neighbour}{running.port}/segment" in command
    assert page.evaluate("getSelection().toString()") == command
