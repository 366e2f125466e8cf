"""The worker's loop, run here with real slots and a real socket; and workers that go wrong."""

from __future__ import annotations

import asyncio
import dataclasses
import socket
import subprocess
import threading

import pytest

from helpers import pictures
from imagesieve_server.core.errors import UndecodableDetail
from imagesieve_server.core.views import Preprocessing, ViewPlan
from imagesieve_server.images import worker
from imagesieve_server.images.decode import decode_image
from imagesieve_server.images.limits import Limits
from imagesieve_server.images.worker_messages import (
    Done,
    Failed,
    Request,
    Setup,
    dump,
    load_answer,
)
from imagesieve_server.images.worker_process import Death, WorkerDied, WorkerProcess
from imagesieve_server.shared_slots import create_slot

# A day of processor time: the loop limits the process that it runs in, which is this one.
LIMITS = Limits(bytes=1 << 20, cpu_s=86_400.0, wall_s=20.0)
SETUP = Setup(preprocessing=Preprocessing(size=16), limits=LIMITS, frame_key="00")
VIEWS = 4


def answers_to(*files: bytes) -> list[tuple[Done | Failed, bytes]]:
    """What the loop says to each file, and what is then in the output slot."""
    source, target = create_slot(LIMITS.bytes), create_slot(VIEWS * 16 * 16 * 3)
    ours, theirs = socket.socketpair()
    found = []
    with ours, theirs, theirs.makefile("rb") as lines, ours.makefile("rb") as answers:
        loop = threading.Thread(
            target=worker._serve, args=(lines, theirs, SETUP, source, target), daemon=True
        )
        loop.start()
        for number, data in enumerate(files):
            source.memory[: len(data)] = data
            request = Request(generation=number, size=len(data), plan=ViewPlan(max_views=VIEWS))
            ours.sendall(dump(request))
            line = answers.readline()
            found.append((load_answer(line, generation=number, max_views=VIEWS), target.memory[:]))
        ours.shutdown(socket.SHUT_WR)  # the server has gone
        loop.join(timeout=20)
        assert not loop.is_alive()
    source.close()
    target.close()
    return found


def test_the_loop_answers_each_image_and_ends_with_the_server() -> None:
    """Pixels in the slot, a typed failure, and pixels again: nothing is left over."""
    wide = pictures.encode(pictures.scene((90, 40)), "PNG")
    (first, pixels), (second, _), (third, again) = answers_to(wide, wide[:-40], wide)
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


async def died_as(script: str) -> Death:
    """How a worker's end is told that runs this shell script, its control socket at fd 9."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with theirs:
        fd = theirs.fileno()
        process = subprocess.Popen(
            ["bash", "-c", f"exec 9<&{fd} {fd}>&-; {script}"],
            pass_fds=(fd,),
        )
    reader, writer = await asyncio.open_unix_connection(sock=ours)
    stub = WorkerProcess(
        setup=SETUP,
        process=process,
        reader=reader,
        writer=writer,
        source=create_slot(1024),
        target=create_slot(VIEWS * 16 * 16 * 3),
        max_views=VIEWS,
    )
    with pytest.raises(WorkerDied) as caught:
        await stub.decode(b"GIF89a", ViewPlan())
    assert process.returncode is not None  # reaped
    assert not stub.running
    return caught.value.death


@pytest.mark.parametrize(
    ("script", "death"),
    [
        ("read -u 9 line; echo '{\"generation\": 99}' >&9; sleep 60", Death.PROTOCOL),
        ("read -u 9 line; echo nonsense >&9; sleep 60", Death.PROTOCOL),
        ("read -u 9 line; head -c 3000000 /dev/zero >&9; sleep 60", Death.KILLED),
        ("read -u 9 line; exit 3", Death.EXITED),
        ("read -u 9 line; kill -SEGV $$", Death.KILLED),
        ("read -u 9 line; kill -XCPU $$", Death.CPU),
    ],
    ids=["other number", "nonsense", "endless line", "exit", "crash", "processor time"],
)
async def test_every_end_of_a_worker_has_a_name(script: str, death: Death) -> None:
    """And the process is gone, whatever it said."""
    assert await died_as(script) is death
