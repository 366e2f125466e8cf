"""Many images through the blocking client, with a bound on what is in flight.

The caller's thread starts calls and takes results; gRPC's own completion callback wakes it, so
no thread of ours exists. An image counts as in flight until its result has been taken: a slow
consumer slows the reading of further images and never fills the memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue

from imagesieve.errors import ImagesieveError, InvalidRequest
from imagesieve.results import ImageSource, Moderated, ModerationResult, Upload
from imagesieve.transport import Pending

MAX_IN_FLIGHT = 8
"""Default bound; that many images are in memory at once."""


def as_upload(image: ImageSource | Upload) -> Upload:
    """A bare image as an upload of which nothing else is known."""
    return image if isinstance(image, Upload) else Upload(image=image)


def check_in_flight(max_in_flight: int) -> None:
    """Raise ValueError for a bound under which nothing could be sent."""
    if max_in_flight < 1:
        raise ValueError(f"max_in_flight must be at least 1, not {max_in_flight}")


@contextmanager
def own_fault() -> Iterator[None]:
    """What ``moderate`` refuses of one image by type or value, as an error that its outcome holds.

    Raises InvalidRequest. Only for the making of its request: elsewhere these are faults of code.
    """
    try:
        yield
    except (TypeError, ValueError) as error:
        raise InvalidRequest(str(error)) from error


def run_many(
    start: Callable[[Upload], Pending[ModerationResult]],
    images: Iterable[ImageSource | Upload],
    *,
    max_in_flight: int,
) -> Iterator[Moderated]:
    """Outcomes in the order in which they arrive; one image's error never ends the others.

    Closing the iterator early cancels what is in flight.
    """
    source = enumerate(map(as_upload, images))
    running: dict[int, tuple[Upload, Pending[ModerationResult]]] = {}
    done: SimpleQueue[int] = SimpleQueue()
    try:
        while True:
            while len(running) < max_in_flight and (entry := next(source, None)) is not None:
                index, upload = entry
                try:
                    pending = start(upload)
                except (ImagesieveError, OSError) as error:  # refused or unreadable: never sent
                    yield Moderated(index=index, upload=upload, error=error)
                    continue
                running[index] = (upload, pending)
                pending.when_done(lambda index=index: done.put(index))  # type: ignore[misc]
            if not running:
                return
            index = done.get()
            upload, pending = running.pop(index)
            yield _settle(index, upload, pending)
    finally:
        for _, pending in running.values():
            pending.cancel()


def _settle(index: int, upload: Upload, pending: Pending[ModerationResult]) -> Moderated:
    try:
        return Moderated(index=index, upload=upload, result=pending.settle())
    except ImagesieveError as error:
        return Moderated(index=index, upload=upload, error=error)
