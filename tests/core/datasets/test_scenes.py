from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from segx_core.datasets import scenes
from segx_core.datasets.open import open_dataset
from segx_core.datasets.scenes_world import CLASSES, GROUNDS, THINGS
from segx_core.errors import SetupError

FEW = {"train": 3, "val": 2, "test": 2}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cache") / "few"
    scenes.make_scenes(folder, 5, FEW)
    return folder


@pytest.fixture(scope="module")
def sample() -> dict[str, np.ndarray]:
    return {split: np.stack([scenes.generate(20, i, split)[1] for i in range(60)]) for split in ("train", "test")}


def test_the_pictures_are_those_of_this_version() -> None:
    """Every machine makes the same pixels; whoever changes them also changes VERSION."""
    digest = hashlib.sha256()
    for split in ("train", "val", "test"):
        for index in (0, 7):
            for array in scenes.generate(scenes.SEED, index, split):
                digest.update(array.tobytes())
    assert (scenes.VERSION, digest.hexdigest()[:16]) == ("scenes-v1", "5168e80b9bb113aa")


@given(
    seed=st.integers(0, 1000),
    index=st.integers(0, 10_000),
    split=st.sampled_from(("train", "val", "test")),
    height=st.integers(8, 70),
    width=st.integers(8, 70),
)
@settings(max_examples=25, deadline=None, derandomize=True)
def test_any_size_gives_a_picture_and_known_labels(seed: int, index: int, split: str, height: int, width: int) -> None:
    picture, labels = scenes.generate(seed, index, split, height, width)
    assert picture.shape == (height, width, 3)
    assert labels.shape == (height, width)
    assert picture.dtype == labels.dtype == np.uint8
    assert set(np.unique(labels)) <= {*range(len(CLASSES)), 255}
    again = scenes.generate(seed, index, split, height, width)
    np.testing.assert_array_equal(picture, again[0])
    np.testing.assert_array_equal(labels, again[1])


def test_seed_split_and_index_each_change_the_scene() -> None:
    base = scenes.generate(1, 2, "train")[0]
    for other in (scenes.generate(2, 2, "train"), scenes.generate(1, 3, "train"), scenes.generate(1, 2, "val")):
        assert (base != other[0]).mean() > 0.5


def test_an_unknown_split_is_named() -> None:
    with pytest.raises(ValueError, match="got 'dev'"):
        scenes.generate(1, 0, "dev")


@pytest.mark.parametrize("split", ["train", "test"])
def test_class_shares_are_those_promised(sample: dict[str, np.ndarray], split: str) -> None:
    labels = sample[split]
    share = np.bincount(labels.ravel(), minlength=256) / labels.size
    of = dict(zip(CLASSES, share, strict=False))
    assert 0.001 < of["beacon"] < 0.005  # rare, not absent
    assert of["beacon"] == min(of.values())
    assert all(0.08 < of[name] < 0.3 for name in GROUNDS)
    assert all(0.008 < of[name] < 0.08 for name in THINGS)
    assert 0.01 < of["powerline"] < 0.06
    assert 0.005 < share[255] < 0.06


def test_colour_does_not_tell_grounds_apart_nor_things_of_a_pair() -> None:
    """The mean colour differs far less between such classes than it does between pictures."""
    totals: dict[str, list[np.ndarray]] = {name: [] for name in CLASSES}
    for index in range(60):
        picture, labels = scenes.generate(20, index, "train")
        for k, name in enumerate(CLASSES):
            if (labels == k).sum() > 20:
                totals[name].append(picture[labels == k].mean(axis=0))
    for names in (GROUNDS, ("balloon", "star"), ("ring", "tent")):
        means = np.stack([np.mean(totals[name], axis=0) for name in names])
        spread = np.mean([np.std(totals[name], axis=0) for name in names])
        assert means.std(axis=0).max() < 0.4 * spread


def test_files_hold_what_generate_gives(small: Path) -> None:
    data = open_dataset(small)
    assert data.classes == CLASSES
    assert data.ignore_index == 255
    assert {split: len(samples) for split, samples in data.splits.items()} == FEW
    for split, samples in data.splits.items():
        for index, item in enumerate(samples):
            picture, labels = data.read(item)
            expected = scenes.generate(5, index, split)
            np.testing.assert_array_equal(picture, expected[0])
            np.testing.assert_array_equal(labels, expected[1])


