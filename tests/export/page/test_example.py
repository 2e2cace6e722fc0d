"""The browser example in a real browser: onnxruntime-web gives plain ONNX Runtime's class map, but for near ties.

onnxruntime-web comes from npm (`make test` fetches what examples/browser/package-lock.json names); without it these
tests are skipped.
"""

from __future__ import annotations

import base64
import functools
import http.server
import threading
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from PIL import Image

from segx_core.predictor import card_for_file
from segx_export.candidates import Candidate, build
from segx_export.export import ExportSettings, open_data
from segx_export.modelfile import write_model

EXAMPLE = Path(__file__).parents[3] / "examples" / "browser"
ALLOWED = {"fp32": (1e-4, 1e-3), "w8": (1e-4, 1e-3), "int8": (1e-2, 0.1)}
"""Share of pixels that may differ, and the margin between the two best probabilities under which they may.

int8 rounds after every layer, and kernels round in different places.
"""


class Quiet(http.server.SimpleHTTPRequestHandler):
    """A static server like any other, which tells nobody what it served."""

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def address():
    """The example on a static server of Python's own, on this machine alone."""
    if not (EXAMPLE / "node_modules" / "onnxruntime-web").is_dir():
        pytest.skip("onnxruntime-web is not installed: npm ci --prefix examples/browser")
    handler = functools.partial(Quiet, directory=EXAMPLE)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def models(exported, model, card, tmp_path_factory):
    """Paths of the same network as fp32, int8 and w8, all with probabilities."""
    folder = tmp_path_factory.mktemp("models")
    inside = card_for_file(exported[1] / "model.fp32.onnx", None)
    dataset = open_data(card, ExportSettings())
    weights = build("w8", Candidate(model, inside), dataset, 8, 5.0)
    write_model(weights.model, weights.card, folder / "w8.onnx")
    return {name: exported[1] / f"model.{name}.onnx" for name in ("fp32", "int8")} | {"w8": folder / "w8.onnx"}


@pytest.fixture(scope="module")
def picture(data, tmp_path_factory):
    """A picture of four from the data set, at a size the network has to pad."""
    tiles = [np.asarray(Image.open(path)) for path in sorted((data / "val" / "images").glob("*.png"))[:4]]
    whole = np.concatenate([np.concatenate(tiles[:2], 1), np.concatenate(tiles[2:], 1)])[:123, :107]
    path = tmp_path_factory.mktemp("picture") / "picture.png"
    Image.fromarray(whole).save(path)
    return path


def in_browser(page, model, picture, palette):
    """The class map the page draws: its colours taken back to class indices."""
    page.set_input_files("#model", model)
    page.locator("#status", has_text="classes,").wait_for()
    page.set_input_files("#picture", picture)
    page.locator("#status", has_text=" ms.").wait_for()
    width, height, pixels = page.evaluate(
        """() => {
        const { width, height } = document.getElementById("classes");
        const drawn = document.getElementById("classes").getContext("2d").getImageData(0, 0, width, height).data;
        return [width, height, btoa(Array.from(drawn, value => String.fromCharCode(value)).join(""))];
        }"""
    )
    drawn = np.frombuffer(base64.b64decode(pixels), np.uint8).reshape(height, width, 4)
    assert (drawn[..., 3] == 255).all()
    equal = (drawn[..., None, :3] == np.array(palette, np.uint8)).all(-1)  # (H, W, K)
    assert (equal.sum(-1) == 1).all()
    return equal.argmax(-1)


@pytest.mark.parametrize("precision", ["fp32", "int8", "w8"])
def test_the_browser_gives_plain_onnxruntimes_map(open_page, address, models, picture, precision):
    page = open_page(address, viewport={"width": 800, "height": 700})
    inside = card_for_file(models[precision], None)
    found = in_browser(page, models[precision], picture, inside.palette)
    options = onnxruntime.SessionOptions()
    for key, value in inside.session.config.items():
        options.add_session_config_entry(key, value)
    session = onnxruntime.InferenceSession(models[precision], options, providers=["CPUExecutionProvider"])
    pixels = np.asarray(Image.open(picture))[None]
    classmap, probabilities = session.run(["classmap", "probabilities"], {"image": pixels})
    differs = found != classmap[0]
    best = np.sort(probabilities[0], axis=0)
    margin = (best[-1] - best[-2])[differs]
    assert len(np.unique(classmap)) > 1
    share, tie = ALLOWED[precision]
    assert differs.mean() <= share
    assert (margin < tie).all()


def test_the_page_names_what_it_found(open_page, address, models, picture):
    page = open_page(address, viewport={"width": 360, "height": 700})
    in_browser(page, models["int8"], picture, card_for_file(models["int8"], None).palette)
    said = page.locator("#status").inner_text()
    assert said.startswith("squares, int8: 107 \u00d7 123 in ")
    legend = page.locator("#legend li").all_inner_texts()
    assert sum(float(entry.split()[-2]) for entry in legend) == pytest.approx(100, abs=0.5)
    assert {entry.split()[0] for entry in legend} <= {"ground", "red", "green", "blue"}
    assert page.evaluate("document.documentElement.scrollWidth") == 360


def test_a_file_that_is_none_is_refused_in_words(open_page, address, picture):
    page = open_page(address)
    page.set_input_files("#model", picture)
    page.locator("#status", has_text="no ONNX file").wait_for()
