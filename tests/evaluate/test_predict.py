from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from segx_core import picture, rle
from segx_core.errors import ConfigError, PictureError
from segx_evaluate.predict import predict_files


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """in/a.png, in/sub/b.jpg, in/sub/a.png: noise of different sizes."""
    rng = np.random.default_rng(6)
    folder = tmp_path / "in"
    (folder / "sub").mkdir(parents=True)
    for name, size in (("a.png", (20, 30)), ("sub/b.jpg", (17, 9)), ("sub/a.png", (8, 8))):
        Image.fromarray(rng.integers(0, 256, (*size, 3)).astype(np.uint8)).save(folder / name)
    return folder


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_pngs_hold_the_class_indices_in_the_service_s_bytes(load, pictures: Path, tmp_path: Path) -> None:
    model, out = load(), tmp_path / "new" / "out"
    summary = predict_files(model, [pictures], out, overlay=True)
    names = {"a.png", "sub/b.png", "sub/a.png"}
    assert files(out) == names | {f"overlay/{name}" for name in names}
    assert {path.relative_to(out).as_posix() for path in summary.written} == files(out)
    assert (summary.pictures, summary.videos, summary.frames) == (3, 0, 0)
    for source, target in (("a.png", "a.png"), ("sub/b.jpg", "sub/b.png")):
        pixels = picture.read(pictures / source)
        classmap = model.predict(pixels)
        assert (out / target).read_bytes() == picture.encode_mask(classmap, model.card.palette)
        np.testing.assert_array_equal(np.asarray(Image.open(out / target)), pixels.argmax(axis=2))
        laid = picture.overlay(pixels, classmap, model.card.palette)
        np.testing.assert_array_equal(np.asarray(Image.open(out / "overlay" / target)), laid)


def test_coco_is_one_file_for_all(load, pictures: Path, tmp_path: Path) -> None:
    model, out = load(), tmp_path / "out"
    predict_files(model, [pictures], out, format="coco")
    assert files(out) == {"predictions.json"}
    document = json.loads((out / "predictions.json").read_text())
    assert [image["file_name"] for image in document["images"]] == ["a.png", "sub/a.png", "sub/b.jpg"]
    assert [category["name"] for category in document["categories"]] == ["red", "green", "blue"]
    ids = [annotation["id"] for annotation in document["annotations"]]
    assert len(set(ids)) == len(ids)
    for image in document["images"]:
        expected = model.predict(picture.read(pictures / image["file_name"]))
        back = np.full_like(expected, 99)
        for annotation in document["annotations"]:
            if annotation["image_id"] == image["id"]:
                back[rle.decode(annotation["segmentation"])] = annotation["category_id"]
        np.testing.assert_array_equal(back, expected)


def test_polygons_are_a_file_a_picture(load, pictures: Path, tmp_path: Path) -> None:
    predict_files(load(), [pictures], tmp_path / "out", format="polygons")
    assert files(tmp_path / "out") == {"a.json", "sub/a.json", "sub/b.json"}
    document = json.loads((tmp_path / "out" / "sub" / "b.json").read_text())
    assert (document["image"], document["height"], document["width"]) == ("b.jpg", 17, 9)
    assert {shape["class"] for shape in document["shapes"]} <= {"red", "green", "blue"}


