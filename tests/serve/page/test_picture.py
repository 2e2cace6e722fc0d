"""One picture on the page: chosen, pasted, dropped, shown, looked at, saved."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from playwright.sync_api import Page


def test_a_chosen_picture_is_shown_with_its_classes(
    kit: SimpleNamespace, running: Any, page: Page, hand: SimpleNamespace
) -> None:
    pixels = kit.picture(1, 48, 64)
    expected = kit.Brightness().run(pixels[None])[0]
    page.goto(running.url)
    hand.choose(page, "a.png", kit.as_png(pixels))
    hand.ready(page)
    colors = np.array(kit.PALETTE, np.uint8)[expected]
    np.testing.assert_array_equal(hand.canvas(page, "classes")[..., :3], colors)
    rows = page.locator("#legend li").all_inner_texts()
    counts = np.bincount(expected.ravel(), minlength=4)
    assert len(rows) == np.count_nonzero(counts)
    assert kit.CLASSES[counts.argmax()] in rows[0]
    assert f"{counts.max() / expected.size * 100:.1f} %" in rows[0]
    assert "Model" in page.locator("#timing").inner_text()

    page.locator("#legend input").first.uncheck()
    hidden = hand.canvas(page, "classes")[..., 3] == 0
    np.testing.assert_array_equal(hidden, expected == counts.argmax())
    page.locator("#none").click()
    assert not hand.canvas(page, "classes")[..., 3].any()
    page.locator("#all").click()
    assert hand.canvas(page, "classes")[..., 3].all()

    page.locator("#opacity").fill("25")
    assert page.locator("#classes").evaluate("element => element.style.opacity") == "0.25"
    with page.expect_download() as download:
        page.locator("#save").click()
    assert download.value.suggested_filename == "a-classes.png"
    np.testing.assert_array_equal(kit.from_png(download.value.path().read_bytes()), expected)


def test_an_error_is_shown_in_words_and_the_next_picture_clears_it(
    kit: SimpleNamespace, running: Any, page: Page, hand: SimpleNamespace
) -> None:
    page.goto(running.url)
    hand.choose(page, "broken.png", kit.as_png(kit.picture())[:-40])
    page.wait_for_selector("#message:not([hidden])")
    assert page.locator("[role=alert]").inner_text().startswith("broken.png: ")
    assert page.locator("#result").is_hidden()
    hand.choose(page, "fine.png", kit.as_png(kit.picture()))
    hand.ready(page)
    assert page.locator("#message").is_hidden()


def test_the_sample_and_the_choice_of_models(
    kit: SimpleNamespace, running: Any, page: Page, hand: SimpleNamespace
) -> None:
    page.goto(running.url)
    page.locator("#sample").click()
    hand.ready(page)
    with page.expect_request(lambda request: "model=two" in request.url):
        page.locator("#model").select_option("two")
    assert "two" in page.locator("#facts").inner_text()


def test_a_pasted_and_a_dropped_picture_are_taken(
    kit: SimpleNamespace, running: Any, page: Page, hand: SimpleNamespace
) -> None:
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


def test_large_pictures_are_made_smaller_unless_asked_not_to(
    kit: SimpleNamespace, running: Any, page: Page, hand: SimpleNamespace
) -> None:
    page.goto(running.url)
    hand.choose(page, "large.png", kit.as_png(kit.picture(4, 700, 1400)))
    hand.ready(page)
    assert "1024 \u00d7 512" in page.locator("#timing").inner_text()
    page.locator("#curl").click()
    assert "smaller copy" in page.locator("#command-note").inner_text()
    page.locator("#size").select_option("0")
    page.locator("#timing", has_text="1400 \u00d7 700").wait_for()
