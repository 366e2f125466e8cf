"""The server itself: where it listens, its health, reflection, identity, and how it drains."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from helpers.grpc_rig import CHANNEL_OPTIONS, Rig, ask, refused, running, seen, until
from imagesieve.v1 import moderation_pb2, moderation_pb2_grpc, policy_pb2, quality_pb2, review_pb2
from imagesieve_server.core.errors import ConfigError, Unauthenticated
from imagesieve_server.grpc_api.identity import Caller, Identity
from imagesieve_server.grpc_api.server import ServerOptions, check_listening
from imagesieve_server.grpc_api.tls import TlsFiles
from imagesieve_server.testing import ppm

Code = grpc.StatusCode
Status = health_pb2.HealthCheckResponse
TLS = Path(__file__).parent.parent / "data" / "tls"

OVERALL = ""
MODERATION = "imagesieve.v1.ModerationService"
REVIEW = "imagesieve.v1.ReviewService"
POLICY = "imagesieve.v1.PolicyService"
QUALITY = "imagesieve.v1.QualityService"


async def health(rig: Rig, service: str) -> str:
    stub = health_pb2_grpc.HealthStub(rig.channel)
    got = await stub.Check(health_pb2.HealthCheckRequest(service=service))
    return str(Status.ServingStatus.Name(got.status))


async def healths(rig: Rig) -> dict[str, str]:
    services = (OVERALL, MODERATION, REVIEW, POLICY)
    return {service: await health(rig, service) for service in services}


async def becomes(rig: Rig, service: str, status: str) -> None:
    async with asyncio.timeout(5):
        while await health(rig, service) != status:
            await asyncio.sleep(0.01)


# --- health ---


async def test_a_warm_server_with_a_policy_serves_everything() -> None:
    async with running() as rig:
        assert set((await healths(rig)).values()) == {"SERVING"}


async def test_a_service_nobody_knows_is_not_found() -> None:
    async with running() as rig:
        error = await refused(health(rig, "other.Service"))
    assert error.code is Code.NOT_FOUND


async def test_an_unhealthy_encoder_takes_moderation_out_until_it_recovers() -> None:
    async with running() as rig:
        rig.encoder.healthy = False
        await becomes(rig, OVERALL, "NOT_SERVING")
        assert await healths(rig) == {
            OVERALL: "NOT_SERVING",
            MODERATION: "NOT_SERVING",
            REVIEW: "SERVING",
            POLICY: "SERVING",
        }
        rig.encoder.healthy = True
        await becomes(rig, OVERALL, "SERVING")


async def test_a_server_without_a_policy_does_not_serve() -> None:
    async with running() as rig:
        rig.policies.policies = ()
        await becomes(rig, MODERATION, "NOT_SERVING")


async def test_a_store_that_is_down_takes_only_the_review_service_out() -> None:
    async with running() as rig:
        rig.queue.down = True
        await becomes(rig, REVIEW, "NOT_SERVING")
        assert await health(rig, OVERALL) == "SERVING"
        rig.queue.down = False
        await becomes(rig, REVIEW, "SERVING")
    assert {"operation": "stats"} in rig.metrics.named("store_error")
    assert {"healthy": False} in rig.metrics.named("store_healthy")
    assert rig.metrics.named("queue")


async def test_a_store_that_hangs_or_fails_oddly_counts_as_down(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def hang(**_: Any) -> Any:
        await asyncio.sleep(60)

    async def fail(**_: Any) -> Any:
        raise ZeroDivisionError

    async with running() as rig:
        for way in (hang, fail):
            with monkeypatch.context() as patch:
                patch.setattr(rig.queue, "stats", way, raising=False)
                await becomes(rig, REVIEW, "NOT_SERVING")
            await becomes(rig, REVIEW, "SERVING")


# --- start ---


@pytest.mark.parametrize(
    ("address", "fits"),
    [
        ("127.0.0.1:0", True),
        ("127.9.9.9:1", True),
        ("localhost:1", True),
        ("[::1]:1", True),
        ("unix:/tmp/x.sock", True),
        ("0.0.0.0:1", False),
        ("[::]:1", False),
        ("10.0.0.1:1", False),
        ("example.com:1", False),
        ("[::ffff:10.0.0.1]:1", False),
    ],
)
def test_without_tls_only_this_machine_is_listened_to(address: str, fits: bool) -> None:
    options = ServerOptions(address=address)
    if fits:
        check_listening(options)
    else:
        with pytest.raises(ConfigError, match="insecure"):
            check_listening(options)
    check_listening(ServerOptions(address=address, insecure=True))


@pytest.mark.parametrize("address", ["", "127.0.0.1", ":50051", "127.0.0.1:x", "127.0.0.1:70000"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(ConfigError, match="host:port"):
        check_listening(ServerOptions(address=address))


async def test_a_port_that_is_taken_is_refused() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ConfigError, match=f"cannot listen on 127.0.0.1:{port}"):
            async with running(options=ServerOptions(address=f"127.0.0.1:{port}")):
                pass


async def test_two_servers_never_share_a_port() -> None:
    async with running() as first:
        with pytest.raises(ConfigError):
            async with running(options=ServerOptions(address=f"127.0.0.1:{first.port}")):
                pass


async def test_with_tls_any_address_is_allowed_and_calls_are_encrypted() -> None:
    files = TlsFiles(certificate=TLS / "certificate.pem", key=TLS / "key.pem")
    options = ServerOptions(address="127.0.0.1:0", tls=files, drain_wait_s=0.0)
    check_listening(ServerOptions(address="0.0.0.0:1", tls=files))
    async with running(options=options) as rig:
        trust = grpc.ssl_channel_credentials(files.certificate.read_bytes())
        target = f"localhost:{rig.port}"
        async with grpc.aio.secure_channel(target, trust, options=CHANNEL_OPTIONS) as channel:
            got = await moderation_pb2_grpc.ModerationServiceStub(channel).Moderate(ask())
        plain = await refused(rig.moderation.Moderate(ask("r-2")))
    assert got.request_id == "r-1"
    assert plain.code is Code.UNAVAILABLE


def test_a_certificate_that_cannot_be_read_is_an_operators_error(tmp_path: Path) -> None:
    files = TlsFiles(certificate=tmp_path / "none.pem", key=TLS / "key.pem")
    with pytest.raises(ConfigError, match=r"cannot read .*none\.pem"):
        check_listening(ServerOptions(tls=files))


async def test_a_certificate_that_is_none_is_an_operators_error(tmp_path: Path) -> None:
    (tmp_path / "bad.pem").write_text("no certificate")
    files = TlsFiles(certificate=tmp_path / "bad.pem", key=TLS / "key.pem")
    with pytest.raises(ConfigError):
        async with running(options=ServerOptions(address="127.0.0.1:0", tls=files)):
            pass


async def test_callers_beyond_the_streams_of_a_connection_wait_and_are_all_answered() -> None:
    options = ServerOptions(address="127.0.0.1:0", drain_wait_s=0.0, max_concurrent_streams=8)
    async with running(options=options) as rig:
        rig.encoder.delay_s = 0.005
        requests = [ask(f"r-{i}", ppm((i, 255, 0))) for i in range(100)]
        got = await asyncio.gather(*(_moderate(rig, request) for request in requests))
        in_flight = max(call["images"] for call in rig.metrics.named("in_flight"))
    assert [answer.request_id for answer in got] == [request.request_id for request in requests]
    assert in_flight <= 8


# --- reflection ---


async def test_reflection_lists_the_services_and_knows_their_messages() -> None:
    ask_reflection = reflection_pb2.ServerReflectionRequest
    async with running() as rig:
        stub = reflection_pb2_grpc.ServerReflectionStub(rig.channel)
        answers = [
            answer
            async for answer in stub.ServerReflectionInfo(
                iter(
                    [
                        ask_reflection(list_services=""),
                        ask_reflection(file_containing_symbol=MODERATION),
                    ]
                )
            )
        ]
    names = {service.name for service in answers[0].list_services_response.service}
    assert names == {
        MODERATION,
        REVIEW,
        POLICY,
        QUALITY,
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
    }
    assert answers[1].file_descriptor_response.file_descriptor_proto


# --- identity ---


class Nobody:
    """Refuses everybody."""

    async def authenticate(self, caller: Caller) -> Identity:
        raise Unauthenticated("say who you are")


class ByHeader:
    """Believes the header ``tenant``, as no real authenticator would."""

    async def authenticate(self, caller: Caller) -> Identity:
        return Identity(tenant=str(caller.metadata["tenant"]), name="ann")


ALL_METHODS = [
    (module, service, method.name, method.input_type)
    for module in (moderation_pb2, review_pb2, policy_pb2, quality_pb2)
    for service in module.DESCRIPTOR.services_by_name.values()
    for method in service.methods
]


@pytest.mark.parametrize(
    ("module", "service", "name", "message"), ALL_METHODS, ids=[m[2] for m in ALL_METHODS]
)
async def test_no_method_forgets_to_ask_who_calls(
    module: Any, service: Any, name: str, message: Any
) -> None:
    async with running(authenticator=Nobody()) as rig:
        stubs = {"Mod": rig.moderation, "Rev": rig.review, "Pol": rig.policy, "Qua": rig.quality}
        stub = stubs[service.name[:3]]
        method, request = getattr(stub, name), getattr(module, message.name)()
        if name == "ModerateStream":
            call = method(iter([request])).read()
        elif name == "WatchDecisions":
            call = method(request).read()
        else:
            call = method(request)
        error = await refused(call)
    assert (error.code, error.reason) == (Code.UNAUTHENTICATED, "UNAUTHENTICATED")


async def test_tenants_do_not_see_each_others_items_and_a_proved_name_is_recorded() -> None:
    async with running(authenticator=ByHeader()) as rig:
        ours, theirs = (("tenant", "a"),), (("tenant", "b"),)
        item_id = (await rig.moderation.Moderate(ask(), metadata=ours)).item_id
        get = review_pb2.GetRequest(item_id=item_id)
        error = await refused(rig.review.Get(get, metadata=theirs))
        lease = await rig.review.Claim(review_pb2.ClaimRequest(claim_id="c"), metadata=ours)
        stats = await rig.review.Stats(review_pb2.StatsRequest(), metadata=theirs)
    assert error.reason == "ITEM_NOT_FOUND"
    assert lease.item.claimed_by == "ann"
    assert (stats.ready, stats.leased) == (0, 0)


# --- drain ---


async def test_a_drain_finishes_the_calls_in_hand_and_takes_no_more() -> None:
    async with running() as rig:
        rig.encoder.pause()
        call = rig.moderation.Moderate(ask())
        await until(lambda: rig.encoder.waiting == 1)
        stopping = asyncio.create_task(rig.server.stop())
        await asyncio.sleep(0.1)
        assert not stopping.done()
        error = await refused(rig.moderation.Moderate(ask("r-2"), timeout=1))
        rig.encoder.resume()
        got = await call
        await asyncio.wait_for(stopping, 2)
    assert got.request_id == "r-1"
    assert error.code is Code.UNAVAILABLE


async def test_a_drain_says_not_serving_while_it_still_answers() -> None:
    options = ServerOptions(address="127.0.0.1:0", drain_wait_s=0.5)
    async with running(options=options) as rig:
        stopping = asyncio.create_task(rig.server.stop())
        await asyncio.sleep(0.05)
        assert set((await healths(rig)).values()) == {"NOT_SERVING"}
        got = await rig.moderation.Moderate(ask())
        await stopping
    assert got.request_id == "r-1"


async def test_a_health_watch_does_not_hold_a_drain_up() -> None:
    async with running() as rig:
        watch = health_pb2_grpc.HealthStub(rig.channel).Watch(health_pb2.HealthCheckRequest())
        first = await watch.read()
        await asyncio.wait_for(rig.server.stop(), 2)  # its grace is 5 s
        last = await watch.read()
        watch.cancel()
    assert (first.status, last.status) == (Status.SERVING, Status.NOT_SERVING)


async def test_a_drain_gives_up_on_a_call_after_its_grace() -> None:
    options = ServerOptions(address="127.0.0.1:0", drain_wait_s=0.0, grace_s=0.2)
    async with running(options=options) as rig:
        rig.encoder.pause()
        call = rig.moderation.Moderate(ask(), timeout=30)
        await until(lambda: rig.encoder.waiting == 1)
        await asyncio.wait_for(rig.server.stop(), 2)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        await until(lambda: rig.encoder.waiting == 0)
    assert seen(caught.value).code in (Code.UNAVAILABLE, Code.CANCELLED)


async def test_stopping_twice_is_stopping_once() -> None:
    async with running() as rig:
        await rig.server.stop()
        await rig.server.stop()


async def _moderate(rig: Rig, request: moderation_pb2.ModerateRequest) -> Any:
    return await rig.moderation.Moderate(request)
