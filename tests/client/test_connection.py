"""TLS, tokens and proxies: how a client gets through, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest

from imagesieve import AsyncClient, Client, Unauthenticated
from imagesieve.retry import channel_options
from imagesieve.testing import FakeServer, ReceivedRequest, allow

TLS = Path(__file__).parent / "tls"
DEAD_PROXY = "http://127.0.0.1:9"  # the discard port: nobody listens


def test_a_proxy_setting_does_not_catch_calls_to_this_machine(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "grpc_proxy"):
        monkeypatch.setenv(name, DEAD_PROXY)
    monkeypatch.delenv("no_proxy", raising=False)
    with Client(server.target) as client:
        assert client.moderate(b"picture").may_publish


def test_without_our_option_the_proxy_does_catch_them(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control of the test above."""
    monkeypatch.setenv("http_proxy", DEAD_PROXY)
    monkeypatch.delenv("no_proxy", raising=False)
    ours = channel_options(server.target, max_image_bytes=1)
    with grpc.insecure_channel(
        server.target, [o for o in ours if o[0] != "grpc.enable_http_proxy"]
    ) as channel:
        call = channel.unary_unary("/grpc.health.v1.Health/Check")
        with pytest.raises(grpc.RpcError) as caught:
            call(b"", timeout=20)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


@pytest.fixture
def tls_server() -> FakeServer:
    key = (TLS / "server-key-for-tests-only.pem").read_bytes()
    certificate = (TLS / "server-certificate.pem").read_bytes()
    return FakeServer(credentials=grpc.ssl_server_credentials([(key, certificate)]))


def test_tls_with_roots_of_ones_own(tls_server: FakeServer) -> None:
    roots = (TLS / "server-certificate.pem").read_bytes()
    with (
        tls_server,
        Client(tls_server.target, credentials=grpc.ssl_channel_credentials(roots)) as client,
    ):
        assert client.moderate(b"picture").may_publish


async def test_tls_for_asyncio(tls_server: FakeServer) -> None:
    roots = (TLS / "server-certificate.pem").read_bytes()
    credentials = grpc.ssl_channel_credentials(roots)
    with tls_server:
        async with AsyncClient(tls_server.target, credentials=credentials) as client:
            assert (await client.moderate(b"picture")).may_publish


def test_tls_does_not_trust_an_unknown_certificate(tls_server: FakeServer) -> None:
    with tls_server, Client(tls_server.target, tls=True) as client:
        result = client.moderate(b"picture")
        assert result.undecided_reason == "UNREACHABLE"
        assert "not signed by an authority that is trusted here" in result.undecided_message
    assert tls_server.count("Moderate") == 0


def needs_token(request: ReceivedRequest) -> object:
    if request.metadata.get("authorization") != "Bearer s3cret":
        raise Unauthenticated("no or wrong token")
    return allow()


def test_a_token_is_sent_with_every_call() -> None:
    with FakeServer(needs_token) as server:  # type: ignore[arg-type]
        with Client(server.target, token="s3cret") as client:
            assert client.moderate(b"picture").may_publish
        with Client(server.target) as client, pytest.raises(Unauthenticated):
            client.moderate(b"picture")


async def test_a_token_can_change_between_calls() -> None:
    tokens = iter(["old", "s3cret"])
    with FakeServer(needs_token) as server:  # type: ignore[arg-type]
        async with AsyncClient(server.target, token=lambda: next(tokens)) as client:
            with pytest.raises(Unauthenticated):
                await client.moderate(b"picture")
            assert (await client.moderate(b"picture")).may_publish


def test_a_token_never_travels_in_the_clear() -> None:
    with pytest.raises(ValueError, match="unencrypted"):
        Client("sieve.example.com:50051", token="s3cret")


def test_a_token_may_travel_encrypted_or_where_the_caller_vouches_for_it() -> None:
    Client("sieve.example.com:443", token="s3cret", tls=True).close()
    Client("sieve:50051", token="s3cret", allow_plaintext_token=True).close()


def test_a_token_is_not_shown() -> None:
    with Client(token="s3cret") as client:
        assert "s3cret" not in repr(client._connection)


def test_a_cap_under_one_byte_is_refused() -> None:
    with pytest.raises(ValueError, match="max_image_bytes"):
        Client(max_image_bytes=0)


def test_an_asyncio_client_needs_a_running_loop() -> None:
    with pytest.raises(RuntimeError, match="no running event loop"):
        AsyncClient()


def test_a_closed_client_is_of_no_use(server: FakeServer) -> None:
    client = Client(server.target)
    client.close()
    with pytest.raises(ValueError, match="closed"):
        client.moderate(b"picture")


@pytest.mark.parametrize(
    "target", ["http://127.0.0.1:50051", "HTTPS://filter.internal", "grpc://a:1"]
)
def test_a_url_is_no_target(target: str) -> None:
    with pytest.raises(ValueError, match="host:port"):
        Client(target)


def test_a_socket_is_a_target() -> None:
    Client("unix:///run/imagesieve.sock").close()