def test_an_unknown_format_is_refused(load, pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Did you mean 'coco'"):
        predict_files(load(), [pictures], tmp_path / "out", format="cocoo")
    film(tmp_path / "film.avi", 1, (48, 64))
    with pytest.raises(ConfigError, match="--format"):
        predict_files(load(), [tmp_path / "film.avi"], tmp_path / "out", format="none")
    assert not (tmp_path / "out").exists()


def test_broken_pictures_are_told_at_the_end_and_the_others_done(load, pictures: Path, tmp_path: Path) -> None:
    (pictures / "0-broken.png").write_bytes((pictures / "a.png").read_bytes()[:100])
    (pictures / "text.jpg").write_text("not a picture")
    with pytest.raises(PictureError) as caught:
        predict_files(load(), [pictures], tmp_path / "out")
    message = str(caught.value)
    assert "2 of 5" in message
    assert "0-broken.png" in message
    assert "text.jpg" in message
    assert caught.value.exit_code == 2
    assert files(tmp_path / "out") == {"a.png", "sub/a.png", "sub/b.png"}


def test_inputs_are_never_overwritten(load, pictures: Path) -> None:
    before = {name: (pictures / name).read_bytes() for name in files(pictures)}
    with pytest.raises(ConfigError):
        predict_files(load(), [pictures], pictures)
    assert {name: (pictures / name).read_bytes() for name in files(pictures)} == before


class Interrupted:
    """A model whose user presses Ctrl-C during the third picture."""

    def __init__(self, model) -> None:
        self._model, self._left = model, 2

    def __getattr__(self, name: str):
        return getattr(self._model, name)

    def predict(self, pixels):
        if not self._left:
            raise KeyboardInterrupt
        self._left -= 1
        return self._model.predict(pixels)


@pytest.mark.parametrize(("form", "kept"), [("png", {"a.png", "sub/a.png"}), ("coco", {"predictions.json"})])
def test_an_interrupt_keeps_what_was_done(load, pictures: Path, tmp_path: Path, form, kept) -> None:
    with pytest.raises(KeyboardInterrupt):
        predict_files(Interrupted(load()), [pictures], tmp_path / "out", format=form)
    assert files(tmp_path / "out") == kept
    if form == "coco":
        assert len(json.loads((tmp_path / "out" / "predictions.json").read_text())["images"]) == 2


def film(path: Path, frames: int, size: tuple[int, int] = (48, 64)) -> None:
    """Frame k is red, green or blue all over."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 12.0, (size[1], size[0]))
    assert writer.isOpened()
    for index in range(frames):
        frame = np.full((*size, 3), 20, np.uint8)
        frame[..., 2 - index % 3] = 200  # BGR
        writer.write(frame)
    writer.release()


def read_film(path: Path) -> tuple[list[np.ndarray], float]:
    capture = cv2.VideoCapture(str(path))
    rate, frames = capture.get(cv2.CAP_PROP_FPS), []
    while True:
        good, frame = capture.read()
        if not good:
            capture.release()
            return frames, rate
        frames.append(frame[..., ::-1])


def test_a_video_becomes_an_overlaid_video(load, pictures: Path, tmp_path: Path, capsys) -> None:
    film(pictures / "sub" / "drive.mp4", 7)
    model, out = load(), tmp_path / "out"
    summary = predict_files(model, [pictures / "sub"], out)
    assert files(out) == {"a.png", "b.png", "drive.mp4"}
    assert (summary.pictures, summary.videos, summary.frames) == (2, 1, 7)
    frames, rate = read_film(out / "drive.mp4")
    assert rate == pytest.approx(12)
    assert len(frames) == 7
    sources, _ = read_film(pictures / "sub" / "drive.mp4")
    for source, frame in zip(sources, frames, strict=True):
        expected = picture.overlay(np.ascontiguousarray(source), model.predict(source), model.card.palette)
        assert np.abs(frame.astype(int) - expected).mean() < 6  # the codec loses a little
    assert "sound" in capsys.readouterr().err


def test_an_interrupted_video_is_kept_playable(load, tmp_path: Path) -> None:
    film(tmp_path / "drive.mp4", 6)
    with pytest.raises(KeyboardInterrupt):
        predict_files(Interrupted(load()), [tmp_path / "drive.mp4"], tmp_path / "out")
    assert files(tmp_path / "out") == {"drive.mp4"}
    assert len(read_film(tmp_path / "out" / "drive.mp4")[0]) == 2


def test_a_broken_video_is_told_and_leaves_nothing(load, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "bad.mp4").write_bytes(b"no film" * 100)
    shutil.copy(tmp_path / "in" / "bad.mp4", tmp_path / "in" / "worse.mkv")
    film(tmp_path / "in" / "good.mp4", 2)
    with pytest.raises(PictureError, match=r"(?s)2 of 3.*bad\.mp4.*worse\.mkv"):
        predict_files(load(), [tmp_path / "in"], tmp_path / "out")
    assert files(tmp_path / "out") == {"good.mp4"}
