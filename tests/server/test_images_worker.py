"""The worker's loop, run here with real slots and a real socket; and workers that go wrong."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from helpers import pictures
from imagesieve_server.core.errors import ImageUndecodable, UndecodableDetail
from imagesieve_server.core.views import Preprocessing, ViewPlan
from imagesieve_server.images import worker
from imagesieve_server.images.decode import decode_image
from imagesieve_server.images.limits import Limits
from imagesieve_server.images.worker_line import WorkerLine
from imagesieve_server.images.worker_messages import (
    PROGRESS_BYTES,
    Done,
    Failed,
    NoRoom,
    Request,
    Setup,
)
from imagesieve_server.images.worker_packing import (
    LENGTH_BYTES,
    REQUEST_BYTES,
    BadMessage,
    answer_bytes,
    dump_request,
    load_answer,
)
from imagesieve_server.images.worker_process import Death, WorkerDied, WorkerProcess
from imagesieve_server.shared_slots import Slot, create_slot

# A day of processor time: the loop limits the process that it runs in, which is this one.
LIMITS = Limits(bytes=1 << 20, cpu_s=86_400.0, wall_s=20.0)
SETUP = Setup(preprocessing=Preprocessing(size=16), limits=LIMITS, frame_key="00")
VIEWS = 4


@contextlib.contextmanager
def serving_loop() -> Iterator[tuple[socket.socket, Slot, Slot]]:
    """The worker's loop in a thread: its control socket's other end, its slots."""
    size = VIEWS * 16 * 16 * 3 + PROGRESS_BYTES
    source, target = create_slot(LIMITS.bytes), create_slot(size)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        loop = threading.Thread(
            target=worker._serve,
            args=(theirs, SETUP, source, target, worker.Behind()),
            daemon=True,
        )
        loop.start()
        yield ours, source, target
        ours.shutdown(socket.SHUT_WR)  # the server has gone
        loop.join(timeout=60)
        assert not loop.is_alive()
    source.close()
    target.close()


def next_answer(ours: socket.socket, number: int) -> Done | Failed | NoRoom:
    packed = ours.recv(LENGTH_BYTES, socket.MSG_WAITALL)
    packed += ours.recv(answer_bytes(packed) - LENGTH_BYTES, socket.MSG_WAITALL)
    return load_answer(packed, generation=number, max_views=VIEWS)


def answers_to(*files: bytes, is_long: bool = False) -> list[tuple[Done | Failed | NoRoom, bytes]]:
    """What the loop says to each file, and what is then in the output slot."""
    found = []
    with serving_loop() as (ours, source, target):
        for number, data in enumerate(files):
            source.memory[: len(data)] = data
            plan = ViewPlan(max_views=VIEWS)
            request = Request(generation=number, size=len(data), plan=plan, is_long=is_long)
            ours.sendall(dump_request(request))
            found.append((next_answer(ours, number), target.memory[:]))
    return found


def answers_together(*files: bytes) -> tuple[list[Done | Failed | NoRoom], bytes]:
    """What it says to all of them in one hand-over, and what is then in the output slot."""
    with serving_loop() as (ours, source, target):
        question, start = b"", 0
        for number, data in enumerate(files):
            source.memory[start : start + len(data)] = data
            request = Request(
                generation=number,
                size=len(data),
                start=start,
                following=len(files) - 1 - number,
                plan=ViewPlan(max_views=VIEWS),
            )
            question += dump_request(request)
            start += len(data)
        ours.sendall(question)
        return [next_answer(ours, number) for number in range(len(files))], target.memory[:]


def test_several_are_answered_as_each_alone() -> None:
    """A damaged one between them fails alone; pixels stand one behind the other, and the slot says
    at which image the worker was last."""
    wide = pictures.encode(pictures.scene((90, 40)), "PNG")
    square = pictures.encode(pictures.scene((40, 40)), "JPEG")
    answers, slot = answers_together(wide, wide[:-40], square)
    (first, _), (second, _), (third, _) = answers_to(wide, wide[:-40], square)
    assert answers == [first, second, third]
    here = [
        decode_image(
            data, plan=ViewPlan(), preprocessing=SETUP.preprocessing, limits=LIMITS, frame_key=b"\0"
        ).pixels.tobytes()
        for data in (wide, square)
    ]
    pixels = b"".join(here)
    assert slot[: len(pixels)] == pixels
    assert slot[-PROGRESS_BYTES] == 2


def test_pixels_without_room_beside_others_are_said_so() -> None:
    """Two views, two views, and a slot of four: the third goes by itself."""
    wide = pictures.encode(pictures.scene((60, 40)), "PNG")
    first, second, third = answers_together(wide, wide, wide)[0]
    assert isinstance(first, Done)
    assert isinstance(second, Done)
    assert third == NoRoom(generation=2)


@pytest.mark.parametrize("is_long", [False, True])
def test_the_loop_answers_each_image_and_ends_with_the_server(is_long: bool) -> None:
    """Pixels in the slot, a typed failure, and pixels again: nothing is left over."""
    wide = pictures.encode(pictures.scene((90, 40)), "PNG")
    (first, pixels), (second, _), (third, again) = answers_to(
        wide, wide[:-40], wide, is_long=is_long
    )
    here = decode_image(
        wide, plan=ViewPlan(), preprocessing=SETUP.preprocessing, limits=LIMITS, frame_key=b"\0"
    )
    assert isinstance(first, Done)
    assert first.views == here.views
    assert pixels[: here.pixels.nbytes] == here.pixels.tobytes()
    assert second == Failed(generation=1, detail=UndecodableDetail.TRUNCATED)
    assert third == dataclasses.replace(first, generation=2)
    assert again == pixels


def test_bytes_that_the_server_should_not_have_sent_are_an_answer() -> None:
    """No magic of any format: the server would have refused them."""
    ((answer, _),) = answers_to(b"no picture at all")
    assert answer == Failed(generation=0, detail=UndecodableDetail.DECODE_ERROR)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has it by thread")
def test_a_long_image_gives_way_and_a_short_one_does_not() -> None:
    """Priority is the thread's: the next image in the same process has the ordinary one."""

    def mine() -> bytes:
        return str(os.getpriority(os.PRIO_PROCESS, threading.get_native_id())).encode()

    behind = worker.Behind()
    assert int(behind.run(mine)) == min(19, int(mine()) + 5)

    def broken() -> bytes:
        raise KeyError("no such thing")

    with pytest.raises(KeyError):
        behind.run(broken)
    assert behind.run(lambda: b"goes on") == b"goes on"


