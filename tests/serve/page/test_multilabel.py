"""A model of overlapping classes on the page: blended colours, a switch a class, areas that add up to more than all."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from segx_core.card import Card, InputSpec, OutputSpec

if TYPE_CHECKING:
    from playwright.sync_api import Page

PALETTE = np.array([[200, 0, 0], [0, 101, 0], [0, 0, 255]])


class Channels:
    """Class k is where channel k is bright; `without` is a class that is never found."""

    def __init__(self, without: int | None = None) -> None:
        self.card = Card(
            name="channels",
            task="multilabel",
            thresholds=(0.5,) * 3,
            classes=("red", "green", "blue"),
            palette=tuple(tuple(map(int, color)) for color in PALETTE),
            ignore_index=8,
            inputs=(InputSpec(name="image"),),
            outputs=(OutputSpec(name="labels", kind="labels"),),
        )
        self.without = without

    def run(self, batch: Any) -> Any:
        there = batch > 127
        if self.without is not None:
            there[..., self.without] = False
        return (there * np.array([1, 2, 4], np.uint8)).sum(axis=-1).astype(np.uint8)


@pytest.fixture
def pixels(kit: SimpleNamespace) -> Any:
    noise = kit.picture(6, 30, 40)
    noise[:4, :4] = 0  # of no class
    return noise


def blended(fields: Any, shown: tuple[int, ...] = (0, 1, 2)) -> Any:
    """(H, W, 4) RGBA as the page should draw it: the mean of the colours shown, halves up, or nothing."""
    out = np.zeros((*fields.shape, 4), np.uint8)
    for row, column in np.ndindex(fields.shape):
        mine = [PALETTE[index] for index in shown if fields[row, column] >> index & 1]
        if mine:
            out[row, column] = [*np.floor(np.mean(mine, axis=0) + 0.5), 255]
    return out


def test_classes_overlap_and_are_switched_each_for_itself(
    kit: SimpleNamespace, serve: Any, page: Page, hand: SimpleNamespace, pixels: Any
) -> None:
    running = serve({"channels": Channels()})
    fields = Channels().run(pixels[None])[0]
    page.goto(running.url)
    hand.choose(page, "a.png", kit.as_png(pixels))
    hand.ready(page)
    np.testing.assert_array_equal(hand.canvas(page, "classes"), blended(fields))
    rows = {row.locator(".name").inner_text(): row for row in page.locator("#legend li").all()}
    assert set(rows) == {"red", "green", "blue"}
    for index, name in enumerate(("red", "green", "blue")):
        share = ((fields >> index) & 1).mean()
        assert rows[name].locator(".percent").inner_text() == f"{share * 100:.1f} %"
    rows["green"].locator("input").uncheck()
    np.testing.assert_array_equal(hand.canvas(page, "classes"), blended(fields, (0, 2)))
    page.locator("#all").click()

    box = page.locator("#stage .pane").first.bounding_box()
    assert box is not None
    for value, words in ((7, "red + green + blue"), (5, "red + blue"), (0, "no class")):
        row, column = np.argwhere(fields == value)[0]
        page.mouse.move(box["x"] + (column + 0.5) * box["width"] / 40, box["y"] + (row + 0.5) * box["height"] / 30)
        page.wait_for_function("words => document.querySelector('#stage .under').textContent === words", arg=words)


def test_a_picture_of_no_class_says_so(kit: SimpleNamespace, serve: Any, page: Page, hand: SimpleNamespace) -> None:
    running = serve({"channels": Channels()})
    page.goto(running.url)
    hand.choose(page, "a.png", kit.as_png(np.zeros((8, 9, 3), np.uint8)))
    page.wait_for_function("() => document.querySelector('#status').textContent === 'No class found.'")
    assert page.locator("#legend li").count() == 0
    assert "Not found: red, green, blue" in page.locator("#absent").inner_text()
    assert not hand.canvas(page, "classes")[..., 3].any()


def test_two_of_them_agree_where_all_their_classes_do(
    kit: SimpleNamespace, serve: Any, page: Page, hand: SimpleNamespace, pixels: Any
) -> None:
    running = serve({"all": Channels(), "two": Channels(without=1)})
    fields = Channels().run(pixels[None])[0]
    page.goto(running.url)
    page.locator("#second").select_option("two")
    hand.choose(page, "a.png", kit.as_png(pixels))
    hand.ready(page)
    share = ((fields & 2) == 0).mean()
    assert f"{share * 100:.1f} %" in page.locator("#agree").inner_text()
    np.testing.assert_array_equal(hand.canvas(page, "classes-b"), blended(fields & 5))
