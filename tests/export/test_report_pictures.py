"""The pictures of the report against a naive search, and what thinning may not lose."""

from __future__ import annotations

import base64
import io
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from segx_core.datasets import open_dataset
from segx_export import report_pictures
from segx_export.measure import quality
from segx_export.report_pictures import GAINED, LOST, OTHER, StripPicture, changes, changes_address, map_address, strip

MAPS = arrays.arrays(np.uint8, (5, 6), elements=st.integers(0, 2))


class Shifted:
    """A runner that knows the truth of every picture and moves it by `step` classes in the first `rows` rows."""

    def __init__(self, dataset, samples, rows, step=1):
        self.truth = {dataset.read(sample)[0].tobytes(): dataset.read(sample)[1] for sample in samples}
        self.rows, self.step, self.classes = rows, step, len(dataset.classes)

    def run(self, batch):
        made = []
        for picture in batch:
            truth = self.truth[picture.tobytes()].copy()
            rows = self.rows(truth) if callable(self.rows) else self.rows
            truth[:rows] = (truth[:rows] + self.step) % self.classes
            made.append(truth)
        return np.stack(made)


@pytest.fixture(scope="module")
def setting(data):
    dataset = open_dataset(str(data))
    samples = dataset.split("val")
    right = Shifted(dataset, samples, 0)
    # As many rows as its truth has pixels of class 1 over 64: another number for every picture.
    wrong = Shifted(dataset, samples, lambda truth: int((truth == 1).sum()) // 64)
    return SimpleNamespace(dataset=dataset, samples=samples, right=right, wrong=wrong)


def test_quality_tells_each_pictures_share(setting):
    found = quality([setting.right, setting.wrong], setting.dataset, setting.samples, "comparing")
    for sample, share, wrong in zip(setting.samples, found.differing[1], found.wrong[1], strict=True):
        picture, truth = setting.dataset.read(sample)
        naive = (setting.wrong.run(picture[None])[0] != truth).mean()
        assert share == pytest.approx(naive)
        assert wrong == pytest.approx(naive)  # every pixel is labelled here
    assert found.differing[0] == tuple(found.wrong[0]) == (0.0,) * len(setting.samples)
    assert np.mean(found.differing[1]) == pytest.approx(1 - found.agreement[1])


def test_the_strip_shows_the_worst_pictures_first(setting):
    shares = quality([setting.right, setting.wrong], setting.dataset, setting.samples, "comparing").differing[1]
    shown = strip(setting.right, setting.wrong, setting.dataset, setting.samples, shares, 3)
    names = [sample.name for sample in setting.samples]
    worst = sorted(range(len(shares)), key=lambda index: -shares[index])[:3]
    assert [one.name for one in shown] == [names[index] for index in worst]
    for one in shown:
        assert one.share == pytest.approx((one.candidate != one.reference).mean())
        np.testing.assert_array_equal(one.reference, one.truth)
        np.testing.assert_array_equal(one.changes == LOST, one.candidate != one.reference)
        before, after = one.moved
        pairs = list(zip(one.reference.ravel(), one.candidate.ravel(), strict=True))
        assert pairs.count((before, after)) == max(pairs.count(pair) for pair in set(pairs) if pair[0] != pair[1])


def test_equal_files_give_no_pictures(setting):
    assert strip(setting.right, setting.right, setting.dataset, setting.samples, (0.0,) * len(setting.samples)) == ()


def test_without_a_candidate_errors_are_shown(setting):
    shares = quality([setting.wrong], setting.dataset, setting.samples, "measuring").wrong[0]
    (first, *_) = strip(setting.wrong, None, setting.dataset, setting.samples, shares)
    assert first.candidate is None
    assert first.share == max(shares)
    np.testing.assert_array_equal(first.changes == LOST, first.reference != first.truth)


def test_of_neighbours_only_the_worst_is_shown(setting):
    """Eight frames, one picture asked for: two on each side of the worst are passed over."""
    shares = (0.1, 0.9, 0.95, 0.8, 0.3, 0.2, 0.6, 0.1)
    shown = strip(setting.right, setting.wrong, setting.dataset, setting.samples, shares, 2)
    assert [one.share for one in shown] == [0.95, 0.6]


@given(MAPS, MAPS, MAPS, arrays.arrays(np.bool_, (5, 6)))
def test_changes_say_who_was_right(truth, before, after, labelled):
    kind = changes(truth, before, after, labelled)
    for at in np.ndindex(*truth.shape):
        if before[at] == after[at]:
            wanted = 0
        elif labelled[at] and after[at] == truth[at]:
            wanted = GAINED
        elif labelled[at] and before[at] == truth[at]:
            wanted = LOST
        else:
            wanted = OTHER
        assert kind[at] == wanted


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 9), st.data())
def test_thinning_keeps_a_single_changed_pixel(height, width, step, data):
    kind = np.zeros((height, width), np.uint8)
    y, x = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    kind[y, x] = GAINED
    small = report_pictures._strongest(kind, step)
    assert small.shape == kind[::step, ::step].shape
    assert np.argwhere(small).tolist() == [[y // step, x // step]]
    assert small.max() == GAINED


def pixels(address):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))).convert("RGB")).astype(int)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_maps_are_drawn_in_their_colours_and_the_ignored_in_white(dtype):
    palette = ((10, 20, 30), (200, 100, 0))
    drawn = pixels(map_address(np.array([[0, 1], [1, 255]], dtype), palette))
    np.testing.assert_array_equal(drawn, [[palette[0], palette[1]], [palette[1], (255, 255, 255)]])


def test_changes_stand_out_from_the_darkened_picture():
    kind = np.zeros((32, 48), np.uint8)
    kind[8:24, 16:32] = LOST
    maps = np.zeros((32, 48), np.uint8)
    white = np.full((30, 48, 3), 255, np.uint8)  # one block less than the map: the last was not whole
    drawn = pixels(changes_address(StripPicture("a", 0.2, white, maps, maps, maps, kind, (0, 1))))
    assert np.abs(drawn[10:22, 18:30] - report_pictures.CHANGE_COLOURS[LOST]).max() < 40
    assert drawn[:6].max() < 130