class Unanswered:
    """The line of a worker that never answers; it keeps how long it was waited for."""

    def __init__(self) -> None:
        self.waited_s: list[float] = []

    async def ask(self, question: bytes, *, within_s: float, answers: int) -> bytes:
        self.waited_s.append(within_s)
        raise TimeoutError

    async def until_closed(self) -> None:
        pass

    def close(self) -> None:
        pass


@pytest.mark.parametrize(("is_long", "times"), [(False, 1), (True, 3)])
async def test_what_gives_way_has_more_time_by_the_clock(is_long: bool, times: int) -> None:
    """At a third of the weight beside a busy encoder it would be killed for others' work."""
    stub = stub_worker("sleep 60")
    stub.line.close()
    line = Unanswered()
    stub.line = line  # type: ignore[assignment]
    with pytest.raises(WorkerDied) as caught:
        await stub.decode([(b"GIF89a", ViewPlan())], is_long=is_long)
    assert caught.value.death is Death.TIMED_OUT
    assert line.waited_s == [times * LIMITS.wall_s]


def stub_worker(script: str) -> WorkerProcess:
    """A worker that runs this shell script, its control socket at fd 9."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with theirs:
        fd = theirs.fileno()
        process = subprocess.Popen(
            ["bash", "-c", f"exec 9<&{fd} {fd}>&-; {script}"],
            pass_fds=(fd,),
        )
    return WorkerProcess(
        setup=SETUP,
        process=process,
        line=WorkerLine(ours),
        source=create_slot(1024),
        target=create_slot(VIEWS * 16 * 16 * 3 + PROGRESS_BYTES),
        max_views=VIEWS,
    )


async def died_as(stub: WorkerProcess) -> Death:
    """How the worker's end is told."""
    with pytest.raises(WorkerDied) as caught:
        await stub.decode([(b"GIF89a", ViewPlan())])
    assert stub.process.returncode is not None  # reaped
    assert not stub.running
    return caught.value.death


