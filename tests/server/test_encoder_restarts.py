"""An encoder process that is started anew: where it computes, and when a start is given up."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry

from helpers.stand_in import StandIn, order
from imagesieve_server.config import Settings
from imagesieve_server.core.errors import StartupError
from imagesieve_server.processes.one_process import OneProcess, start_process
from imagesieve_server.processes.orders import Orders, Part
from imagesieve_server.processes.supervisor import Patience, Supervisor
from imagesieve_server.shared_encoder.meeting import open_meeting_point

pytestmark = pytest.mark.timeout(120)


class Encoders:
    """The encoder processes that a supervisor started, one after the other."""

    def __init__(self, stand_in: StandIn) -> None:
        self.asked: list[str] = []  # provider
        self.processes: list[OneProcess] = []
        self.held = False  # the next ones: no signal of the supervisor ends them
        self._stand_in = stand_in

    async def start(self, orders: Orders) -> OneProcess:
        self.asked.append(orders.settings.model.provider)
        process = await self._stand_in.start(orders)
        if self.held:
            held(process)
        self.processes.append(process)
        return process

    async def another(self) -> OneProcess:
        """Kill the latest and wait for the next, ready or not."""
        count = len(self.processes)
        os.kill(self.processes[-1].pid, signal.SIGKILL)
        async with asyncio.timeout(60):
            while len(self.processes) == count:
                await asyncio.sleep(0.01)
        return self.processes[count]


@contextlib.asynccontextmanager
async def kept(
    stand_in: StandIn, *, start_s: float = 600.0
) -> AsyncIterator[tuple[Supervisor, Encoders]]:
    encoders = Encoders(stand_in)
    patience = Patience(first_pause_s=0.01, ask_every_s=0.02, start_s=start_s)
    supervisor = Supervisor(
        drain_s=1.0, registry=CollectorRegistry(), patience=patience, start=encoders.start
    )
    try:
        await supervisor.start(order("encoder", Part.ENCODER))
        yield supervisor, encoders
    finally:
        await supervisor.stop()


def held(process: OneProcess) -> None:
    """As one that waits for a driver: a signal is heeded once the driver lets it go."""
    setattr(process, "kill", lambda: None)  # noqa: B010  # mypy would have no other


async def at_work(supervisor: Supervisor) -> None:
    async with asyncio.timeout(60):
        while "encoder" not in supervisor.processes:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("found", ["cuda", "cpu"])
async def test_it_computes_where_the_first_one_did(found: str) -> None:
    """Front ends refuse another provider: with ``auto``, a GPU that cannot be opened is tried
    until it can, and one that comes later is left alone."""
    stand_in = StandIn(provider=found)
    async with kept(stand_in) as (supervisor, encoders):
        stand_in.before = "sys.exit(1)"
        await (await encoders.another()).ended()
        stand_in.before = ""
        await at_work(supervisor)
        await encoders.another()
    assert encoders.asked[0] == "auto"
    assert set(encoders.asked[1:]) == {found}


async def test_it_says_where_it_computes() -> None:
    settings = Settings()
    settings = replace(settings, model=replace(settings.model, provider="cpu"))
    with contextlib.closing(open_meeting_point()) as meeting:
        listening = meeting.listening.fileno()
        process = await start_process(
            Orders(part=Part.ENCODER, name="encoder", meeting=listening, settings=settings)
        )
        try:
            ready = await process.talk.first_word("encoder")
        finally:
            await process.end(within_s=10.0, killed_s=10.0)
    assert ready.provider == "cpu"


async def test_a_start_that_hangs_is_ended_and_tried_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As in a driver that hangs."""
    stand_in = StandIn()
    async with kept(stand_in) as (supervisor, encoders):
        supervisor.patience = replace(supervisor.patience, start_s=1.0)
        stand_in.before = "time.sleep(600)"
        hangs = await encoders.another()
        async with asyncio.timeout(60):
            assert await hangs.ended() == -signal.SIGKILL
        stand_in.before = ""
        await at_work(supervisor)
    said = (entry for entry in caplog.records if entry.message == "a process does not start")
    assert "was not ready within 1 s" in next(said).__dict__["problem"]


async def test_a_first_start_that_hangs_is_given_up() -> None:
    with pytest.raises(StartupError, match=r"not ready within 0.2 s: does the driver .* hang"):
        async with kept(StandIn(before="time.sleep(600)"), start_s=0.2):
            pass


async def test_a_front_end_may_take_as_long_as_its_encoder_does() -> None:
    async with kept(StandIn()) as (supervisor, _):
        supervisor.patience = replace(supervisor.patience, start_s=0.0)
        await supervisor.start(order("front-1"))


# --- what no signal ends ----------------------------------------------------------------


async def test_the_end_of_what_is_held_is_not_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    process = await StandIn(before="time.sleep(600)").start(order("front-1"))
    try:
        held(process)
        assert not await process.end(within_s=0.05, killed_s=0.05)
        assert "a killed process does not go" in caplog.messages
    finally:
        os.kill(process.pid, signal.SIGKILL)
    assert await process.end(within_s=60.0, killed_s=60.0)


async def test_no_other_is_started_beside_one_that_is_held(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It would hang as well, and each attempt would leave one more."""
    stand_in = StandIn()
    async with kept(stand_in) as (supervisor, encoders):
        supervisor.patience = replace(supervisor.patience, start_s=1.0, killed_s=0.05)
        stand_in.before, encoders.held = "time.sleep(600)", True
        hangs = await encoders.another()
        async with asyncio.timeout(60):
            while "a process does not start" not in caplog.messages:
                await asyncio.sleep(0.01)
        stand_in.before, encoders.held = "", False
        await asyncio.sleep(0.2)  # another would be tried by now
        assert encoders.processes[-1] is hangs
        os.kill(hangs.pid, signal.SIGKILL)
        await at_work(supervisor)
