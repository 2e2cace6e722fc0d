from __future__ import annotations

import logging
import shutil
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import uvicorn

from segx_core.errors import ConfigError
from segx_serve import Settings, create_app
from segx_serve.run import bind
from segx_serve.tls import Renewal, Tls, _validity

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="certificates are made with openssl")
Make = Callable[..., Tls]


def openssl(*arguments: object) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, timeout=60)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tls]:
    """Certificates that sign themselves, made once: two good ones, and ones that run out soon and did already."""
    folder = tmp_path_factory.mktemp("tls")

    def make(name: str, days: int) -> Tls:
        cert, key, asked = (folder / f"{name}.{kind}" for kind in ("crt", "key", "csr"))
        openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-out", key)
        openssl("req", "-new", "-key", key, "-subj", f"/CN={name}", "-out", asked)
        names = folder / "names"
        names.write_text("subjectAltName=IP:127.0.0.1\n")
        openssl("x509", "-req", "-in", asked, "-signkey", key, "-days", days, "-extfile", names, "-out", cert)
        return Tls(cert, key)

    days = {"one": 400, "two": 10_000, "soon": 3, "old": 0}
    return {name: make(name, count) for name, count in days.items()}


def test_good_files_are_used_without_a_word(made: dict[str, Tls]) -> None:
    assert made["one"].check() == []
    context = made["one"].context()
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.verify_mode == ssl.CERT_NONE
    assert replace(made["one"], client_ca=made["two"].cert).context().verify_mode == ssl.CERT_REQUIRED


def test_a_certificate_that_ran_out_or_soon_will_is_named(made: dict[str, Tls]) -> None:
    for name, words in (("old", "ran out"), ("soon", "runs out")):
        (warning,) = made[name].check()
        assert words in warning
        assert str(made[name].cert) in warning


def test_validity_is_read_as_openssl_reads_it(made: dict[str, Tls]) -> None:
    for name, days in (("one", 400), ("two", 10_000), ("soon", 3)):  # the second ends past 2050: another kind of time
        begins, ends = _validity(made[name].cert)
        text = subprocess.run(
            ["openssl", "x509", "-in", made[name].cert, "-noout", "-startdate", "-enddate"],
            check=True, capture_output=True, text=True,
        ).stdout  # fmt: skip
        told = [ssl.cert_time_to_seconds(line.partition("=")[2]) for line in text.splitlines()]
        assert [begins.timestamp(), ends.timestamp()] == told
        assert ends - begins == timedelta(days=days)
        assert abs(datetime.now(UTC) - begins) < timedelta(days=1)


def test_each_bad_file_is_refused_by_its_name(made: dict[str, Tls], tmp_path: Path) -> None:
    one = made["one"]
    junk, torn, locked = tmp_path / "junk", tmp_path / "torn", tmp_path / "locked"
    junk.write_bytes(b"\x00\xffno certificate")
    lines = one.cert.read_bytes().splitlines(keepends=True)
    torn.write_bytes(b"".join([*lines[:3], lines[-1]]))
    openssl("pkey", "-in", one.key, "-aes256", "-passout", "pass:secret", "-out", locked)
    cases = [
        (replace(one, cert=tmp_path / "absent"), "--tls-cert"),
        (replace(one, key=tmp_path / "absent"), "--tls-key"),
        (replace(one, cert=junk), "a certificate in PEM form"),
        (replace(one, cert=torn), "damaged bytes"),
        (replace(one, key=junk), "a private key in PEM form"),
        (replace(one, key=one.cert), "a private key in PEM form"),
        (replace(one, key=made["two"].key), "the key of another certificate"),
        (replace(one, key=locked), "an encrypted one"),
        (replace(one, client_ca=junk), "--tls-client-ca"),
        (replace(one, client_ca=tmp_path / "absent"), "--tls-client-ca"),
    ]
    for tls, words in cases:
        with pytest.raises(ConfigError) as refusal:
            tls.check()
        assert words in str(refusal.value)


@contextmanager
def running(kit: SimpleNamespace, tls: Tls) -> Iterator[tuple[str, uvicorn.Config]]:
    settings = Settings(port=0)
    app = create_app({"grey": kit.Brightness()}, settings)
    config = uvicorn.Config(app, lifespan="on", log_config=None, log_level="critical", **tls.options())
    config.load()
    server = uvicorn.Server(config)
    listener = bind(settings)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    kit.until(lambda: server.started)
    try:
        yield f"https://127.0.0.1:{listener.getsockname()[1]}", config
    finally:
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive()


def trusting(tls: Tls, shown: Tls | None = None, newest: ssl.TLSVersion | None = None) -> httpx.Client:
    context = ssl.create_default_context(cafile=str(tls.cert))
    # Python 3.13 and newer ask more of certificates than ones that sign themselves have.
    context.verify_flags &= ~getattr(ssl, "VERIFY_X509_STRICT", 0)
    if shown is not None:
        context.load_cert_chain(shown.cert, shown.key)
    if newest is not None:
        context.maximum_version = newest
    return httpx.Client(verify=context, timeout=30)


def test_a_picture_is_segmented_over_tls_and_the_certificate_renewed_meanwhile(
    kit: SimpleNamespace, made: dict[str, Tls], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tls = Tls(tmp_path / "cert", tmp_path / "key")
    use = lambda other: (shutil.copy(other.cert, tls.cert), shutil.copy(other.key, tls.key))  # noqa: E731
    use(made["one"])
    headers = {"Content-Type": "image/png"}
    with running(kit, tls) as (url, config), trusting(made["one"]) as client:
        assert config.ssl is not None
        renewal = Renewal(tls, config.ssl)
        assert client.post(f"{url}/segment", content=kit.as_png(kit.picture()), headers=headers).status_code in (
            200,
            503,
        )
        assert client.get(f"{url}/v2/health/live").json() == {"live": True}
        assert not renewal.look()
        shutil.copy(made["two"].cert, tls.cert)
        with caplog.at_level(logging.ERROR, "segx.serve"):
            assert not renewal.look()  # half of a pair
        assert "the old one stays" in caplog.text
        with trusting(made["one"]) as other:
            assert other.get(f"{url}/v2/health/live").status_code == 200
        use(made["two"])
        assert renewal.look()
        assert not renewal.look()
        with trusting(made["one"]) as other, pytest.raises(httpx.ConnectError):
            other.get(f"{url}/v2/health/live")
        with trusting(made["two"]) as other:
            assert other.get(f"{url}/v2/health/live").status_code == 200
        assert client.get(f"{url}/v2/health/live").status_code == 200  # its connection is still open


def test_mutual_tls_wants_a_certificate_of_the_right_authority(kit: SimpleNamespace, made: dict[str, Tls]) -> None:
    def asked(client: Any, url: str) -> int:
        with client:
            return int(client.get(f"{url}/v2/health/live").status_code)

    with running(kit, replace(made["one"], client_ca=made["two"].cert)) as (url, _):
        assert asked(trusting(made["one"], shown=made["two"]), url) == 200
        for shown in (None, made["soon"]):
            with pytest.raises(httpx.TransportError):
                asked(trusting(made["one"], shown=shown), url)


def test_tls_1_2_is_the_oldest_taken(kit: SimpleNamespace, made: dict[str, Tls]) -> None:
    with running(kit, made["one"]) as (url, config):
        assert config.ssl is not None
        assert config.ssl.minimum_version >= ssl.TLSVersion.TLSv1_2
        with trusting(made["one"], newest=ssl.TLSVersion.TLSv1_2) as client:
            assert client.get(f"{url}/v2/health/live").status_code == 200