READ = f"head -c {REQUEST_BYTES} <&9 >/dev/null"
FAILED = r"\012\0\0\0" + r"\002\001\0\0\0\0\0\0\0\0"  # to image 1: TRUNCATED


@pytest.mark.parametrize(
    ("script", "death"),
    [
        (rf"{READ}; printf '{FAILED.replace('001', '143')}' >&9; sleep 60", Death.PROTOCOL),
        (f"{READ}; echo nonsense >&9; sleep 60", Death.PROTOCOL),
        (f"{READ}; head -c 3000000 /dev/zero >&9; sleep 60", Death.PROTOCOL),
        (rf"{READ}; printf '{FAILED}!' >&9; sleep 60", Death.PROTOCOL),
        (rf"{READ}; printf '{FAILED[:24]}' >&9; exit 3", Death.EXITED),
        (f"{READ}; exit 3", Death.EXITED),
        (f"{READ}; kill -SEGV $$", Death.KILLED),
        (f"{READ}; kill -XCPU $$", Death.CPU),
    ],
    ids=[
        "other number",
        "nonsense",
        "endless",
        "more than an answer",
        "half an answer",
        "exit",
        "crash",
        "processor time",
    ],
)
async def test_every_end_of_a_worker_has_a_name(script: str, death: Death) -> None:
    """And the process is gone, whatever it said."""
    assert await died_as(stub_worker(script)) is death


async def test_where_a_worker_is_begins_anew_with_each_question() -> None:
    """One that has not looked at it yet, on a machine that stands still, is at none of those that
    it noted the last time."""
    stub = stub_worker("sleep 60")
    stub.target.memory[-PROGRESS_BYTES] = 1
    asked = asyncio.create_task(stub.decode([(b"GIF89a", ViewPlan()), (b"GIF89a", ViewPlan())]))
    await asyncio.sleep(0)
    assert stub.at == 0
    asked.cancel()
    await stub.end()


async def test_an_answer_in_two_parts_is_one() -> None:
    """The stub's answer itself is sound: what the other tests change is what fails them."""
    half = 24
    parts = rf"printf '{FAILED[:half]}' >&9; sleep 0.1; printf '{FAILED[half:]}' >&9; exec cat <&9"
    stub = stub_worker(f"{READ}; {parts}")
    (found,) = await stub.decode([(b"GIF89a", ViewPlan())])
    assert isinstance(found, ImageUndecodable)
    assert found.detail is UndecodableDetail.TRUNCATED
    assert stub.running
    await stub.end()


async def test_a_word_before_the_question_is_no_answer_to_it() -> None:
    """A worker that hostile bytes have taken over cannot answer for the next image."""
    stub = stub_worker(rf"printf '{FAILED}' >&9; sleep 60")
    while not stub.line._found:
        await asyncio.sleep(0.005)
    assert await died_as(stub) is Death.PROTOCOL


async def test_a_worker_that_never_stops_talking_blocks_and_does_not_busy_the_server() -> None:
    """What it says stays in the socket until the worker is killed, and its end is still heard."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    line, said = WorkerLine(ours), 0
    for _ in range(2_000):
        with contextlib.suppress(BlockingIOError):
            said += theirs.send(bytes(4096))
        await asyncio.sleep(0)
    assert said < 2_000_000  # of eight; the socket's own buffers hold a quarter of one
    with pytest.raises(BadMessage):
        await line.ask(b"an image", within_s=20)
    theirs.close()
    await asyncio.wait_for(line.until_closed(), 20)
    line.close()
