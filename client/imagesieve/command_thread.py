"""Asks in a thread of its own, so that Ctrl-C ends a run at once and cleanly.

Python raises KeyboardInterrupt in the main thread between any two instructions. In the middle
of gRPC starting a call, that leaves a channel behind which never closes: the command would say
that it was interrupted, and hang.
"""

from __future__ import annotations

from collections.abc import Iterator
from queue import Queue
from threading import Event, Thread

from imagesieve.results import Moderated

_AHEAD = 64  # outcomes that wait for a slow reader


def in_a_thread(outcomes: Iterator[Moderated]) -> Iterator[Moderated]:
    """The same outcomes, and the error that ends them; left early, the thread ends by itself."""
    ready: Queue[Moderated | BaseException | None] = Queue(maxsize=_AHEAD)
    left = Event()

    def ask() -> None:
        try:
            for outcome in outcomes:
                ready.put(outcome)
                if left.is_set():
                    return
            ready.put(None)
        except BaseException as error:  # noqa: BLE001 -- raised again where it is awaited
            ready.put(error)

    Thread(target=ask, name="imagesieve-ask", daemon=True).start()
    try:
        while (got := ready.get()) is not None:
            if isinstance(got, BaseException):
                raise got
            yield got
    finally:
        left.set()
