"""How a picture is put to each server, and where in the answer the class map is. wrk.lua builds the same bodies."""

from __future__ import annotations

import base64
import json
import struct
from dataclasses import dataclass
from typing import Literal

Mode = Literal["raw", "multipart", "oip_bytes", "oip_uint8", "json_base64"]
BOUNDARY = "XBOUNDX"


@dataclass(frozen=True)
class Wire:
    """One server's request."""

    path: str
    mode: Mode = "raw"
    accept: str = ""
    before: str = ""
    """Text around the base64 of mode json_base64."""
    after: str = ""
    input: str = "jpeg"
    output: str = "mask"

    def environment(self) -> dict[str, str]:
        """What wrk.lua reads."""
        return {
            "URL_PATH": self.path,
            "BODY_MODE": self.mode,
            "ACCEPT": self.accept,
            "JSON_BEFORE": self.before,
            "JSON_AFTER": self.after,
            "IN_NAME": self.input,
            "OUT_NAME": self.output,
        }

    def body(self, picture: bytes) -> tuple[bytes, dict[str, str]]:
        """Body and headers of one request."""
        accept = {"Accept": self.accept} if self.accept else {}
        match self.mode:
            case "raw":
                return picture, {"Content-Type": "image/jpeg", **accept}
            case "multipart":
                head = (
                    f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="content"; filename="a.jpg"\r\n'
                    "Content-Type: image/jpeg\r\n\r\n"
                )
                kind = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}", **accept}
                return head.encode() + picture + f"\r\n--{BOUNDARY}--\r\n".encode(), kind
            case "json_base64":
                text = self.before + base64.b64encode(picture).decode() + self.after
                return text.encode(), {"Content-Type": "application/json", **accept}
            case "oip_bytes":
                return self._tensor(struct.pack("<I", len(picture)) + picture, [1, 1], "BYTES")
            case "oip_uint8":
                return self._tensor(picture, [1, len(picture)], "UINT8")

    def _tensor(self, data: bytes, shape: list[int], datatype: str) -> tuple[bytes, dict[str, str]]:
        tensor = {
            "name": self.input,
            "shape": shape,
            "datatype": datatype,
            "parameters": {"binary_data_size": len(data)},
        }
        wanted = {"name": self.output, "parameters": {"binary_data": True}}
        header = json.dumps({"inputs": [tensor], "outputs": [wanted]}).encode()
        kind = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(header))}
        return header + data, kind

    def mask(self, answer: bytes, size: int) -> bytes:
        """The class map's bytes out of an answer; `size` of them where it stands raw at the end."""
        if self.mode != "json_base64":
            return answer[-size:]
        found = json.loads(answer)
        text = found["outputs"][0]["data"][0] if isinstance(found, dict) else found[0]
        return base64.b64decode(text)
