"""Moving pictures: the camera and video files, one frame at a time, each with its own classes."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page, Route

LEVELS = (32, 160, 96, 224)  # grey in the middle of each class of the brightness model


@pytest.fixture
def film(tmp_path: Path) -> bytes:
    """A WebM of 16 frames in 1.6 s; every frame is of one grey, and no two neighbours are of one class."""
    path = tmp_path / "film.webm"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"VP80"), 10, (64, 48))
    assert writer.isOpened()
    for number in range(16):
        writer.write(np.full((48, 64, 3), LEVELS[number % 4], np.uint8))
    writer.release()
    return path.read_bytes()


def requests_of(page: Page) -> SimpleNamespace:
    """Counts the pictures sent: altogether, at once now, at once at most."""
    count = SimpleNamespace(sent=0, now=0, most=0)

    def begun(request: Any) -> None:
        if "/segment" in request.url:
            count.sent += 1
            count.now += 1
            count.most = max(count.most, count.now)

    def ended(request: Any) -> None:
        count.now -= "/segment" in request.url

    page.on("request", begun)
    page.on("requestfinished", ended)
    page.on("requestfailed", ended)
    return count


def until(page: Page, holds: Any) -> None:
    """Wait for something, letting the browser's events come in meanwhile."""
    for _ in range(600):
        if holds():
            return
        page.wait_for_timeout(25)
    raise AssertionError("it did not come about within 15 s")


def test_the_camera_is_segmented_one_frame_at_a_time_until_it_is_stopped(
    kit: SimpleNamespace, serve: Any, context: BrowserContext, page: Page, hand: SimpleNamespace
) -> None:
    slow = kit.Gated()
    slow.gate.set()
    running = serve({"m": slow})
    slow.gate.clear()
    context.grant_permissions(["camera"])
    page.goto(running.url)
    count = requests_of(page)
    page.locator("#camera").click()
    until(page, lambda: count.sent == 1)
    # Ten more frames of the camera come and go while the service is at the first.
    page.evaluate(
        """() => new Promise(resolve => { const video = document.getElementById("video"); let left = 10;
        const next = () => --left ? video.requestVideoFrameCallback(next) : resolve();
        video.requestVideoFrameCallback(next); })"""
    )
    assert count.sent == 1
    slow.gate.set()
    page.locator("#timing", has_text="Frames per second").wait_for()
    assert count.most == 1
    assert page.locator("#status").inner_text() == "The camera is on."
    classes = hand.canvas(page, "classes")
    assert classes[..., 3].all()

    page.evaluate("() => { window.track = document.getElementById('video').srcObject.getVideoTracks()[0]; }")
    page.locator("#stop").click()
    assert page.evaluate("window.track.readyState") == "ended"  # its lamp goes out
    assert page.evaluate("document.getElementById('video').srcObject") is None
    until(page, lambda: count.now == 0)
    # The frame is on no disk yet; the command names the file that it is saved as.
    with page.expect_download() as download:
        page.locator("#keep").click()
    page.locator("#curl").click()
    assert f"'@{download.value.suggested_filename}'" in page.locator("#command").input_value()
    assert kit.from_png(download.value.path().read_bytes()).shape == (*classes.shape[:2], 3)
    sent = count.sent
    # The last frame stays and is now a picture like any other.
    page.locator("#size").select_option("512")
    until(page, lambda: count.sent == sent + 1)
    page.locator("#timing", has_text="512 \u00d7 ").wait_for()
    assert "Frames per second" not in page.locator("#timing").inner_text()


