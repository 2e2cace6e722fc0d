"""Two models on one picture: what each found, where they agree, and the ways to look at both."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from segx_core.card import Card, InputSpec, OutputSpec

if TYPE_CHECKING:
    from playwright.sync_api import Page

ORDER = (3, 1, 0, 2)
"""The second model's class i is called what the first calls ORDER[i]."""


class Named:
    """A model with a card of its own."""

    def __init__(self, run: Any, card: Card) -> None:
        self.run = run
        self.card = card


@pytest.fixture
def both(kit: SimpleNamespace, serve: Any) -> Any:
    """A service with two models that number and colour the same four classes in their own ways.

    They agree, but for the left eighth of the picture, where the second sees nothing but the darkest class.
    """

    def second(batch: Any) -> Any:
        seen = kit.Brightness().run(batch)
        seen[:, :, : seen.shape[2] // 8] = 0
        return np.argsort(ORDER).astype(np.uint8)[seen]

    card = Card(
        name="second",
        classes=tuple(kit.CLASSES[index] for index in ORDER),
        palette=((1, 1, 1), (2, 2, 2), (3, 3, 3), (4, 4, 4)),
        inputs=(InputSpec(name="image"),),
        outputs=(OutputSpec(name="classmap"),),
    )
    return serve({"first": Named(kit.Brightness().run, kit.card("first")), "second": Named(second, card)})


def start(kit: SimpleNamespace, both: Any, page: Page, hand: SimpleNamespace) -> tuple[Any, Any]:
    """Compare the two on a picture: returns what each found, both in the first model's numbers."""
    pixels = kit.picture(7, 64, 96)
    page.goto(both.url)
    page.locator("#second").select_option("second")
    hand.choose(page, "a.png", kit.as_png(pixels))
    hand.ready(page)
    one = kit.Brightness().run(pixels[None])[0]
    two = one.copy()
    two[:, : two.shape[1] // 8] = 0
    return one, two


def percent(share: float) -> str:
    return f"{share * 100:.1f} %"


def test_both_are_shown_in_the_colours_of_the_first_with_the_areas_of_each(
    kit: SimpleNamespace, both: Any, page: Page, hand: SimpleNamespace
) -> None:
    one, two = start(kit, both, page, hand)
    colors = np.array(kit.PALETTE, np.uint8)
    np.testing.assert_array_equal(hand.canvas(page, "classes")[..., :3], colors[one])
    np.testing.assert_array_equal(hand.canvas(page, "classes-b")[..., :3], colors[two])
    assert percent((one == two).mean()) in page.locator("#agree").inner_text()
    for row in page.locator("#legend li").all():
        name = row.locator(".name").inner_text()
        index = kit.CLASSES.index(name)
        assert (
            row.locator(".percent").inner_text()
            == f"{percent((one == index).mean())} | {percent((two == index).mean())}"
        )
    assert page.locator("#timing th").nth(1).inner_text() == "Round trip"
    assert len(page.locator("#timing tr").nth(1).locator("td").all_inner_texts()) == 2

    page.locator("#only").check()
    for name in ("classes", "classes-b"):
        np.testing.assert_array_equal(hand.canvas(page, name)[..., 3] > 0, one != two)
    # A switch counts for both.
    page.locator("#only").uncheck()
    page.locator("#legend label", has_text="dark").locator("input").uncheck()
    for name, seen in (("classes", one), ("classes-b", two)):
        np.testing.assert_array_equal(hand.canvas(page, name)[..., 3] == 0, seen == 0)


@pytest.mark.parametrize("how", ["swipe", "beside"])
def test_the_pointer_names_the_class_of_both_at_the_same_place(
    kit: SimpleNamespace, both: Any, page: Page, hand: SimpleNamespace, how: str
) -> None:
    one, two = start(kit, both, page, hand)
    page.locator(f"input[name=how][value={how}]").check()
    # Point at a place where they differ, half way down: the corners are round.
    differing = np.argwhere(one != two)
    y, x = differing[len(differing) // 2]
    pane = page.locator(".pane").nth(1 if how == "beside" else 0)
    box = pane.bounding_box()
    assert box is not None
    height, width = one.shape
    page.mouse.move(box["x"] + (x + 0.5) / width * box["width"], box["y"] + (y + 0.5) / height * box["height"])
    assert page.locator("#under").inner_text() == kit.CLASSES[one[y, x]]
    assert page.locator("#under-b").inner_text() == kit.CLASSES[two[y, x]]
    places = [page.locator(".marker").nth(number).evaluate("e => [e.style.left, e.style.top]") for number in range(2)]
    assert places[0] == places[1]
    assert page.locator("#divider").is_visible() == (how == "swipe")


def test_the_divider_moves_by_mouse_and_by_keyboard(
    kit: SimpleNamespace, both: Any, page: Page, hand: SimpleNamespace
) -> None:
    start(kit, both, page, hand)
    divider = page.locator("#divider")
    cut = "getComputedStyle(document.querySelector('.second .layers')).clipPath"
    assert page.evaluate(cut) == "inset(0px 0px 0px 50%)"
    box, stage = divider.bounding_box(), page.locator("#stage").bounding_box()
    assert box is not None
    assert stage is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(stage["x"] + stage["width"] * 0.25, stage["y"] + 20)
    page.mouse.up()
    assert divider.get_attribute("aria-valuenow") == "25"
    divider.press("End")
    assert page.evaluate(cut) == "inset(0px 0px 0px 100%)"
    divider.press("ArrowLeft")
    assert divider.get_attribute("aria-valuenow") == "98"


def test_nothing_is_offered_to_compare_with_a_single_model(
    kit: SimpleNamespace, brightness: Any, page: Page, hand: SimpleNamespace
) -> None:
    page.goto(brightness.url)
    hand.choose(page, "a.png", kit.as_png(kit.picture()))
    hand.ready(page)
    for hidden in ("#model-choice", "#second-choice", "#comparison", "#divider", "#classes-b"):
        assert page.locator(hidden).is_hidden(), hidden


def test_comparing_ends_when_the_second_model_becomes_the_first(
    kit: SimpleNamespace, both: Any, page: Page, hand: SimpleNamespace
) -> None:
    start(kit, both, page, hand)
    page.locator("#model").select_option("second")
    page.locator("#comparison").wait_for(state="hidden")
    assert page.locator("#second").input_value() == ""
    assert page.locator("#second option").all_inner_texts() == ["nothing", "first"]
    assert page.locator("#classes-b").is_hidden()
