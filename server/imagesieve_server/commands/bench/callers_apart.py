"""Callers on cores of their own: they take nothing from the server that is measured.

Were they on its cores, ten times the load would be ten times the callers, and the server would be
measured with what they leave. Where there is one core only, they share it. It knows cores and the
processes of ``caller.py``, and not what is asked of it.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from imagesieve_server.commands.bench import caller
from imagesieve_server.commands.bench.caller import Order, Outcome
from imagesieve_server.commands.bench.effort import Bench
from imagesieve_server.commands.bench.parts import server_of
from imagesieve_server.commands.local_server import LocalServer
from imagesieve_server.core.errors import StartupError

_CALLERS_SHARE = 4  # one core in so many is the callers', one at least


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """Who has which cores."""

    server: frozenset[int]
    callers: frozenset[int]

    @property
    def beside(self) -> Mapping[str, float | str]:
        """For a report."""
        if self.server == self.callers:
            return {"cores, shared with the callers": str(len(self.server))}
        return {
            "cores of the server": str(len(self.server)),
            "cores of the callers": str(len(self.callers)),
        }


def shares_of(cores: Collection[int]) -> Shares:
    """Apart where there are two cores or more."""
    ordered = sorted(cores)
    if len(ordered) < 2:
        return Shares(server=frozenset(ordered), callers=frozenset(ordered))
    count = max(1, len(ordered) // _CALLERS_SHARE)
    return Shares(server=frozenset(ordered[count:]), callers=frozenset(ordered[:count]))


@contextmanager
def kept_to(cores: Collection[int]) -> Iterator[None]:
    """What this thread starts inside stays on these cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class Callers:
    """Processes that call as they are told, one order at a time: one loop of events could not
    offer a fast server ten times what it can do."""

    def __init__(self, processes: Sequence[subprocess.Popen[str]]) -> None:
        self._processes = processes

    def do(self, order: Order) -> Outcome:
        """Share the order out, wait, and add up. Raises StartupError where a process has ended."""
        parts = shared_out(order, len(self._processes))
        for process, part in zip(self._processes, parts, strict=False):
            assert process.stdin is not None
            process.stdin.write(json.dumps(dataclasses.asdict(part)) + "\n")
            process.stdin.flush()
        lines = [next_line(process) for process in self._processes[: len(parts)]]
        return added_up([Outcome(**json.loads(line)) for line in lines])


def shared_out(order: Order, count: int) -> Sequence[Order]:
    """The same for ``count`` processes together; fewer where there are fewer callers."""
    if order.callers:
        parts = [len(range(number, order.callers, count)) for number in range(count)]
        return [dataclasses.replace(order, callers=part) for part in parts if part]
    return [
        dataclasses.replace(order, rate=order.rate / count, seed=order.seed * count + number)
        for number in range(count)
    ]


def added_up(outcomes: Sequence[Outcome]) -> Outcome:
    """What came of an order that was shared out."""
    return Outcome(
        rate=sum(one.rate for one in outcomes),
        answered=sum(one.answered for one in outcomes),
        late=sum(one.late for one in outcomes),
        sent=sum(one.sent for one in outcomes),
        seconds=outcomes[0].seconds,
        cpu_s=sum(one.cpu_s for one in outcomes),
        waits_s=[wait for one in outcomes for wait in one.waits_s],
        refusals_s=[wait for one in outcomes for wait in one.refusals_s],
        lateness_p99_s=max(one.lateness_p99_s for one in outcomes),
    )


def next_line(process: subprocess.Popen[str]) -> str:
    """What it says next. Raises StartupError where it has ended."""
    assert process.stdout is not None
    if not (line := process.stdout.readline()):
        raise StartupError("a process of callers ended")
    return line


@contextmanager
def callers_of_their_own(count: int) -> Iterator[Callers]:
    """So many processes, ready, for the length of a block."""
    with ExitStack() as stack:
        processes = [stack.enter_context(_caller()) for _ in range(count)]
        for process in processes:
            next_line(process)  # it is ready
        yield Callers(processes)


@contextmanager
def _caller() -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-m", caller.__name__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            assert process.stdin is not None
            process.stdin.close()  # which ends it


@contextmanager
def server_and_callers(bench: Bench, shares: Shares) -> Iterator[tuple[LocalServer, Callers]]:
    """Both started, each on its share. Raises StartupError."""
    own = len(shares.server)
    # Where they are 0 the server chooses, within its share as it would on a machine of that size.
    threads = min(bench.settings.model.threads, own)
    workers = min(bench.settings.images.workers, own)
    with ExitStack() as stack:
        with kept_to(shares.server):
            server = stack.enter_context(
                server_of(
                    bench,
                    IMAGESIEVE__MODEL__THREADS=str(threads),
                    IMAGESIEVE__IMAGES__WORKERS=str(workers),
                )
            )
        with kept_to(shares.callers):
            callers = stack.enter_context(callers_of_their_own(len(shares.callers)))
        yield server, callers
