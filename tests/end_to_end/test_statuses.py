"""Every case of the status table, made to happen over a real server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

from helpers.grpc_rig import CHANNEL_OPTIONS, MIB, Rig, ask, running, seen, until
from helpers.status_table import BY_ITS_OWN_CLOCK, CASES, ELSEWHERE, PASSED, Told
from imagesieve import AsyncClient, Verdict
from imagesieve.v1 import (
    moderation_pb2,
    moderation_pb2_grpc,
    review_pb2,
    review_pb2_grpc,
    verdict_pb2,
)
from imagesieve_server.commands.local_server import LocalServer
from imagesieve_server.core.errors import EncoderUnavailable
from imagesieve_server.core.policy import OnUnavailable, OnUndecodable
from imagesieve_server.demo_data import DEMO_IMAGES
from imagesieve_server.grpc_api.pace import Pace
from imagesieve_server.grpc_api.server import ServerOptions
from imagesieve_server.grpc_api.status_codes import TABLE
from imagesieve_server.testing import GREEN, RED, colour_policy, ppm

pytestmark = pytest.mark.timeout(120)

ORDINARY = (DEMO_IMAGES / "photo_cat.jpg").read_bytes()
FLAGGED = (DEMO_IMAGES / "weapons_dagger.jpg").read_bytes()
BROKEN = b"P6 9 9 255\nshort"  # a PPM that ends early
Stream = moderation_pb2.ModerateStreamRequest


class Process:
    """Stubs for a server in a process of its own, with the demo model."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.channel = channel
        self.moderation: Any = moderation_pb2_grpc.ModerationServiceStub(channel)
        self.review: Any = review_pb2_grpc.ReviewServiceStub(channel)

    async def ask(self, name: str, image: bytes = ORDINARY, **fields: Any) -> Any:
        """Moderate under an id that no other run of this test uses."""
        return await self.moderation.Moderate(ask(f"{name}-{time.time_ns()}", image, **fields))

    async def lease(self) -> Any:
        """A flagged item, claimed."""
        name = f"lease-{time.time_ns()}"
        await self.ask(name, FLAGGED + name.encode())
        return await self.claim(name)

    async def claim(self, name: str) -> Any:
        return await self.review.Claim(review_pb2.ClaimRequest(claim_id=name, reviewer="ann"))


@pytest.fixture
async def process(server: LocalServer) -> AsyncIterator[Process]:
    async with grpc.aio.insecure_channel(server.target, options=CHANNEL_OPTIONS) as channel:
        yield Process(channel)


async def told(call: Awaitable[Any]) -> Told:
    """What the caller of a call is told; an answer is put into words."""
    try:
        answer = await call
    except grpc.aio.AioRpcError as error:
        return failed(error)
    except asyncio.CancelledError:
        return Told(status="CANCELLED")
    return Told(status="OK", answer=answer if isinstance(answer, str) else _words(answer))


def failed(error: grpc.aio.AioRpcError) -> Told:
    """What a status says."""
    got = seen(error)
    pushback = got.pushback or ""
    return Told(
        status=error.code().name,
        reason=got.reason if got.infos else "",
        details=tuple(type(detail).__name__ for detail in got.details),
        pushback="delay" if pushback.isdecimal() else pushback,
    )


def _words(answer: moderation_pb2.ModerateResponse) -> str:
    words = [verdict_pb2.Verdict.Name(answer.verdict).removeprefix("VERDICT_")]
    words += [reason.code for reason in answer.reasons if not reason.category]
    return " ".join(words + ["degraded"] * answer.degraded)


async def same(first: Any, again: Any, words: str) -> str:
    assert first == again
    return words


# --- over a server in a process of its own --------------------------------------------------

OverProcess = Callable[[Process], Awaitable[Told]]


async def _repeated_answer(at: Process) -> Told:
    request = ask(f"again-{time.time_ns()}", ORDINARY)
    first = await at.moderation.Moderate(request)
    again = await at.moderation.Moderate(request)
    return await told(same(first, again, "the same answer"))


def _reused(image: bytes) -> OverProcess:
    async def reused(at: Process) -> Told:
        name = f"reused-{time.time_ns()}"
        await at.moderation.Moderate(ask(name, image))
        return await told(at.moderation.Moderate(ask(name, ORDINARY + b"other")))

    return reused


