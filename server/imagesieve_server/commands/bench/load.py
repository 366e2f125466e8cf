"""Callers of a server: so many at once, or so many a second whatever the answers do.

The bare stub, without the client's retries: a refusal is to be counted, not healed. What the
callers themselves cost is measured beside, for they run on the server's cores.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc

from imagesieve.v1 import moderation_pb2 as pb
from imagesieve.v1 import moderation_pb2_grpc
from imagesieve_server.commands.bench.figures import percentile
from imagesieve_server.core.errors import StartupError

CALLS_PER_CHANNEL = 50  # below the streams that a connection may have
PATIENCE_S = 120.0  # of callers who measure a rate; nobody is to be refused there
_OPTIONS = [
    ("grpc.enable_http_proxy", 0),
    ("grpc.enable_retries", 0),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.max_send_message_length", 64 << 20),
    ("grpc.max_receive_message_length", 64 << 20),
]
_NUMBERS = itertools.count()

NewPicture = Callable[[], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What callers got in a while."""

    images: int
    views: int
    wall_s: float
    callers_cpu_s: float  # of this process meanwhile

    @property
    def images_per_s(self) -> float:
        return self.images / self.wall_s

    @property
    def views_per_s(self) -> float:
        return self.views / self.wall_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """How one offered call ended. Seconds."""

    kind: str  # which picture it was
    since_due_s: float  # from when it was due: what a caller with a timetable waits
    since_sent_s: float  # from when it was sent: without the lateness of a busy caller
    status: grpc.StatusCode
    ended_at: float  # from the start of the offering

    @property
    def ok(self) -> bool:
        return self.status is grpc.StatusCode.OK

    @property
    def refused(self) -> bool:
        return self.status in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED)


def lateness_p99_s(calls: Sequence[Call]) -> float:
    """How late the callers themselves were, seconds: the p99 from due to sent."""
    return percentile([call.since_due_s - call.since_sent_s for call in calls], 0.99)


@asynccontextmanager
async def channels(target: str, *, callers: int) -> AsyncIterator[list[grpc.aio.Channel]]:
    """Enough connections for so many calls at once, all of them up."""
    async with AsyncExitStack() as stack:
        found = []
        for _ in range(-(-callers // CALLS_PER_CHANNEL)):
            channel = grpc.aio.insecure_channel(target, options=_OPTIONS)
            await stack.enter_async_context(channel)
            await channel.channel_ready()
            found.append(channel)
        yield found


def request_of(picture: bytes, *, policy: str = "") -> pb.ModerateRequest:
    """A request under an id of its own."""
    name = f"bench-{os.getpid()}-{next(_NUMBERS)}"
    return pb.ModerateRequest(request_id=name, image=picture, policy=policy)


async def moderate(stub: Any, request: pb.ModerateRequest, *, timeout_s: float) -> int:
    """One answer; its views. Raises AioRpcError, and StartupError where it is not ALLOW: then
    something else than the picture's path was measured."""
    answer = await stub.Moderate(request, timeout=timeout_s)
    _check_allowed(answer)
    return len(answer.views)


async def moderate_batch(stub: Any, requests: Sequence[pb.ModerateRequest]) -> int:
    """One message of several; the views of all. Raises as ``moderate`` does."""
    answer = await stub.ModerateBatch(
        pb.ModerateBatchRequest(requests=requests), timeout=PATIENCE_S
    )
    failed = [result.error for result in answer.results if result.HasField("error")]
    if failed:
        raise StartupError(f"a picture of the bench was refused: {failed[0].reason}")
    for result in answer.results:
        _check_allowed(result.response)
    return sum(len(result.response.views) for result in answer.results)


def _check_allowed(answer: pb.ModerateResponse) -> None:
    if answer.reasons:
        raise StartupError(f"a picture of the bench was flagged: {answer.reasons[0].code}")


async def timed(stub: Any, request: pb.ModerateRequest) -> float:
    """Seconds until the answer."""
    began = time.perf_counter()
    await moderate(stub, request, timeout_s=PATIENCE_S)
    return time.perf_counter() - began


def stub_of(channel: grpc.aio.Channel) -> Any:
    """The bare stub of the moderation service."""
    return moderation_pb2_grpc.ModerationServiceStub(channel)


async def repeat(
    work: Callable[[int], Awaitable[int]], *, callers: int, seconds: float, images: int = 1
) -> Answered:
    """``callers`` that each call ``work`` (their number in, views out) again and again.

    Every call that began is waited for, and the time until then counts.
    """
    calls = views = 0
    cpu = time.process_time()
    started = time.perf_counter()
    end = started + seconds

    async def caller(number: int) -> None:
        nonlocal calls, views
        while time.perf_counter() < end:
            seen = await work(number)
            views += seen  # only now: others added to it meanwhile
            calls += 1

    await asyncio.gather(*(caller(number) for number in range(callers)))
    return Answered(
        images=calls * images,
        views=views,
        wall_s=time.perf_counter() - started,
        callers_cpu_s=time.process_time() - cpu,
    )


async def closed_loop(
    target: str,
    picture: NewPicture,
    *,
    callers: int,
    seconds: float,
    policy: str = "",
    warm_s: float = 0.5,
) -> Answered:
    """Callers that each send the next picture as soon as they have an answer."""
    async with channels(target, callers=callers) as found:
        stubs = [stub_of(channel) for channel in found]

        async def one(number: int) -> int:
            request = request_of(picture(), policy=policy)
            return await moderate(stubs[number % len(stubs)], request, timeout_s=PATIENCE_S)

        await repeat(one, callers=callers, seconds=warm_s)
        return await repeat(one, callers=callers, seconds=seconds)


def arrivals(*, rate: float, seconds: float, seed: int) -> list[float]:
    """When calls are due, seconds from the start: independent, ``rate`` a second on average."""
    chance = random.Random(seed)
    due, times = 0.0, []
    while (due := due + chance.expovariate(rate)) < seconds:
        times.append(due)
    return times


async def open_loop(
    target: str, due: Sequence[tuple[float, str, NewPicture]], *, deadline_s: float
) -> list[Call]:
    """Send every picture when it is due, whatever became of the others.

    ``due`` holds (seconds from the start, kind, picture), in order of time.
    """
    calls: list[Call] = []
    async with channels(target, callers=512) as found:
        stubs = [stub_of(channel) for channel in found]
        started = time.perf_counter()

        async def one(at: float, kind: str, picture: NewPicture, stub: Any) -> None:
            request = request_of(picture())
            sent = time.perf_counter() - started
            status = grpc.StatusCode.OK
            try:
                await stub.Moderate(request, timeout=deadline_s)
            except grpc.aio.AioRpcError as error:
                status = error.code()
            ended = time.perf_counter() - started
            calls.append(
                Call(
                    kind=kind,
                    since_due_s=ended - at,
                    since_sent_s=ended - sent,
                    status=status,
                    ended_at=ended,
                )
            )

        async with asyncio.TaskGroup() as group:
            for number, (at, kind, picture) in enumerate(due):
                if (pause := at - (time.perf_counter() - started)) > 0:
                    await asyncio.sleep(pause)
                elif number % 16 == 0:
                    await asyncio.sleep(0)  # a late caller still lets its answers in
                group.create_task(one(at, kind, picture, stubs[number % len(stubs)]))
    return calls
