"""The server's side of one decode worker: start it, give it an image, kill and reap it.

Knows one process, its two slots and its line. It refuses to decide what a death
means for an image; ``decoder_pool`` does. A slot never serves a second process, and other
images only after the worker answered those before by their numbers.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import math
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from imagesieve_server.core.errors import ImageUndecodable
from imagesieve_server.core.views import DecodedImage, Pixels, Preview, PreviewPlan, ViewPlan
from imagesieve_server.images.undecodable import undecodable
from imagesieve_server.images.worker_line import LineClosed, WorkerLine
from imagesieve_server.images.worker_messages import (
    PROGRESS_BYTES,
    READY,
    Done,
    Failed,
    NoRoom,
    Request,
    Setup,
    dump_setup,
)
from imagesieve_server.images.worker_packing import (
    BadMessage,
    dump_request,
    load_answer,
    load_shown,
    split_answers,
)
from imagesieve_server.shared_slots import Slot, create_slot

# A worker needs nothing of the server's environment, least of all its secrets.
_PASSED_ON: Final = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "LANG", "LC_ALL", "TMPDIR")

_GONE_WITHIN_S: Final = 5.0  # a killed process; longer, and the server waits for it


class Death(enum.StrEnum):
    """Why a worker ended; also the label of the metric."""

    TIMED_OUT = "timed_out"  # killed by the clock
    CPU = "cpu"  # used up its processor time
    KILLED = "killed"  # by a signal: a crash in a codec, or the kernel short of memory
    EXITED = "exited"  # by itself
    PROTOCOL = "protocol"  # it answered nonsense and was killed


class WorkerDied(Exception):
    """The worker ended before it answered."""

    def __init__(self, death: Death) -> None:
        super().__init__(death.value)
        self.death = death


@dataclass(slots=True, kw_only=True, eq=False)
class WorkerProcess:
    """One running worker. Made by ``start_worker``; not for two questions at a time."""

    setup: Setup
    process: subprocess.Popen[bytes]
    line: WorkerLine
    source: Slot  # bytes in
    target: Slot  # pixels out
    max_views: int
    generation: int = field(default=0)  # of the latest image; its answer repeats it
    handed: int = field(default=0)  # images of the present question

    @property
    def running(self) -> bool:
        """False where the process has ended, for example killed while it was idle."""
        return self.process.poll() is None

    @property
    def reaped(self) -> bool:
        """True once its end was seen: unlike ``running`` without a question to the system."""
        return self.process.returncode is not None

    @property
    def at(self) -> int:
        """Which of the images of the present question it is at, as it says."""
        return min(self.target.memory[-PROGRESS_BYTES], self.handed - 1)

    async def decode(
        self, images: Sequence[tuple[bytes, ViewPlan]], *, is_long: bool = False
    ) -> Sequence[DecodedImage | ImageUndecodable | None]:
        """Decode admitted images, one after the other, each within its limits and all together
        within the time of one; long ones give way to others.

        None for those for whose pixels there was no room beside the others', never for the first.
        Raises WorkerDied: then the process has been reaped.
        """
        packed = await self._asked(images, is_long=is_long)
        try:
            return self._results(packed)
        except BadMessage:
            raise await self._died(Death.PROTOCOL) from None

    async def preview(self, data: bytes, plan: PreviewPlan) -> Preview | ImageUndecodable:
        """One picture of one admitted image; ``plan.side`` must be that of the setup at most.

        Raises as ``decode``.
        """
        packed = await self._asked([(data, plan)], is_long=False)
        try:
            answer = load_shown(packed, generation=self.generation, side=plan.side)
        except BadMessage:
            raise await self._died(Death.PROTOCOL) from None
        if isinstance(answer, Failed):
            return undecodable(answer.detail)
        pixels = self._pixels(0, (answer.height, answer.width, 3))
        return Preview(pixels=pixels, frame=answer.frame, info=answer.info)

    async def _asked(
        self, images: Sequence[tuple[bytes, ViewPlan | PreviewPlan]], *, is_long: bool
    ) -> bytes:
        """The answers to all, as they came."""
        question, start, self.handed = b"", 0, len(images)
        self.target.memory[-PROGRESS_BYTES] = 0  # until the worker says so itself
        for following, (data, plan) in zip(range(len(images))[::-1], images, strict=True):
            self.generation += 1
            request = Request(
                generation=self.generation,
                size=len(data),
                start=start,
                following=following,
                plan=plan,
                is_long=is_long,
            )
            question += dump_request(request)
            self.source.memory[start : start + len(data)] = data
            start += len(data)
        within_s = self.setup.limits.wall_of(is_long)
        try:
            return await self.line.ask(question, within_s=within_s, answers=len(images))
        except TimeoutError:
            raise await self._died(Death.TIMED_OUT) from None
        except BadMessage:
            raise await self._died(Death.PROTOCOL) from None
        except LineClosed:
            raise await self._died(None) from None

    async def _died(self, death: Death | None) -> WorkerDied:
        code = await self.end()
        if death is None:
            by_cpu, by_signal = code == -signal.SIGXCPU, code < 0
            death = Death.CPU if by_cpu else Death.KILLED if by_signal else Death.EXITED
        return WorkerDied(death)

    def _results(self, packed: bytes) -> Sequence[DecodedImage | ImageUndecodable | None]:
        """Raises BadMessage."""
        found: list[DecodedImage | ImageUndecodable | None] = []
        start = 0
        first = self.generation - self.handed + 1
        for generation, one in enumerate(split_answers(packed, self.handed), first):
            answer = load_answer(one, generation=generation, max_views=self.max_views)
            if isinstance(answer, Failed):
                found.append(undecodable(answer.detail))
            elif isinstance(answer, NoRoom):
                if not found:
                    raise BadMessage("no room for one image")
                found.append(None)
            else:
                found.append(image := self._result(answer, start))
                start += image.pixels.nbytes
        return found

    def _result(self, answer: Done, start: int) -> DecodedImage:
        side = self.setup.preprocessing.size
        return DecodedImage(
            pixels=self._pixels(start, (len(answer.views), side, side, 3)),
            views=answer.views,
            info=answer.info,
            coverage=answer.coverage,
            crop_fraction=answer.crop_fraction,
            truncated=answer.truncated,
            picture_hash=answer.picture_hash,
        )

    def _pixels(self, start: int, shape: tuple[int, ...]) -> Pixels:
        """A copy of what is in the output slot, which the next images overwrite."""
        count = math.prod(shape)
        if start + count > self.target.size - PROGRESS_BYTES:
            raise BadMessage("more pixels than there is room for")
        shared = np.frombuffer(self.target.memory, dtype=np.uint8, count=count, offset=start)
        return shared.reshape(shape).copy()

    async def end(self) -> int:
        """Kill the process, reap it, free its slots. Returns the exit code. Repeats safely."""
        if self.process.poll() is None:
            self.process.kill()
            await self._until_gone()
            self.process.wait()
        self.line.close()
        self.source.close()
        self.target.close()
        return self.process.returncode

    async def _until_gone(self) -> None:
        """Until the kernel closed the killed worker's socket, which it does last of all.

        Taking back a gigabyte lasts a tenth of a second, in which the server has other things
        to do than to wait for it.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_GONE_WITHIN_S):
                await self.line.until_closed()


