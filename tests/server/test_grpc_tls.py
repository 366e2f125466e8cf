"""Certificates of both sides over a real server: who gets in, and replacing them while it runs."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from helpers.certificates import HOUR, Authority, Issued
from helpers.grpc_rig import CHANNEL_OPTIONS, Rig, ask, refused, running, until
from imagesieve.v1 import moderation_pb2, moderation_pb2_grpc, review_pb2, review_pb2_grpc
from imagesieve_server.core.errors import ConfigError
from imagesieve_server.grpc_api.caller_authenticator import CallersAuthenticator
from imagesieve_server.grpc_api.callers import kept_callers
from imagesieve_server.grpc_api.server import ServerOptions, check_listening
from imagesieve_server.grpc_api.tls import TlsFiles, read_tls
from imagesieve_server.testing import RecordingMetrics

Code = grpc.StatusCode
CALLERS = """
[[caller]]
name = "uploads"
tenant = "shop"
roles = ["uploader"]
certificates = ["URI:spiffe://shop/uploads", "CN:old uploads"]

[[caller]]
name = "ann"
tenant = "shop"
roles = ["reviewer"]
certificates = ["DNS:ann.shop.example"]
"""


class Folder:
    """The three files of a server, and who signs."""

    def __init__(self, path: Path, *, client_ca: bool = True) -> None:
        self.authority = Authority()
        self.files = TlsFiles(
            certificate=path / "server.pem",
            key=path / "server.key",
            client_ca=path / "clients.pem" if client_ca else None,
        )
        self.install(self.authority.server())
        if self.files.client_ca:
            self.files.client_ca.write_bytes(self.authority.pem)

    def install(self, issued: Issued) -> None:
        issued.write(self.files.certificate, self.files.key)

    def options(self, **settings: Any) -> ServerOptions:
        return ServerOptions(
            address="127.0.0.1:0", tls=self.files, watch_s=0.02, drain_wait_s=0.0, **settings
        )


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


@asynccontextmanager
async def connected(
    rig: Rig, *, trusts: Authority, shows: Issued | None = None
) -> AsyncIterator[grpc.aio.Channel]:
    pair = (shows.key, shows.certificate) if shows else ()
    # A pool of its own, or gRPC would go on over a connection that another channel made.
    options = [*CHANNEL_OPTIONS, ("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.secure_channel(
        f"127.0.0.1:{rig.port}", grpc.ssl_channel_credentials(trusts.pem, *pair), options=options
    ) as channel:
        yield channel


async def moderate(
    rig: Rig, *, trusts: Authority, shows: Issued | None = None
) -> moderation_pb2.ModerateResponse:
    async with connected(rig, trusts=trusts, shows=shows) as channel:
        return await moderation_pb2_grpc.ModerationServiceStub(channel).Moderate(ask(), timeout=10)


def replaced(path: Path, content: bytes) -> None:
    """Put a new file in place of the old at once: a watcher must not read half of it."""
    part = path.with_name(f"{path.name}.part")
    part.write_bytes(content)
    part.replace(path)


async def until_read(rig: Rig, *, ok: bool) -> None:
    """Wait for one more reading of the files that came out as said."""
    before = len(rig.metrics.named("file_reload"))
    await until(lambda: len(rig.metrics.named("file_reload")) > before)
    assert rig.metrics.named("file_reload")[-1] == {"what": "tls", "ok": ok}


# --- who gets in ---


async def test_a_caller_shows_a_certificate_of_the_authority_or_does_not_connect(
    folder: Folder,
) -> None:
    ours, theirs = folder.authority, Authority("somebody else")
    async with running(options=folder.options()) as rig:
        assert (await moderate(rig, trusts=ours, shows=ours.caller())).request_id == "r-1"
        for shown in (None, theirs.caller(), ours.caller(lives=-HOUR)):
            error = await refused(moderate(rig, trusts=ours, shows=shown))
            assert error.code is Code.UNAVAILABLE
        assert len(rig.metrics.named("rpc_started")) == 1


async def test_a_certificate_of_a_caller_is_its_identity(folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "callers.toml").write_text(CALLERS)
    callers = kept_callers(tmp_path / "callers.toml", client_ca=True, metrics=RecordingMetrics())
    callers.load()
    ours = folder.authority
    known = {
        "uploads": ours.caller(uris=("spiffe://shop/uploads",)),
        "old uploads": ours.caller("old uploads"),
    }
    unknown = {
        "another": ours.caller("another"),
        "a common name beside others": ours.caller("old uploads", dns=("else.example",)),
        "a name of another kind": ours.caller(emails=("spiffe@ann.shop.example",)),
    }
    ann = ours.caller(dns=("ann.shop.example",))
    async with running(
        options=folder.options(), authenticator=CallersAuthenticator(callers=callers)
    ) as rig:
        for shown in known.values():
            assert await moderate(rig, trusts=ours, shows=shown)
        for shown in unknown.values():
            error = await refused(moderate(rig, trusts=ours, shows=shown))
            assert error.code is Code.UNAUTHENTICATED
            assert error.metadata == {"detail": "UNKNOWN_CERTIFICATE"}
        assert (await refused(moderate(rig, trusts=ours, shows=ann))).reason == "PERMISSION_DENIED"
        async with connected(rig, trusts=ours, shows=ann) as channel:
            claim = review_pb2.ClaimRequest(claim_id="c")
            lease = await review_pb2_grpc.ReviewServiceStub(channel).Claim(claim)
    assert lease.item.claimed_by == "ann"


# --- replacing them ---


async def test_certificate_and_authority_are_replaced_while_the_server_runs(
    folder: Folder,
) -> None:
    old, new = folder.authority, Authority("new authority")
    assert folder.files.client_ca
    async with (
        running(options=folder.options()) as rig,
        connected(rig, trusts=old, shows=old.caller()) as before,
    ):
        stub = moderation_pb2_grpc.ModerationServiceStub(before)
        await stub.Moderate(ask())
        folder.install(new.server())
        replaced(folder.files.client_ca, new.pem)
        await until_read(rig, ok=True)
        async with asyncio.timeout(10):  # the three files may have been seen one by one
            while await _fails(moderate(rig, trusts=new, shows=new.caller())):
                await asyncio.sleep(0.02)
        gone = await refused(moderate(rig, trusts=new, shows=old.caller()))
        distrusted = await refused(moderate(rig, trusts=old, shows=new.caller()))
        assert await stub.Moderate(ask("r-2"))  # what was connected stays so
    assert (gone.code, distrusted.code) == (Code.UNAVAILABLE, Code.UNAVAILABLE)


async def _fails(call: Any) -> bool:
    try:
        await call
    except grpc.aio.AioRpcError:
        return True
    return False


def _encrypted(issued: Issued) -> bytes:
    return serialization.load_pem_private_key(issued.key, None).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )


def _ed25519() -> bytes:
    return ed25519.Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


CA = Authority()
GOOD, OTHER, OVER = CA.server(), CA.server(), CA.server(lives=-HOUR)
DEAD_CA = Authority(lives=-HOUR)
BAD: list[tuple[str, tuple[bytes, ...], str]] = [
    ("no certificate", (b"junk", GOOD.key), "tls_cert: holds no PEM certificate"),
    ("empty", (b"", b""), "tls_cert: holds no PEM certificate"),
    ("half", (GOOD.certificate[:200], GOOD.key), "tls_cert: holds no PEM certificate"),
    ("spoilt", (GOOD.certificate[:99] + b"AAAA" + GOOD.certificate[103:], GOOD.key), "tls_cert"),
    ("no key", (GOOD.certificate, b""), "tls_key: cannot be read as PEM"),
    ("another's key", (GOOD.certificate, OTHER.key), "tls_key: is not the key of"),
    ("encrypted key", (GOOD.certificate, _encrypted(GOOD)), "tls_key: is encrypted"),
    ("Ed25519", (GOOD.certificate, _ed25519()), "tls_key: gRPC does not take Ed25519"),
    ("over", (OVER.certificate, OVER.key), "tls_cert: certificate has expired"),
    ("not yet", (), "tls_cert: certificate is not yet valid"),
    ("a caller's", (), "tls_cert: unsuitable certificate purpose"),
    ("no authority", (GOOD.certificate, GOOD.key, b"junk"), "tls_client_ca: holds no"),
    ("a leaf", (GOOD.certificate, GOOD.key, GOOD.certificate), "tls_client_ca: holds no"),
    ("dead", (GOOD.certificate, GOOD.key, DEAD_CA.pem), "tls_client_ca: certificate has expired"),
]


def _contents(name: str, contents: tuple[bytes, ...]) -> tuple[bytes, ...]:
    if name == "not yet":
        later = CA.server(begins=HOUR, lives=HOUR * 2)
        return later.certificate, later.key
    if name == "a caller's":
        callers = CA.caller()
        return callers.certificate, callers.key
    return contents


@pytest.mark.parametrize(("name", "contents", "problem"), BAD, ids=[bad[0] for bad in BAD])
def test_what_could_not_serve_is_found_before_it_is_in_force(
    name: str, contents: tuple[bytes, ...], problem: str
) -> None:
    with pytest.raises(ConfigError, match=problem):
        read_tls(_contents(name, contents))


@pytest.mark.parametrize(("name", "contents", "problem"), BAD, ids=[bad[0] for bad in BAD])
async def test_a_bad_replacement_leaves_the_old_certificate_in_force(
    folder: Folder, name: str, contents: tuple[bytes, ...], problem: str
) -> None:
    ours = folder.authority
    bad = _contents(name, contents)
    async with running(options=folder.options()) as rig:
        for path, content in zip(folder.files.paths(), bad, strict=False):
            path.write_bytes(content)
        await until_read(rig, ok=False)
        assert await moderate(rig, trusts=ours, shows=ours.caller())
        folder.install(ours.server())
        assert folder.files.client_ca
        replaced(folder.files.client_ca, ours.pem)
        await until(lambda: rig.metrics.named("file_reload")[-1]["ok"])
        assert await moderate(rig, trusts=ours, shows=ours.caller())


async def test_a_certificate_that_is_gone_leaves_the_old_one_in_force(folder: Folder) -> None:
    ours = folder.authority
    async with running(options=folder.options()) as rig:
        folder.files.certificate.unlink()
        await until_read(rig, ok=False)
        assert await moderate(rig, trusts=ours, shows=ours.caller())


async def test_the_expiry_that_is_reported_is_the_certificates(folder: Folder) -> None:
    async with running(options=folder.options()) as rig:
        first = rig.metrics.named("certificate_expiry")
        folder.install(folder.authority.server(lives=HOUR * 5))
        await until(
            lambda: rig.metrics.named("certificate_expiry")[-2]["at"] > first[0]["at"] + 3600
        )
    now = time.time()
    assert [call["certificate"] for call in first] == ["server", "client_ca"]
    assert first[0]["at"] == pytest.approx(now + 3600, abs=120)
    assert first[1]["at"] == pytest.approx(now + 48 * 3600, abs=120)


def test_an_authority_that_is_over_does_not_count_beside_a_living_one() -> None:
    tls = read_tls((GOOD.certificate, GOOD.key, DEAD_CA.pem + CA.pem))
    assert tls.expires["client_ca"] > time.time()


def test_no_file_is_left_open() -> None:
    read_tls((GOOD.certificate, GOOD.key, CA.pem))
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        read_tls((GOOD.certificate, GOOD.key, CA.pem))
        with pytest.raises(ConfigError):
            read_tls((OVER.certificate, OVER.key))
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_bad_certificate_is_an_operators_error_at_start(folder: Folder) -> None:
    folder.files.key.write_bytes(OTHER.key)
    with pytest.raises(ConfigError, match="is not the key of"):
        check_listening(folder.options())


async def test_callers_with_certificates_connect_again_after_a_while(folder: Folder) -> None:
    """The only moment at which a certificate is looked at is that of connecting."""
    ours = folder.authority
    assert folder.files.client_ca
    async with (
        running(options=folder.options(client_certificate_age_s=0.5)) as rig,
        connected(rig, trusts=ours, shows=ours.caller()) as channel,
    ):
        stub = moderation_pb2_grpc.ModerationServiceStub(channel)
        await stub.Moderate(ask())
        replaced(folder.files.client_ca, Authority("another").pem)
        await until_read(rig, ok=True)
        async with asyncio.timeout(20):
            while not await _fails(stub.Moderate(ask(), timeout=5)):
                await asyncio.sleep(0.05)
