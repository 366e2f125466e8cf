"""What the server removes in the background, step by step."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from imagesieve_server.config import QueueSettings
from imagesieve_server.core.errors import StoreUnavailable
from imagesieve_server.upkeep import Keep, keep_of, run_upkeep


class Removed:
    """Notes what was asked of it; fails where a test says so."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, float]] = []
        self.failures = 0

    async def retire(self, *, older_than_s: float) -> int:
        self.asked.append(("retire", older_than_s))
        if self.failures:
            self.failures -= 1
            raise StoreUnavailable("down")
        return 1

    async def drop_events(self, *, older_than_s: float) -> int:
        self.asked.append(("drop_events", older_than_s))
        return 1

    async def sweep_evidence(self, *, part: int) -> int:
        self.asked.append(("sweep", part))
        return 1


async def steps(removed: Removed, keep: Keep, count: int) -> None:
    running = asyncio.ensure_future(run_upkeep(removed, keep=keep, step_s=0.0))
    async with asyncio.timeout(20):
        while Counter(name for name, _ in removed.asked)["sweep"] < count:
            await asyncio.sleep(0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_every_step_looks_at_the_next_part() -> None:
    removed = Removed()
    await steps(removed, Keep(decided_s=60.0, events_s=30.0), 257)
    parts = [part for name, part in removed.asked if name == "sweep"]
    assert parts[:257] == [*range(256), 0]
    assert removed.asked[:2] == [("retire", 60.0), ("drop_events", 30.0)]


async def test_what_is_kept_for_ever_is_not_touched() -> None:
    removed = Removed()
    await steps(removed, Keep(decided_s=None, events_s=None), 2)
    assert {name for name, _ in removed.asked} == {"sweep"}


async def test_a_store_that_is_down_is_asked_again(caplog: pytest.LogCaptureFixture) -> None:
    removed = Removed()
    removed.failures = 2
    await steps(removed, Keep(decided_s=1.0, events_s=None), 1)
    assert [name for name, _ in removed.asked][:4] == ["retire", "retire", "retire", "sweep"]
    assert [r.message for r in caplog.records if r.levelname == "WARNING"] == ["upkeep failed"] * 2


def test_days_become_seconds_and_none_is_for_ever() -> None:
    assert keep_of(QueueSettings(keep_decided_days=0.5)) == Keep(
        decided_s=43200.0, events_s=30 * 86400.0
    )
    assert keep_of(QueueSettings(keep_events_days=0.0)) == Keep(decided_s=None, events_s=None)
