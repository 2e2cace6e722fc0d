"""What generated requests hold where a picture belongs: small pictures, whole ones and torn ones.

Loaded by schemathesis, which makes up all the rest from the service's document.
"""

from __future__ import annotations

import io

import schemathesis
from hypothesis import strategies as st
from PIL import Image


def pictures(kind: str) -> st.SearchStrategy[bytes]:
    """Files of one kind, of one colour."""
    sizes = st.tuples(st.integers(1, 24), st.integers(1, 24))
    colors = st.tuples(st.integers(0, 255), st.integers(0, 255), st.integers(0, 255))
    return st.builds(lambda size, color: _file(kind, size, color), sizes, colors)


def _file(kind: str, size: tuple[int, int], color: tuple[int, int, int]) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, color).save(out, kind)
    return out.getvalue()


for media_type in ("image/png", "image/jpeg", "image/webp"):
    schemathesis.openapi.media_type(media_type, pictures(media_type.partition("/")[2].upper()))
for media_type in ("image/*", "application/octet-stream"):
    schemathesis.openapi.media_type(media_type, st.one_of(*map(pictures, ("PNG", "JPEG", "WEBP"))))
