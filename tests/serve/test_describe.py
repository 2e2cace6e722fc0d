from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from segx_core import rle
from segx_core.errors import PictureError
from segx_serve.describe import as_bytes, describe
from segx_serve.legend import Legend

NAMED = Legend("m", ("a", "b", "c"), ((0, 0, 0), (1, 1, 1), (2, 2, 2)))
NUMBERED = Legend("m", None, NAMED.palette)


@settings(deadline=None)
@given(
    hnp.arrays(np.uint8, st.tuples(st.integers(1, 6), st.integers(1, 6)), elements=st.integers(0, 2)),
    st.booleans(),
    st.booleans(),
)
def test_every_class_is_counted_and_found_where_it_is(labels: np.ndarray, rles: bool, polygons: bool) -> None:
    told = describe(NAMED, labels, rles=rles, polygons=polygons)
    found = describe(NUMBERED, labels, rles=rles, polygons=polygons)
    assert json.loads(as_bytes(told)) == told
    assert (told["model"], told["height"], told["width"]) == ("m", *labels.shape)
    classes = told["classes"]
    assert [one["name"] for one in classes] == ["a", "b", "c"]
    assert sum(one["pixels"] for one in classes) == labels.size
    for one in classes:
        mask = labels == one["index"]
        assert one["pixels"] == mask.sum()
        assert one["fraction"] == mask.mean()
        assert (one["bbox"] is None) == (not mask.any())
        assert ("rle" in one, "polygons" in one) == (rles, polygons)
        if rles:
            np.testing.assert_array_equal(rle.decode(one["rle"]), mask)
        if polygons:
            assert bool(one["polygons"]) == mask.any()
    assert found["classes"] == [{**one, "name": f"class_{one['index']}"} for one in classes if one["pixels"]]


def test_a_map_of_noise_has_no_polygons_but_all_the_rest() -> None:
    noise = np.random.default_rng(5).integers(0, 2, (1500, 1500), np.uint8)
    with pytest.raises(PictureError, match="without polygons=1") as refusal:
        describe(NAMED, noise, polygons=True)
    assert refusal.value.kind == "too_large"
    assert len(describe(NAMED, noise, rles=False)["classes"]) == 3