async def _repeated_claim(at: Process) -> Told:
    name = f"claim-{time.time_ns()}"
    await at.ask(name, FLAGGED + name.encode())
    first, again = await at.claim(name), await at.claim(name)
    assert first.token
    return await told(same(first.token, again.token, "the same lease"))


def _decided(*, again: Any, token: str = "") -> OverProcess:
    async def decided(at: Process) -> Told:
        lease = await at.lease()
        decide = review_pb2.DecideRequest(
            item_id=lease.item.item_id,
            token=token or lease.token,
            outcome=review_pb2.OUTCOME_APPROVE,
            reviewer="ann",
        )
        if token:
            return await told(at.review.Decide(decide))
        first = await at.review.Decide(decide)
        decide.outcome = again
        try:
            repeated = await at.review.Decide(decide)
        except grpc.aio.AioRpcError as error:
            return failed(error)
        return await told(same(first, repeated, "the same record"))

    return decided


async def _requeued(at: Process) -> Told:
    lease = await at.lease()
    of = {"item_id": lease.item.item_id}
    await at.review.Decide(
        review_pb2.DecideRequest(
            **of, token=lease.token, outcome=review_pb2.OUTCOME_APPROVE, reviewer="ann"
        )
    )
    return await told(_one(at.review.Requeue(review_pb2.RequeueRequest(**of))))


async def _one(call: Any) -> str:
    return str(await call)


async def _in_time(at: Process) -> Told:
    await at.channel.channel_ready()
    # New to the server, and long on the way: bytes that it has seen are answered that fast.
    late = ask("1ms", ORDINARY + bytes(16 * MIB))
    got = await told(at.moderation.Moderate(late, timeout=0.001))
    return BY_ITS_OWN_CLOCK if got == PASSED else got  # mostly its own clock is first


def _unsent(*, path: str, timeout: float) -> OverProcess:
    async def unsent(at: Process) -> Told:
        method = at.channel.stream_unary(
            path,
            request_serializer=moderation_pb2.ModerateRequest.SerializeToString,
            response_deserializer=moderation_pb2.ModerateResponse.FromString,
        )
        return await told(method(timeout=timeout))

    return unsent


OVER_PROCESS: dict[str, OverProcess] = {
    "a deadline of 1 ms (the caller's own clock)": _in_time,
    "21 MiB": lambda at: told(at.ask("big", bytes(21 * MIB))),
    "60 MiB (above the transport's 48 MiB)": lambda at: told(at.ask("huge", bytes(60 * MIB))),
    "0 bytes": lambda at: told(at.ask("empty", b"")),
    "a text file": lambda at: told(at.ask("text", b"hello, I am text")),
    "a location in place of bytes": lambda at: told(
        at.moderation.Moderate(
            moderation_pb2.ModerateRequest(request_id="uri", uri="https://example.com/a.jpg")
        )
    ),
    "a truncated JPEG, `on_undecodable: review`": lambda at: told(at.ask("cut", ORDINARY[:3000])),
    "no request_id": lambda at: told(at.moderation.Moderate(ask("", ORDINARY))),
    "an unknown category": lambda at: told(at.ask("category", categories=["none"])),
    "an unknown policy": lambda at: told(at.ask("policy", policy="none")),
    "65 images in one batch": lambda at: told(
        at.moderation.ModerateBatch(
            moderation_pb2.ModerateBatchRequest(requests=[ask(f"{i}", b"x") for i in range(65)])
        )
    ),
    "an unknown method": _unsent(path="/imagesieve.v1.ModerationService/Nothing", timeout=10),
    "an ALLOW's request_id with other bytes": _reused(ORDINARY),
    "a flag's request_id with other bytes": _reused(FLAGGED),
    "Moderate repeated after a lost answer": _repeated_answer,
    "Claim repeated after a lost answer": _repeated_claim,
    "Decide repeated after a lost answer": _decided(again=review_pb2.OUTCOME_APPROVE),
    "Decide repeated with other content": _decided(again=review_pb2.OUTCOME_REJECT),
    "Decide with a token that is not the lease's": _decided(again=None, token="not-the-token"),
    "an item nobody knows": lambda at: told(at.review.Get(review_pb2.GetRequest(item_id="0" * 32))),
    "Requeue of an item that is decided": _requeued,
    "WatchDecisions with a cursor that is none": lambda at: told(
        _one(at.review.WatchDecisions(review_pb2.WatchDecisionsRequest(cursor="none")).read())
    ),
}


