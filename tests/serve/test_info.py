"""Health and metadata, over a real connection."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from segx_core.predictor import Predictor


def test_ready_only_after_warm_up_while_live_all_along(kit: SimpleNamespace, serve: Any) -> None:
    slow = kit.Gated()
    running = serve({"m": slow}, warm=False)
    slow.entered.acquire()  # the warm-up run has begun, and cannot end
    assert running.client.get("/v2/health/live").json() == {"live": True}
    answer = running.client.get("/v2/health/ready")
    assert (answer.status_code, answer.json()) == (503, {"ready": False, "waiting": {"m": "warming up"}})
    assert running.client.get("/v2/models/m/ready").status_code == 503
    slow.gate.set()
    running.ready()
    assert running.client.get("/v2/health/ready").json() == {"ready": True}
    assert running.client.get("/v2/models/m/ready").json() == {"name": "m", "ready": True}


def test_a_model_that_cannot_warm_up_is_never_ready(kit: SimpleNamespace, serve: Any, caplog: Any) -> None:
    class Cold:
        def run(self, batch: Any) -> Any:
            raise RuntimeError("/secret")

    running = serve({"good": kit.Brightness(), "cold": Cold()}, warm=False)
    kit.until(lambda: running.app.catalog.find("cold").lane.failure != "")
    kit.until(lambda: running.app.catalog.find("good").lane.ready)
    answer = running.client.get("/v2/health/ready")
    assert answer.status_code == 503
    assert set(answer.json()["waiting"]) == {"cold"}
    assert "secret" not in answer.text
    assert running.client.get("/v2/models/good/ready").status_code == 200


def test_metadata_is_the_graphs_own(kit: SimpleNamespace, serve: Any, model_file: Any) -> None:
    running = serve({"tiny": Predictor.load(model_file, provider="cpu"), "plain": kit.Brightness()})
    tiny = running.client.get("/v2/models/tiny").json()
    assert tiny["platform"] == "onnx_onnxv1"
    assert tiny["inputs"] == [{"name": "image", "datatype": "UINT8", "shape": [-1, -1, -1, 3]}]
    assert tiny["outputs"] == [{"name": "classmap", "datatype": "UINT8", "shape": [-1, -1, -1]}]
    assert running.client.get("/v2/models/plain").json()["platform"] == "segx_runner"
    missing = running.client.get("/v2/models/tinny")
    assert (missing.status_code, "'tiny'" in missing.json()["error"]) == (404, True)


def test_the_server_tells_its_limits(kit: SimpleNamespace, serve: Any) -> None:
    running = serve({"m": kit.Brightness()}, max_body=12345)
    told = running.client.get("/v2").json()
    assert (told["name"], told["extensions"], told["limits"]["max_body"]) == ("segx", [], 12345)


def test_the_list_of_models_is_what_the_cards_say(kit: SimpleNamespace, serve: Any, model_file: Any) -> None:
    running = serve({"tiny": Predictor.load(model_file, provider="cpu"), "plain": kit.Brightness()})
    plain, tiny = running.client.get("/models").json()["models"]  # by name
    assert (tiny["classes"], tiny["provider"], tiny["precision"]) == (list(kit.CLASSES), "CPUExecutionProvider", "fp32")
    assert tiny["palette"] == [list(color) for color in kit.PALETTE]
    assert tiny["size_bytes"] == model_file.stat().st_size
    assert (plain["classes"], plain["provider"], len(plain["palette"])) == (None, "custom", 256)


def test_metrics_count_what_happened(kit: SimpleNamespace, serve: Any) -> None:
    running = serve({"m": kit.Brightness()})
    for seed in range(3):
        running.segment(kit.as_png(kit.picture(seed)))
    running.segment(b"broken")
    running.client.get("/nowhere")
    text = running.client.get("/metrics").text
    for line in (
        'segx_requests_total{route="/segment",status="200"} 3.0',
        'segx_requests_total{route="/segment",status="400"} 1.0',
        'segx_requests_total{route="other",status="404"} 1.0',
        'segx_pictures_total{model="m",version="1"} 3.0',
        'segx_stage_seconds_count{stage="run"} 3.0',
        'segx_stage_seconds_count{stage="decode"} 4.0',
        'segx_batch_size_count{model="m",version="1"} 3.0',
        'segx_model_info{model="m",precision="unknown",provider="custom",version="1"} 1.0',
        'segx_queue_depth{model="m",version="1"} 0.0',
        "segx_requests_inside 0.0",
        "segx_bytes_held 0.0",
    ):
        assert line in text.splitlines()
