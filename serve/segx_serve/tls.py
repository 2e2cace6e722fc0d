"""TLS: the certificate, its key and, for mutual TLS, whose clients may connect; checked before anything listens.

Certificates are renewed while the service runs: `Renewal` loads changed files into the context in use, so that new
connections get the new certificate and open ones go on. It knows nothing of HTTP.
"""

from __future__ import annotations

import base64
import binascii
import logging
import re
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from segx_core.errors import ConfigError

_log = logging.getLogger("segx.serve")
_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----(.*?)-----END CERTIFICATE-----", re.DOTALL)
_SOON = timedelta(days=14)
# DER tags.
_SEQUENCE, _UTC_TIME, _GENERAL_TIME, _VERSION = 0x30, 0x17, 0x18, 0xA0


@dataclass(frozen=True)
class Tls:
    """Files for TLS 1.2 and newer."""

    cert: Path
    """PEM: the service's certificate, then the ones between it and the root."""
    key: Path
    """PEM: its private key, not encrypted."""
    client_ca: Path | None = None
    """PEM: who signs the certificates of clients; with it every client must show one."""

    def check(self) -> list[str]:
        """Load everything once; returns what is wrong though it can be used, as sentences.

        Raises:
            ConfigError: a file that cannot be read or is none of its kind, or a key that is not the certificate's.
        """
        self.context()
        begins, ends = _validity(self.cert)
        now = datetime.now(UTC)
        if now >= ends:
            return [f"The certificate {self.cert} ran out on {ends:%Y-%m-%d}: clients will refuse it. Renew it."]
        if now < begins:
            return [f"The certificate {self.cert} is good from {begins:%Y-%m-%d %H:%M} UTC on only. Check the clock."]
        if ends - now < _SOON:
            return [f"The certificate {self.cert} runs out on {ends:%Y-%m-%d}. Renew it soon."]
        return []

    def context(self) -> ssl.SSLContext:
        """A context for the server's side. Raises ConfigError as `check` does."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.load_into(context)
        if self.client_ca is not None:
            _readable(self.client_ca, "--tls-client-ca")
            try:
                context.load_verify_locations(self.client_ca)
            except ssl.SSLError as error:
                raise ConfigError(
                    f"PEM certificates of a client authority in {self.client_ca} (--tls-client-ca)", _why(error)
                ) from None
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def load_into(self, context: ssl.SSLContext) -> None:
        """Load the certificate and its key into a context, a new one or one in use. Raises ConfigError."""
        _readable(self.cert, "--tls-cert")
        _readable(self.key, "--tls-key")
        _validity(self.cert)
        if b"PRIVATE KEY-----" not in self.key.read_bytes():
            raise ConfigError(f"a private key in PEM form in {self.key} (--tls-key)", "none in it")

        def refuse() -> str:
            raise ConfigError(
                f"a private key without a password in {self.key} (--tls-key)",
                "an encrypted one",
                "`openssl pkey -in KEY -out PLAIN` takes the password off; keep PLAIN readable by the service alone.",
            )

        try:
            context.load_cert_chain(self.cert, self.key, refuse)
        except ssl.SSLError as error:
            if "MISMATCH" in (error.reason or ""):
                raise ConfigError(
                    f"the private key of {self.cert} in {self.key}",
                    "the key of another certificate",
                    "Give --tls-cert and --tls-key the two files that were made together.",
                ) from None
            raise ConfigError(f"a certificate and its key in {self.cert} and {self.key}", _why(error)) from None

    def options(self) -> dict[str, Any]:
        """Arguments for uvicorn.Config, whose context then is as `context` makes it."""
        return {
            "ssl_certfile": str(self.cert),
            "ssl_keyfile": str(self.key),
            "ssl_ca_certs": str(self.client_ca) if self.client_ca else None,
            "ssl_cert_reqs": ssl.CERT_REQUIRED if self.client_ca else ssl.CERT_NONE,
        }


class Renewal:
    """Looks whether the certificate changed; for whoever calls `look` every minute or so.

    Args:
        tls: the files.
        context: the context in use (uvicorn's `config.ssl` once loaded).
    """

    def __init__(self, tls: Tls, context: ssl.SSLContext) -> None:
        self._tls = tls
        self._context = context
        self._seen = self._signature()

    def look(self) -> bool:
        """Whether new files were taken into use. Of ones that are no good the log tells, and the old ones stay."""
        try:
            now = self._signature()
            if now == self._seen:
                return False
            self._seen = now
            # First into a context of its own: half of a pair must not get into the one in use.
            warnings = self._tls.check()
            self._tls.load_into(self._context)
        except (ConfigError, OSError) as error:
            _log.error("the certificate changed and cannot be used; the old one stays: %s", error)
            return False
        _log.info("the certificate was renewed")
        for warning in warnings:
            _log.warning("%s", warning)
        return True

    def _signature(self) -> tuple[tuple[int, int, int], ...]:
        found = (path.stat() for path in (self._tls.cert, self._tls.key))
        return tuple((status.st_mtime_ns, status.st_ino, status.st_size) for status in found)


def _readable(path: Path, option: str) -> None:
    try:
        with path.open("rb"):
            pass
    except OSError as error:
        raise ConfigError(f"a readable file at {path} ({option})", str(error.strerror or error)) from None


def _why(error: ssl.SSLError) -> str:
    return f"something OpenSSL cannot use ({(error.reason or str(error)).replace('_', ' ').lower()})"


def _validity(path: Path) -> tuple[datetime, datetime]:
    """From when until when the first certificate of a PEM file is good.

    Python offers no way to ask for it without a connection, so the few bytes of DER are walked through here (RFC 5280).
    """
    found = _PEM.search(path.read_bytes())
    if found is None:
        raise ConfigError(f"a certificate in PEM form in {path} (--tls-cert)", "none in it")
    try:
        certificate = _inside(base64.b64decode(found[1]))
        body = _inside(certificate)
        if body[0] == _VERSION:
            body = _after(body)
        for _ in ("serial number", "algorithm", "issuer"):
            body = _after(body)
        begins = _inside(body)
        return _time(begins), _time(_after(begins))
    except (ValueError, IndexError, binascii.Error):
        raise ConfigError(f"a certificate in {path} (--tls-cert)", "damaged bytes between its BEGIN and END") from None


def _split(data: bytes) -> tuple[int, int, int]:
    """(tag, where the first value begins, where it ends)."""
    tag, length, start = data[0], data[1], 2
    if length & 0x80:
        start += length & 0x7F
        length = int.from_bytes(data[2:start])
    if start + length > len(data):
        raise ValueError("cut off")
    return tag, start, start + length


def _inside(data: bytes) -> bytes:
    """What the first value, a sequence, holds."""
    tag, start, end = _split(data)
    if tag != _SEQUENCE:
        raise ValueError("no sequence")
    return data[start:end]


def _after(data: bytes) -> bytes:
    """What follows the first value."""
    return data[_split(data)[2] :]


def _time(data: bytes) -> datetime:
    tag, start, end = _split(data)
    text = data[start:end].decode("ascii")
    if tag == _UTC_TIME:
        # Two digits of a year: 50 and more are the last century's.
        text = ("19" if text[:2] >= "50" else "20") + text
    elif tag != _GENERAL_TIME:
        raise ValueError("no time")
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
