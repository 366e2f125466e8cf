"""That retries really happen: for large images too, with one request_id, and when told to stop."""

from __future__ import annotations

import json
from itertools import pairwise

import grpc
import pytest

from imagesieve import (
    AsyncClient,
    Client,
    DeadlineUnmeetable,
    Overloaded,
    ServerFault,
    ShuttingDown,
    Unavailable,
    UnknownPolicy,
    Verdict,
)
from imagesieve.retry import MAX_ATTEMPTS, MESSAGE_BYTES, channel_options, is_loopback
from imagesieve.testing import FakeServer
from imagesieve.v1 import moderation_pb2, moderation_pb2_grpc

KIB, MIB = 1024, 1024 * 1024
SIZES = [1, 300 * KIB, 10 * MIB, 20 * MIB]


def ids(server: FakeServer) -> set[str]:
    return {request.request_id for request in server.requests}


@pytest.mark.parametrize("size", SIZES)
def test_an_image_is_sent_again_with_the_same_request_id(
    client: Client, server: FakeServer, size: int
) -> None:
    server.fail_next(grpc.StatusCode.UNAVAILABLE, times=2)
    result = client.moderate(b"x" * size, timeout=60)
    assert result.verdict is Verdict.ALLOW
    assert server.count("Moderate") == 3
    assert ids(server) == {result.request_id}
    assert {len(request.image) for request in server.requests} == {size}


@pytest.mark.parametrize("size", SIZES)
async def test_the_asyncio_client_sends_it_again_as_well(
    async_client: AsyncClient, server: FakeServer, size: int
) -> None:
    server.fail_next(grpc.StatusCode.UNAVAILABLE, times=2)
    result = await async_client.moderate(b"x" * size, timeout=60)
    assert result.verdict is Verdict.ALLOW
    assert server.count("Moderate") == 3
    assert ids(server) == {result.request_id}


def test_without_our_buffer_size_grpc_silently_sends_it_once(server: FakeServer) -> None:
    """The control of the tests above: everything the same but the one option."""
    options = [
        option
        for option in channel_options(server.target, max_image_bytes=20 * MIB)
        if option[0] != "grpc.per_rpc_retry_buffer_size"
    ]
    server.fail_next(grpc.StatusCode.UNAVAILABLE, times=2)
    with grpc.insecure_channel(server.target, options) as channel:
        stub = moderation_pb2_grpc.ModerationServiceStub(channel)
        with pytest.raises(grpc.RpcError):
            stub.Moderate(
                moderation_pb2.ModerateRequest(request_id="r-1", image=b"x" * 300 * KIB),
                timeout=60,
            )
    assert server.count("Moderate") == 1


def test_the_attempts_are_bounded(client: Client, server: FakeServer) -> None:
    server.fail_next(ShuttingDown("draining"), times=100)
    result = client.moderate(b"picture", timeout=60)
    assert (result.verdict, result.undecided_reason) == (Verdict.UNDECIDED, "SHUTTING_DOWN")
    assert server.count("Moderate") == MAX_ATTEMPTS
    assert len(ids(server)) == 1


def test_the_server_can_forbid_a_retry(client: Client, server: FakeServer) -> None:
    server.fail_next(DeadlineUnmeetable("too slow"), pushback_ms=-1)
    result = client.moderate(b"picture")
    assert result.undecided_reason == "DEADLINE_UNMEETABLE"
    assert server.count("Moderate") == 1


def test_the_server_can_ask_for_a_later_retry(client: Client, server: FakeServer) -> None:
    server.fail_next(Overloaded("busy", retry_after_s=0.8), pushback_ms=800)
    result = client.moderate(b"picture")
    assert result.verdict is Verdict.ALLOW
    assert server.count("Moderate") == 2
    assert result.elapsed_s >= 0.75  # the client's own first backoff is at most 0.24 s