@pytest.mark.parametrize("case", OVER_PROCESS)
async def test_a_case_over_a_server_process(case: str, process: Process) -> None:
    assert await OVER_PROCESS[case](process) == CASES[case]


# --- over a server whose parts a test can break ---------------------------------------------

OverRig = Callable[[], Awaitable[Told]]


@asynccontextmanager
async def busy(**settings: Any) -> AsyncIterator[Rig]:
    """A server with one call at work, which is not answered before the block ends."""
    async with running(**settings) as rig:
        rig.encoder.pause()
        held = asyncio.ensure_future(told(rig.moderation.Moderate(ask("held"))))
        await until(lambda: rig.encoder.waiting == 1)
        yield rig
        rig.encoder.resume()
        await held


async def _without_deadline() -> Told:
    async with busy() as rig:
        return await told(rig.moderation.Moderate(ask("late")))


async def _unread() -> Told:
    async with running() as rig:
        at = Process(rig.channel)
        method = at.channel.stream_unary("/imagesieve.v1.ModerationService/Moderate")
        return await told(method())


async def _rejected() -> Told:
    async with running(policies=[colour_policy(on_undecodable=OnUndecodable.REJECT)]) as rig:
        return await told(rig.moderation.Moderate(ask(image=BROKEN)))


async def _over_quota() -> Told:
    async with running(undecodable_per_hour=1) as rig:
        await rig.moderation.Moderate(ask(image=BROKEN))
        async with AsyncClient(f"127.0.0.1:{rig.port}") as client:
            result = await client.moderate(BROKEN + b"2")
        assert result.verdict is Verdict.UNDECIDED
        assert result.undecided_reason == "QUOTA_EXCEEDED"
        assert result.retry_after_s is not None
        refusal = {"quota": "undecodable_images_per_hour"}
        assert rig.metrics.named("quota_refused") == [refusal]
        return await told(rig.moderation.Moderate(ask("r-3", BROKEN + b"3")))


def _no_room(*, timeout: float | None, **admission: Any) -> OverRig:
    async def no_room() -> Told:
        async with busy(admission=admission) as rig:
            return await told(rig.moderation.Moderate(ask("next"), timeout=timeout))

    return no_room


async def _crowd() -> Told:
    """2 000 callers; nobody hangs, and whoever is not answered is told when to come back."""
    options = ServerOptions(
        address="127.0.0.1:0", drain_wait_s=0.0, grace_s=5.0, max_moderation_calls=64
    )
    async with running(options=options) as rig, asyncio.timeout(100):
        rig.encoder.pause()
        target = f"127.0.0.1:{rig.port}"
        single = [
            *CHANNEL_OPTIONS,
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.enable_retries", 0),
        ]
        channels = [grpc.aio.insecure_channel(target, options=single) for _ in range(40)]
        stubs = [moderation_pb2_grpc.ModerationServiceStub(channel) for channel in channels]
        calls = [
            asyncio.ensure_future(told(stubs[i % 40].Moderate(ask(f"{i}", ppm(GREEN)), timeout=90)))
            for i in range(2000)
        ]
        await until(lambda: sum(call.done() for call in calls) >= 2000 - 64, seconds=80)
        rig.encoder.resume()
        ends = await asyncio.gather(*calls)
        await asyncio.gather(*(channel.close() for channel in channels))
    refused = {end for end in ends if end.status != "OK"}
    assert len(refused) == 1, refused
    assert sum(end.status == "OK" for end in ends) >= 64
    return refused.pop()


async def _gone() -> Told:
    async with busy() as rig:
        call = rig.moderation.ModerateStream(timeout=30)
        for number in range(3):
            await call.write(Stream(request=ask(f"r-{number}", ppm(GREEN, side=9 + number))))
        await until(lambda: rig.encoder.waiting == 4)
        call.cancel()
        await until(lambda: rig.encoder.waiting == 1)  # only the one that was there before
        await until(lambda: len(rig.metrics.named("images_abandoned")) == 3)
        assert rig.metrics.named("in_flight")[-1]["images"] == 1
        return await told(call.read())


