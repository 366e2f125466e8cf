"""Equal bytes are looked at once; what is kept is bounded, sound, and of one tenant."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace

import numpy as np
import pytest

from imagesieve_server.content_cache import ContentCache, ContentKey, Seen
from imagesieve_server.core.errors import (
    DeadlinePassed,
    EncoderUnavailable,
    ImageUndecodable,
    Overloaded,
    UndecodableDetail,
)
from imagesieve_server.core.views import (
    Coverage,
    DecodedImage,
    DecodeInfo,
    View,
    ViewKind,
    ViewPlan,
)
from imagesieve_server.testing import RecordingMetrics

KEY = ContentKey("t", "aa", ViewPlan())
VIEW = View(kind=ViewKind.STILL, box=(0, 0, 9, 9))


def seen(number: float = 1.0, *, truncated: tuple[str, ...] = ()) -> Seen:
    image = DecodedImage(
        pixels=np.empty((0, 0, 0, 3), dtype=np.uint8),
        views=(VIEW,),
        info=DecodeInfo(format="PNG", width=9, height=9, mode="RGB"),
        truncated=truncated,
    )
    return Seen(image=image, embeddings=np.full((1, 4), number, dtype=np.float32))


class Looker:
    """Looks when told to, and counts how often."""

    def __init__(self, *outcomes: Seen | Exception) -> None:
        self.outcomes = list(outcomes)
        self.looks = 0
        self.go = asyncio.Event()

    async def look(self) -> Seen:
        self.looks += 1
        outcome = self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]
        await self.go.wait()
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


class Bench:
    def __init__(self, *, max_bytes: int = 1 << 20, max_age_s: float = 60.0) -> None:
        self.now = 0.0
        self.metrics = RecordingMetrics()
        self.cache = ContentCache(
            max_bytes=max_bytes, max_age_s=max_age_s, metrics=self.metrics, clock=lambda: self.now
        )

    async def ask(self, looker: Looker, key: ContentKey = KEY, *, wait_s: float = 30.0) -> Seen:
        deadline = time.monotonic() + wait_s
        return await self.cache.seen(key, looker.look, deadline=deadline)

    @property
    def results(self) -> list[str]:
        return [call["result"] for call in self.metrics.named("content_cache")]


@pytest.fixture
def bench() -> Bench:
    return Bench()


def at_once(outcome: Seen | Exception) -> Looker:
    looker = Looker(outcome)
    looker.go.set()
    return looker


async def begun(looker: Looker, looks: int = 1) -> None:
    while looker.looks < looks:
        await asyncio.sleep(0)


async def test_bytes_seen_before_are_not_looked_at_again(bench: Bench) -> None:
    first, again = at_once(seen(1.0)), at_once(seen(2.0))
    one = await bench.ask(first)
    two = await bench.ask(again)
    assert two is one
    assert (first.looks, again.looks) == (1, 0)
    assert bench.results == ["miss", "hit"]


@pytest.mark.parametrize(
    "other",
    [
        replace(KEY, tenant="u"),
        replace(KEY, sha256="bb"),
        replace(KEY, plan=ViewPlan(coverage=Coverage.CENTRE)),
        replace(KEY, plan=ViewPlan(max_views=3)),
    ],
)
async def test_another_tenant_picture_or_plan_is_another_look(
    bench: Bench, other: ContentKey
) -> None:
    await bench.ask(at_once(seen()))
    looker = at_once(seen(2.0))
    found = await bench.ask(looker, other)
    assert looker.looks == 1
    assert found.embeddings is not None
    assert found.embeddings[0, 0] == 2.0


async def test_equal_bytes_at_the_same_time_are_looked_at_once(bench: Bench) -> None:
    looker = Looker(seen())
    asking = [asyncio.create_task(bench.ask(looker)) for _ in range(20)]
    await begun(looker)
    looker.go.set()
    found = await asyncio.gather(*asking)
    assert looker.looks == 1
    assert all(each is found[0] for each in found)
    assert sorted(bench.results) == ["joined"] * 19 + ["miss"]


@pytest.mark.parametrize(
    "outcome",
    [
        seen(float("nan")),
        seen(truncated=("frames",)),
        replace(seen(), embeddings=None, problem=EncoderUnavailable("down")),
    ],
    ids=["not a number", "cut", "encoder down"],
)
async def test_what_another_look_might_see_otherwise_is_not_kept(
    bench: Bench, outcome: Seen
) -> None:
    assert await bench.ask(at_once(outcome)) is outcome
    again = at_once(seen())
    await bench.ask(again)
    assert again.looks == 1


async def test_an_unsound_look_is_not_shared_either(bench: Bench) -> None:
    """Whoever waited looks at once, and not behind another: bytes may be unsound each time."""
    cut = seen(truncated=("frames",))
    looker = Looker(cut, seen(2.0), seen(3.0))
    asking = [asyncio.create_task(bench.ask(looker)) for _ in range(3)]
    await begun(looker)
    await asyncio.sleep(0)
    looker.go.set()
    looker.go.clear()  # the first one is let through, and nobody else
    assert await asking[0] is cut
    async with asyncio.timeout(30.0):
        await begun(looker, 3)
    looker.go.set()
    found = await asyncio.gather(*asking)
    assert len({id(each) for each in found}) == 3
    assert bench.results == ["miss"] * 3


@pytest.mark.parametrize(
    "failure",
    [DeadlinePassed("late"), Overloaded("full", retry_after_s=1.0), RuntimeError("a defect")],
)
async def test_anothers_failure_is_not_ones_own(bench: Bench, failure: Exception) -> None:
    looker = Looker(failure, seen())
    first = asyncio.create_task(bench.ask(looker))
    await begun(looker)
    second = asyncio.create_task(bench.ask(looker))
    await asyncio.sleep(0)
    looker.go.set()
    with pytest.raises(type(failure)):
        await first
    assert (await second).embeddings is not None
    assert looker.looks == 2


async def test_who_goes_away_leaves_the_look_to_the_next(bench: Bench) -> None:
    looker = Looker(seen())
    asking = [asyncio.create_task(bench.ask(looker)) for _ in range(3)]
    await begun(looker)
    asking[0].cancel()
    await begun(looker, 2)
    looker.go.set()
    assert await asking[1] is await asking[2]
    assert looker.looks == 2
    assert asking[0].cancelled()


async def test_undecodable_bytes_are_told_to_all_who_wait_and_not_kept(bench: Bench) -> None:
    failure = ImageUndecodable("no", detail=UndecodableDetail.TIMED_OUT)
    looker = Looker(failure)
    asking = [asyncio.create_task(bench.ask(looker)) for _ in range(3)]
    await begun(looker)
    await asyncio.sleep(0)
    looker.go.set()
    told = await asyncio.gather(*asking, return_exceptions=True)
    assert [each.detail for each in told if isinstance(each, ImageUndecodable)] == [
        UndecodableDetail.TIMED_OUT
    ] * 3
    assert looker.looks == 1
    again = at_once(failure)
    with pytest.raises(ImageUndecodable):
        await bench.ask(again)
    assert again.looks == 1


async def test_nobody_waits_past_his_own_deadline(bench: Bench) -> None:
    looker = Looker(seen())
    first = asyncio.create_task(bench.ask(looker))
    await begun(looker)
    with pytest.raises(DeadlinePassed):
        await bench.ask(looker, wait_s=0.01)
    looker.go.set()
    await first


async def test_the_least_recently_used_goes_when_there_is_no_room() -> None:
    room = 3 * seen().size_bytes
    bench = Bench(max_bytes=room)
    keys = [replace(KEY, sha256=name) for name in "abc"]
    for key in keys:
        await bench.ask(at_once(seen()), key)
    await bench.ask(at_once(seen()), keys[0])  # used again
    await bench.ask(at_once(seen()), replace(KEY, sha256="d"))
    lookers = {key.sha256: at_once(seen()) for key in keys}
    await bench.ask(lookers["a"], keys[0])
    await bench.ask(lookers["c"], keys[2])
    assert [lookers[name].looks for name in "ac"] == [0, 0]
    await bench.ask(lookers["b"], keys[1])
    assert lookers["b"].looks == 1
    sizes = [call["size_bytes"] for call in bench.metrics.named("content_cache_size")]
    assert max(sizes) == room


async def test_what_is_larger_than_all_the_room_pushes_nothing_out() -> None:
    bench = Bench(max_bytes=seen().size_bytes)
    kept = await bench.ask(at_once(seen()))
    large = replace(seen(), embeddings=np.ones((1, 5), dtype=np.float32))
    await bench.ask(at_once(large), replace(KEY, sha256="bb"))
    assert await bench.ask(at_once(seen(9.0))) is kept


async def test_turned_off_everything_is_looked_at() -> None:
    bench, looker = Bench(max_bytes=0), Looker(seen())
    asking = [asyncio.create_task(bench.ask(looker)) for _ in range(2)]
    await begun(looker, 2)
    looker.go.set()
    await asyncio.gather(*asking)
    await bench.ask(looker)
    assert looker.looks == 3


async def test_what_is_old_is_looked_at_again(bench: Bench) -> None:
    await bench.ask(at_once(seen()))
    bench.now = 60.0
    just = at_once(seen())
    await bench.ask(just)
    bench.now = 60.1
    again = at_once(seen())
    await bench.ask(again)
    assert (just.looks, again.looks) == (0, 1)


def forget_it(cache: ContentCache) -> None:
    cache.forget(tenant="t", sha256="aa")


@pytest.mark.parametrize("drop", [forget_it, ContentCache.clear])
async def test_what_is_dropped_is_gone_with_what_is_on_its_way(
    bench: Bench, drop: Callable[[ContentCache], None]
) -> None:
    await bench.ask(at_once(seen()))
    await bench.ask(at_once(seen()), replace(KEY, plan=ViewPlan(max_views=2)))
    drop(bench.cache)
    assert bench.metrics.named("content_cache_size")[-1] == {"size_bytes": 0}
    looker = Looker(seen())
    asking: Awaitable[Seen] = asyncio.create_task(bench.ask(looker))
    await begun(looker)
    drop(bench.cache)
    looker.go.set()
    await asking
    again = at_once(seen())
    await bench.ask(again)
    assert again.looks == 1
