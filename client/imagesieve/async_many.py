"""Many images through the asyncio client, with a bound on what is in flight.

As in ``many.py``, an image counts as in flight until its outcome has been taken.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

from imagesieve.errors import ImagesieveError
from imagesieve.many import as_upload
from imagesieve.results import ImageSource, Moderated, ModerationResult, Upload


async def run_many(
    moderate: Callable[[Upload], Awaitable[ModerationResult]],
    images: Iterable[ImageSource | Upload],
    *,
    max_in_flight: int,
) -> AsyncIterator[Moderated]:
    """Outcomes in the order in which they arrive; one image's error never ends the others.

    Closing the iterator early cancels what is in flight.
    """

    async def one(index: int, upload: Upload) -> Moderated:
        try:
            return Moderated(index=index, upload=upload, result=await moderate(upload))
        except (ImagesieveError, OSError) as error:
            return Moderated(index=index, upload=upload, error=error)

    source = enumerate(map(as_upload, images))
    running: set[asyncio.Task[Moderated]] = set()
    done: asyncio.Queue[asyncio.Task[Moderated]] = asyncio.Queue()
    try:
        while True:
            while len(running) < max_in_flight and (entry := next(source, None)) is not None:
                task = asyncio.create_task(one(*entry))
                task.add_done_callback(done.put_nowait)
                running.add(task)
            if not running:
                return
            task = await done.get()
            running.remove(task)
            yield task.result()
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