def test_a_large_image_is_sent_again_after_the_servers_pushback(
    client: Client, server: FakeServer
) -> None:
    server.fail_next(Overloaded("busy", retry_after_s=0.1), pushback_ms=100)
    image = bytes(range(256)) * (15 * MIB // 256)
    result = client.moderate(image, timeout=60)
    assert result.verdict is Verdict.ALLOW
    assert [request.image == image for request in server.requests] == [True, True]
    assert ids(server) == {result.request_id}


async def test_a_large_image_is_sent_again_after_the_servers_pushback_in_asyncio(
    async_client: AsyncClient, server: FakeServer
) -> None:
    server.fail_next(Overloaded("busy", retry_after_s=0.1), pushback_ms=100)
    result = await async_client.moderate(b"x" * (15 * MIB), timeout=60)
    assert (result.verdict, server.count("Moderate")) == (Verdict.ALLOW, 2)


def test_a_full_batch_is_sent_again_as_well(client: Client, server: FakeServer) -> None:
    server.fail_next(grpc.StatusCode.UNAVAILABLE, method="ModerateBatch", pushback_ms=1)
    outcomes = list(client.moderate_bulk([b"x" * (15 * MIB), b"y" * (15 * MIB)], batch=2))
    assert [outcome.unwrap().verdict for outcome in outcomes] == [Verdict.ALLOW] * 2
    assert server.count("ModerateBatch") == 2
    assert len(ids(server)) == 2


def test_a_pushback_beyond_the_timeout_ends_in_undecided(
    client: Client, server: FakeServer
) -> None:
    server.fail_next(Overloaded("busy"), pushback_ms=60_000)
    result = client.moderate(b"picture", timeout=0.3)
    assert (result.verdict, result.undecided_reason) == (Verdict.UNDECIDED, "DEADLINE_PASSED")
    assert server.count("Moderate") == 1


@pytest.mark.parametrize("error", [UnknownPolicy("no"), ServerFault("no")])
def test_only_unavailable_is_retried(client: Client, server: FakeServer, error: Exception) -> None:
    server.fail_next(error)  # type: ignore[arg-type]
    with pytest.raises(type(error)):
        client.moderate(b"picture")
    assert server.count("Moderate") == 1


def test_the_other_methods_are_retried_too(client: Client, server: FakeServer) -> None:
    for method in ("Claim", "Stats", "ListPolicies", "Check"):
        server.fail_next(Unavailable("?"), method=method)
    assert client.review.claim() is None
    assert client.review.stats().ready == 0
    assert client.list_policies() == ()
    assert client.health() == "SERVING"
    for method in ("Claim", "Stats", "ListPolicies", "Check"):
        assert server.count(method) == 2


def test_a_larger_cap_gets_a_larger_buffer() -> None:
    options = dict(channel_options("sieve:1", max_image_bytes=100 * MIB))
    assert options["grpc.per_rpc_retry_buffer_size"] == 101 * MIB
    options = dict(channel_options("sieve:1", max_image_bytes=1))
    assert options["grpc.per_rpc_retry_buffer_size"] == MESSAGE_BYTES


def test_the_service_config_keeps_grpcs_own_limits() -> None:
    options = dict(channel_options("sieve:1", max_image_bytes=1))
    policy = json.loads(str(options["grpc.service_config"]))["methodConfig"][0]["retryPolicy"]
    assert policy["maxAttempts"] <= 5
    assert policy["retryableStatusCodes"] == ["UNAVAILABLE"]


@pytest.mark.parametrize(
    "target",
    [
        "127.0.0.1:50051",
        "127.8.9.1:1",
        "localhost:50051",
        "LOCALHOST:1",
        "dns:///localhost:50051",
        "dns:localhost:50051",
        "ipv4:127.0.0.1:50051",
        "ipv6:[::1]:50051",
        "[::1]:50051",
        "::1",
        "unix:/run/sieve.sock",
        "unix:///run/sieve.sock",
        "unix-abstract:sieve",
    ],
)
def test_targets_of_this_machine(target: str) -> None:
    assert is_loopback(target)
    assert dict(channel_options(target, max_image_bytes=1))["grpc.enable_http_proxy"] == 0


@pytest.mark.parametrize(
    "target",
    [
        "sieve:50051",
        "10.0.0.1:1",
        "dns:///sieve.local:443",
        "localhost.example.com:1",
        "ipv4:10.0.0.1:1",
        "[2001:db8::1]:1",
        "127.0.0.1.example.com:1",
        "xds:///sieve",
    ],
)
def test_targets_elsewhere(target: str) -> None:
    assert not is_loopback(target)
    assert "grpc.enable_http_proxy" not in dict(channel_options(target, max_image_bytes=1))


def test_repeated_options_do_not_contradict_each_other() -> None:
    names = sorted(name for name, _ in channel_options("localhost:1", max_image_bytes=1))
    assert all(a != b for a, b in pairwise(names))
