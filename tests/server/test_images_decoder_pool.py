"""Whatever images do to the workers, the server answers each one, by name and in time."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers import bombs, pictures
from imagesieve_server.core.errors import (
    DeadlinePassed,
    ImageEmpty,
    ImageFormatUnsupported,
    ImageTooLarge,
    ImageUndecodable,
    Overloaded,
    RequestError,
    ShuttingDown,
    StartupError,
    UndecodableDetail,
)
from imagesieve_server.core.ports import ImageDecoder, Metrics
from imagesieve_server.core.views import DecodedImage, Preprocessing, ViewPlan
from imagesieve_server.images.decode import decode_image
from imagesieve_server.images.decoder_pool import DecoderPool
from imagesieve_server.images.job_queue import Job, JobQueue
from imagesieve_server.images.limits import Limits
from imagesieve_server.images.quarantine import Quarantine

PREPROCESSING = Preprocessing(size=32)
LINUX = sys.platform == "linux"


class Recorder(Metrics):
    """Keeps what the pool reports."""

    def __init__(self) -> None:
        self.deaths: Counter[str] = Counter()
        self.busy = 0
        self.alive = 0

    def decode_worker_died(self, reason: str) -> None:
        self.deaths[reason] += 1

    def decode_workers(self, *, busy: int, alive: int) -> None:
        self.busy, self.alive = busy, alive


@asynccontextmanager
async def running_pool(
    *,
    workers: int = 1,
    limits: Limits | None = None,
    queue_capacity: int = 64,
    metrics: Metrics | None = None,
    one_for_short: bool = False,
) -> AsyncIterator[DecoderPool]:
    pool = DecoderPool(
        preprocessing=PREPROCESSING,
        metrics=metrics or Recorder(),
        limits=limits,
        workers=workers,
        queue_capacity=queue_capacity,
        one_for_short=one_for_short,
    )
    await pool.start()
    try:
        yield pool
    finally:
        await pool.close()


async def decode(pool: ImageDecoder, data: bytes, *, seconds: float = 30.0) -> DecodedImage:
    return await pool.decode(data, plan=ViewPlan(), deadline=time.monotonic() + seconds)


async def detail(pool: ImageDecoder, data: bytes) -> UndecodableDetail:
    with pytest.raises(ImageUndecodable) as caught:
        await decode(pool, data)
    return caught.value.detail


async def test_nothing_holds_the_bytes_of_a_picture_that_was_refused() -> None:
    async with running_pool() as pool:
        good = pictures.encode(pictures.scene((64, 48)), "PNG")
        broken = good[:-30]
        held = sys.getrefcount(broken)
        gc.disable()  # a cycle would hold them until somebody collects it
        try:
            with contextlib.suppress(ImageUndecodable):  # pytest.raises makes a cycle itself
                await decode(pool, broken)
            await decode(pool, good)  # the lane holds its last one
            assert sys.getrefcount(broken) == held
        finally:
            gc.enable()


async def until(condition: Callable[[], object], *, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        await asyncio.sleep(0.005)


def alive(pid: int) -> bool:
    """True for a process of which some thread is neither gone nor a zombie: until the last one is,
    nobody can reap it."""
    try:
        threads = list(Path(f"/proc/{pid}/task").iterdir())
        states = [(at / "stat").read_text().rsplit(")", 1)[1].split()[0] for at in threads]
    except (FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/task").exists()
    return any(state != "Z" for state in states)


def limits_of(pid: int) -> dict[str, str]:
    """The soft limits of a process by the kernel's names for them."""
    table = Path(f"/proc/{pid}/limits").read_text()
    return {line[:26].strip(): line[26:].split()[0] for line in table.splitlines()}


def environment_of(pid: int) -> bytes:
    return Path(f"/proc/{pid}/environ").read_bytes()


def one_colour(colour: tuple[int, int, int]) -> bytes:
    return pictures.encode(Image.new("RGB", (64, 64), colour), "PNG")


