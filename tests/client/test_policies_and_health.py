"""What is in force, and whether the server serves."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from imagesieve import (
    AsyncClient,
    CategoryMode,
    Client,
    HealthStatus,
    Policy,
    PolicyCategory,
    Threshold,
    ThresholdScale,
    UnknownPolicy,
    Unreachable,
)
from imagesieve.testing import FakeServer

DEMO = Policy(
    name="demo",
    version="abc",
    model_version="def",
    categories=(
        PolicyCategory(
            id="weapons",
            title="Weapons",
            severity=3,
            mode=CategoryMode.OBSERVE,
            method="contrast",
            review_threshold=Threshold(value=0.4, scale=ThresholdScale.LOGIT),
        ),
    ),
    on_undecodable="review",
    on_partial_coverage="review",
    on_unavailable="hold",
    coverage="tiles",
    is_default=True,
    source="name: demo\n",
)


def test_policies_are_shown(client: Client, server: FakeServer) -> None:
    server.set_policies(DEMO, Policy(name="strict"))
    assert client.get_policy() == DEMO
    assert client.get_policy("strict") == Policy(name="strict")
    assert [policy.name for policy in client.list_policies()] == ["demo", "strict"]
    with pytest.raises(UnknownPolicy):
        client.get_policy("nope")


def test_a_reload_tells_its_problems(client: Client, server: FakeServer) -> None:
    server.set_policies(DEMO, problems=["strict: made for another model"])
    reloaded = client.reload_policies()
    assert reloaded.policies == (DEMO,)
    assert reloaded.problems == ("strict: made for another model",)


async def test_policies_through_asyncio(async_client: AsyncClient, server: FakeServer) -> None:
    server.set_policies(DEMO)
    assert await async_client.get_policy("demo") == DEMO
    assert await async_client.list_policies() == (DEMO,)
    assert (await async_client.reload_policies()).policies == (DEMO,)


@pytest.mark.parametrize("status", HealthStatus)
async def test_health(
    client: Client, async_client: AsyncClient, server: FakeServer, status: HealthStatus
) -> None:
    server.set_health(status)
    assert client.health() is status
    assert await async_client.health() is status


def test_health_of_an_unreachable_server_raises(dead_target: str) -> None:
    with Client(dead_target) as client, pytest.raises(Unreachable):
        client.health()


def test_health_of_a_server_with_the_standard_service() -> None:
    """The client's stand-in messages are, on the wire, the standard ones."""
    servicer = health.HealthServicer()
    servicer.set("imagesieve.v1.ReviewService", health_pb2.HealthCheckResponse.NOT_SERVING)
    server = grpc.server(ThreadPoolExecutor(max_workers=2))
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with Client(f"127.0.0.1:{port}") as client:
            assert client.health() is HealthStatus.SERVING
            assert client.health("imagesieve.v1.ReviewService") is HealthStatus.NOT_SERVING
            assert client.health("no.such.Service") is HealthStatus.SERVICE_UNKNOWN
    finally:
        server.stop(grace=None).wait()
