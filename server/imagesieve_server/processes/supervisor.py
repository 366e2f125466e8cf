"""Keeps a server of several processes running: one encoder process, N front ends.

Order of start: the encoder process, then, once it is warm, the front ends; all of them listen on
one port. What ends unasked is started again, later each time. Stopping: the front ends drain
together, then the encoder process goes. It serves nothing but metrics, and looks at no picture.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

from prometheus_client import CollectorRegistry, Counter

from imagesieve_server.addresses import parse_address
from imagesieve_server.config import Settings
from imagesieve_server.core.errors import ConfigError, StartupError
from imagesieve_server.encoders.runtime import refuse_two_runtimes
from imagesieve_server.metrics.http import MetricsServer
from imagesieve_server.metrics.process_series import PROCESS_RESTARTS
from imagesieve_server.processes.one_process import OneProcess, start_process
from imagesieve_server.processes.orders import Orders, Part
from imagesieve_server.processes.port import SharedPort
from imagesieve_server.processes.reports import BrokenTalk, Ready
from imagesieve_server.processes.scraping import ProcessSeries
from imagesieve_server.processes.shares import of_front_end
from imagesieve_server.shared_encoder.meeting import open_meeting_point

log = logging.getLogger(__name__)

_END_S = 15.0  # for what remains after a drain


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How a supervisor waits; seconds."""

    first_pause_s: float = 0.5  # before a process is started again; doubled each time
    longest_pause_s: float = 30.0
    start_s: float = 1800.0  # of an encoder process: its warm-up alone may take 600 a session
    settled_s: float = 60.0  # what lived so long starts with the first pause again
    ask_every_s: float = 5.0
    silent_s: float = 60.0  # what does not answer for so long is killed
    killed_s: float = 5.0  # what is killed and still there is not waited for when all stop
    series_s: float = 4.0  # below SCRAPE_S: who is slower has no series in a reading


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A server that answers."""

    port: int  # of gRPC
    metrics_port: int | None  # of /metrics; None where it is turned off
    console_port: int | None
    bundle: str
    policies: tuple[str, ...]
    pids: Callable[[], Mapping[str, int]]  # of the processes at work, by name


@contextlib.asynccontextmanager
async def supervised(settings: Settings, *, stop: asyncio.Event) -> AsyncIterator[Running]:
    """Start all processes and stop them on leaving. Raises StartupError, also where ``stop`` comes
    before all are ready: a front end waits for its encoder without end."""
    if sys.platform != "linux":
        raise ConfigError("server.front_ends: several front ends need Linux")
    refuse_two_runtimes()
    async with contextlib.AsyncExitStack() as stack:
        port = stack.enter_context(contextlib.closing(SharedPort(settings.server.address)))
        meeting = stack.enter_context(contextlib.closing(open_meeting_point()))
        registry = CollectorRegistry()
        family = Supervisor(
            drain_s=settings.server.drain_seconds, registry=registry, patience=Patience()
        )
        stack.push_async_callback(family.stop)
        await _unless_stopped(stop, family.start(Orders(
            part=Part.ENCODER,
            name="encoder",
            meeting=meeting.listening.fileno(),
            settings=settings,
        )))  # fmt: skip
        fronts = await _unless_stopped(stop, family.start(*(
            _front_end(settings, number, port.address, meeting.door)
            for number in range(settings.server.front_ends)
        )))  # fmt: skip
        metrics_port = _metrics_port(settings, family, registry, stack)
        yield Running(
            port=port.port,
            metrics_port=metrics_port,
            console_port=fronts[0].console_port,
            bundle=fronts[0].bundle,
            policies=fronts[0].policies,
            pids=lambda: {name: process.pid for name, process in family.processes.items()},
        )


async def _unless_stopped(
    stop: asyncio.Event, starting: Coroutine[Any, Any, list[Ready]]
) -> list[Ready]:
    work, told = asyncio.create_task(starting), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({work, told}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        told.cancel()
        work.cancel()  # where it is not done
        await asyncio.gather(work, return_exceptions=True)
    if work.cancelled():
        raise StartupError("told to stop before the server was ready")
    return work.result()


def _front_end(settings: Settings, number: int, address: str, door: int) -> Orders:
    leading = number == 0
    return Orders(
        part=Part.LEADER if leading else Part.FRONT_END,
        name=f"front-{number + 1}",
        meeting=door,
        settings=of_front_end(settings, address=address, leading=leading),
    )


def _again(orders: Orders, ready: Ready) -> Orders:
    """For later starts. Where ``auto`` led once it stays: the scores of another provider differ,
    and front ends refuse it; a GPU that is away for a while is to be tried until it is back."""
    return orders.at(ready.provider) if orders.part is Part.ENCODER else orders


def _metrics_port(
    settings: Settings,
    family: Supervisor,
    registry: CollectorRegistry,
    stack: contextlib.AsyncExitStack,
) -> int | None:
    if not settings.metrics.address:
        return None
    registry.register(ProcessSeries(read=family.metrics, loop=asyncio.get_running_loop()))
    host, port = parse_address(settings.metrics.address, setting="metrics.address")
    server = MetricsServer(registry=registry, host=host, port=port)
    # In a thread: a reading of the series in hand is answered by this loop.
    stack.push_async_callback(asyncio.to_thread, server.stop)
    return server.port


class Supervisor:
    """The processes and who keeps each of them."""

    def __init__(
        self,
        *,
        drain_s: float,
        registry: CollectorRegistry,
        patience: Patience,
        start: Callable[[Orders], Awaitable[OneProcess]] = start_process,
    ) -> None:
        self.processes: dict[str, OneProcess] = {}  # at work
        self._left: dict[str, OneProcess] = {}  # killed, and not gone when last seen
        self._drain_s = drain_s
        self.patience = patience
        self._start_process = start
        series = PROCESS_RESTARTS
        self._restarts = Counter(series.name, series.help, series.labels, registry=registry)
        self._keepers: list[asyncio.Task[None]] = []

    async def start(self, *orders: Orders) -> list[Ready]:
        """Start these and keep them. Raises StartupError where one cannot start."""
        starts = [asyncio.create_task(self._start(each)) for each in orders]
        try:
            found = await asyncio.gather(*starts)
        except BaseException:
            for start in starts:
                start.cancel()
            await asyncio.gather(*starts, return_exceptions=True)
            raise
        for each, ready in zip(orders, found, strict=True):
            self._restarts.labels(each.name)
            self._keepers.append(asyncio.create_task(self._keep(_again(each, ready))))
        return found

    async def stop(self) -> None:
        """Drain the front ends, then end what is left."""
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        encoder = self.processes.pop("encoder", None)
        fronts = list(self.processes.values())
        for front in fronts:
            front.drain()
        ends = [asyncio.create_task(front.ended()) for front in fronts]
        if ends:
            await asyncio.wait(ends, timeout=self._drain_s + _END_S)
        await asyncio.gather(*(self._end(front, within_s=1.0) for front in fronts))
        if encoder is not None:
            await self._end(encoder, within_s=_END_S)

    async def _end(self, process: OneProcess, *, within_s: float) -> bool:
        return await process.end(within_s=within_s, killed_s=self.patience.killed_s)

    async def metrics(self) -> dict[str, str]:
        """The series of every process that is at work, by its name; "" where it is silent."""
        asked = dict(self.processes)
        texts = await asyncio.gather(*(self._series(process) for process in asked.values()))
        return dict(zip(asked, texts, strict=True))

    async def _series(self, process: OneProcess) -> str:
        try:
            async with asyncio.timeout(self.patience.series_s):
                return await process.talk.metrics()
        except (TimeoutError, BrokenTalk):
            return ""  # its keeper finds out

    async def _start(self, orders: Orders) -> Ready:
        if left := self._left.pop(orders.name, None):
            await left.ended()  # what has it would have the next one, too
        try:
            process = await self._start_process(orders)
        except OSError as problem:
            raise StartupError(f"a process cannot be started: {problem.strerror}") from problem
        try:
            ready = await self._first_word(process, orders)
        except BaseException:
            if not await self._end(process, within_s=1.0):
                self._left[orders.name] = process
            raise
        self.processes[orders.name] = process
        log.info("started", extra={"part": orders.name, "pid": process.pid})
        return ready

    async def _first_word(self, process: OneProcess, orders: Orders) -> Ready:
        """Wait until it is ready: a front end without end, as it waits for its encoder so."""
        limit_s = self.patience.start_s if orders.part is Part.ENCODER else None
        try:
            async with asyncio.timeout(limit_s):
                return await process.talk.first_word(orders.name)
        except TimeoutError:
            raise StartupError(
                f"the process {orders.name} was not ready within {limit_s:g} s: does the driver of "
                "its GPU hang, or the disk of its model?"
            ) from None

    async def _keep(self, orders: Orders) -> None:
        """Start it again whenever it ends."""
        patience = self.patience
        pause = patience.first_pause_s
        while True:
            began = time.monotonic()
            if process := self.processes.get(orders.name):
                code = await self._until_ended(process)
                del self.processes[orders.name]
                process.talk.close()
                log.error("a process ended", extra={"part": orders.name, "exit_code": code})
                self._restarts.labels(orders.name).inc()
            if time.monotonic() - began > patience.settled_s:
                pause = patience.first_pause_s
            await asyncio.sleep(pause)
            pause = min(2 * pause, patience.longest_pause_s)
            try:
                await self._start(orders)
            except StartupError as problem:
                extra = {"part": orders.name, "problem": problem.message}
                log.error("a process does not start", extra=extra)

    async def _until_ended(self, process: OneProcess) -> int:
        """Wait for its end; one that does not answer, or hangs at its end, is killed."""
        ended = asyncio.create_task(process.ended())
        try:
            while not ended.done():
                await asyncio.wait({ended}, timeout=self.patience.ask_every_s)
                try:
                    async with asyncio.timeout(self.patience.silent_s):
                        await process.talk.alive()
                        if process.talk.gone:  # so it ends, unless a library does not let it
                            await asyncio.wait({ended})
                except (TimeoutError, BrokenTalk) as problem:
                    extra = {"part": process.name, "problem": str(problem)}
                    log.error("a process does not answer", extra=extra)
                    process.kill()
            return ended.result()
        finally:
            ended.cancel()
