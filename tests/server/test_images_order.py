"""Big images do not hold up small ones, nobody starves, and a header that lies gains little.

On a driven clock: the server's own queue, with workers that share cores as processes do.
"""

from __future__ import annotations

import asyncio
import dataclasses
import math

import pytest

from helpers.decode_simulation import (
    FIRST_COME,
    Kind,
    Machine,
    Upload,
    decode_all,
    p99,
    slowdowns,
    stream,
)
from imagesieve_server.core.views import ViewPlan
from imagesieve_server.images.job_queue import LONG_S, PATIENCE, Job, JobQueue, Together

SMALL = Kind(name="small", work_s=0.0065)
LARGE = Kind(name="large", work_s=0.062)
FILM = Kind(name="film", work_s=3.0)
LIAR = Kind(name="liar", work_s=3.0, claimed_s=0.002)
OURS = Machine()


def waits(uploads: list[Upload], machine: Machine, name: str) -> float:
    """p99 of the slowdown of one kind, the same uploads for each machine."""
    mine = [dataclasses.replace(upload) for upload in uploads]
    decode_all(mine, machine)
    return p99(slowdowns(mine, name))


async def test_half_of_the_images_large() -> None:
    """Thumbnails waited for them by the dozen; now they are decoded about as if alone."""
    uploads = stream({SMALL: 0.5, LARGE: 0.5}, load=0.8, seconds=30, cores=2, seed=1)
    assert waits(uploads, FIRST_COME, "small") > 20
    assert waits(uploads, OURS, "small") < 4


async def test_films_among_small_ones() -> None:
    """An animation of seconds, some at once: no thumbnail waits for one to end."""
    uploads = stream({SMALL: 0.997, FILM: 0.003}, load=0.7, seconds=60, cores=2, seed=1)
    assert waits(uploads, FIRST_COME, "small") > 100
    assert waits(uploads, OURS, "small") < 12


async def test_without_the_worker_for_short_ones_order_alone_is_not_enough() -> None:
    uploads = stream({SMALL: 0.997, FILM: 0.003}, load=0.7, seconds=60, cores=2, seed=1)
    order_alone = dataclasses.replace(OURS, one_for_short=False)
    assert waits(uploads, order_alone, "small") > 3 * waits(uploads, OURS, "small")


async def test_nobody_starves() -> None:
    """More small images than can be done, for ever: a large one is passed only by those that
    came until it was due."""
    small = stream({SMALL: 1.0}, load=1.5, seconds=10, cores=2, seed=1)
    large = Upload(kind=LARGE, at=1.0)
    decode_all([*small, large], OURS)
    due = large.at + PATIENCE * LARGE.work_s
    later = min(upload.done_at for upload in small if upload.at + PATIENCE * SMALL.work_s > due)
    assert large.done_at < later + 5 * LARGE.work_s  # decoding itself gives way
    assert large.done_at > large.at + LARGE.work_s


async def test_a_film_is_passed_for_two_seconds_at_most() -> None:
    """By its cost alone it would be due half a minute later, when its caller has gone."""
    small = stream({SMALL: 1.0}, load=1.5, seconds=60, cores=2, seed=1)
    film = Upload(kind=FILM, at=1.0)
    decode_all([*small, film], OURS)
    later = min(upload.done_at for upload in small if upload.at > film.at + 2.0)
    assert film.done_at < later + 5 * FILM.work_s


async def test_one_tenants_flood_of_large_images_does_not_starve_anothers_small_ones() -> None:
    """Half as much again as the machine can do; the other tenant sends little."""
    flood = stream({LARGE: 1.0}, load=1.5, seconds=20, cores=2, seed=1, tenant="flood")
    others = stream({SMALL: 1.0}, load=0.1, seconds=20, cores=2, seed=2, tenant="other")
    assert waits([*flood, *others], FIRST_COME, "small") > 200
    assert waits([*flood, *others], OURS, "small") < 4


