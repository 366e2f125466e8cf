"""Where transactions come from, and what one that lost a race says. Knows no rows and no rule."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

from imagesieve_server.core.errors import StoreUnavailable
from imagesieve_server.review_queue.rows import Transaction


class Overtaken(StoreUnavailable):
    """Another transaction was faster: the same again from the start may well succeed.

    A signal to whoever runs transactions (``store.py``), which repeats them.
    """


class Backend(Protocol):
    """Where transactions come from. Left by an exception, a transaction leaves no trace."""

    def write(self) -> AbstractContextManager[Transaction]:
        """When the block has been left without an exception, what it wrote is durable.

        Raises StoreUnavailable; Overtaken where it is worth while to repeat it.
        """
        ...

    def read(self) -> AbstractContextManager[Transaction]:
        """All reads see one moment."""
        ...

    def forget(self) -> None:
        """Let nothing that was overwritten linger in the store's own files, as far as the
        database can see to it. Raises StoreUnavailable."""
        ...

    def close(self) -> None: ...
