from __future__ import annotations

import hashlib
import logging
import stat
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segx_core.errors import ConfigError
from segx_serve.keys import Entry, Identity, Keys, new_key, presented

USE, ADMIN = Identity("camera", "use"), Identity("ops", "admin")


def line(name: str, scope: str, key: str, until: str = "") -> str:
    return f"{name} {scope} sha256:{hashlib.sha256(key.encode()).hexdigest()} {until}\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "keys"
    path.write_text("# who may\n\n" + line("camera", "use", "lens") + line("ops", "admin", "root") + "   # end\n")
    path.chmod(0o600)
    return path


def test_a_key_is_known_by_its_hash(file: Path) -> None:
    keys = Keys.load(file)
    assert len(keys) == 2
    assert keys.warnings() == []
    assert keys.check("lens") == USE
    assert keys.check("root") == ADMIN
    for wrong in (None, "", "len", "lens ", "Lens", hashlib.sha256(b"lens").hexdigest(), "\udcff"):
        assert keys.check(wrong) is None


def test_a_key_is_good_through_its_last_day_and_no_longer(file: Path) -> None:
    today = datetime.now(UTC).date()
    ends = ((-1, None), (0, USE), (1, USE))  # midnight between here and the check would need a very slow machine
    for days, expected in ends:
        file.write_text(line("camera", "use", "lens", str(today + timedelta(days=days))))
        keys = Keys.load(file)
        assert keys.check("lens") == expected
        assert len(keys.warnings()) == (expected is None)
    entry = Entry(USE, b"", date(2027, 1, 31))
    assert entry.good(date(2027, 1, 31))
    assert not entry.good(date(2027, 2, 1))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "at least one key"),
        ("# nothing\n", "at least one key"),
        ("camera use\n", "line 1"),
        ("\n\ncamera use sha256:12\n", "line 3"),
        ("camera use the-key-itself-by-mistake\n", "sha256: and 64"),
        (line("camera", "used", "lens"), "Did you mean 'use'?"),
        (line("cam/era", "use", "lens"), "cam/era"),
        (line("camera", "use", "lens", "tomorrow"), "YYYY-MM-DD"),
        (line("camera", "use", "lens", "2027-01-31 more"), "5 words"),
        (line("camera", "use", "lens") + line("camera", "use", "other"), "every name once"),
        (line("camera", "use", "lens") + line("ops", "admin", "lens"), "every key once"),
    ],
)
def test_a_bad_file_is_refused_by_its_line(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "keys"
    path.write_text(text)
    with pytest.raises(ConfigError) as refusal:
        Keys.load(path)
    assert words in str(refusal.value)
    assert "the-key-itself" not in str(refusal.value)


def test_no_file_and_no_text_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        Keys.load(tmp_path / "absent")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="no UTF-8"):
        Keys.load(tmp_path / "binary")


@pytest.mark.parametrize(("mode", "word"), [(0o600, ""), (0o640, ""), (0o644, "read"), (0o620, "changed")])
def test_a_file_open_to_others_is_named(file: Path, mode: int, word: str) -> None:
    file.chmod(mode)
    warnings = Keys.load(file).warnings()
    assert len(warnings) == bool(word)
    assert all(word in warning and "chmod 600" in warning for warning in warnings)


def test_a_changed_file_is_read_again_and_a_broken_one_keeps_the_old_keys(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    keys = Keys.load(file, every=0.0)
    file.write_text(line("later", "use", "new one"))
    assert keys.check("new one") == Identity("later", "use")
    assert keys.check("lens") is None
    file.write_text("broken\n")
    with caplog.at_level(logging.ERROR, "segx.serve"):
        assert keys.check("new one") is not None
        assert keys.check("new one") is not None
        file.unlink()
        assert keys.check("new one") is not None
    assert len(caplog.records) == 1
    file.write_text(line("last", "admin", "third"))
    assert keys.check("third") == Identity("last", "admin")
    assert keys.check("new one") is None


def test_the_file_is_not_looked_at_for_every_request(file: Path) -> None:
    keys = Keys.load(file, every=3600)
    file.write_text(line("later", "use", "new one"))
    assert keys.check("new one") is None
    assert keys.check("lens") == USE


def test_a_new_key_works_and_stands_in_no_file(file: Path, tmp_path: Path) -> None:
    file.chmod(0o644)
    file.write_text(file.read_text().rstrip("\n"))  # an editor that ends no line
    fresh = tmp_path / "fresh"
    for path, before in ((file, 2), (fresh, 0)):
        key = new_key(path, "phone", "use", date(2999, 1, 1))
        assert key.startswith("segx_")
        assert len(key) > 40
        assert key not in path.read_text()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        keys = Keys.load(path)
        assert len(keys) == before + 1
        assert keys.check(key) == Identity("phone", "use")
    assert Keys.load(file).check("lens") == USE
    assert new_key(fresh, "tablet", "admin") != new_key(fresh, "laptop", "admin")


def test_a_new_key_needs_a_free_and_plain_name_and_a_sound_file(file: Path) -> None:
    before = file.read_bytes()
    for name, scope in (("camera", "use"), ("a b", "use"), ("", "use"), ("#x", "use"), ("x", "root")):
        with pytest.raises(ConfigError):
            new_key(file, name, scope)  # type: ignore[arg-type]
    assert file.read_bytes() == before
    file.write_text("broken\n")
    with pytest.raises(ConfigError, match="line 1"):
        new_key(file, "phone", "use")
    assert file.read_text() == "broken\n"


@pytest.mark.parametrize(
    ("headers", "key"),
    [
        ({}, None),
        ({b"authorization": b"Bearer abc"}, "abc"),
        ({b"authorization": b"bEARER  abc "}, "abc"),
        ({b"x-api-key": b" abc "}, "abc"),
        ({b"authorization": b"Bearer abc", b"x-api-key": b"other"}, "abc"),
        ({b"authorization": b"Basic dXNlcjpwYXNz", b"x-api-key": b"abc"}, "abc"),
        ({b"authorization": b"Bearer", b"x-api-key": b"abc"}, None),
        ({b"authorization": b"Bearer "}, None),
        ({b"authorization": b"abc"}, None),
        ({b"x-api-key": b""}, None),
    ],
)
def test_where_a_key_may_stand(headers: dict[bytes, bytes], key: str | None) -> None:
    assert presented(headers) == key


@settings(deadline=None)
@given(st.binary(max_size=60))
def test_any_header_bytes_can_be_checked(value: bytes) -> None:
    keys = Keys(Path("unused"), (Entry(USE, hashlib.sha256(b"lens").digest(), None),), (0, 0, 0), every=3600)
    assert keys.check(presented({b"x-api-key": value})) == (USE if value.strip() == b"lens" else None)
