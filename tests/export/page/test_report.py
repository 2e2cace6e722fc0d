"""A real export's report in a real browser: nothing sticks out, nothing is loaded, keys and paper work."""

from __future__ import annotations

import pytest

NARROW, WIDE = {"width": 360, "height": 740}, {"width": 1280, "height": 900}


@pytest.fixture
def address(exported):
    return exported[0].page.as_uri()


@pytest.mark.parametrize("size", [NARROW, {"width": 700, "height": 900}, WIDE], ids=lambda size: str(size["width"]))
def test_nothing_sticks_out_of_the_page(open_page, address, size):
    page = open_page(address, viewport=size)
    page.evaluate("document.querySelectorAll('details').forEach(part => part.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") == size["width"]
    out = page.evaluate(
        """() => [...document.querySelectorAll("main *")].filter(one => one.checkVisibility() &&
        !one.closest("thead, .hidden") && (one.getBoundingClientRect().right > innerWidth ||
        one.getBoundingClientRect().left < 0)).map(one => one.outerHTML.slice(0, 100))"""
    )
    assert out == []
    overflowing = page.evaluate(
        """() => [...document.querySelectorAll("section, td, dd, th, li, .panel b")].filter(one =>
        one.checkVisibility() && !one.closest("thead") && one.scrollWidth > one.clientWidth + 1)
        .map(one => one.outerHTML.slice(0, 100))"""
    )
    assert overflowing == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_in_both_schemes(open_page, address, scheme):
    """Every text stands out from what is behind it by at least 4.5 to 1, as WCAG 2.2 asks."""
    page = open_page(address, viewport=WIDE, color_scheme=scheme)
    page.evaluate("document.querySelectorAll('details').forEach(part => part.open = true)")
    faint = page.evaluate(
        """() => {
        const light = colour => {
          const [r, g, b] = colour.match(/[\\d.]+/g).map(Number).map(value => value / 255)
            .map(value => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
          return 0.2126 * r + 0.7152 * g + 0.0722 * b;
        };
        const behind = one => {
          for (let at = one; at; at = at.parentElement) {
            const colour = getComputedStyle(at).backgroundColor;
            if (colour !== "rgba(0, 0, 0, 0)") return colour;
          }
        };
        return [...document.querySelectorAll("body *:not(script):not(style)")]
          .filter(one => [...one.childNodes].some(node => node.nodeType === 3 && node.data.trim()))
          .map(one => {
            const [a, b] = [light(getComputedStyle(one).color), light(behind(one))].sort((x, y) => y - x);
            return [one.outerHTML.slice(0, 80), (a + 0.05) / (b + 0.05)];
          }).filter(([, contrast]) => contrast < 4.5);
        }"""
    )
    assert faint == []


def test_pictures_are_inside_the_page_and_named(open_page, address):
    page = open_page(address)
    shown = page.locator("img").evaluate_all("all => all.map(one => [one.complete, one.naturalWidth, one.alt])")
    assert len(shown) % 5 == 0
    assert shown
    assert all(complete and width > 0 and name for complete, width, name in shown)


def test_what_is_folded_opens_with_a_key(open_page, address):
    page = open_page(address)
    summary = page.locator("summary", has_text="Every operator")
    for _ in range(10):
        page.keyboard.press("Tab")
        if summary.evaluate("one => one === document.activeElement"):
            break
    page.keyboard.press("Enter")
    assert page.locator("code", has_text="QLinearConv").is_visible()


def test_paper_gets_what_is_folded_away(open_page, address):
    page = open_page(address)
    folded = page.locator("details")
    assert folded.evaluate_all("all => all.map(one => one.open)") == [False] * folded.count()
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert folded.evaluate_all("all => all.every(one => one.open)")
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert not folded.evaluate_all("all => all.some(one => one.open)")
    assert page.pdf().startswith(b"%PDF")


def test_it_works_without_its_script(open_page, address):
    page = open_page(address, java_script_enabled=False)
    assert "int8 passed the gate" in page.locator("h1").inner_text()
