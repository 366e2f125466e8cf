"""A decode worker: a process that turns the bytes in one slot into the pixels in another.

Knows one loop: read what is asked, decode one image after the other under limits, answer. It
refuses to do anything else: no files, no network, nothing of the server is imported but
``images`` and the pure core. Run as ``python -m imagesieve_server.images.worker CONTROL INPUT
OUTPUT PARENT`` (three inherited file descriptors and the parent's process id).
"""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from queue import SimpleQueue

from PIL import AvifImagePlugin

from imagesieve_server.child_process import follow_only_the_parent
from imagesieve_server.core.errors import ImageUndecodable, RequestError, UndecodableDetail
from imagesieve_server.core.views import DecodedImage, Pixels, Preview, PreviewPlan
from imagesieve_server.images.decode import decode_image
from imagesieve_server.images.preview import preview_image
from imagesieve_server.images.warming import warm
from imagesieve_server.images.worker_limits import (
    allow_cpu,
    give_way,
    limit_memory_and_files,
)
from imagesieve_server.images.worker_messages import (
    LINE_MAX,
    PROGRESS_BYTES,
    READY,
    Done,
    Failed,
    NoRoom,
    Request,
    Setup,
    Shown,
    load_setup,
)
from imagesieve_server.images.worker_packing import REQUEST_BYTES, dump_answer, load_request
from imagesieve_server.shared_slots import Slot, attach_slot


def main(arguments: list[str]) -> None:
    """Serve until the parent closes the control socket."""
    control_fd, input_fd, output_fd, parent = (int(word) for word in arguments)
    follow_only_the_parent(parent)
    sys.dont_write_bytecode = True
    # The pool has one worker per core; AVIF's own threads would only fight over them.
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    control = socket.socket(fileno=control_fd)
    with control.makefile("rb") as lines:  # the first request comes after READY, not before
        setup = load_setup(lines.readline(LINE_MAX))
    warm(setup.preprocessing)  # before the limits too: what is loaded late is loaded now
    source, target = attach_slot(input_fd), attach_slot(output_fd)
    behind = Behind()  # before the limits, so that its stack is not counted
    limit_memory_and_files(setup.limits.memory_bytes)
    _silence()
    control.sendall(READY)
    _serve(control, setup, source, target, behind)


def _silence() -> None:
    """Codecs write to standard error what hostile files make them say."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    os.close(null)


class Behind:
    """A thread that gives way to everything else on the processor; one task at a time."""

    def __init__(self) -> None:
        self._tasks: SimpleQueue[Callable[[], bytes]] = SimpleQueue()
        self._results: SimpleQueue[bytes | BaseException] = SimpleQueue()
        threading.Thread(target=self._work, daemon=True).start()

    def run(self, task: Callable[[], bytes]) -> bytes:
        """What ``task`` returns; this thread waits for it. Raises what it raises."""
        self._tasks.put(task)
        result = self._results.get()
        if isinstance(result, BaseException):
            raise result
        return result

    def _work(self) -> None:
        give_way()
        while True:
            task = self._tasks.get()
            try:
                self._results.put(task())
            except BaseException as error:  # noqa: BLE001  # raised again where it is waited for
                self._results.put(error)


@dataclass(slots=True)
class Room:
    """The output slot, and how much of it is taken."""

    slot: Slot
    used: int = 0  # bytes

    def put(self, pixels: Pixels) -> bool:
        """Copy them behind those before; False where there is no room."""
        start, end = self.used, self.used + pixels.size
        if end > self.slot.size - PROGRESS_BYTES:
            return False
        self.slot.memory[start:end] = pixels.reshape(-1).data
        self.used = end
        return True


def _serve(
    control: socket.socket, setup: Setup, source: Slot, target: Slot, behind: Behind
) -> None:
    while packed := control.recv(REQUEST_BYTES, socket.MSG_WAITALL):
        first = load_request(packed)
        more = first.following * REQUEST_BYTES
        packed = control.recv(more, socket.MSG_WAITALL) if more else b""
        room, answers = Room(target), []
        following = (packed[at : at + REQUEST_BYTES] for at in range(0, more, REQUEST_BYTES))
        for number, request in enumerate((first, *map(load_request, following))):
            target.memory[-PROGRESS_BYTES] = number
            allow_cpu(setup.limits.cpu_s)
            task = partial(_packed_answer, request, setup, source, room)
            answers.append(behind.run(task) if request.is_long else task())
        control.sendall(b"".join(answers))


def _packed_answer(request: Request, setup: Setup, source: Slot, room: Room) -> bytes:
    return dump_answer(_answer(request, setup, source, room))


def _answer(
    request: Request, setup: Setup, source: Slot, room: Room
) -> Done | Shown | NoRoom | Failed:
    try:
        data = source.memory[request.start : request.start + request.size]
        made = _made(data, request, setup)
    except ImageUndecodable as error:
        return Failed(generation=request.generation, detail=error.detail)
    except RequestError:
        # The server checks size and magic before it sends; only another limit of its own
        # could bring such bytes here.
        return Failed(generation=request.generation, detail=UndecodableDetail.DECODE_ERROR)
    if not room.put(made.pixels):
        return NoRoom(generation=request.generation)
    if isinstance(made, Preview):
        return _shown(request.generation, made)
    return _done(request.generation, made)


def _made(data: bytes, request: Request, setup: Setup) -> DecodedImage | Preview:
    if isinstance(request.plan, PreviewPlan):
        return preview_image(data, plan=request.plan, limits=setup.limits)
    return decode_image(
        data,
        plan=request.plan,
        preprocessing=setup.preprocessing,
        limits=setup.limits,
        frame_key=bytes.fromhex(setup.frame_key),
    )


def _shown(generation: int, preview: Preview) -> Shown:
    height, width = preview.pixels.shape[:2]
    return Shown(
        generation=generation, width=width, height=height, frame=preview.frame, info=preview.info
    )


def _done(generation: int, decoded: DecodedImage) -> Done:
    return Done(
        generation=generation,
        views=decoded.views,
        info=decoded.info,
        coverage=decoded.coverage,
        crop_fraction=decoded.crop_fraction,
        truncated=decoded.truncated,
        picture_hash=decoded.picture_hash,
    )


if __name__ == "__main__":
    main(sys.argv[1:])
