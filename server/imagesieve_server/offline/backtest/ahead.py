"""Work on the entries of a source in threads, a few ahead of what is asked for, in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Entry = TypeVar("Entry")
Done = TypeVar("Done")


def worked(
    work: Callable[[Entry], Done], source: Iterator[Entry], *, threads: int
) -> Iterator[Done]:
    """``work(entry)`` of every entry, in the order of ``source``, which the caller's own thread
    reads; at most ``threads`` + 1 entries are in memory. What either raises is raised here."""
    with ThreadPoolExecutor(threads, thread_name_prefix="judge") as pool:
        begun: deque[Future[Done]] = deque()
        try:
            for entry in source:
                begun.append(pool.submit(work, entry))
                if len(begun) > threads:
                    yield begun.popleft().result()
            while begun:
                yield begun.popleft().result()
        finally:
            for future in begun:
                future.cancel()
