"""An alarm rings once and not before its time; one taken back never does, and leaves nothing."""

from __future__ import annotations

import asyncio
import gc
import time

import pytest

from imagesieve_server.alarms import Alarms
from imagesieve_server.grpc_api.deadlines import within


async def test_alarms_ring_in_the_order_of_their_times_however_they_were_set() -> None:
    alarms = Alarms()
    rung: list[tuple[int, float]] = []
    done = asyncio.Event()
    began = time.monotonic()

    def ring(number: int) -> None:
        rung.append((number, time.monotonic() - began))
        if number == 3:
            done.set()

    for number in (3, 1, 2):
        alarms.at(began + number * 0.01, lambda number=number: ring(number))  # type: ignore[misc]
    await asyncio.wait_for(done.wait(), 20)
    assert [number for number, _ in rung] == [1, 2, 3]
    assert all(seconds >= number * 0.01 for number, seconds in rung)
    assert len(alarms) == 0


async def test_what_has_passed_rings_soon_but_not_at_once() -> None:
    rung = asyncio.Event()
    Alarms().at(time.monotonic() - 1.0, rung.set)
    assert not rung.is_set()
    await asyncio.wait_for(rung.wait(), 20)


async def test_an_alarm_taken_back_does_not_ring_and_the_next_one_does() -> None:
    alarms = Alarms()
    rung: list[str] = []
    last = asyncio.Event()
    first = alarms.at(time.monotonic() + 0.01, lambda: rung.append("first"))
    alarms.at(time.monotonic() + 0.02, last.set)
    first.cancel()
    first.cancel()
    await asyncio.wait_for(last.wait(), 20)
    assert rung == []


async def test_one_taken_back_by_another_of_the_same_moment_does_not_ring() -> None:
    alarms = Alarms()
    rung: list[str] = []
    now = time.monotonic()
    alarms.at(now, lambda: (rung.append("first"), second.cancel()))
    second = alarms.at(now, lambda: rung.append("second"))
    third = asyncio.Event()
    alarms.at(now, third.set)
    await asyncio.wait_for(third.wait(), 20)
    assert rung == ["first"]


async def test_those_taken_back_are_not_borne_for_hours() -> None:
    alarms = Alarms()
    far = time.monotonic() + 3600.0
    kept = [alarms.at(far + number, lambda: None) for number in range(100)]
    for _ in range(10_000):
        alarms.at(far, lambda: None).cancel()
        assert len(alarms) <= 300
    for alarm in kept:
        alarm.cancel()
    assert len(alarms) <= 100


async def test_one_that_raises_does_not_silence_the_others() -> None:
    alarms = Alarms()
    told: list[object] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: told.append(context["exception"]))
    problem = RuntimeError("a bug")
    second = asyncio.Event()

    def breaks() -> None:
        raise problem

    now = time.monotonic()
    alarms.at(now, breaks)
    alarms.at(now, second.set)
    await asyncio.wait_for(second.wait(), 20)
    assert told == [problem]


async def test_a_limit_ends_what_is_inside_and_says_so() -> None:
    with pytest.raises(TimeoutError), Alarms().limit(time.monotonic() + 0.01) as limit:
        await asyncio.Event().wait()
    assert limit.expired
    task = asyncio.current_task()
    assert task is not None
    assert not task.cancelling()


async def test_what_ends_in_time_is_left_alone() -> None:
    alarms = Alarms()
    with alarms.limit(time.monotonic() + 0.01) as limit:
        pass
    later = asyncio.Event()
    alarms.at(time.monotonic() + 0.02, later.set)
    await asyncio.wait_for(later.wait(), 20)
    assert not limit.expired


async def test_an_error_inside_and_a_cancelling_from_outside_come_out_as_they_are() -> None:
    alarms = Alarms()
    with pytest.raises(KeyError), alarms.limit(time.monotonic() + 60.0):
        raise KeyError
    inside = asyncio.Event()

    async def work() -> None:
        with alarms.limit(time.monotonic() + 60.0):
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()


async def test_the_earlier_of_two_limits_inside_each_other_is_told() -> None:
    alarms = Alarms()
    now = time.monotonic()
    with (
        alarms.limit(now + 60.0) as outer,
        pytest.raises(TimeoutError),
        alarms.limit(now + 0.01) as inner,
    ):
        await asyncio.Event().wait()
    assert inner.expired
    assert not outer.expired
    now = time.monotonic()
    with (
        pytest.raises(TimeoutError),
        alarms.limit(now + 0.01) as outer,
        alarms.limit(now + 60.0) as inner,
    ):
        await asyncio.Event().wait()
    assert outer.expired
    assert not inner.expired


async def test_work_that_is_done_in_time_leaves_nothing_until_its_deadline() -> None:
    """A caller may give a day, and call a thousand times a second."""
    gc.collect()
    before = sum(isinstance(one, Alarms) for one in gc.get_objects())
    for _ in range(50):
        assert await within(time.monotonic() + 86_400.0, asyncio.sleep(0, "done")) == "done"
    gc.collect()
    assert sum(isinstance(one, Alarms) for one in gc.get_objects()) == before


async def test_once_closed_none_rings_and_new_ones_do() -> None:
    alarms = Alarms()
    rung: list[str] = []
    old = alarms.at(time.monotonic() + 0.01, lambda: rung.append("old"))
    alarms.close()
    old.cancel()
    assert len(alarms) == 0
    new = asyncio.Event()
    alarms.at(time.monotonic() + 0.02, new.set)
    await asyncio.wait_for(new.wait(), 20)
    assert rung == []