def minutes_of_work() -> bytes:
    """Valid, 700 KB, and a minute of decoding: scans that go through the whole picture again."""
    return bombs.many_scans(50_000)


def slow_png() -> bytes:
    """About a quarter of a second of decoding in a few kilobytes."""
    return pictures.black_png(6_000, 6_000)


def stop(pids: frozenset[int]) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)


def go_on(pids: frozenset[int]) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("format_", pictures.FORMATS)
async def test_the_pool_gives_the_same_bits_as_decoding_here(format_: str) -> None:
    """Process and slots add nothing and lose nothing."""
    data = pictures.encode(pictures.scene((300, 80)).convert("RGB"), format_)
    here = decode_image(data, plan=ViewPlan(), preprocessing=PREPROCESSING, limits=Limits())
    async with running_pool() as pool:
        there = await decode(pool, data)
    np.testing.assert_array_equal(there.pixels, here.pixels)
    assert there.views == here.views
    assert there.info == here.info
    assert (there.coverage, there.truncated) == (here.coverage, here.truncated)
    assert len(here.views) == 4


async def test_no_library_starts_threads_of_its_own_in_a_worker() -> None:
    """They would fight over cores, count as memory and keep the ordinary priority. A worker has
    two: for short images and for long ones."""
    data = pictures.encode(pictures.scene((2600, 2000)), "PNG")
    async with running_pool() as pool:
        await decode(pool, data)
        tasks = [len(list(Path(f"/proc/{pid}/task").iterdir())) for pid in pool.worker_pids]
    assert max(tasks) == 2


async def test_good_images_beside_bad_ones() -> None:
    """Cut, lying and damaged files fail alone; every good one is answered with its own pixels."""
    good = [pictures.encode(pictures.noise((40, 40), seed=seed), "PNG") for seed in range(12)]
    bad = [good[0][:-30], pictures.lying_png(60_000, 60_000), pictures.lying_png(500, 500)] * 4
    mixed = [item for pair in zip(good, bad, strict=True) for item in pair]
    metrics = Recorder()
    async with running_pool(workers=2, metrics=metrics) as pool:
        answers = await asyncio.gather(
            *(decode(pool, data) for data in mixed), return_exceptions=True
        )
    for seed, answer in enumerate(answers[::2]):
        assert isinstance(answer, DecodedImage), answer
        expected = decode_image(
            good[seed], plan=ViewPlan(), preprocessing=PREPROCESSING, limits=Limits()
        )
        np.testing.assert_array_equal(answer.pixels, expected.pixels)
    details = [answer.detail for answer in answers[1::2] if isinstance(answer, ImageUndecodable)]
    assert details == ["TRUNCATED", "OVER_CAPS", "DECODE_ERROR"] * 4
    assert not metrics.deaths


async def test_refusals_need_no_worker() -> None:
    """Empty, too large and unknown bytes are answered by a pool that was never started."""
    limits = Limits(bytes=100)
    pool = DecoderPool(preprocessing=PREPROCESSING, metrics=Recorder(), limits=limits)
    with pytest.raises(ImageEmpty):
        await decode(pool, b"")
    with pytest.raises(ImageTooLarge):
        await decode(pool, b"\xff" * 101)
    with pytest.raises(ImageFormatUnsupported):
        await decode(pool, b"BM" + b"\0" * 50)
    with pytest.raises(DeadlinePassed):
        await decode(pool, b"GIF89a", seconds=-1)


async def test_an_image_whose_worker_was_killed_is_tried_again() -> None:
    """The kernel may take any worker: the image in it is decoded by the spare."""
    metrics = Recorder()
    async with running_pool(metrics=metrics) as pool:
        (first,) = pool.worker_pids  # the spare is still starting
        stop(pool.worker_pids)
        waiting = asyncio.create_task(decode(pool, one_colour((9, 8, 7))))
        await until(lambda: metrics.busy == 1)
        os.kill(first, signal.SIGKILL)
        assert (await waiting).pixels[0, 0, 0].tolist() == [9, 8, 7]
        await until(lambda: metrics.alive == 2)
        assert first not in pool.worker_pids
    assert metrics.deaths == {"killed": 1}