async def start_worker(*, setup: Setup, max_views: int, timeout_s: float) -> WorkerProcess:
    """Start a worker and wait until it is ready.

    Call it from the thread that runs the event loop: on Linux a worker dies with the thread
    that started it. Raises OSError where it does not become ready within ``timeout_s``.
    """
    side = setup.preprocessing.size
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with contextlib.ExitStack() as undo:
        undo.callback(ours.close)
        source = create_slot(setup.limits.bytes)
        undo.callback(source.close)
        pixels = max(max_views * side**2, setup.preview_side**2) * 3
        target = create_slot(pixels + PROGRESS_BYTES)
        undo.callback(target.close)
        with theirs:
            process = _spawn(theirs.fileno(), source.fd, target.fd)
        undo.callback(_end, process)
        await _until_ready(ours, setup, timeout_s)
        undo.pop_all()
    return WorkerProcess(
        setup=setup,
        process=process,
        line=WorkerLine(ours),
        source=source,
        target=target,
        max_views=max_views,
    )


async def _until_ready(control: socket.socket, setup: Setup, timeout_s: float) -> None:
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(timeout_s):
            await loop.sock_sendall(control, dump_setup(setup))
            said = await loop.sock_recv(control, len(READY))
    except TimeoutError:
        raise OSError(f"a decode worker was not ready after {timeout_s:g} s") from None
    if said != READY:
        raise OSError("a decode worker ended before it was ready; its error is on stderr")


def _spawn(control: int, source: int, target: int) -> subprocess.Popen[bytes]:
    """A fresh interpreter, never a fork: the server has threads and a model in memory.

    The module is run by name, so that the server's own main script is not imported again.
    """
    environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    environment["MALLOC_ARENA_MAX"] = "1"  # another thread's own would count as memory used
    environment["OPENBLAS_NUM_THREADS"] = "1"  # threads of a library that is not used here
    numbers = [str(number) for number in (control, source, target, os.getpid())]
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "imagesieve_server.images.worker", *numbers],
        pass_fds=(control, source, target),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        env=environment,
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
