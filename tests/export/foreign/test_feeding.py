"""Calibration feeds are what Predictor itself would feed."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from segx_core import thirdparty
from segx_core.predictor import Predictor
from segx_export.feeding import calibration_feeds, output_ports, ports_of


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"layout": "NHWC", "color": "BGR"},
        {"color": "GRAY"},
        {"rule": "fixed"},
        {"rule": "fixed", "batch": 2},
        {"dtype": "uint8"},
    ],
    ids=str,
)
def test_a_feed_gives_the_map_that_predictor_gives(theirs, form):
    path, card = theirs(stride=1, **form)
    predictor = Predictor.load(path, provider="cpu", card=card)
    random = np.random.default_rng(0)
    pictures = [random.integers(0, 256, (48, 64, 3), dtype=np.uint8) for _ in range(2)]
    feeds = list(calibration_feeds(predictor.card, ports_of(onnx.load(path)), pictures))
    assert len(feeds) == 2
    for feed, picture in zip(feeds, pictures, strict=True):
        assert feed["x"].dtype == form.get("dtype", "float32")
        scores = thirdparty.planes(predictor.infer(feed)["y"], predictor.card.prediction)
        assert len(scores) == form.get("batch", 1)
        np.testing.assert_array_equal(scores[-1].argmax(0), predictor.predict(picture))


def test_pictures_are_fitted_to_a_size_and_padded_to_a_multiple(theirs):
    pictures = [np.full((33, 50, 3), 255, np.uint8)]
    for rule, want in (("fixed", (1, 3, 48, 64)), ("multiple", (1, 3, 36, 52)), ("dynamic", (1, 3, 33, 50))):
        path, card = theirs(rule=rule)
        known = Predictor.load(path, provider="cpu", card=card).card
        (feed,) = calibration_feeds(known, ports_of(onnx.load(path)), pictures)
        assert feed["x"].shape == want
        # White, normalised: (1 - mean) / std a channel, also where the edge was repeated.
        np.testing.assert_allclose(feed["x"][0, 0], (1 - 0.485) / 0.229, rtol=1e-5)


def test_ports_are_those_of_onnx_runtime(theirs):
    path, card = theirs(rule="fixed", batch=2)
    predictor, model = Predictor.load(path, provider="cpu", card=card), onnx.load(path)
    assert ports_of(model) == predictor.inputs
    assert [(port.name, port.dtype) for port in output_ports(model)] == [("y", "float32")]