async def test_workers_that_died_idle_cost_no_image() -> None:
    """Both the worker and the spare are gone: a third one is started, nothing is held against
    the image."""
    metrics = Recorder()
    async with running_pool(metrics=metrics) as pool:
        await until(lambda: metrics.alive == 2)
        gone = pool.worker_pids
        for pid in gone:
            os.kill(pid, signal.SIGKILL)
        await until(lambda: not any(alive(pid) for pid in gone))
        assert (await decode(pool, one_colour((6, 6, 6)))).views
        assert not pool.worker_pids & gone
    assert metrics.deaths == {"killed": 2}


async def test_a_spare_that_died_unused_is_replaced() -> None:
    """Before anybody needs it: no image waits for the start of another."""
    metrics = Recorder()
    async with running_pool(metrics=metrics) as pool:
        (first,) = pool.worker_pids
        await until(lambda: metrics.alive == 2)
        (spare,) = pool.worker_pids - {first}
        os.kill(spare, signal.SIGKILL)
        await until(lambda: metrics.alive == 2 and spare not in pool.worker_pids)
        assert first in pool.worker_pids
    assert metrics.deaths == {"killed": 1}


async def test_bytes_that_kill_fresh_workers_are_quarantined() -> None:
    """Each submission costs two workers and one strike; after two strikes, none."""
    metrics = Recorder()
    killing = slow_png()
    idle: dict[int, int] = {}  # ticks of each worker that waits for work
    async with running_pool(metrics=metrics) as pool:

        def cpu_ticks(pid: int) -> int:
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            return int(fields[11])

        async def settle() -> None:
            """Until two workers have started and use no processor time any more."""
            await until(lambda: len(pool.worker_pids) == 2)  # the metric is told a little later
            same = 0
            while same < 20:
                await asyncio.sleep(0.01)
                now = {pid: cpu_ticks(pid) for pid in pool.worker_pids}
                same = same + 1 if now == idle else 0
                idle.clear()
                idle.update(now)

        async def kill_whoever_is_busy() -> None:
            while True:
                for pid, ticks in list(idle.items()):
                    # Decoding is what makes a worker use processor time once it is ready.
                    if metrics.busy and cpu_ticks(pid) > ticks + 2:
                        os.kill(pid, signal.SIGKILL)
                        del idle[pid]
                await asyncio.sleep(0.005)

        await settle()
        killer = asyncio.create_task(kill_whoever_is_busy())
        assert await detail(pool, killing) is UndecodableDetail.WORKER_KILLED
        assert metrics.deaths == {"killed": 2}
        await settle()
        assert await detail(pool, killing) is UndecodableDetail.WORKER_KILLED
        assert metrics.deaths == {"killed": 4}
        await settle()
        assert await detail(pool, killing) is UndecodableDetail.QUARANTINED
        assert metrics.deaths == {"killed": 4}
        killer.cancel()
        assert (await decode(pool, one_colour((1, 2, 3)))).views


async def test_an_image_over_its_time_is_killed_and_the_next_one_served() -> None:
    """By the clock, without a second try; the spare takes over."""
    metrics = Recorder()
    async with running_pool(metrics=metrics, limits=Limits(wall_s=1.0)) as pool:
        await until(lambda: metrics.alive == 2)
        stopped = pool.worker_pids
        stop(stopped)
        begun = time.monotonic()
        waiting = asyncio.create_task(detail(pool, one_colour((1, 1, 1))))
        await until(lambda: metrics.deaths)
        go_on(pool.worker_pids & stopped)
        assert await waiting is UndecodableDetail.TIMED_OUT
        assert time.monotonic() - begun < 10
        assert (await decode(pool, one_colour((2, 2, 2)))).pixels[0, 0, 0].tolist() == [2, 2, 2]
    assert metrics.deaths == {"timed_out": 1}


