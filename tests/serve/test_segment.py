"""What /segment answers, over a real connection."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from segx_core.picture import decode, encode_mask
from segx_core.predictor import Predictor


def error(answer: Any) -> tuple[int, str, str]:
    body = answer.json()["error"]
    assert set(body) == {"code", "message"}
    return answer.status_code, body["code"], body["message"]


def test_a_png_comes_back_with_the_classes_and_the_palette(kit: SimpleNamespace, brightness: Any) -> None:
    pixels = kit.picture(1)
    answer = brightness.segment(kit.as_png(pixels))
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "image/png"
    np.testing.assert_array_equal(kit.from_png(answer.content), kit.Brightness().run(pixels[None])[0])
    stages = re.findall(r"(\w+);dur=[\d.]+", answer.headers["server-timing"])
    assert stages == ["queue", "decode", "run", "encode"]


def test_the_served_mask_is_byte_equal_to_predict(kit: SimpleNamespace, serve: Any, model_file: Any) -> None:
    predictor = Predictor.load(model_file, provider="cpu", threads=1)
    running = serve({"tiny": predictor})
    for seed, encode in ((1, kit.as_png), (2, kit.as_jpeg)):
        data = encode(kit.picture(seed, 37, 53))
        expected = encode_mask(predictor.predict(decode(data)), predictor.card.palette)
        assert running.segment(data).content == expected


def test_a_form_does_the_same_as_a_body(kit: SimpleNamespace, brightness: Any) -> None:
    data = kit.as_png(kit.picture(3))
    raw = brightness.segment(data)
    form = brightness.client.post("/segment", files={"image": ("a.png", data, "image/png")})
    assert form.status_code == 200
    assert form.content == raw.content


@pytest.mark.parametrize("media_type", ["application/octet-stream", "image/x-whatever", "IMAGE/PNG; a=b"])
def test_the_bytes_count_more_than_the_declared_type(kit: SimpleNamespace, brightness: Any, media_type: str) -> None:
    assert brightness.segment(kit.as_png(kit.picture()), media_type=media_type).status_code == 200


def test_broken_pictures_are_the_clients_fault_and_say_why(kit: SimpleNamespace, brightness: Any) -> None:
    good = kit.as_jpeg(kit.picture(4, 200, 300))
    assert error(brightness.segment(b""))[:2] == (400, "empty")
    assert error(brightness.segment(good[: len(good) // 2], media_type="image/jpeg"))[:2] == (400, "picture_broken")
    assert error(brightness.segment(kit.as_png(kit.picture())[:-30]))[:2] == (400, "picture_broken")
    assert error(brightness.segment(b"not an image at all" * 10, media_type="image/jpeg"))[0] == 400
    assert error(brightness.segment(b"<svg/>", media_type="image/svg+xml"))[:2] == (415, "picture_unsupported")
    assert brightness.segment(good, media_type="image/jpeg").status_code == 200


def test_other_bodies_are_refused_with_what_to_send(kit: SimpleNamespace, brightness: Any) -> None:
    status, code, message = error(brightness.segment(b"{}", media_type="application/json"))
    assert (status, code) == (415, "unsupported_media_type")
    assert "image/jpeg" in message
    packed = brightness.client.post("/segment", content=b"x", headers={"Content-Encoding": "br"})
    assert error(packed)[:2] == (415, "unsupported_encoding")


def test_form_fields_are_named_when_wrong(kit: SimpleNamespace, brightness: Any) -> None:
    data = kit.as_png(kit.picture())

    def post(files: Any) -> tuple[int, str, str]:
        return error(brightness.client.post("/segment", files=files))

    status, code, message = post({"imge": ("a.png", data, "image/png")})
    assert (status, code) == (422, "unknown_field")
    assert "'imge'" in message
    assert "'image'" in message
    assert post([("image", ("a.png", data)), ("image", ("b.png", data))])[:2] == (422, "repeated_field")
    empty = brightness.client.post(
        "/segment", content=b"--x--\r\n", headers={"Content-Type": "multipart/form-data; boundary=x"}
    )
    assert error(empty)[:2] == (422, "missing_field")
    broken = brightness.client.post("/segment", content=b"--x", headers={"Content-Type": "multipart/form-data"})
    assert error(broken)[:2] == (400, "broken_form")


def test_models_are_chosen_by_name(kit: SimpleNamespace, serve: Any) -> None:
    class Zero:
        def run(self, batch: Any) -> Any:
            return np.zeros(batch.shape[:3], np.uint8)

    running = serve({"grey": kit.Brightness(), "zero": Zero()})
    data = kit.as_png(kit.picture(5))
    assert kit.from_png(running.segment(data, params={"model": "zero"}).content).max() == 0
    assert kit.from_png(running.segment(data, params={"model": "grey"}).content).max() > 0
    assert error(running.segment(data))[:2] == (400, "model_required")
    status, code, message = error(running.segment(data, params={"model": "gray"}))
    assert (status, code) == (404, "unknown_model")
    assert "'grey'" in message
    assert error(running.segment(data, params={"modle": "grey"}))[:2] == (400, "unknown_parameter")


def test_concurrent_callers_get_their_own_masks(kit: SimpleNamespace, serve: Any, model_file: Any) -> None:
    predictor = Predictor.load(model_file, provider="cpu", threads=1)
    running = serve({"tiny": predictor}, engines=2, max_batch=4)
    pictures = [kit.picture(seed, *((24, 32), (32, 24), (40, 40))[seed % 3]) for seed in range(48)]
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda pixels: running.segment(kit.as_png(pixels)), pictures))
    for pixels, answer in zip(pictures, answers, strict=True):
        assert answer.status_code == 200
        assert answer.content == encode_mask(predictor.predict(pixels), predictor.card.palette)


def test_batch_mates_of_a_poisoned_picture_are_served(kit: SimpleNamespace, serve: Any, caplog: Any) -> None:
    slow = kit.Gated()

    class Gate(kit.Picky):  # type: ignore[misc, name-defined]
        def run(self, batch: Any) -> Any:
            slow.run(batch)
            return super().run(batch)

    running = serve({"m": Gate()}, warm=False, engines=1)
    pictures = [kit.picture(1), kit.poisoned(), kit.picture(2), kit.picture(3)]
    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(running.segment, kit.as_png(pixels)) for pixels in pictures]
        # The engine is held in its warm-up run until all four are decoded, so that they make one batch.
        kit.until(lambda: running.engine("m").depth == 4)
        slow.gate.set()
        answers = [one.result() for one in waiting]
    assert slow.batches[:2] == [1, 4]
    assert [answer.status_code for answer in answers] == [200, 500, 200, 200]
    assert error(answers[1])[1] == "model_failed"
    assert "secret" not in answers[1].text
    assert f"request {answers[1].headers['x-request-id']} failed: RuntimeError" in caplog.text
    for pixels, answer in zip(pictures, answers, strict=True):
        if answer.status_code == 200:
            np.testing.assert_array_equal(kit.from_png(answer.content), kit.Brightness().run(pixels[None])[0])
