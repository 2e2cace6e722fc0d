from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segx_serve.http import RefusalError
from segx_serve.multipart import parse

TYPE = "multipart/form-data; boundary=AaB03x"


def form(*parts: tuple[str, str, bytes]) -> bytes:
    out = b""
    for name, media_type, data in parts:
        out += f'--AaB03x\r\nContent-Disposition: form-data; name="{name}"; filename="a.jpg"\r\n'.encode()
        out += f"Content-Type: {media_type}\r\n\r\n".encode() if media_type else b"\r\n"
        out += data + b"\r\n"
    return out + b"--AaB03x--\r\n"


def test_parts_come_with_name_type_and_bytes() -> None:
    data = bytes(range(256)) * 9
    parts = parse(form(("image", "Image/JPEG; x=1", data), ("depth", "", b"")), TYPE)
    assert [(part.name, part.media_type, part.data) for part in parts] == [
        ("image", "image/jpeg", data),
        ("depth", "", b""),
    ]


@given(st.lists(st.binary(max_size=300).filter(lambda data: b"AaB03x" not in data), max_size=5))
@settings(deadline=None, derandomize=True)
def test_any_bytes_come_back_unchanged(payloads: list[bytes]) -> None:
    if payloads:
        parts = parse(form(*(("image", "image/png", data) for data in payloads)), TYPE)
        assert [part.data for part in parts] == payloads


@pytest.mark.parametrize(
    ("body", "media_type"),
    [
        (form(("image", "", b"x")), "multipart/form-data"),
        (form(("image", "", b"x"))[:-6], TYPE),
        (b"", TYPE),
        (b"rubbish", TYPE),
        (form(*[("image", "", b"x")] * 33), TYPE),
        (form(("image", "", b"x")), "multipart/form-data; boundary=" + "y" * 300),
    ],
)
def test_broken_forms_are_refused(body: bytes, media_type: str) -> None:
    with pytest.raises(RefusalError) as refusal:
        parse(body, media_type)
    assert refusal.value.status == 400


@given(st.binary(max_size=200))
@settings(deadline=None, derandomize=True)
def test_rubbish_is_refused_and_nothing_else_happens(body: bytes) -> None:
    with pytest.raises(RefusalError):
        parse(b"--AaB03x" + body, TYPE)


def test_a_broken_form_writes_nothing_into_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("DEBUG"), pytest.raises(RefusalError, match="complete"):
        parse(b"--AaB03x\r\nContent-Disposition: form\rged\r\n\r\nx\r\n--AaB03x--\r\n", TYPE)
    assert caplog.records == []