def _encoder_down(setting: OnUnavailable) -> OverRig:
    async def encoder_down() -> Told:
        async with running(policies=[colour_policy(on_unavailable=setting)]) as rig:
            rig.encoder.failure = EncoderUnavailable("the encoder failed on a batch")
            return await told(rig.moderation.Moderate(ask()))

    return encoder_down


def _store_down(image: bytes) -> OverRig:
    async def store_down() -> Told:
        async with running() as rig:
            rig.queue.down = True
            return await told(rig.moderation.Moderate(ask(image=image)))

    return store_down


async def _store_down_for_a_reviewer() -> Told:
    async with running() as rig:
        rig.queue.down = True
        claim = review_pb2.ClaimRequest(claim_id="c", reviewer="ann")
        return await told(rig.review.Claim(claim))


async def _fault() -> Told:
    async with running() as rig:
        rig.encoder.failure = RuntimeError("/srv/secret")
        return await told(rig.moderation.Moderate(ask()))


def _drained(*, in_stream: bool) -> OverRig:
    async def drained() -> Told:
        async with running() as rig:
            rig.encoder.pause()
            call = rig.moderation.ModerateStream(timeout=30)
            await call.write(Stream(request=ask()))
            await until(lambda: rig.encoder.waiting == 1)
            stopping = asyncio.create_task(rig.server.stop())
            await asyncio.sleep(0.1)
            late = await told(rig.moderation.Moderate(ask("r-2"), timeout=20))
            rig.encoder.resume()
            await call.read()
            end = await told(call.read())
            await stopping
        return end if in_stream else late

    return drained


OVER_RIG: dict[str, OverRig] = {
    "no deadline, and no answer within ten seconds": _without_deadline,
    "a message that is not sent before the deadline": _unread,
    "a truncated file, `on_undecodable: reject`": _rejected,
    "more undecodable files than the hour's quota": _over_quota,
    "no room": _no_room(timeout=30, max_views=1),
    "no room, and the turn comes after the deadline": _no_room(
        timeout=30, max_views=1, pace=Pace(guess=0.01)
    ),
    "a deadline before the predicted wait is over": _no_room(timeout=30, pace=Pace(guess=0.01)),
    "2 000 callers at once, those without a place": _crowd,
    "a caller that disappears in the middle of a stream": _gone,
    "encoder down, `on_unavailable: hold`": _encoder_down(OnUnavailable.HOLD),
    "encoder down, `on_unavailable: review`": _encoder_down(OnUnavailable.REVIEW),
    "encoder down, `on_unavailable: allow`": _encoder_down(OnUnavailable.ALLOW),
    "store down, an ordinary image": _store_down(ppm(GREEN)),
    "store down, a flagged image": _store_down(ppm(RED)),
    "store down, a reviewer": _store_down_for_a_reviewer,
    "a fault of the server": _fault,
    "a stream on a server that drains": _drained(in_stream=True),
    "a new call on a server that drains": _drained(in_stream=False),
}
_SHORTENED = {
    "no deadline, and no answer within ten seconds",
    "a message that is not sent before the deadline",
}


@pytest.mark.parametrize("case", OVER_RIG)
async def test_a_case_over_a_server_with_breakable_parts(
    case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if case in _SHORTENED:
        monkeypatch.setattr("imagesieve_server.grpc_api.deadlines.DEFAULT_S", 0.5)
    assert await OVER_RIG[case]() == CASES[case]


# --- the table is whole ---------------------------------------------------------------------


def test_every_case_of_the_table_is_made_to_happen() -> None:
    assert set(OVER_PROCESS) | set(OVER_RIG) == set(CASES)


def test_every_reason_has_a_case_or_is_named_as_somebody_elses() -> None:
    shown = {told.reason for told in CASES.values()} | set(ELSEWHERE)
    assert {cls.reason for cls in TABLE} - shown == set()
    assert set(ELSEWHERE) & {told.reason for told in CASES.values()} == set()
