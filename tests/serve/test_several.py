from __future__ import annotations

import io
import json
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segx_serve.answers import forms
from segx_serve.http import RefusalError
from segx_serve.legend import Legend
from segx_serve.several import ERRORS, Part, Several, choose_several, file_names, forms_of_several

NAMED = Legend("m", ("a", "b"), ((0, 0, 0), (255, 0, 0)))
MAPS = [np.eye(3, dtype=np.uint8), np.ones((2, 5), np.uint8)]
PICTURES = [np.full((*labels.shape, 3), 100, np.uint8) for labels in MAPS]


def answer(accept: str, names: list[str]) -> tuple[Several, bytes]:
    """Two pictures, and a third that failed between them."""
    form = choose_several(accept)
    bodies = [
        form.one.write(NAMED, labels, picture, False).body for labels, picture in zip(MAPS, PICTURES, strict=True)
    ]
    parts = [Part(names[0], bodies[0]), Part(names[1], error=("picture_broken", "Torn.")), Part(names[2], bodies[1])]
    payload = form.join(parts)
    assert payload.media_type == form.media_type
    return form, payload.body


@pytest.mark.parametrize(
    ("accept", "media_type", "one"),
    [
        ("", "application/json", 1), ("*/*", "application/json", 1), ("application/json", "application/json", 1),
        ("application/json;polygons=1", "application/json", 4), ("application/json;rle=0", "application/json", 5),
        ("application/json;polygons=1;rle=0", "application/json", 6), ("application/zip", "application/zip", 0),
        ("application/zip; overlay=1", "application/zip", 3), ("image/png,application/zip;q=0.1", "application/zip", 0),
    ],
)  # fmt: skip
def test_accept_chooses_the_form_and_how_each_picture_is_written(accept: str, media_type: str, one: int) -> None:
    chosen = choose_several(accept)
    assert chosen.media_type == media_type
    assert chosen.one == forms()[one]


@pytest.mark.parametrize("accept", ["image/png", "application/octet-stream", "application/zip;polygons=1"])
def test_forms_of_one_picture_do_not_hold_several(accept: str) -> None:
    with pytest.raises(RefusalError, match="application/zip;overlay=1") as refusal:
        choose_several(accept)
    assert refusal.value.status == 406
    assert len(forms_of_several()) == 6


@pytest.mark.parametrize("accept", ["application/json", "application/json;polygons=1;rle=0"])
def test_json_holds_each_picture_in_order_and_errors_in_their_place(accept: str) -> None:
    names = ['a".png', "b", "ü\n\ud800"]
    form, body = answer(accept, names)
    told = json.loads(body)
    assert set(told) == {"pictures"}
    first, failed, last = told["pictures"]
    assert failed == {"name": "b", "error": {"code": "picture_broken", "message": "Torn."}}
    for one, labels, name in ((first, MAPS[0], 'a".png'), (last, MAPS[1], "ü\n?")):
        assert one == {"name": name} | json.loads(form.one.write(NAMED, labels, None, False).body)


def test_an_archive_holds_pngs_as_one_picture_is_answered(kit: SimpleNamespace) -> None:
    for accept in ("application/zip", "application/zip;overlay=1"):
        form, body = answer(accept, ["x.jpg", "x.png", "../X.PNG"])
        assert body == answer(accept, ["x.jpg", "x.png", "../X.PNG"])[1]
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            assert archive.testzip() is None
            assert archive.namelist() == ["x.png", "X-3.png", ERRORS]
            assert all(entry.compress_type == zipfile.ZIP_STORED for entry in archive.infolist())
            for name, labels, picture in zip(archive.namelist()[:2], MAPS, PICTURES, strict=True):
                assert archive.read(name) == form.one.write(NAMED, labels, picture, False).body
            error = {"code": "picture_broken", "message": "Torn."}
            assert json.loads(archive.read(ERRORS)) == {"errors": [{"index": 1, "name": "x.png", "error": error}]}


def test_an_archive_without_failures_has_no_errors() -> None:
    payload = choose_several("application/zip").join([Part("a", b"1")])
    assert zipfile.ZipFile(io.BytesIO(payload.body)).namelist() == ["a.png"]


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("street.jpg", "street"), ("street.v2.JPEG", "street.v2"), ("notes.txt", "notes.txt"), ("a b", "a b"),
        ("/etc/passwd", "passwd"), ("..\\..\\win.png", "win"), ("../..", "picture"), ("", "picture"),
        (".png", "picture"), ("x" * 300, "x" * 200), ("日" * 300, "日" * 66),
        ("...", "picture"), (".hidden.png", "hidden"), ("con.png", "_con"), ("NUL", "_NUL"), ("a:b?.png", "a_b_"),
        ("tail. ", "tail"), ("\u202egnp.exe", "_gnp.exe"), ("u\u0308.png", "\u00fc"), ("\x00", "_"),
        ("日本.webp", "日本"),
    ],
)  # fmt: skip
def test_names_are_made_safe(name: str, stem: str) -> None:
    assert file_names([name]) == [stem]


@settings(deadline=None)
@given(st.lists(st.text(max_size=12) | st.sampled_from(["a.png", "A.jpg", "a-2", "a"]), max_size=12))
def test_names_are_unique_and_stay_in_their_folder(names: list[str]) -> None:
    stems = file_names(names)
    assert len({stem.casefold() for stem in stems}) == len(names)
    for stem in stems:
        assert stem
        assert not set(stem) & set('/\\:*?"<>|\x00\n')
        assert not stem.startswith(".")
        stem.encode()
