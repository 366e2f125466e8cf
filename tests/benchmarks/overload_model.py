"""How much of its most a server answers under overload, by how early it refuses and what it keeps
in reserve.

    python tests/benchmarks/overload_model.py [--seconds 60] [--seeds 8] [--largest 8]

On a driven clock with the server's own admission, pace, waiting room and batch sizes: no machine is
measured and every run prints the same. One core, so one batch at a time; the encoder and two decode
workers share it evenly, and the event loop, which has slept, gets four times a share. Independent
callers with deadlines of two seconds, one view each. It knows nothing of gRPC and its threads but
what a call, an answer and a refusal cost. Goodput is in parts of the most, mean of the seeds.
"""

from __future__ import annotations

import argparse
import asyncio
import heapq
import itertools
import math
import random
import statistics
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from imagesieve_server.commands.bench.caller import rate_of, rate_of_all
from imagesieve_server.commands.bench.load import PATIENCE_S, arrivals
from imagesieve_server.commands.bench.overload import DEADLINE_S
from imagesieve_server.core.errors import CapacityError
from imagesieve_server.encoders import batch_sizes
from imagesieve_server.encoders.batch_sizes import BucketTimes
from imagesieve_server.encoders.waiting import Waiter, WaitingRoom
from imagesieve_server.grpc_api import admission
from imagesieve_server.grpc_api.admission import Admission, Place
from imagesieve_server.grpc_api.pace import Pace
from imagesieve_server.testing import RecordingMetrics

CALLERS = 32
WORKERS = 2
LOOP_WEIGHT = 4.0
UNREAD = 0.3  # of a call's cost, until it may be turned away
SETTLED_S = 10.0  # after which answers are counted

