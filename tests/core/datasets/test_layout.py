from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segx_core.datasets.dataset import Sample
from segx_core.datasets.layout import files, pair, with_validation
from segx_core.errors import DataError

IMAGES, MASKS = Path("images"), Path("masks")


def paths(base, *names):
    return [base / name for name in names]


@pytest.mark.parametrize("ending", ["", "_mask", "_labels", "_L"])
def test_pairs_by_stem_whatever_suffix_and_ending(ending):
    samples = pair(paths(IMAGES, "b.jpg", "a.JPG"), IMAGES, paths(MASKS, f"a{ending}.png", f"b{ending}.PNG"), MASKS)
    assert [sample.name for sample in samples] == ["a", "b"]
    assert [sample.mask.name for sample in samples] == [f"a{ending}.png", f"b{ending}.PNG"]


def test_nested_folders_give_names_without_slashes():
    samples = pair(paths(IMAGES, "x/1.jpg", "y/1.jpg"), IMAGES, paths(MASKS, "x/1.png", "y/1_mask.png"), MASKS)
    assert [sample.name for sample in samples] == ["x__1", "y__1"]


def test_what_has_no_partner_is_counted_and_five_are_named():
    images = paths(IMAGES, *(f"{i}.jpg" for i in range(9)))
    with pytest.raises(DataError) as caught:
        pair(images, IMAGES, paths(MASKS, "0.png", "stray.png"), MASKS)
    text = str(caught.value)
    assert "8 pictures of images without a mask in masks (1.jpg, 2.jpg, 3.jpg, 4.jpg, 5.jpg and 3 more)" in text
    assert "1 masks of masks without a picture in images (stray.png)" in text


def test_ambiguous_names_are_refused():
    with pytest.raises(DataError, match=r"both a\.jpg and a\.png"):
        pair(paths(IMAGES, "a.jpg", "a.png"), IMAGES, paths(MASKS, "a.png"), MASKS)
    with pytest.raises(DataError, match=r"two for .*a\.png and a_mask\.png"):
        pair(paths(IMAGES, "a.jpg"), IMAGES, paths(MASKS, "a.png", "a_mask.png"), MASKS)


def test_nothing_at_all():
    with pytest.raises(DataError, match="none in images"):
        pair([], IMAGES, [], MASKS)


def test_hidden_and_foreign_files_are_left_out(tmp_path):
    for name in (".DS_Store", "._a.png", ".cache/b.png", "Thumbs.db", "readme.txt", "a.PNG", "sub/c.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = files(tmp_path, frozenset({".png"}))
    assert [path.relative_to(tmp_path).as_posix() for path in found] == ["a.PNG", "sub/c.png"]


def samples(names):
    return tuple(Sample(name, IMAGES / f"{name}.jpg", MASKS / f"{name}.png") for name in sorted(names))


@settings(deadline=None, derandomize=True)
@given(st.sets(st.text("abcdef0123456789", min_size=1, max_size=6), min_size=2, max_size=60))
def test_a_fifth_is_held_out_and_nothing_lost(names):
    everything = samples(names)
    splits, note = with_validation({"train": everything})
    assert len(splits["val"]) == max(1, round(len(names) / 5))
    assert splits["train"]
    assert sorted(splits["train"] + splits["val"], key=lambda one: one.name) == list(everything)
    assert with_validation({"train": tuple(reversed(everything))})[0]["val"] == tuple(reversed(splits["val"]))
    assert note is not None
    assert note.startswith("No val split")


def test_given_splits_stay():
    given_splits = {"train": samples("ab"), "val": samples("c")}
    assert with_validation(given_splits) == (given_splits, None)
    assert with_validation({"test": samples("ab")}) == ({"test": samples("ab")}, None)
    splits, _ = with_validation({"train": samples("abcde"), "test": samples("f")})
    assert list(splits) == ["train", "val", "test"]


def test_one_picture_cannot_be_split():
    splits, note = with_validation({"train": samples("a")})
    assert list(splits) == ["train"]
    assert "Only one picture" in note