@pytest.mark.skipif(not LINUX, reason="only Linux limits the address space")
async def test_an_image_over_its_memory_fails_alone_and_kills_nothing() -> None:
    """The allocation fails inside the worker, which answers and lives on."""
    metrics = Recorder()
    limits = Limits(memory_bytes=64 << 20)
    async with running_pool(metrics=metrics, limits=limits) as pool:
        pids = pool.worker_pids
        assert await detail(pool, pictures.black_png(8_000, 8_000)) is UndecodableDetail.OVER_CAPS
        assert (await decode(pool, one_colour((3, 3, 3)))).views
        assert pids <= pool.worker_pids
    assert not metrics.deaths


def test_processor_time_is_limited_per_image_not_per_worker() -> None:
    """RLIMIT_CPU is cumulative: four short tasks pass, an endless one is ended."""
    script = (
        "import time\n"
        "from imagesieve_server.images.worker_limits import allow_cpu\n"
        "for task in range(4):\n"
        "    allow_cpu(0.9)\n"
        "    end = time.process_time() + 0.35\n"
        "    while time.process_time() < end: pass\n"
        "print('four', flush=True)\n"
        "allow_cpu(0.9)\n"
        "while True: pass\n"
    )
    done = run_python(["-c", script])
    assert done.stdout.split() == ["four"]
    assert done.returncode == -signal.SIGXCPU


async def test_an_image_over_its_processor_time_ends_its_worker_and_nothing_else() -> None:
    """A true hang: caps are lifted, so that only the kernel's limit is left."""
    metrics = Recorder()
    limits = Limits(cpu_s=0.5, wall_s=60.0, scans=10**9, scan_pixels=10**15)
    async with running_pool(metrics=metrics, limits=limits) as pool:
        await until(lambda: metrics.alive == 2)
        assert await detail(pool, minutes_of_work()) is UndecodableDetail.TIMED_OUT
        assert (await decode(pool, one_colour((7, 7, 7)))).views
        assert await detail(pool, minutes_of_work()) is UndecodableDetail.TIMED_OUT
        assert await detail(pool, minutes_of_work()) is UndecodableDetail.QUARANTINED
    assert metrics.deaths == {"cpu": 2}


async def test_the_pool_outlives_a_time_in_which_no_worker_starts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Everything is dead and no program can be run: the image waits, and is decoded after."""
    metrics = Recorder()
    async with running_pool(metrics=metrics) as pool:
        await until(lambda: metrics.alive == 2)
        monkeypatch.setattr(sys, "executable", "/nowhere/python")
        gone = pool.worker_pids
        for pid in gone:
            os.kill(pid, signal.SIGKILL)
        await until(lambda: metrics.deaths["killed"])  # the spare was missed
        waiting = asyncio.create_task(decode(pool, one_colour((8, 8, 8)), seconds=60))
        await until(lambda: not pool.worker_pids & gone)
        assert not waiting.done()
        monkeypatch.undo()
        assert (await waiting).pixels[0, 0, 0].tolist() == [8, 8, 8]
        await until(lambda: metrics.alive == 2)


async def test_a_start_is_settled_though_no_spare_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no room for one more process, a server is up without it."""
    async with running_pool() as pool:
        monkeypatch.setattr(sys, "executable", "/nowhere/python")  # the spare has not begun
        await pool.settled()
        assert len(pool.worker_pids) == 1
        assert (await decode(pool, one_colour((8, 8, 8)))).views


async def test_a_start_is_settled_once_the_spare_is_up() -> None:
    async with running_pool(workers=2, one_for_short=True) as pool:
        await pool.settled()
        assert len(pool.worker_pids) == 4


async def test_a_fault_of_the_pool_itself_fails_one_caller_and_not_the_lane() -> None:
    """A plan that cannot be sent: its caller hears of it, the next image is served."""
    async with running_pool() as pool:
        broken = ViewPlan(coverage=object())  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="not in tuple"):
            await pool.decode(one_colour((1, 1, 1)), plan=broken, deadline=time.monotonic() + 30)
        assert (await decode(pool, one_colour((2, 2, 2)))).pixels[0, 0, 0].tolist() == [2, 2, 2]