@pytest.mark.parametrize(("refusals", "goes_on"), [(2, True), (5, False)])
def test_a_busy_service_is_asked_again_a_few_times_while_the_camera_is_on(
    running: Any, context: BrowserContext, page: Page, hand: SimpleNamespace, refusals: int, goes_on: bool
) -> None:
    frames = 0

    def shed(route: Route) -> None:
        nonlocal frames
        frames += 1
        if frames > refusals:
            route.continue_()
        else:
            told = {"error": {"code": "overloaded", "message": "Too much to do."}}
            route.fulfill(status=503, json=told, headers={"Retry-After": "0.2"})

    page.route("**/segment*", shed)
    context.grant_permissions(["camera"])
    page.goto(running.url)
    page.locator("#camera").click()
    if goes_on:
        hand.ready(page)
        page.locator("#status", has_text="The camera is on.").wait_for()
        assert page.locator("#message").is_hidden()
    else:
        page.wait_for_selector("#message:not([hidden])")
        assert page.locator("#message").inner_text() == "The camera: Too much to do."
        assert frames == refusals
        assert page.locator("#camera-tools").is_hidden()


def test_the_other_camera_takes_over(running: Any, context: BrowserContext, page: Page, hand: SimpleNamespace) -> None:
    context.grant_permissions(["camera"])
    page.goto(running.url)
    page.locator("#camera").click()
    hand.ready(page)
    script = "document.getElementById('video').srcObject.getVideoTracks()[0].getSettings().deviceId"
    before = page.evaluate(script)
    page.locator("#switch").click()
    until(page, lambda: page.evaluate("document.getElementById('video').srcObject !== null"))
    assert page.evaluate(script) != before
    page.locator("#camera-tools").wait_for()
    assert page.locator("#message").is_hidden()


def test_a_denied_camera_is_explained_and_what_was_there_stays(
    kit: SimpleNamespace, running: Any, context: BrowserContext, page: Page, hand: SimpleNamespace
) -> None:
    context.grant_permissions(["geolocation"])  # these and no others
    page.goto(running.url)
    page.locator("#camera").click()
    page.wait_for_selector("#message:not([hidden])")
    assert "camera was denied" in page.locator("#message").inner_text()
    assert page.locator("#result").is_hidden()
    assert page.locator("#camera-tools").is_hidden()
    hand.choose(page, "a.png", kit.as_png(kit.picture()))
    hand.ready(page)
    page.locator("#camera").click()
    page.wait_for_selector("#message:not([hidden])")
    assert page.locator("#legend").is_visible()
    with page.expect_request(lambda request: "model=two" in request.url):
        page.locator("#model").select_option("two")


def test_a_page_without_https_says_why_it_has_no_camera(running: Any, page: Page, hand: SimpleNamespace) -> None:
    page.goto(f"{hand.neighbour}{running.port}")
    page.locator("#camera").click()
    page.wait_for_selector("#message:not([hidden])")
    text = page.locator("#message").inner_text()
    assert "https" in text
    assert "localhost" in text


class Late:
    """The brightness model on a device so slow that the video is a frame or two further when the answer comes."""

    def __init__(self, run: Any) -> None:
        self._run = run

    def run(self, batch: Any) -> Any:
        time.sleep(0.15)
        return self._run(batch)


