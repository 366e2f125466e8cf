"""Bulk through the blocking client: fills batches, sends them, waits. The rules are backlog.py's.

As in ``many.py`` the caller's thread does the work and gRPC's completion callback wakes it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from queue import Empty, SimpleQueue
from typing import Any

from imagesieve.backlog import Backlog, Waiting
from imagesieve.calls import Call, Outcome, moderate_batch
from imagesieve.errors import ImagesieveError
from imagesieve.many import as_upload
from imagesieve.results import ImageSource, Moderated, Upload
from imagesieve.transport import Pending
from imagesieve.v1 import moderation_pb2 as pb

_Source = Iterator[tuple[int, Upload]]


def run_bulk(
    prepare: Callable[[Upload], pb.ModerateRequest],
    start: Callable[[Call[Any, list[Outcome]]], Pending[list[Outcome]]],
    images: Iterable[ImageSource | Upload],
    backlog: Backlog,
    *,
    max_batches: int,
) -> Iterator[Moderated]:
    """Outcomes as they arrive. Closing the iterator early cancels what is on its way."""
    source = enumerate(map(as_upload, images))
    running: dict[int, tuple[list[Waiting], Pending[list[Outcome]]]] = {}
    done: SimpleQueue[int] = SimpleQueue()
    started = 0
    try:
        while True:
            while len(running) < max_batches:
                yield from _fill(backlog, source, prepare)
                now = time.monotonic()
                if not (batch := backlog.take(now)):
                    break
                started += 1
                requests = [waiting.request for waiting in batch]
                pending = start(moderate_batch(requests, timeout_s=backlog.left_s(batch, now)))
                running[started] = (batch, pending)
                pending.when_done(lambda number=started: done.put(number))  # type: ignore[misc]
            due = backlog.next_due()
            if not running and due is None:
                return
            number = _wait(done, due if len(running) < max_batches else None)
            if number is not None:
                batch, pending = running.pop(number)
                yield from backlog.settle(batch, pending.settle(), time.monotonic())
    finally:
        for _, pending in running.values():
            pending.cancel()


def _fill(
    backlog: Backlog, source: _Source, prepare: Callable[[Upload], pb.ModerateRequest]
) -> Iterator[Moderated]:
    """Read images while the backlog wants some; gives those that cannot be sent at all."""
    while backlog.wants() and (entry := next(source, None)) is not None:
        index, upload = entry
        try:
            backlog.add(Waiting(index=index, upload=upload, request=prepare(upload)))
        except (ImagesieveError, OSError) as error:
            yield Moderated(index=index, upload=upload, error=error)


def _wait(done: SimpleQueue[int], due: float | None) -> int | None:
    """The number of a finished batch, None once ``due`` (monotonic) has come without one."""
    try:
        return done.get(timeout=None if due is None else max(0.0, due - time.monotonic()))
    except Empty:
        return None