async def test_a_late_answer_never_reaches_another_caller() -> None:
    """The caller of a stalled image gives up; the next caller gets its own pixels."""
    async with running_pool() as pool:
        stop(pool.worker_pids)
        with pytest.raises(DeadlinePassed):
            await decode(pool, one_colour((255, 0, 0)), seconds=0.2)
        waiting = asyncio.create_task(decode(pool, one_colour((0, 0, 255))))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        go_on(pool.worker_pids)
        assert (await waiting).pixels[0, 0, 0].tolist() == [0, 0, 255]


async def test_a_full_queue_refuses_and_says_when_to_try_again() -> None:
    """One in the worker, two waiting, the fourth is refused; a cancelled caller makes room."""
    metrics = Recorder()
    async with running_pool(metrics=metrics, queue_capacity=2) as pool:
        stop(pool.worker_pids)
        first = asyncio.create_task(decode(pool, one_colour((1, 0, 0))))
        await until(lambda: metrics.busy == 1)
        waiting = [asyncio.create_task(decode(pool, one_colour((0, n, 0)))) for n in (1, 2)]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded) as caught:
            await decode(pool, one_colour((0, 0, 1)))
        assert caught.value.retry_after_s > 0
        waiting[0].cancel()
        await asyncio.sleep(0)
        last = asyncio.create_task(decode(pool, one_colour((0, 0, 2))))
        await asyncio.sleep(0)
        go_on(pool.worker_pids)
        colours = [(await task).pixels[0, 0, 0].tolist() for task in (first, waiting[1], last)]
    assert colours == [[1, 0, 0], [0, 2, 0], [0, 0, 2]]


async def test_a_short_image_does_not_wait_for_long_ones() -> None:
    """Two long ones and one worker: the short one goes to the worker that is kept for it."""
    metrics = Recorder()
    async with running_pool(metrics=metrics, one_for_short=True) as pool:
        await until(lambda: metrics.alive == 3)  # with the spare
        stop(pool.worker_pids)
        large = pictures.black_png(1_200, 1_200)
        long = [asyncio.create_task(decode(pool, large)) for _ in range(2)]
        await until(lambda: metrics.busy == 1)
        short = asyncio.create_task(decode(pool, one_colour((4, 5, 6))))
        await until(lambda: metrics.busy == 2)
        assert len(pool._queue) == 1
        assert sorted(job.is_long for job in pool._queue.at_work) == [False, True]
        go_on(pool.worker_pids)
        assert (await short).pixels[0, 0, 0].tolist() == [4, 5, 6]
        assert all(image.views for image in await asyncio.gather(*long))
    assert not metrics.deaths


async def test_callers_who_gave_up_never_take_a_worker() -> None:
    """Cancelled and late jobs are passed over."""
    queue = JobQueue(capacity=4)
    soon = time.monotonic() + 60
    jobs = [Job(data=b"x", plan=ViewPlan(), deadline=at) for at in (soon, 0.0, soon)]
    for job in jobs:
        queue.put(job, retry_after_s=1)
    jobs[0].answer.cancel()
    assert (await queue.take()).jobs == (jobs[2],)
    assert len(queue) == 0


async def test_signals_for_the_server_do_not_end_its_workers() -> None:
    """Ctrl-C and a service manager's SIGTERM reach the whole group; workers drain with it."""
    metrics = Recorder()
    async with running_pool(metrics=metrics) as pool:
        pids = pool.worker_pids
        for pid in pids:
            os.kill(pid, signal.SIGINT)
            os.kill(pid, signal.SIGTERM)
        assert (await decode(pool, one_colour((5, 5, 5)))).views
        assert pids <= pool.worker_pids
    assert not metrics.deaths


