from __future__ import annotations

import os
from pathlib import Path

import pytest

from segx_core.errors import ConfigError, ModelError
from segx_serve.repository import Repository


def touch(path: Path, text: str = "x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_files_are_named_by_their_stems(tmp_path: Path) -> None:
    first, second = touch(tmp_path / "a.int8.onnx"), touch(tmp_path / "b.onnx")
    found = Repository([first, second]).scan()
    assert {key: one.path for key, one in found.items()} == {("a.int8", "1"): first, ("b", "1"): second}


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    first, second = touch(tmp_path / "b.onnx"), touch(tmp_path / "other" / "b.onnx")
    with pytest.raises(ConfigError, match="'b' twice"):
        Repository([first, second])
    with pytest.raises(ConfigError, match="'b' twice"):
        Repository([first, tmp_path / "other"])


def test_nothing_and_what_is_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        Repository([])
    with pytest.raises(ModelError, match="not there"):
        Repository([tmp_path / "no.onnx"])


def test_every_layout_of_a_folder_is_understood(tmp_path: Path) -> None:
    flat = touch(tmp_path / "flat.onnx")
    first, second = touch(tmp_path / "versions" / "1.onnx"), touch(tmp_path / "versions" / "12.onnx")
    nested = touch(tmp_path / "triton" / "3" / "model.onnx")
    touch(tmp_path / "triton" / "3" / "z.onnx")  # of several in one version the first by name
    touch(tmp_path / "triton" / "config.pbtxt")
    touch(tmp_path / "triton" / "latest" / "model.onnx")  # no version
    touch(tmp_path / "versions" / "draft.onnx")  # no version
    touch(tmp_path / "notes.txt")
    touch(tmp_path / ".hidden.onnx")
    touch(tmp_path / "versions" / ".7.onnx")
    (tmp_path / "empty").mkdir()
    found = Repository([tmp_path]).scan()
    assert {key: one.path for key, one in found.items()} == {
        ("flat", "1"): flat,
        ("versions", "1"): first,
        ("versions", "12"): second,
        ("triton", "3"): nested,
    }


def test_a_name_as_a_file_and_as_a_folder_clashes_only_in_the_same_version(tmp_path: Path) -> None:
    file = touch(tmp_path / "m.onnx")
    touch(tmp_path / "m" / "2.onnx")
    assert set(Repository([tmp_path]).scan()) == {("m", "1"), ("m", "2")}
    touch(tmp_path / "m" / "1.onnx")
    with pytest.raises(ConfigError, match="'m' twice"):
        Repository([tmp_path])
    file.unlink()
    repository = Repository([tmp_path])
    touch(file)
    # Later clashes must not stop the service: one of the two counts, the same at every look.
    assert repository.scan()["m", "1"] == repository.scan()["m", "1"]


def test_an_empty_folder_is_a_service_without_models_so_far(tmp_path: Path) -> None:
    repository = Repository([tmp_path])
    assert repository.scan() == {}
    assert repository.folders == [tmp_path]
    touch(tmp_path / "a.onnx")
    assert set(repository.scan()) == {("a", "1")}


def test_what_goes_is_no_longer_found(tmp_path: Path) -> None:
    file, folder = touch(tmp_path / "a.onnx"), tmp_path / "models"
    touch(folder / "b.onnx")
    touch(folder / "c" / "1.onnx")
    repository = Repository([file, folder])
    (folder / "b.onnx").unlink()
    assert set(repository.scan()) == {("a", "1"), ("c", "1")}
    file.unlink()
    (folder / "c" / "1.onnx").unlink()
    (folder / "c").rmdir()
    folder.rmdir()
    assert repository.scan() == {}


def test_cards_stand_beside_a_file_or_are_named(tmp_path: Path) -> None:
    first, second = touch(tmp_path / "a.onnx"), touch(tmp_path / "b.onnx")
    beside, named = touch(tmp_path / "a.card.yaml"), touch(tmp_path / "named.yaml")
    found = Repository([first, second], {first: None, second: named}).scan()
    assert [found[name, "1"].card for name in ("a", "b")] == [beside, named]
    assert Repository([first], {first: named}).scan()["a", "1"].card == named
    assert Repository([tmp_path]).scan()["b", "1"].card is None


def test_a_signature_changes_with_content_with_replacement_and_with_nothing_else(tmp_path: Path) -> None:
    path = touch(tmp_path / "a.onnx", "one")
    repository = Repository([tmp_path])

    def signature() -> tuple[int, ...]:
        return repository.scan()["a", "1"].signature

    first = signature()
    assert signature() == first
    touch(path, "longer than before")
    second = signature()
    assert second != first
    # Another file of the same size and time takes its place.
    state = path.stat()
    other = touch(tmp_path / "other", "longer than BEFORE")
    os.utime(other, ns=(state.st_atime_ns, state.st_mtime_ns))
    other.replace(path)
    assert signature() != second


def test_a_new_card_beside_a_file_is_a_change(tmp_path: Path) -> None:
    touch(tmp_path / "a.onnx")
    repository = Repository([tmp_path])
    before = repository.scan()["a", "1"]
    card = touch(tmp_path / "a.card.yaml", "name: a")
    added = repository.scan()["a", "1"]
    assert added != before
    touch(card, "name: another")
    assert repository.scan()["a", "1"] != added
