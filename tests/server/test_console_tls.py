"""The console's certificate and its connections: replaced while it serves, counted and bounded."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from starlette.responses import PlainTextResponse

from helpers.certificates import HOUR, Authority
from imagesieve_server.certificate_files import Checked
from imagesieve_server.console.certificate import kept_certificate
from imagesieve_server.console.connections import BoundedListener
from imagesieve_server.console.web_server import WebOptions, WebServer, _Uvicorn
from imagesieve_server.core.errors import ConfigError
from imagesieve_server.kept_files import Kept
from imagesieve_server.testing import RecordingMetrics

REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


async def hello(scope: object, receive: object, send: object) -> None:
    await PlainTextResponse("hello")(scope, receive, send)  # type: ignore[arg-type]


@dataclass
class Site:
    """A console's port that says hello, and the files of its certificate."""

    authority: Authority
    folder: Path
    metrics: RecordingMetrics
    kept: Kept[Checked]
    web: WebServer
    port: int = 0

    def install(self, authority: Authority) -> None:
        authority.server().write(self.folder / "cert.pem", self.folder / "key.pem")

    @property
    def open(self) -> int:
        assert self.web._socket is not None
        return self.web._socket.open

    async def connect(self, trusts: Authority) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        context = ssl.create_default_context(cadata=trusts.pem.decode())
        return await asyncio.open_connection(
            "127.0.0.1", self.port, ssl=context, server_hostname="localhost"
        )

    async def silent(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection that never begins its handshake."""
        return await asyncio.open_connection("127.0.0.1", self.port)


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
    writer.write(REQUEST)
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)
    assert b" 200 " in head.splitlines()[0]
    return (await reader.readexactly(5)).decode()


async def ended(reader: asyncio.StreamReader) -> bool:
    """Waits until the port closes the connection, without having said anything."""
    with contextlib.suppress(ConnectionResetError):
        return await asyncio.wait_for(reader.read(), 60) == b""
    return True


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    metrics, authority = RecordingMetrics(), Authority()
    kept = kept_certificate(tmp_path / "cert.pem", tmp_path / "key.pem", metrics=metrics)
    web = WebServer(options=WebOptions(host="127.0.0.1", port=0), certificate=kept)
    site = Site(authority, tmp_path, metrics, kept, web)
    site.install(authority)
    kept.load()
    site.port = web.bind()
    await web.start(hello)  # type: ignore[arg-type]
    yield site
    await web.stop()


async def test_new_connections_get_the_new_certificate_and_old_ones_go_on(site: Site) -> None:
    old = await site.connect(site.authority)
    assert await ask(*old) == "hello"
    another = Authority("another")
    site.install(another)
    await site.kept.look()
    new = await site.connect(another)
    assert await ask(*new) == "hello"
    with pytest.raises(ssl.SSLCertVerificationError):
        await site.connect(site.authority)
    assert await ask(*old) == "hello"
    for _, writer in (old, new):
        writer.close()


async def test_a_browser_that_names_no_host_gets_the_new_one_too(site: Site) -> None:
    another = Authority("another")
    site.install(another)
    await site.kept.look()
    context = ssl.create_default_context(cadata=another.pem.decode())
    context.check_hostname = False
    connection = await asyncio.open_connection("127.0.0.1", site.port, ssl=context)
    assert await ask(*connection) == "hello"
    connection[1].close()


async def test_a_bad_replacement_leaves_the_old_certificate_in_force(site: Site) -> None:
    good = (site.folder / "cert.pem").read_bytes()
    for bad in (b"no certificate", Authority().server().certificate):
        (site.folder / "cert.pem").write_bytes(bad)
        await site.kept.look()
        assert site.metrics.named("file_reload")[-1] == {"what": "console_tls", "ok": False}
        connection = await site.connect(site.authority)
        assert await ask(*connection) == "hello"
        connection[1].close()
    (site.folder / "cert.pem").write_bytes(good)
    await site.kept.look()
    assert site.metrics.named("file_reload")[-1]["ok"]
    assert {call["certificate"] for call in site.metrics.named("certificate_expiry")} == {"console"}


@pytest.mark.parametrize(
    ("certificate", "key", "problem"),
    [
        (b"none", b"none", "console.tls_cert: holds no PEM certificate"),
        (Authority().server().certificate, Authority().server().key, "console.tls_key: is not the"),
        (Authority().server().certificate, b"none", "console.tls_cert, console.tls_key: cannot be"),
    ],
)
def test_a_bad_certificate_is_named_at_the_start(
    tmp_path: Path, certificate: bytes, key: bytes, problem: str
) -> None:
    (tmp_path / "cert.pem").write_bytes(certificate)
    (tmp_path / "key.pem").write_bytes(key)
    kept = kept_certificate(tmp_path / "cert.pem", tmp_path / "key.pem", metrics=RecordingMetrics())
    with pytest.raises(ConfigError, match=problem):
        kept.load()


def test_a_certificate_that_is_over_is_refused(tmp_path: Path) -> None:
    Authority().server(lives=-HOUR / 2).write(tmp_path / "cert.pem", tmp_path / "key.pem")
    kept = kept_certificate(tmp_path / "cert.pem", tmp_path / "key.pem", metrics=RecordingMetrics())
    with pytest.raises(ConfigError, match=r"console\.tls_cert: certificate has expired"):
        kept.load()


async def test_unfinished_handshakes_are_counted(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BoundedListener, "most", 2)
    held = [await site.silent() for _ in range(2)]
    await until(lambda: site.open == 2)
    reader, writer = await site.silent()
    assert await ended(reader), "one more is closed at once"
    writer.close()
    held[0][1].close()
    await until(lambda: site.open == 1)
    connection = await site.connect(site.authority)
    assert await ask(*connection) == "hello", "and makes room by going"
    for _, each in (*held[1:], connection):
        each.close()


async def test_a_handshake_that_does_not_come_is_not_waited_for(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_Uvicorn, "handshake_s", 0.2)
    web = WebServer(options=WebOptions(host="127.0.0.1", port=0), certificate=site.kept)
    port = web.bind()
    await web.start(hello)  # type: ignore[arg-type]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    assert await ended(reader)
    writer.close()
    await web.stop()


async def test_whatever_a_connection_ends_like_it_counts_no_more(site: Site) -> None:
    for turn in range(30):
        if turn % 3 == 0:
            _, writer = await site.silent()
        elif turn % 3 == 1:
            _, writer = await site.silent()
            writer.write(b"this is no handshake\r\n\r\n")
        else:
            reader, writer = await site.connect(site.authority)
            assert await ask(reader, writer) == "hello"
        writer.close()
    await until(lambda: site.open == 0)