COLOURS = [(9 * number, 5, 200 - number) for number in range(6)]


def each_colour(pool: DecoderPool) -> list[asyncio.Task[DecodedImage]]:
    """Six images at the same moment, as those of one message are."""
    return [asyncio.create_task(decode(pool, one_colour(colour))) for colour in COLOURS]


async def colours_of(images: list[asyncio.Task[DecodedImage]]) -> list[tuple[int, ...]]:
    return [tuple((await image).pixels[0, 0, 0].tolist()) for image in images]


def company(pool: DecoderPool) -> list[int]:
    """How many images each worker has."""
    return sorted(len(handed.jobs) for handed in pool._queue.at_work)


async def test_images_that_come_at_once_are_handed_over_together() -> None:
    """One question and one answer for all six; a broken one among them fails alone."""
    async with running_pool() as pool:
        stop(pool.worker_pids)
        images = each_colour(pool)
        broken = asyncio.create_task(
            detail(pool, pictures.encode(pictures.scene((64, 48)), "PNG")[:-30])
        )
        await until(lambda: company(pool) == [7])
        go_on(pool.worker_pids)
        assert await colours_of(images) == COLOURS
        assert await broken is UndecodableDetail.TRUNCATED


async def test_the_death_of_a_worker_is_held_against_none_of_several() -> None:
    """Each goes again, by itself."""
    metrics = Recorder()
    async with running_pool(metrics=metrics) as pool:
        (first,) = pool.worker_pids
        stop(frozenset([first]))
        images = each_colour(pool)
        await until(lambda: company(pool) == [6])
        os.kill(first, signal.SIGKILL)
        assert await colours_of(images) == COLOURS
    assert metrics.deaths == {"killed": 1}


async def test_a_time_out_is_held_against_none_of_several() -> None:
    """Whose time it was nobody can say; alone each of them has all of it."""
    metrics = Recorder()
    async with running_pool(metrics=metrics, limits=Limits(wall_s=3.0)) as pool:
        (first,) = pool.worker_pids
        stop(frozenset([first]))
        images = each_colour(pool)
        assert await colours_of(images) == COLOURS
    assert metrics.deaths == {"timed_out": 1}


async def test_bytes_whose_worker_died_among_others_go_by_themselves_when_they_come_again() -> None:
    """Their callers were gone before the time was over, so nobody was tried alone and struck; in
    company again and again, a picture that hangs would never be."""
    metrics = Recorder()
    async with running_pool(metrics=metrics, limits=Limits(wall_s=3.0)) as pool:
        stop(pool.worker_pids)  # the spare is still starting
        images = each_colour(pool)
        await until(lambda: company(pool) == [6])
        for image in images:
            image.cancel()
        await until(lambda: metrics.deaths)
        await until(lambda: not pool._queue.at_work)
        await pool.settled()
        stop(pool.worker_pids)
        images = each_colour(pool)
        await until(lambda: pool._queue.at_work)
        assert company(pool) == [1]
        go_on(pool.worker_pids)
        assert await colours_of(images) == COLOURS
    assert metrics.deaths == {"timed_out": 1}


class Broken(Recorder):
    """Fails when it is first told of a death."""

    def decode_worker_died(self, reason: str) -> None:
        super().decode_worker_died(reason)
        if self.deaths.total() == 1:
            raise RuntimeError("broken")


async def test_a_fault_of_the_pool_loses_none_of_several() -> None:
    metrics = Broken()
    async with running_pool(metrics=metrics) as pool:
        (first,) = pool.worker_pids
        os.kill(first, signal.SIGKILL)
        await until(lambda: not alive(first))
        images = each_colour(pool)
        assert await colours_of(images) == COLOURS
    assert metrics.deaths == {"killed": 1}