Then = Callable[[], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """Seconds of processor."""

    a_row: Mapping[int, float]  # by batch size
    decode: float = 0.0043
    call: float = 0.0015  # of the event loop, before decoding
    answer: float = 0.0022  # of the event loop, after encoding
    refusal: float = 0.0008
    uneven: float = 0.0  # standard deviation of the logarithm of a batch's seconds

    def up_to(self, largest: int) -> Costs:
        """With no batches of more rows."""
        return replace(self, a_row={n: s for n, s in self.a_row.items() if n <= largest})


COSTS = {
    "fp32": Costs(a_row={1: 0.1009, 2: 0.0958, 4: 0.0926, 8: 0.0911, 16: 0.0911}),
    "int8": Costs(a_row={1: 0.0327, 2: 0.0293, 4: 0.0274, 8: 0.0277, 16: 0.0280}),
}


@dataclass(slots=True, eq=False)
class Work:
    """Something in hand on the core."""

    left: float  # seconds of the whole core
    weight: float
    then: Then


class Core:
    """One core that works on all it has in hand at once, and what happens at given times."""

    def __init__(self) -> None:
        self.now = 0.0  # seconds
        self._work: list[Work] = []
        self._due: list[tuple[float, int, Then]] = []
        self._order = itertools.count()

    def do(self, seconds: float, then: Then, *, weight: float = 1.0) -> None:
        self._work.append(Work(seconds, weight, then))

    def at(self, when: float, then: Then) -> None:
        heapq.heappush(self._due, (when, next(self._order), then))

    def run(self, until: float) -> None:
        while self.now < until:
            whole = sum(work.weight for work in self._work)
            first = min(self._work, key=lambda work: work.left / work.weight, default=None)
            done = self.now + first.left * whole / first.weight if first else math.inf
            due = self._due[0][0] if self._due else math.inf
            passed = min(done, due, until) - self.now
            for work in self._work:
                work.left -= passed * work.weight / whole
            self.now += passed
            if first is not None and done <= min(due, until):
                self._work.remove(first)
                first.then()
            elif due <= until:
                heapq.heappop(self._due)[2]()


class EventLoop:
    """Does one thing after the other."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._waiting: deque[tuple[float, Then]] = deque()
        self._busy = False

    def do(self, seconds: float, then: Then) -> None:
        self._waiting.append((seconds, then))
        self._go_on()

    def _go_on(self) -> None:
        if self._busy or not self._waiting:
            return
        self._busy = True
        seconds, then = self._waiting.popleft()

        def done() -> None:
            self._busy = False
            then()
            self._go_on()

        self._core.do(seconds, done, weight=LOOP_WEIGHT)


@dataclass(slots=True, eq=False)
class Call:
    """One that was let in."""

    deadline: float
    place: Place
    room: ExitStack  # of its place
    at_end: Then


class Server:
    """A server of one view an image, without what it says to whom."""

    def __init__(self, core: Core, costs: Costs, *, seed: int = 0) -> None:
        self.answered_at: list[float] = []
        self.late = self.refused = 0
        self._core, self._costs = core, costs
        self._chance = random.Random(seed)
        self._loop = EventLoop(core)
        self._seconds = {size: size * a_row for size, a_row in costs.a_row.items()}
        self._times = BucketTimes(self._seconds)
        self._room = WaitingRoom()
        self._admission = Admission(
            metrics=RecordingMetrics(),
            pace=Pace(guess=1 / self._times.per_row, clock=lambda: core.now),
            clock=lambda: core.now,
        )
        self._to_decode: deque[Call] = deque()
        self._decoding = 0
        self._waiting: dict[Waiter, Call] = {}
        self._encoding = False

    def call(self, *, deadline_s: float, at_end: Then = lambda: None) -> None:
        deadline = self._core.now + deadline_s
        self._loop.do(UNREAD * self._costs.call, lambda: self._begin(deadline, at_end))

    def _begin(self, deadline: float, at_end: Then) -> None:
        room = ExitStack()
        try:
            self._admission.check_unread(deadline=deadline)
            admitted = self._admission.admit(images=1, size_bytes=1, deadline=deadline)
            (place,) = room.enter_context(admitted)
        except CapacityError:
            rest = self._costs.refusal - UNREAD * self._costs.call
            self._loop.do(rest, lambda: self._refuse(at_end))
            return
        call = Call(deadline, place, room, at_end)
        self._loop.do((1 - UNREAD) * self._costs.call, lambda: self._decode(call))

    def _refuse(self, at_end: Then) -> None:
        self.refused += 1
        at_end()

    def _decode(self, *calls: Call) -> None:
        self._to_decode.extend(calls)
        while self._to_decode and self._decoding < WORKERS:
            self._decoding += 1
            call = self._to_decode.popleft()
            self._core.do(self._costs.decode, partial(self._decoded, call))

    def _decoded(self, call: Call) -> None:
        self._decoding -= 1
        call.place.take_views(1)
        ahead = (self._room.rows_before(call.deadline) + 1) * self._times.per_row
        idle = not self._encoding and not self._room.rows
        if not idle and self._core.now + ahead > call.deadline:
            self._leave(call)
            self._refuse(call.at_end)
        else:
            pixels = np.zeros((1, 1, 1, 3), dtype=np.uint8)
            future = asyncio.get_running_loop().create_future()
            waiter = Waiter(pixels=pixels, deadline=call.deadline, width=1, future=future)
            self._room.add(waiter)
            self._waiting[waiter] = call
            self._encode()
        self._decode()

    def _encode(self) -> None:
        self._forget_late()
        if self._encoding or not self._room.rows:
            return
        self._encoding, began = True, self._core.now
        time_left = self._room.earliest_deadline() - began
        rows = self._room.rows
        size = self._times.choose(rows=rows, each=rows, time_left=time_left)
        batch = self._room.take(size, now=began, s_per_row=self._times.per_row)
        calls = [self._waiting.pop(part.waiter) for part in batch]
        size = self._times.fitting(len(batch))

        def done() -> None:
            self._encoding = False
            self._times.observe(size, self._core.now - began)
            for call in calls:
                self._loop.do(self._costs.answer, partial(self._answer, call))
            self._encode()

        luck = math.exp(self._costs.uneven * self._chance.gauss(0, 1))
        self._core.do(self._seconds[size] * luck, done)

    def _forget_late(self) -> None:
        for waiter, call in list(self._waiting.items()):
            if call.deadline <= self._core.now:
                self._room.leave(waiter)
                del self._waiting[waiter]
                self._miss(call)

    def _answer(self, call: Call) -> None:
        if self._core.now > call.deadline:
            self._miss(call)
            return
        call.room.close()
        self.answered_at.append(self._core.now)
        call.at_end()

    def _miss(self, call: Call) -> None:
        self._leave(call)
        self.late += 1
        call.at_end()

    def _leave(self, call: Call) -> None:
        call.place.leave(answered=False)
        call.room.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Runs:
    """Servers that are offered so many times their most."""

    seconds: float
    seeds: int
    costs: Mapping[str, Costs]
    most: Mapping[str, float]  # answers a second

    def of(
        self, name: str, load: float, *, uneven: float, refusal: float = 0.0008
    ) -> Sequence[Server]:
        costs = replace(self.costs[name], uneven=uneven, refusal=refusal)
        rate = load * self.most[name]
        return [
            _offered(costs, rate=rate, seconds=self.seconds, seed=seed)
            for seed in range(self.seeds)
        ]

    def goodput(self, name: str, servers: Sequence[Server]) -> float:
        rates = (rate_of(s.answered_at, first=SETTLED_S, last=self.seconds) for s in servers)
        return statistics.mean(rates) / self.most[name]


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="of each run")
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--largest", type=int, default=8, help="rows of a batch")
    options = parser.parse_args()
    costs = {name: each.up_to(options.largest) for name, each in COSTS.items()}
    most = {name: _most(name, each) for name, each in costs.items()}
    runs = Runs(seconds=options.seconds, seeds=options.seeds, costs=costs, most=most)
    for name, load in itertools.product(COSTS, (2.0, 10.0)):
        kept = runs.goodput(name, runs.of(name, load, uneven=0.1, refusal=0.001))
        print(f"{name}, {load:.0f} times the most, 1 ms a refusal: {kept:.3f}", flush=True)
    for name, uneven in itertools.product(COSTS, (0.1, 0.3)):
        print(f"{name}, ten times the most, uneven {uneven}")
        _choices(runs, name, uneven=uneven)
    for name, load in itertools.product(COSTS, (0.8, 0.95)):
        print(f"{name}, {load:.0%} of the most")
        _below(runs, name, load)


def _choices(runs: Runs, name: str, *, uneven: float) -> None:
    for reserve, sure in itertools.product((1.0, 1.25), (0.6, 0.75, 0.9)):
        _set(sure=sure, reserve=reserve)
        servers = runs.of(name, 10.0, uneven=uneven)
        in_time, late = sum(len(s.answered_at) for s in servers), sum(s.late for s in servers)
        kept = runs.goodput(name, servers)
        print(f"  {sure}, {reserve}: {kept:.3f}, late {late / (late + in_time):.1%}", flush=True)


def _below(runs: Runs, name: str, load: float) -> None:
    for sure in (0.6, 0.75, 0.9):
        _set(sure=sure, reserve=1.25)
        servers = runs.of(name, load, uneven=0.2)
        in_time = sum(len(s.answered_at) for s in servers)
        ended = in_time + sum(s.late + s.refused for s in servers)
        print(f"  {sure}: {in_time / ended:.1%} in time", flush=True)


def _set(*, sure: float, reserve: float) -> None:
    """As if the server had been written with other constants."""
    admission.SURE = sure
    batch_sizes._IN_TIME = reserve


def _most(name: str, costs: Costs) -> float:
    """Answers a second while callers always have a call in hand; and how a short measure errs."""
    settled = _busy(costs, seconds=400.0).answered_at
    most = rate_of(settled, first=50.0, last=400.0)
    short = _busy(costs, seconds=2.5).answered_at
    from_half = rate_of(short, first=0.5, last=math.inf) / most - 1
    whole = rate_of_all(short) / most - 1
    print(
        f"{name}: the most {most:.2f}/s; of 2.5 s {from_half:+.1%} without the first half second, "
        f"{whole:+.1%} counted whole",
        flush=True,
    )
    return most


def _busy(costs: Costs, *, seconds: float) -> Server:
    core = Core()
    server = Server(core, costs)

    def again() -> None:
        if core.now < seconds:
            server.call(deadline_s=PATIENCE_S, at_end=again)

    for number in range(CALLERS):
        core.at(number * 1e-4, again)
    core.run(seconds + PATIENCE_S)
    return server


def _offered(costs: Costs, *, rate: float, seconds: float, seed: int) -> Server:
    core = Core()
    server = Server(core, costs, seed=seed)
    for when in arrivals(rate=rate, seconds=seconds, seed=seed):
        core.at(when, lambda: server.call(deadline_s=DEADLINE_S))
    core.run(seconds)
    return server


if __name__ == "__main__":
    asyncio.run(main())
