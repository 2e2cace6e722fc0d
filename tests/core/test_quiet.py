"""A picture that makes its decoder complain leaves stderr empty."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

from PIL import Image

PROGRAM = """
import sys
from pathlib import Path
from segx_core.errors import PictureError
from segx_core.picture import decode
from segx_core.quiet import silence_decoders
if sys.argv[2] == "quiet":
    silence_decoders()
try:
    decode(Path(sys.argv[1]).read_bytes())
except PictureError as error:
    print(error.kind)
"""


def test_what_libtiff_says_of_a_broken_picture_reaches_stderr_only_before(tmp_path: Path) -> None:
    out = io.BytesIO()
    Image.new("RGB", (64, 64), (1, 2, 3)).save(out, "TIFF", compression="tiff_lzw")
    data = bytearray(out.getvalue())
    data[8:40] = b"\xff" * 32
    (tmp_path / "torn.tif").write_bytes(data)

    def said(how: str) -> tuple[str, str]:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(tmp_path / "torn.tif"), how], capture_output=True, text=True, check=True
        )
        return done.stdout, done.stderr

    assert said("loud")[1]  # else this test says nothing
    assert said("quiet") == ("broken\n", "")