async def test_nobody_waits_for_a_slow_one_in_their_company() -> None:
    """It stands at its first image: the others are decoded by the other worker, by themselves."""
    metrics = Recorder()
    async with running_pool(workers=2, metrics=metrics) as pool:
        held = next(iter(pool._alive)).process.pid
        stop(frozenset([held]))
        images = each_colour(pool)
        await until(lambda: sum(image.done() for image in images) == 5, seconds=60)
        go_on(frozenset([held]))
        assert await colours_of(images) == COLOURS
    assert not metrics.deaths


async def test_close_ends_everything_and_tells_everybody() -> None:
    """Those in a worker, those in the queue, and those who come later."""
    async with running_pool() as pool:
        pids = pool.worker_pids
        stop(pids)
        waiting = [asyncio.create_task(decode(pool, one_colour((n, 0, 0)))) for n in range(3)]
        await asyncio.sleep(0.05)
        await pool.close()
        for answer in await asyncio.gather(*waiting, return_exceptions=True):
            assert isinstance(answer, ShuttingDown)
        with pytest.raises(ShuttingDown):
            await decode(pool, one_colour((0, 0, 0)))
        assert not any(alive(pid) for pid in pids)
        assert pool.worker_pids == frozenset()


async def test_workers_that_do_not_start_are_an_error_at_start() -> None:
    """The operator is told, and nothing is left behind."""
    pool = DecoderPool(preprocessing=PREPROCESSING, metrics=Recorder(), start_timeout_s=0.001)
    with pytest.raises(StartupError, match="decode workers do not start"):
        await pool.start()
    assert pool.worker_pids == frozenset()


@pytest.mark.skipif(not LINUX, reason="reads /proc")
async def test_a_worker_has_limits_and_none_of_the_servers_secrets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Limits as the kernel sees them; the environment as the process got it."""
    monkeypatch.setenv("IMAGESIEVE_DATABASE_URL", "postgresql://user:secret@host/db")
    async with running_pool() as pool:
        await decode(pool, one_colour((1, 1, 1)))
        for pid in pool.worker_pids:
            limit = limits_of(pid)
            assert limit["Max file size"] == "0"
            assert limit["Max core file size"] == "0"
            assert limit["Max open files"] == "64"
            assert limit["Max address space"].isdigit()
            assert b"secret" not in environment_of(pid)


def run_python(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(entry for entry in sys.path if entry)
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | {"PYTHONPATH": path},
        check=False,
    )


@pytest.mark.beside_extras
def test_a_worker_imports_nothing_of_the_server_but_images_and_core() -> None:
    """It starts in a fraction of a second and holds neither model runtime nor network code."""
    script = "import sys, imagesieve_server.images.worker; print(*sys.modules)"
    modules = run_python(["-c", script]).stdout.split()
    assert "imagesieve_server.images.decode" in modules
    heavy = {"torch", "onnxruntime", "grpc", "sqlalchemy", "google", "prometheus_client", "asyncio"}
    assert not heavy & {name.split(".")[0] for name in modules}
    ours = {name for name in modules if name.startswith("imagesieve_server.core.")}
    needed = ("errors", "near_duplicates", "views")
    assert ours == {f"imagesieve_server.core.{name}" for name in needed}


MAIN = """
import asyncio, os, signal, sys, time
from imagesieve_server.core.ports import Metrics
from imagesieve_server.core.views import Preprocessing, ViewPlan
from imagesieve_server.images.decoder_pool import DecoderPool

class Silent(Metrics):
    pass

