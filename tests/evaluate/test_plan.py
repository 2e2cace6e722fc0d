from __future__ import annotations

from pathlib import Path

import pytest

from segx_core.errors import ConfigError, PictureError
from segx_evaluate.plan import plan


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_folders_are_mirrored_and_files_go_to_the_top(tmp_path: Path) -> None:
    touch(*(tmp_path / "in" / name for name in ("a.jpg", "x/a.PNG", "x/y/film.MP4", "notes.txt", ".b.png", ".c/d.png")))
    touch(tmp_path / "else" / "single.jpeg")
    jobs = plan([tmp_path / "in", tmp_path / "else" / "single.jpeg"], tmp_path / "out")
    assert [job.place.as_posix() for job in jobs] == ["a", "x/a", "x/y/film", "single"]
    assert [job.video for job in jobs] == [False, False, True, False]
    assert jobs[1].target(tmp_path, ".png") == tmp_path / "x" / "a.png"
    assert jobs[1].overlay(tmp_path) == tmp_path / "overlay" / "x" / "a.png"


def test_a_dot_in_a_stem_survives(tmp_path: Path) -> None:
    touch(tmp_path / "in" / "a.b.jpg", tmp_path / "in" / "a.c.jpg")
    jobs = plan([tmp_path / "in"], tmp_path / "out")
    assert [job.target(Path("out"), ".png").as_posix() for job in jobs] == ["out/a.b.png", "out/a.c.png"]


@pytest.mark.parametrize(
    ("files", "inputs"),
    [
        (["in/x.jpg", "in/x.png"], ["in"]),
        (["a/x.jpg", "b/x.jpg"], ["a", "b"]),
        (["a/x.jpg", "b/x.jpg"], ["a/x.jpg", "b/x.jpg"]),
        (["in/x.jpg", "in/x.mp4"], ["in"]),
        (["in/a.png", "in/overlay/a.png"], ["in"]),
    ],
)
def test_answers_of_one_name_are_refused(tmp_path: Path, files: list[str], inputs: list[str]) -> None:
    touch(*(tmp_path / name for name in files))
    with pytest.raises(ConfigError, match="both of which"):
        plan([tmp_path / name for name in inputs], tmp_path / "out")


@pytest.mark.parametrize(
    ("inputs", "out"),
    [
        (["in"], "in"),
        (["in"], "in/../in"),
        (["in/x.jpg"], "in"),
        (["top"], "top"),
        (["in/x.jpg"], "link"),
        (["deep"], "deep/deep"),
    ],
)
def test_no_output_stands_among_the_inputs(tmp_path: Path, inputs: list[str], out: str) -> None:
    touch(tmp_path / "in" / "x.jpg", tmp_path / "top" / "sub" / "x.jpg", tmp_path / "deep" / "y.jpg")
    (tmp_path / "link").symlink_to(tmp_path / "in")
    if out == "deep/deep":  # an output folder below the input folder is fine as long as it holds no input
        assert len(plan([tmp_path / "deep"], tmp_path / out)) == 1
        return
    with pytest.raises(ConfigError, match="output folder apart"):
        plan([tmp_path / name for name in inputs], tmp_path / out)


def test_the_overlay_folder_is_protected_too(tmp_path: Path) -> None:
    touch(tmp_path / "overlay" / "x.jpg")
    with pytest.raises(ConfigError, match="output folder apart"):
        plan([tmp_path / "overlay" / "x.jpg"], tmp_path)


def test_answers_of_an_earlier_run_are_no_inputs(tmp_path: Path) -> None:
    touch(tmp_path / "in" / "x.jpg", tmp_path / "in" / "out" / "x.png", tmp_path / "in" / "out" / "overlay" / "x.png")
    assert [job.source.name for job in plan([tmp_path / "in"], tmp_path / "in" / "out")] == ["x.jpg"]


def test_what_is_missing_or_unknown_is_named(tmp_path: Path) -> None:
    touch(tmp_path / "notes.txt")
    (tmp_path / "empty").mkdir()
    for name in ("notes.txt", "empty", "absent.png"):
        with pytest.raises(PictureError, match=name):
            plan([tmp_path / name], tmp_path / "out")
    with pytest.raises(PictureError):
        plan([], tmp_path / "out")
