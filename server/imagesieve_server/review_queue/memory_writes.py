"""How the memory store writes: each change with a note of how to undo it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar

from imagesieve_server.core.errors import StoreUnavailable
from imagesieve_server.review_queue.memory_tables import Tables

K = TypeVar("K")
V = TypeVar("V")


class MemoryWrites:
    """A part of the memory store's transaction."""

    def __init__(self, *, tables: Tables) -> None:
        self._t = tables
        self._undo: list[Callable[[], None]] = []

    def undo(self) -> None:
        for step in reversed(self._undo):
            step()

    def _insert(self, table: dict[K, V], key: K, value: V) -> None:
        if key in table:
            raise StoreUnavailable("a row with this key exists")
        self._put(table, key, value)

    def _put(self, table: dict[K, V], key: K, value: V) -> None:
        if key in table:
            self._undo.append(partial(table.__setitem__, key, table[key]))
        else:
            self._undo.append(partial(table.__delitem__, key))
        table[key] = value

    def _drop(self, table: dict[K, V], key: K) -> None:
        if key in table:
            self._undo.append(partial(table.__setitem__, key, table[key]))
            del table[key]
