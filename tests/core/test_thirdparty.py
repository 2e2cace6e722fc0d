"""The arithmetic of third-party files against its definition in float64."""

from __future__ import annotations

import numpy as np
import pytest

from segx_core.card import InputSpec, Normalisation
from segx_core.thirdparty import best_class, grey, prepare, softmax

RANDOM = np.random.default_rng(5)
BATCH = RANDOM.integers(0, 256, (2, 3, 4, 3), dtype=np.uint8)


def spec(layout: str, color: str = "RGB", dtype: str = "float32", channels: int = 3) -> InputSpec:
    rule = Normalisation(scale=127.5, mean=(0.4, 0.5, 0.6)[:channels], std=(0.2, 0.3, 0.4)[:channels], where="runner")
    return InputSpec(name="x", dtype=dtype, layout=layout, color=color, normalisation=rule)


@pytest.mark.parametrize(("dtype", "close"), [("float32", 1e-5), ("float16", 1e-2)])
@pytest.mark.parametrize("color", ["RGB", "BGR"])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_normalisation_is_by_the_graphs_own_channel_order(layout, color, dtype, close):
    ordered = BATCH if color == "RGB" else BATCH[..., ::-1]
    expected = (ordered / 127.5 - [0.4, 0.5, 0.6]) / [0.2, 0.3, 0.4]
    if layout == "NCHW":
        expected = expected.transpose(0, 3, 1, 2)
    out = prepare(BATCH, spec(layout, color, dtype))
    assert out.dtype == np.dtype(dtype)
    assert out.flags.c_contiguous
    np.testing.assert_allclose(out, expected, atol=close)


def test_a_native_input_is_passed_on_uncopied_and_documentation_is_not_obeyed():
    documented = InputSpec(name="x", normalisation=Normalisation(mean=(0.5,) * 3, std=(0.5,) * 3))
    assert prepare(BATCH, documented) is BATCH


def test_grey_is_rounded_bt601():
    expected = np.floor(BATCH @ [0.299, 0.587, 0.114] + 0.5)
    assert np.abs(grey(BATCH)[..., 0] - expected).max() <= 1
    flat = np.arange(256, dtype=np.uint8)[None, None, :, None].repeat(3, 3)
    assert np.array_equal(grey(flat)[0, 0, :, 0], np.arange(256))
    assert prepare(BATCH, spec("NCHW", "GRAY", channels=1)).shape == (2, 1, 3, 4)


def test_best_class_is_argmax_and_ties_go_to_the_lowest():
    scores = RANDOM.integers(0, 3, (5, 30, 40)).astype(np.float32)
    before = scores.copy()
    assert np.array_equal(best_class(scores, 30, 40), scores.argmax(0))
    assert np.array_equal(scores, before)


def test_softmax_of_large_logits():
    logits = np.array([1000.0, 1001.0], np.float32)[:, None, None]
    np.testing.assert_allclose(softmax(logits)[:, 0, 0], [1 / (1 + np.e), np.e / (1 + np.e)], rtol=1e-5)
