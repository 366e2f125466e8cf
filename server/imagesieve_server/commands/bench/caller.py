"""Callers as cheap as gRPC allows: they send bytes made beforehand, in a process of their own
(``callers_apart.py`` starts it).

Takes orders from its input, one JSON object a line, and prints what came of each. A process of its
own can be kept to cores of its own, and its processor time is its callers' and nobody else's.
No message is built or read for a call: a few bytes with the request's id go in front of a message
made at the start, a number at the end of its picture makes the picture new.
"""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import json
import math
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import grpc

from imagesieve.v1 import moderation_pb2 as pb
from imagesieve_server.commands.bench import load
from imagesieve_server.commands.bench.pictures import SMALL, Pictures

METHOD = "/imagesieve.v1.ModerationService/Moderate"
_NUMBER_BYTES = 16  # at the end of a picture
_CALLS_AT_ONCE = 512

Send = Callable[[], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What callers are to do."""

    target: str
    seconds: float
    callers: int = 0  # each sends as soon as it has its answer; 0: by the clock, at ``rate``
    rate: float = 0.0  # calls/s, independent of each other
    deadline_s: float = load.PATIENCE_S
    since_s: float = 0.0  # from when on counts what is sent and what ends
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of it, from ``since_s`` on."""

    rate: float  # answers/s; of ``callers`` from the first call on
    answered: int
    late: int  # neither answered nor refused within the deadline
    sent: int
    seconds: float
    cpu_s: float  # processor time of this process meanwhile
    waits_s: list[float]  # of answers
    refusals_s: list[float]  # how long each refusal took
    lateness_p99_s: float  # of the callers: from when a call was due to when it was sent


class Messages:
    """Serialized requests that no server has seen, each for the price of one copy."""

    def __init__(self, pictures: Pictures, *, process: int | None = None) -> None:
        """``process``: the number of the process that sends them, this one's by default."""
        room = bytes(_NUMBER_BYTES)
        made = [
            pb.ModerateRequest(image=picture + room).SerializeToString()
            for picture in pictures.different
        ]
        self._bodies = itertools.cycle([body[:-_NUMBER_BYTES] for body in made])
        # Other processes send the same pictures, under numbers of their own.
        self._numbers = itertools.count((os.getpid() if process is None else process) * 10**9)

    def new(self) -> bytes:
        """One request. Parts of a message that follow each other are one message."""
        number = b"%0*d" % (_NUMBER_BYTES, next(self._numbers))
        name = pb.ModerateRequest(request_id=f"bench-{number.decode()}")
        return b"".join((name.SerializeToString(), next(self._bodies), number))


async def fulfil(order: Order, new: Send) -> Outcome:
    """Do what is ordered."""
    at_once = order.callers or _CALLS_AT_ONCE
    async with load.channels(order.target, callers=at_once) as channels:
        calls: list[Any] = [channel.unary_unary(METHOD) for channel in channels]
        book = _Book(order)
        if order.callers:
            await asyncio.gather(
                *(book.again_and_again(calls[n % len(calls)], new) for n in range(order.callers))
            )
        else:
            await book.by_the_clock(calls, new)
    return book.outcome()


def rate_of(answers: Sequence[float], *, first: float, last: float) -> float:
    """Answers a second between two times, both given in seconds from the start as ``answers`` are.

    Answers come in clumps of a batch, and a window cuts clumps: so what is counted begins after
    the last answer before it and ends with the last answer in it, whole clumps in whole times.
    A pause after that which is twice as long as any before is no clump on its way, and counts.
    """
    before = max((at for at in answers if at < first), default=0.0)
    counted = sorted(at for at in answers if before < at < last)
    if not counted:
        return 0.0
    end = counted[-1]
    widest = max(later - earlier for earlier, later in itertools.pairwise([before, *counted]))
    if 2 * widest < last - end < math.inf:
        end = last
    return len(counted) / (end - before)


def rate_of_all(answers: Sequence[float]) -> float:
    """Answers a second of callers who begin and end with nothing in hand, seconds from the start.

    All that was done for what is counted is in the time that is counted. A window inside would
    hold answers to calls that were decoded before it: a server that answers few calls in it would
    look 4 % faster than it is.
    """
    return len(answers) / max(answers) if answers else 0.0


class _Book:
    """Who was called when, and what became of it."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._calls: list[load.Call] = []
        self._started = time.perf_counter()
        self._cpu_since = 0.0
        self._cpu_at_end = time.process_time()
        self._ended = 0.0
        loop = asyncio.get_running_loop()
        loop.call_later(order.since_s, self._begin_to_count)
        loop.call_later(order.since_s + order.seconds, self._stop_counting)

    def _begin_to_count(self) -> None:
        self._cpu_since = time.process_time()

    def _stop_counting(self) -> None:
        self._cpu_at_end = time.process_time()

    @property
    def _now(self) -> float:
        return time.perf_counter() - self._started

    async def again_and_again(self, call: Any, new: Send) -> None:
        while (due := self._now) < self._order.since_s + self._order.seconds:
            await self._one(call, new(), due)

    async def by_the_clock(self, calls: list[Any], new: Send) -> None:
        order = self._order
        length = order.since_s + order.seconds
        due = load.arrivals(rate=order.rate, seconds=length, seed=order.seed)
        async with asyncio.TaskGroup() as group:
            for number, at in enumerate(due):
                if (pause := at - self._now) > 0:
                    await asyncio.sleep(pause)
                elif number % 16 == 0:
                    await asyncio.sleep(0)  # a late caller still lets its answers in
                group.create_task(self._one(calls[number % len(calls)], new(), at))

    async def _one(self, call: Any, message: bytes, due: float) -> None:
        sent = self._now
        status = grpc.StatusCode.OK
        try:
            await call(message, timeout=self._order.deadline_s)
        except grpc.aio.AioRpcError as error:
            status = error.code()
        ended = self._now
        self._calls.append(
            load.Call(
                kind="",
                since_due_s=ended - due,
                since_sent_s=ended - sent,
                status=status,
                ended_at=ended,
            )
        )

    def outcome(self) -> Outcome:
        first, last = self._order.since_s, self._order.since_s + self._order.seconds
        answers = [call.ended_at for call in self._calls if call.ok]
        if self._order.callers:
            last = math.inf  # the calls in hand at the end are waited for
            rate = rate_of_all(answers)
        else:
            rate = rate_of(answers, first=first, last=last)
        ended = [call for call in self._calls if first <= call.ended_at < last]
        sent = [c for c in self._calls if first <= c.ended_at - c.since_sent_s < last]
        return Outcome(
            rate=rate,
            answered=sum(call.ok for call in ended),
            late=sum(not call.ok and not call.refused for call in ended),
            sent=len(sent),
            seconds=self._order.seconds,
            cpu_s=self._cpu_at_end - self._cpu_since,
            waits_s=[call.since_sent_s for call in ended if call.ok],
            refusals_s=[call.since_sent_s for call in ended if call.refused],
            lateness_p99_s=load.lateness_p99_s(self._calls) if self._calls else 0.0,
        )


def main() -> int:
    messages = Messages(Pictures(SMALL))
    print("ready", flush=True)
    for line in sys.stdin:
        outcome = asyncio.run(fulfil(Order(**json.loads(line)), messages.new))
        print(json.dumps(dataclasses.asdict(outcome)), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
