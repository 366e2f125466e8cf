"""Samples are handed over in the background; what finds no room or store is counted as dropped."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from helpers.policies import category, group, policy, unit
from imagesieve_server.audit_sampling import AuditSampler
from imagesieve_server.core.errors import StoreUnavailable
from imagesieve_server.core.policy import AuditRates, Mode, Threshold
from imagesieve_server.core.records import answer_of
from imagesieve_server.core.request import ModerationRequest
from imagesieve_server.core.review import AuditCount, Flag, Recorded, State
from imagesieve_server.core.verdict import Band, CategoryScore, Judgement, Verdict
from imagesieve_server.review_queue.evidence import MemoryEvidence
from imagesieve_server.review_queue.memory import memory_store
from imagesieve_server.review_queue.writer import QueueWriter
from imagesieve_server.testing import RecordingMetrics

RULES = policy([category(group(unit(1, 0)))], group(unit(0, 1)), audit=AuditRates(rate=1.0))
CLEAR = CategoryScore(
    category="weapons", score=0.1, log_odds=-2.2, neutral_score=0.2,
    threshold=Threshold(value=0.6), block_threshold=None, margin=-2.6, band=Band.CLEAR, view=0,
    severity=3, mode=Mode.ENFORCE,
)  # fmt: skip
DAY = 86400.0


class Switch(QueueWriter):
    """A queue that can be taken away."""

    down = False
    hangs = False
    breaks = False

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.adding, self.goes_on, self.added = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.goes_on.set()

    async def submit(self, flag: Flag, evidence: bytes) -> Recorded:
        if self.breaks:
            raise ValueError("nobody foresaw this")
        if self.hangs:
            await asyncio.Event().wait()
        if self.down:
            raise StoreUnavailable("gone")
        return await super().submit(flag, evidence)

    async def add_counts(self, counts: Sequence[AuditCount]) -> None:
        if self.down:
            raise StoreUnavailable("gone")
        self.adding.set()
        await self.goes_on.wait()
        await super().add_counts(counts)
        self.added.set()


class Bench:
    def __init__(self) -> None:
        self.metrics = RecordingMetrics()
        self.now = 5 * DAY
        self.queue = Switch(
            store=memory_store(clock=time.time), evidence=MemoryEvidence(), metrics=self.metrics
        )
        self.sampler = self.made()

    def made(self, **limits: Any) -> AuditSampler:
        return AuditSampler(
            key=b"k" * 32, queue=self.queue, metrics=self.metrics, clock=lambda: self.now, **limits
        )

    def offer(self, name: str, image: bytes = b"picture", rules: Any = RULES) -> None:
        request = ModerationRequest(tenant="t", request_id=name, image=image)
        judgement = Judgement(verdict=Verdict.ALLOW, reasons=(), scores=(CLEAR,))
        answer = answer_of(
            request=request, policy=rules, model_version="m", judgement=judgement, image=None,
            sha256=hashlib.sha256(image).hexdigest(),
        )  # fmt: skip
        self.sampler.offer(request=request, policy=rules, digest=f"d-{name}", answer=answer)

    async def counts(self) -> list[tuple[str, str, str, int, int]]:
        found = await self.queue.calls.call("counts", lambda store: store.counts(tenant="t"))
        return [(c.day, c.band, c.sha256[:4], c.uploads, c.dropped) for c in found]

    async def ready(self) -> int:
        return (await self.queue.stats(tenant="t")).by_state[State.READY]

    def results(self) -> list[str]:
        return [str(call["result"]) for call in self.metrics.named("audit_sample")]


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    made = Bench()
    yield made
    await made.queue.close()


PICTURE = hashlib.sha256(b"picture").hexdigest()[:4]


async def test_further_uploads_of_a_sample_are_counted_and_not_kept(bench: Bench) -> None:
    for name in "abc":
        bench.offer(name)
    await bench.sampler.flush()
    bench.now += DAY
    bench.offer("d")
    await bench.sampler.flush()
    assert await bench.ready() == 1
    assert bench.results() == ["counted", "counted", "kept", "counted"]
    assert await bench.counts() == [
        ("1970-01-06", "far", "", 3, 0),
        ("1970-01-06", "far", PICTURE, 3, 0),
        ("1970-01-07", "far", "", 1, 0),
        ("1970-01-07", "far", PICTURE, 1, 0),
    ]


async def test_counts_of_several_hand_overs_add_up(bench: Bench) -> None:
    for name in "ab":
        bench.offer(name, image=name.encode())
        await bench.sampler.flush()
    assert ("1970-01-06", "far", "", 2, 0) in await bench.counts()


@pytest.mark.parametrize("limits", [{"max_waiting": 2}, {"max_waiting_bytes": 15}])
async def test_what_finds_no_room_is_dropped_and_said_to_be(
    bench: Bench, limits: dict[str, int]
) -> None:
    bench.sampler = bench.made(**limits)
    for name in "abc":
        bench.offer(name, image=name.encode() * 7)
    await bench.sampler.flush()
    assert await bench.ready() == 2
    assert ("1970-01-06", "far", "", 3, 1) in await bench.counts()
    assert sorted(bench.results()) == ["dropped", "kept", "kept"]
    bench.offer("d", image=b"d" * 7)
    await bench.sampler.flush()
    assert await bench.ready() == 3, "room is given back"


async def test_a_dead_store_costs_samples_and_keeps_the_counts(bench: Bench) -> None:
    bench.queue.down = True
    bench.offer("a")
    await bench.sampler.flush()
    bench.queue.down = False
    bench.offer("b")  # the same bytes: they were not kept, so they are tried again
    await bench.sampler.flush()
    assert bench.results() == ["dropped", "kept"]
    assert await bench.counts() == [
        ("1970-01-06", "far", "", 2, 1),
        ("1970-01-06", "far", PICTURE, 2, 0),
    ]


async def test_a_sample_that_breaks_does_not_end_the_sampling(bench: Bench) -> None:
    bench.queue.breaks = True
    bench.offer("a")
    await bench.sampler.flush()
    bench.queue.breaks = False
    bench.offer("b", image=b"another")
    await bench.sampler.flush()
    assert bench.results() == ["dropped", "kept"]


async def test_pictures_beyond_those_remembered_join_their_item(bench: Bench) -> None:
    bench.sampler = bench.made(max_known=1)
    for name, image in (("r-1", b"a"), ("r-2", b"b"), ("r-3", b"a")):
        bench.offer(name, image=image)
        await bench.sampler.flush()
    assert bench.results() == ["kept", "kept", "kept"]
    assert await bench.ready() == 2


async def test_a_hand_over_that_is_cut_short_is_taken_up_again(bench: Bench) -> None:
    bench.queue.hangs = True
    bench.offer("a")
    running = asyncio.create_task(bench.sampler.run(step_s=0.001))
    await asyncio.sleep(0.05)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    bench.queue.hangs = False
    await bench.sampler.close()
    assert (await bench.ready(), bench.results()) == (1, ["kept"])


async def test_counts_being_added_as_the_server_stops_are_neither_lost_nor_added_twice(
    bench: Bench,
) -> None:
    bench.queue.goes_on.clear()
    bench.offer("a")
    running = asyncio.create_task(bench.sampler.run(step_s=0.001))
    await bench.queue.adding.wait()
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    bench.queue.goes_on.set()
    await bench.sampler.close()
    async with asyncio.timeout(20.0):  # lost, it would never come
        await bench.queue.added.wait()
    assert [row[3] for row in await bench.counts()] == [1, 1]


async def test_the_end_does_not_wait_for_a_store_that_hangs(bench: Bench) -> None:
    bench.queue.hangs = True
    bench.offer("a")
    await bench.sampler.close(patience_s=0.01)
    assert await bench.ready() == 0


async def test_a_mistake_in_the_draw_does_not_reach_the_answer(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.offer("a", rules=_Broken(RULES))
    assert "audit sampling failed" in caplog.text


class _Broken:
    """A policy whose rates cannot be read."""

    def __init__(self, rules: Any) -> None:
        self._rules = rules

    def __getattr__(self, name: str) -> Any:
        if name == "audit":
            raise ValueError("no rates")
        return getattr(self._rules, name)
