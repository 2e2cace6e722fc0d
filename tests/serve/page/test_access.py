"""The page for everybody: names, keyboard, contrast, sizes for fingers, small screens, little motion."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

# Every text that is shown, its colour, and the colours under it from the element itself up to the page, as CSS.
TEXTS = """() => [...document.querySelectorAll("body *")].filter(e =>
    [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim()) && e.checkVisibility()
    && !["SCRIPT", "NOSCRIPT", "OPTION"].includes(e.tagName) && !e.closest(".pill")).map(e => {
    const under = [];
    for (let up = e; up; up = up.parentElement) under.push(getComputedStyle(up).backgroundColor);
    return [e.textContent.trim().slice(0, 40), getComputedStyle(e).color, under];
})"""
# What the keyboard should reach, and what fingers should hit.
CONTROLS = "a[href], button, select, textarea, input, [tabindex='0']"


def color(css: str) -> tuple[float, ...]:
    """`rgb(1, 2, 3)` or `rgba(1, 2, 3, 0.5)` as (r, g, b, a), 0..255 and 0..1."""
    assert css.startswith("rgb"), css
    parts = [float(part) for part in css[css.index("(") + 1 : -1].replace("/", ",").split(",")]
    return (*parts, 1.0)[:4]


def luminance(rgb: tuple[float, ...]) -> float:
    """Relative luminance by WCAG 2."""
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in (c / 255 for c in rgb[:3])]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    """Contrast ratio by WCAG 2."""
    light, dark = sorted((luminance(a), luminance(b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_the_measure_of_contrast_is_right() -> None:
    assert contrast(color("rgb(255, 255, 255)"), color("rgb(0, 0, 0)")) == pytest.approx(21)
    assert contrast(color("rgb(119, 119, 119)"), color("rgb(255, 255, 255)")) == pytest.approx(4.48, abs=0.005)


def fill(kit: SimpleNamespace, running: Any, page: Page, hand: SimpleNamespace) -> None:
    """Bring about a page with everything on it: a comparison, a command, an error, a form for a key."""
    page.goto(running.url)
    page.locator("#second").select_option("two")
    hand.choose(page, "a.png", kit.as_png(kit.picture(1, 48, 64)))
    hand.ready(page)
    page.locator("#curl").click()
    page.evaluate(
        """() => { for (const id of ["key-form", "message", "video-tools", "camera-tools", "switch", "keep"])
        document.getElementById(id).hidden = false;
        document.getElementById("message").textContent = "Something went wrong.";
        document.getElementById("key-message").textContent = "A key is wanted."; }"""
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_stands_out_from_what_is_under_it(
    kit: SimpleNamespace, running: Any, page: Page, hand: SimpleNamespace, scheme: Any
) -> None:
    page.emulate_media(color_scheme=scheme)
    fill(kit, running, page, hand)
    page.mouse.move(0, 0)
    texts = page.evaluate(TEXTS)
    assert len(texts) > 40
    for text, ink, layers in texts:
        below = next(color(layer) for layer in layers if color(layer)[3] == 1)
        assert contrast(color(ink), below) >= 4.5, (text, ink, below)


def test_pills_over_the_picture_stand_out_even_from_white(
    kit: SimpleNamespace, running: Any, page: Page, hand: SimpleNamespace
) -> None:
    fill(kit, running, page, hand)
    ink, back = page.locator(".tag").first.evaluate(
        "e => [getComputedStyle(e).color, getComputedStyle(e).backgroundColor]"
    )
    *rgb, alpha = color(back)
    on_white = tuple(channel * alpha + 255 * (1 - alpha) for channel in rgb)
    assert contrast(color(ink), on_white) >= 4.5


def test_every_control_has_a_name_and_the_roles_are_right(
    kit: SimpleNamespace, running: Any, page: Page, hand: SimpleNamespace
) -> None:
    fill(kit, running, page, hand)
    for control in page.locator(CONTROLS).all():
        named = control.evaluate(
            "e => e.ariaLabel || e.textContent.trim() || [...(e.labels ?? [])].map(l => l.textContent.trim()).join()"
        )
        assert named, control.evaluate("e => e.outerHTML")
    # As assistive technology finds them.
    for role, name in (
        ("slider", "Divider between the two models"),
        ("slider", "Place in the video"),
        ("checkbox", "dark"),
        ("radio", "Side by side"),
        ("combobox", "Compare with"),
        ("alert", ""),
        ("status", ""),
        ("textbox", "API key"),
    ):
        assert page.get_by_role(role, name=name).count(), (role, name)
    assert page.locator("html").get_attribute("lang") == "en"
    assert page.locator("h1").count() == 1
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(ids) == len(set(ids))


def test_the_tab_key_reaches_everything_in_order_and_shows_where_it_is(
    kit: SimpleNamespace, running: Any, page: Page, hand: SimpleNamespace
) -> None:
    fill(kit, running, page, hand)
    # Of radio buttons the tab key reaches the chosen one, arrow keys the others.
    wanted = page.evaluate(
        """selector => [...document.querySelectorAll(selector)].filter(e =>
        e.checkVisibility() && !e.disabled && e.tabIndex >= 0 && !(e.type === "radio" && !e.checked))
        .map((e, place) => { e.dataset.place = place; return place; })""",
        CONTROLS,
    )
    page.evaluate("document.activeElement.blur(); window.getSelection().removeAllRanges(); window.scrollTo(0, 0)")
    page.locator("body").evaluate("e => { e.tabIndex = -1; e.focus(); }")
    reached = []
    for _ in wanted:
        page.keyboard.press("Tab")
        place, outline = page.evaluate(
            """() => { const e = document.activeElement; return [Number(e.dataset.place ?? -1),
            getComputedStyle(e).outlineStyle]; }"""
        )
        reached.append(place)
        assert outline != "none", place
    assert reached == wanted


def test_a_picture_is_chosen_switched_and_looked_at_by_keyboard_alone(
    kit: SimpleNamespace, running: Any, page: Page, hand: SimpleNamespace
) -> None:
    pixels = kit.picture(1, 48, 64)
    page.goto(running.url)
    with page.expect_file_chooser() as chooser:
        page.locator("#choose").focus()
        page.keyboard.press("Enter")
    chooser.value.set_files(files=[{"name": "a.png", "mimeType": "image/png", "buffer": kit.as_png(pixels)}])
    hand.ready(page)
    page.locator("#legend input").first.focus()
    page.keyboard.press("Space")
    assert (hand.canvas(page, "classes")[..., 3] == 0).any()
    page.locator("#opacity").focus()
    page.keyboard.press("Home")
    assert page.locator("#opacity-value").inner_text() == "0 %"
    # Arrow keys point, and what lies there is said.
    page.locator("#stage").focus()
    page.keyboard.press("ArrowLeft")
    expected = kit.CLASSES[kit.Brightness().run(pixels[None])[0][24, int(0.48 * 64)]]
    assert page.locator("#spoken").inner_text() == expected
    assert page.locator("#under").inner_text() == expected
    page.keyboard.press("Escape")
    assert page.locator(".marker").first.is_hidden()


def test_a_tap_names_the_class(kit: SimpleNamespace, running: Any, page: Page, hand: SimpleNamespace) -> None:
    pixels = kit.picture(1, 48, 64)
    page.goto(running.url)
    hand.choose(page, "a.png", kit.as_png(pixels))
    hand.ready(page)
    box = page.locator("#stage").bounding_box()
    assert box is not None
    page.touchscreen.tap(box["x"] + box["width"] * 22.5 / 64, box["y"] + box["height"] * 10.5 / 48)
    assert page.locator("#under").inner_text() == kit.CLASSES[kit.Brightness().run(pixels[None])[0][10, 22]]


def test_what_changes_with_every_frame_is_not_read_out(running: Any, page: Page) -> None:
    page.goto(running.url)
    for name in ("timing", "legend", "under", "agree", "time"):
        assert not page.evaluate(
            "id => Boolean(document.getElementById(id).closest('[aria-live], [role=status]'))", name
        )


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_nothing_sticks_out_on_a_phone_and_fingers_hit_everything(
    kit: SimpleNamespace, running: Any, page: Page, hand: SimpleNamespace, path: str
) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    if path == "/":
        fill(kit, running, page, hand)
        for how in ("beside", "swipe"):
            page.locator(f"input[name=how][value={how}]").check()
            assert page.evaluate("document.documentElement.scrollWidth") <= 360
        for control in page.locator(CONTROLS).all():
            # A labelled box is hit anywhere on its label.
            size = control.evaluate(
                """e => { const box = e.checkVisibility() && !e.matches(".hidden")
                && (e.closest("label") ?? e).getBoundingClientRect(); return box && [box.width, box.height]; }"""
            )
            assert not size or min(size) >= 44, control.evaluate("e => e.outerHTML")
    else:
        page.goto(running.url + path)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_nothing_moves_for_those_who_asked_for_little_motion(running: Any, browser: Browser) -> None:
    context = browser.new_context(reduced_motion="reduce")
    page = context.new_page()
    page.goto(running.url)
    page.evaluate("document.body.classList.add('busy')")
    moving = page.evaluate(
        """() => [...document.querySelectorAll("*")]
        .flatMap(e => [null, "::before", "::after"].map(part => getComputedStyle(e, part)))
        .filter(s => s.animationName !== "none"
        || (s.transitionProperty !== "none" && /[1-9]/.test(s.transitionDuration)))
        .length"""
    )
    assert moving == 0
    context.close()


def test_the_page_fits_its_content_policy(running: Any, page: Page) -> None:
    refused: list[str] = []
    page.on("console", lambda message: refused.append(message.text) if message.type == "error" else None)
    answer = page.goto(running.url)
    assert answer is not None
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "camera=(self)" in answer.headers["permissions-policy"]
    page.locator("#facts", has_text="one").wait_for()
    assert not refused