def test_masks_are_palette_pictures_with_distinct_colours(small: Path) -> None:
    with Image.open(small / "train" / "masks" / "train_0000.png") as mask:
        assert mask.mode == "P"
        palette = np.reshape(mask.getpalette(), (-1, 3))
    assert tuple(map(tuple, palette[: len(CLASSES)].tolist())) == scenes.PALETTE
    assert len(set(scenes.PALETTE)) == len(CLASSES)
    assert tuple(palette[255]) == (255, 255, 255)


def test_a_finished_data_set_is_taken_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    final = tmp_path / scenes.VERSION
    scenes.make_scenes(final, 5, FEW)
    before = {path: path.stat().st_mtime_ns for path in final.rglob("*")}
    assert scenes.ensure_scenes(tmp_path) == final
    monkeypatch.setenv("SEGX_CACHE", str(tmp_path))
    assert scenes.ensure_scenes() == final
    assert {path: path.stat().st_mtime_ns for path in final.rglob("*")} == before


def test_the_cache_is_in_the_home_folder_unless_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SEGX_CACHE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert scenes.cache_folder() == tmp_path / ".cache" / "segx"


def test_processes_at_once_agree_and_leave_nothing_over(tmp_path: Path, small: Path) -> None:
    final = tmp_path / "new" / "cache" / "few"
    jobs = [start(MAKE, final, "3 2 2") for _ in range(3)]
    for job in jobs:
        _, errors = job.communicate(timeout=120)
        assert job.returncode == 0, errors
    assert [path.name for path in final.parent.iterdir()] == ["few"]
    assert contents(final) == contents(small)


def test_a_killed_process_leaves_no_half_data_set(tmp_path: Path, small: Path) -> None:
    final = tmp_path / "few"
    job = start(MAKE, final, "5000 0 0")
    while not list(tmp_path.rglob("train_0001.png")):
        assert job.poll() is None
        time.sleep(0.02)
    job.kill()
    job.communicate()
    assert not final.exists()
    (left,) = tmp_path.iterdir()
    hours_ago = time.time() - 2 * scenes.ABANDONED_S
    os.utime(left, (hours_ago, hours_ago))
    scenes.make_scenes(final, 5, FEW)
    assert contents(final) == contents(small)
    assert [path.name for path in tmp_path.iterdir()] == ["few"]


def test_a_cache_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SetupError, match="SEGX_CACHE") as caught:
        scenes.ensure_scenes(tmp_path / "file")
    assert str(tmp_path / "file") in str(caught.value)


def test_something_else_under_the_name_is_kept(tmp_path: Path) -> None:
    mine = tmp_path / "few"
    mine.mkdir()
    (mine / "notes.txt").write_text("mine")
    with pytest.raises(SetupError, match="remove what is in the way"):
        scenes.make_scenes(mine, 5, {"train": 1})
    assert [path.name for path in tmp_path.iterdir()] == ["few"]
    assert (mine / "notes.txt").read_text() == "mine"


def test_a_full_disk_says_so_and_cleans_up(tmp_path: Path) -> None:
    pytest.importorskip("resource", reason="needs a limit on file sizes to stand for a full disk")
    job = start(LITTLE_ROOM + MAKE, tmp_path / "few", "1 0 0")
    _, errors = job.communicate(timeout=120)
    assert "SetupError" in errors
    assert "SEGX_CACHE" in errors
    assert list(tmp_path.iterdir()) == []


MAKE = """
import pathlib, sys
from segx_core.datasets import scenes
counts = dict(zip(("train", "val", "test"), map(int, sys.argv[2].split())))
scenes.make_scenes(pathlib.Path(sys.argv[1]), 5, counts)
"""

LITTLE_ROOM = """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # writing fails with EFBIG, as it fails on a full disk
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
"""


def start(code: str, final: Path, counts: str) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", code, str(final), counts],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