async def run():
    pool = DecoderPool(preprocessing=Preprocessing(size=8), metrics=Silent(), workers=2)
    await pool.start()
    data = open(sys.argv[1], "rb").read()
    image = await pool.decode(data, plan=ViewPlan(), deadline=time.monotonic() + 30)
    print(len(image.views), *pool.worker_pids, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(run())
"""


@pytest.mark.skipif(not LINUX, reason="only Linux tells a process that its parent died")
async def test_workers_start_under_any_main_script_and_die_with_the_server(tmp_path: Path) -> None:
    """A console script without a main guard is not run again by its workers; kill -9 of the
    server leaves none of them behind."""
    script, image = tmp_path / "imagesieve-server", tmp_path / "image.png"
    script.write_text(MAIN)
    image.write_bytes(one_colour((1, 2, 3)))
    done = await asyncio.to_thread(run_python, [str(script), str(image)])
    assert done.returncode == -signal.SIGKILL, done.stderr
    views, *pids = (int(word) for word in done.stdout.split())
    assert views == 1
    assert len(pids) >= 2
    await until(lambda: not any(alive(pid) for pid in pids))


def test_strikes_are_counted_per_content_and_forgiven() -> None:
    """The second is told; age and a bounded memory forgive. A suspicion is no strike, and takes
    none back."""
    quarantine = Quarantine(capacity=2)
    assert quarantine.strikes_of(b"a") is None
    quarantine.suspect(b"a")
    assert quarantine.strikes_of(b"a") == 0
    assert not quarantine.strike(b"a")
    assert quarantine.strikes_of(b"a") == 1
    assert quarantine.strike(b"a")
    quarantine.suspect(b"a")
    assert quarantine.strikes_of(b"a") == 2
    assert not quarantine.strike(b"a"), "it is counted once"
    assert quarantine.strikes_of(b"b") is None
    quarantine.strike(b"b")
    quarantine.strike(b"c")
    assert quarantine.strikes_of(b"a") is None
    forgiving = Quarantine(ttl_s=-1)
    forgiving.strike(b"a")
    assert not forgiving.strike(b"a")
    assert forgiving.strikes_of(b"a") is None


async def test_many_callers_share_few_workers() -> None:
    """A hundred callers at once, two workers, every answer the caller's own."""
    async with running_pool(workers=2, queue_capacity=128) as pool:
        images = [one_colour((n, 255 - n, n // 2)) for n in range(100)]
        answers = await asyncio.gather(*(decode(pool, data) for data in images))
    seen = [tuple(answer.pixels[0, 5, 5].tolist()) for answer in answers]
    assert seen == [(n, 255 - n, n // 2) for n in range(100)]


@pytest.mark.hostile_folder
async def test_the_hostile_folder(hostile_folder: Path) -> None:
    """Every file has a picture or a typed error; no worker dies; a good image passes after."""
    metrics = Recorder()
    outcomes: Counter[str] = Counter()
    slowest = (0.0, "")
    files = contents(hostile_folder)
    async with running_pool(workers=2, metrics=metrics) as pool:
        for name, data in files:
            begun = time.monotonic()
            outcomes[await outcome(pool, data)] += 1
            slowest = max(slowest, (time.monotonic() - begun, name))
        assert (await decode(pool, one_colour((4, 4, 4)))).views
    print(f"{len(files)} files: {dict(outcomes)}; slowest {slowest}; deaths {metrics.deaths}")
    assert len(files) > 500
    assert sum(outcomes.values()) == len(files)
    assert outcomes["picture"] > 400
    assert not metrics.deaths


def contents(folder: Path) -> list[tuple[str, bytes]]:
    return [(path.name, path.read_bytes()) for path in sorted(folder.rglob("*")) if path.is_file()]


async def outcome(pool: DecoderPool, data: bytes) -> str:
    try:
        answer = await decode(pool, data)
    except RequestError as error:
        return error.metadata.get("detail", error.reason)
    assert answer.pixels.shape == (len(answer.views), 32, 32, 3)
    return "picture, cut" if answer.truncated else "picture"


@pytest.mark.hostile_folder
@pytest.mark.parametrize("shape", ["Landscape", "Portrait"])
async def test_photographs_of_every_orientation_show_the_same(
    hostile_folder: Path, shape: str
) -> None:
    """Nine photographs of one scene, stored in all the ways that EXIF knows."""
    files = [data for name, data in contents(hostile_folder) if name.startswith(f"{shape}_")]
    assert len(files) == 9
    async with running_pool() as pool:
        views = [(await decode(pool, data)).pixels.astype(int) for data in files]
    for other in views[1:]:
        assert np.abs(other - views[0]).mean() < 6
