"""Callers on cores of their own: they take nothing from the server that is measured.

Were they on its cores, ten times the load would be ten times the callers, and the server would be
measured with what they leave. Where there is one core only, they share it. It knows cores and the
process of ``caller.py``, and not what is asked of it.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping
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
    """A process that calls as it is told, one order at a time."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def do(self, order: Order) -> Outcome:
        """Raises StartupError where the process has ended."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(dataclasses.asdict(order)) + "\n")
        self._process.stdin.flush()
        return Outcome(**json.loads(self.line()))

    def line(self) -> str:
        """What it says next. Raises StartupError where it has ended."""
        assert self._process.stdout is not None
        if not (line := self._process.stdout.readline()):
            raise StartupError("the callers' process ended")
        return line


@contextmanager
def callers_of_their_own() -> Iterator[Callers]:
    """The process, ready, for the length of a block."""
    with subprocess.Popen(
        [sys.executable, "-m", caller.__name__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        found = Callers(process)
        try:
            found.line()
            yield found
        finally:
            assert process.stdin is not None
            process.stdin.close()


@contextmanager
def server_and_callers(bench: Bench, shares: Shares) -> Iterator[tuple[LocalServer, Callers]]:
    """Both started, each on its share. Raises StartupError."""
    own = len(shares.server)
    # Said outright: a library that looks for itself finds the whole machine.
    threads = min(bench.settings.model.threads or own, own)
    workers = min(bench.settings.images.workers or own, own)
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
            callers = stack.enter_context(callers_of_their_own())
        yield server, callers
