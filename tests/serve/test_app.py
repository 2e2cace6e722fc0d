"""What all answers have in common."""

from __future__ import annotations

import logging
from datetime import UTC
from email.utils import parsedate_to_datetime
from types import SimpleNamespace
from typing import Any

import pytest

from segx_core.errors import ConfigError, PictureError
from segx_serve import Settings, create_app


def test_every_answer_carries_an_id_and_the_security_headers(kit: SimpleNamespace, brightness: Any) -> None:
    answers = [brightness.client.get(path) for path in ("/", "/docs", "/metrics", "/nothing", "/segment", "/v2")]
    answers += [brightness.segment(kit.as_png(kit.picture())), brightness.segment(b"x")]
    assert len({answer.headers["x-request-id"] for answer in answers}) == len(answers)
    for answer in answers:
        assert parsedate_to_datetime(answer.headers["date"]).tzinfo is UTC
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize(("sent", "echoed"), [("abc-1.2_Z", True), ("a b", False), ("x" * 129, False), ("<b>", False)])
def test_harmless_request_ids_are_echoed(brightness: Any, sent: str, echoed: bool) -> None:
    answer = brightness.client.get("/v2", headers={"X-Request-Id": sent})
    assert (answer.headers["x-request-id"] == sent) is echoed


def test_unknown_paths_and_methods(brightness: Any) -> None:
    assert brightness.client.get("/nothing").json()["error"]["code"] == "not_found"
    assert brightness.client.get("/v2/nothing").json() == {
        "error": brightness.client.get("/v2/nothing").json()["error"]
    }
    assert isinstance(brightness.client.get("/v2/nothing").json()["error"], str)
    answer = brightness.client.get("/segment")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert answer.json()["error"]["code"] == "method_not_allowed"
    assert brightness.client.delete("/v2").headers["allow"] == "GET, HEAD"
    head = brightness.client.head("/docs")
    assert (head.status_code, head.content) == (200, b"")


def test_a_failure_of_ours_is_500_without_its_text(
    kit: SimpleNamespace, serve: Any, caplog: pytest.LogCaptureFixture
) -> None:
    running = serve({"m": kit.Brightness()})
    running.app.service.tally.gauge("segx_requests_inside", {}, _failing)
    with caplog.at_level(logging.ERROR, "segx.serve"):
        answer = running.client.get("/metrics")
    assert answer.status_code == 500
    assert "secret" not in answer.text
    (record,) = caplog.records
    assert record.fields == {"request_id": answer.headers["x-request-id"]}  # type: ignore[attr-defined]
    assert running.client.get("/v2").status_code == 200


def _failing() -> float:
    raise RuntimeError("/secret/path")


def test_bad_arguments_are_told_at_once(kit: SimpleNamespace, tmp_path: Any) -> None:
    with pytest.raises(ConfigError):
        create_app({})
    with pytest.raises(ConfigError, match="'a/b'"):
        create_app({"a/b": kit.Brightness()})
    with pytest.raises(PictureError):
        create_app({"a": kit.Brightness()}, Settings(sample=tmp_path / "no.png"))


def test_a_sample_picture_is_offered(kit: SimpleNamespace, serve: Any, tmp_path: Any) -> None:
    (tmp_path / "a.jpg").write_bytes(kit.as_jpeg(kit.picture()))
    running = serve({"m": kit.Brightness()}, sample=tmp_path / "a.jpg")
    assert running.client.get("/models").json()["sample"] is True
    assert running.segment(running.client.get("/sample").content).status_code == 200


def test_two_services_in_one_process_do_not_share_metrics(kit: SimpleNamespace, serve: Any) -> None:
    first, second = serve({"m": kit.Brightness()}), serve({"m": kit.Brightness()})
    first.segment(kit.as_png(kit.picture()))
    assert 'segx_pictures_total{model="m",version="1"} 1.0' in first.client.get("/metrics").text
    assert "segx_pictures_total{" not in second.client.get("/metrics").text