async def test_large_images_alone_lose_nothing() -> None:
    """The worker kept for short ones is one more: as many large ones are at work as before."""
    uploads = stream({LARGE: 1.0}, load=0.8, seconds=30, cores=2, seed=1)
    assert waits(uploads, OURS, "large") == pytest.approx(waits(uploads, FIRST_COME, "large"))


async def test_a_header_that_lies_is_found_out_by_the_clock() -> None:
    """Liars hold workers for seconds as anybody could before; images that told the truth of
    themselves fare better than in order of arrival."""
    mix = {SMALL: 0.95, LARGE: 0.048, LIAR: 0.002}
    uploads = stream(mix, load=0.6, seconds=60, cores=4, seed=1)
    machine = dataclasses.replace(OURS, cores=4)
    before = dataclasses.replace(FIRST_COME, cores=4)
    assert waits(uploads, machine, "small") < waits(uploads, before, "small") / 2


# --- the queue itself ---


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def job(expected_s: float, *, data: bytes = b"") -> Job:
    return Job(data=data, plan=ViewPlan(), deadline=math.inf, expected_s=expected_s)


def filled(clock: Clock, *expected: float, long_at_once: int | None = 2) -> JobQueue:
    queue = JobQueue(capacity=64, long_at_once=long_at_once, clock=clock)
    for seconds in expected:
        queue.put(job(seconds), retry_after_s=1)
    return queue


def taken(queue: JobQueue) -> list[float]:
    found = []
    while one := queue.next():
        found.extend(job.expected_s for job in one.jobs)
    return found


async def test_long_ones_never_hold_every_worker() -> None:
    long, short = 2 * LONG_S, LONG_S / 2
    queue = filled(Clock(), long, long, long, short)
    assert taken(queue) == [short, long, long]
    assert len(queue) == 1
    (first, *_) = (one for one in queue.at_work if one.is_long)
    queue.give_back(first)
    assert taken(queue) == [long]


# --- several at a time ---


def together(*, workers: int = 1, room_bytes: int = 1000) -> JobQueue:
    return JobQueue(
        capacity=64,
        long_at_once=workers,
        together=Together(workers=workers, room_bytes=room_bytes),
        clock=Clock(),
    )


def sizes(queue: JobQueue) -> list[int]:
    """How many go at a time."""
    found = []
    while handed := queue.next():
        found.append(len(handed.jobs))
    return found


async def test_short_ones_that_wait_are_shared_out() -> None:
    """As many at a time as leave the other workers theirs; one that comes alone goes alone."""
    queue = together(workers=2)
    jobs = [job(0.002) for _ in range(9)]
    for one in jobs:
        queue.put(one, retry_after_s=1)
    first = queue.next()
    assert first
    assert list(first.jobs) == jobs[:5]  # in the order they came
    assert sizes(queue) == [2, 1, 1]


@pytest.mark.parametrize(
    ("expected_s", "data", "most"),
    [(0.001, b"", 8), (0.007, b"", 4), (0.001, b"x" * 400, 2), (2 * LONG_S, b"", 1)],
    ids=["number", "time", "room", "long"],
)
async def test_what_goes_together_is_bounded(expected_s: float, data: bytes, most: int) -> None:
    """In number, in what the first waits for the last, and by the worker's slot."""
    queue = together()
    for _ in range(20):
        queue.put(job(expected_s, data=data), retry_after_s=1)
    handed = queue.next()
    assert handed
    assert len(handed.jobs) == most


async def test_long_ones_and_whoever_has_gone_are_not_taken_along() -> None:
    queue = together(workers=1)
    jobs = [job(0.002) for _ in range(3)]
    for one in (*jobs, job(2 * LONG_S)):
        queue.put(one, retry_after_s=1)
    jobs[1].answer.cancel()
    handed = queue.next()
    assert handed
    assert handed.jobs == (jobs[0], jobs[2])


async def test_who_was_put_back_goes_first_and_by_itself() -> None:
    queue = together(workers=1)
    jobs = [job(0.002) for _ in range(6)]
    for one in jobs[:3]:
        queue.put(one, retry_after_s=1)
    handed = queue.next()
    assert handed
    jobs[1].fail(TimeoutError())  # answered meanwhile
    for one in jobs[3:]:
        queue.put(one, retry_after_s=1)
    queue.put_back(handed.jobs)
    queue.give_back(handed)
    found = [queue.next() for _ in range(3)]
    assert [one.jobs for one in found if one] == [(jobs[0],), (jobs[2],), tuple(jobs[3:])]
    jobs[1].answer.exception()