@pytest.mark.parametrize("older", [False, True])
def test_no_frame_of_a_video_is_shown_with_the_classes_of_another(
    kit: SimpleNamespace, serve: Any, page: Page, hand: SimpleNamespace, film: bytes, older: bool
) -> None:
    if older:  # a browser that does not tell of single frames
        page.add_init_script("delete HTMLVideoElement.prototype.requestVideoFrameCallback")
    running = serve({"m": Late(kit.Brightness().run)})
    page.goto(running.url)
    count = requests_of(page)
    # Look at what is shown at every repaint.
    page.evaluate(
        """() => { window.seen = []; const at = name => {
        const canvas = document.getElementById(name);
        return [...canvas.getContext("2d").getImageData(canvas.width >> 1, canvas.height >> 1, 1, 1).data]; };
        const look = () => { window.seen.push([at("picture"), at("classes")]); requestAnimationFrame(look); };
        look(); }"""
    )
    palette = running.client.get("/models").json()["models"][0]["palette"]
    hand.choose(page, "film.webm", film, "video/webm")
    until(page, lambda: page.evaluate("document.getElementById('video').ended"))
    until(page, lambda: count.now == 0)
    seen = [(picture, classes) for picture, classes in page.evaluate("window.seen") if classes[3]]
    for picture, classes in seen:
        assert tuple(classes[:3]) == tuple(palette[picture[0] // 64])
    assert len({tuple(classes) for _, classes in seen}) > 1
    assert count.most == 1

    # A jump is segmented, too, though the video stands.
    assert page.locator("#play").inner_text() == "Play"
    page.locator("#seek").fill("0.64")
    expected = tuple(palette[LEVELS[6 % 4] // 64])
    until(page, lambda: tuple(hand.canvas(page, "classes")[0, 0, :3]) == expected)
    assert page.locator("#time").inner_text().startswith("0:00 / 0:01")
    page.locator("#play").click()
    page.locator("#play", has_text="Pause").wait_for()


def test_switches_stay_from_frame_to_frame_and_rows_do_not_jump(
    kit: SimpleNamespace, running: Any, page: Page, hand: SimpleNamespace, film: bytes
) -> None:
    page.goto(running.url)
    hand.choose(page, "film.webm", film, "video/webm")
    until(page, lambda: page.locator("#legend li").count() == 4)
    names = page.locator("#legend .name").all_inner_texts()
    page.locator("#legend label", has_text="bright").locator("input").uncheck()
    until(page, lambda: page.evaluate("document.getElementById('video').ended"))
    page.locator("#seek").fill("0.32")  # a bright frame
    until(page, lambda: hand.canvas(page, "picture")[0, 0, 0] >= 192)
    assert not hand.canvas(page, "classes")[..., 3].any()
    assert page.locator("#legend .name").all_inner_texts() == names
    # And on to a picture of the same model.
    hand.choose(page, "white.png", kit.as_png(np.full((8, 8, 3), 255, np.uint8)))
    page.locator("#status", has_text="mostly bright").wait_for()
    assert not hand.canvas(page, "classes")[..., 3].any()


def test_a_new_source_ends_the_one_before(
    kit: SimpleNamespace,
    running: Any,
    context: BrowserContext,
    page: Page,
    hand: SimpleNamespace,
    film: bytes,
) -> None:
    context.grant_permissions(["camera"])
    page.goto(running.url)
    count = requests_of(page)
    page.locator("#camera").click()
    hand.ready(page)
    page.evaluate("() => { window.track = document.getElementById('video').srcObject.getVideoTracks()[0]; }")
    hand.choose(page, "film.webm", film, "video/webm")
    page.locator("#timing", has_text="64 \u00d7 48").wait_for()
    assert page.evaluate("window.track.readyState") == "ended"
    assert page.locator("#camera-tools").is_hidden()
    hand.choose(page, "white.png", kit.as_png(np.full((8, 8, 3), 255, np.uint8)))
    page.locator("#timing", has_text="8 \u00d7 8").wait_for()
    assert page.evaluate("document.getElementById('video').paused")
    assert page.locator("#video-tools").is_hidden()
    until(page, lambda: count.now == 0)
    assert hand.canvas(page, "picture").shape == (8, 8, 4)
    # And back: the camera takes the place of the picture.
    page.locator("#camera").click()
    page.locator("#timing", has_text="Frames per second").wait_for()
    assert page.locator("#message").is_hidden()


def test_a_file_that_is_no_video_is_explained(running: Any, page: Page, hand: SimpleNamespace) -> None:
    page.goto(running.url)
    hand.choose(page, "holiday.mp4", b"not a film", "video/mp4")
    page.wait_for_selector("#message:not([hidden])")
    assert page.locator("#message").inner_text() == "This browser cannot play holiday.mp4."
    assert page.locator("#video-tools").is_hidden()