async def test_equal_images_go_in_the_order_they_came() -> None:
    clock = Clock()
    queue = JobQueue(capacity=9, clock=clock)
    jobs = [job(0.001) for _ in range(5)]
    for one in jobs:
        queue.put(one, retry_after_s=1)
    assert [job for _ in jobs for job in queue.next().jobs] == jobs  # type: ignore[union-attr]


async def test_a_short_one_that_takes_long_counts_as_long() -> None:
    """Else a header that lies could take the last worker but one from everybody."""
    clock = Clock()
    long, short = 2 * LONG_S, LONG_S / 2
    queue = filled(clock, short, short)
    assert taken(queue) == [short, short]
    queue.put(job(long), retry_after_s=1)
    clock.now = 60.0
    assert queue.next() is None
    queue.give_back(next(iter(queue.at_work)))
    assert taken(queue) == [long]


async def test_on_a_slow_machine_short_ones_stay_short() -> None:
    """What short images lately took is the measure, or nothing long would ever go."""
    clock = Clock()
    queue = filled(clock)
    for _ in range(60):
        queue.put(job(LONG_S / 2), retry_after_s=1)
        one = queue.next()
        assert one
        clock.now += 7 * LONG_S
        queue.give_back(one)
    for _ in range(2):
        queue.put(job(LONG_S / 2), retry_after_s=1)
    assert len(taken(queue)) == 2
    clock.now += 20 * LONG_S  # twenty times what is expected, three times what is usual
    queue.put(job(2 * LONG_S), retry_after_s=1)
    assert queue.next()


async def test_images_that_lie_do_not_raise_what_is_allowed_to_the_next() -> None:
    """Each takes a little less than what would give it away."""
    clock = Clock()
    long, short = 2 * LONG_S, LONG_S / 2
    queue = filled(clock)
    taking = 7 * LONG_S
    for _ in range(30):
        queue.put(job(short), retry_after_s=1)
        one = queue.next()
        assert one
        clock.now += taking
        queue.give_back(one)
        taking = min(1.5 * taking, 5.0)
    for _ in range(2):
        queue.put(job(short), retry_after_s=1)
    assert taken(queue) == [short, short]
    clock.now += 100 * LONG_S
    queue.put(job(long), retry_after_s=1)
    assert queue.next() is None


async def test_an_image_that_nobody_waits_for_is_not_kept_until_its_turn() -> None:
    """Its bytes are no more counted as admitted; a film's turn may be more than a minute away."""
    queue = filled(Clock(), 2 * LONG_S, 2 * LONG_S, 2 * LONG_S)
    at_work = [queue.next(), queue.next()]
    gone, late, waiting = (job(8.0, data=b"a film") for _ in range(3))
    for one in (gone, late, waiting):
        queue.put(one, retry_after_s=1)
    gone.answer.cancel()
    late.fail(TimeoutError())
    await asyncio.sleep(0)
    assert [one.data for one in (gone, late, waiting)] == [b"", b"", b"a film"]
    late.answer.exception()
    assert at_work[0]
    (busy,) = at_work[0].jobs
    busy.data = b"still needed"
    busy.answer.cancel()
    await asyncio.sleep(0)
    assert busy.data == b"still needed"


async def test_whoever_waits_for_work_is_woken_by_it() -> None:
    """Also where the first to be woken has gone."""
    queue = filled(Clock())
    takers = [asyncio.create_task(queue.take()) for _ in range(3)]
    await asyncio.sleep(0)
    takers[0].cancel()
    await asyncio.sleep(0)
    for seconds in (0.001, 0.002):
        queue.put(job(seconds), retry_after_s=1)
    assert [(await taker).jobs[0].expected_s for taker in takers[1:]] == [0.001, 0.002]
    assert len(queue) == 0
