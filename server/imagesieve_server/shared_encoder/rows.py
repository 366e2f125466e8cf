"""The rows that two processes share: pixels of views in, embeddings out.

Knows the layout of one block of shared memory, and which rows are in use. It refuses to know why.
A block serves one connection only: after that its memory goes, so that nobody who still looks at
it can see what a later caller sent.
"""

from __future__ import annotations

import bisect
import os
from dataclasses import dataclass

import numpy as np

from imagesieve_server.core.views import Embeddings, Pixels
from imagesieve_server.shared_slots import attach_slot, create_slot, has_fixed_size


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Sizes that both sides must agree on."""

    capacity: int  # rows
    side: int  # px of a view
    width: int  # of an embedding

    @property
    def pixel_bytes(self) -> int:
        """Of all views, rounded up so that the embeddings behind them are aligned."""
        return -(-self.capacity * self.side * self.side * 3 // 64) * 64

    @property
    def size(self) -> int:
        """Bytes of the block."""
        return self.pixel_bytes + self.capacity * self.width * 4


class SharedRows:
    """Both arrays over one block. The mapping goes with the last array that looks at it."""

    def __init__(self, memory: memoryview, shape: Shape) -> None:
        side, pixels = shape.side, shape.capacity * shape.side * shape.side * 3
        self.shape = shape
        self.pixels: Pixels = np.frombuffer(memory, np.uint8, pixels).reshape(-1, side, side, 3)
        found = np.frombuffer(memory, np.float32, offset=shape.pixel_bytes)
        self.embeddings: Embeddings = found.reshape(-1, shape.width)


def create_rows(shape: Shape) -> tuple[SharedRows, int]:
    """A block whose pages all exist, and its file descriptor, which the caller closes.

    Raises OSError where there is no room.
    """
    slot = create_slot(shape.size)
    return SharedRows(memoryview(slot.memory), shape), slot.fd


def attach_rows(fd: int, shape: Shape) -> SharedRows:
    """The other side's block, whose descriptor is not needed afterwards.

    Raises ValueError where its size is another, or could be changed: reading beyond the end
    would kill this process.
    """
    if os.fstat(fd).st_size != shape.size or not has_fixed_size(fd):
        raise ValueError("not a block of shared rows")
    return SharedRows(memoryview(attach_slot(fd).memory), shape)


class FreeRows:
    """Which rows of a block are free; hands out rows that lie together, the lowest first."""

    def __init__(self, capacity: int) -> None:
        self._runs = [(0, capacity)]  # (first, rows), ascending, never touching each other

    def take(self, rows: int) -> int | None:
        """The first of so many rows, None where no run is long enough."""
        for index, (first, length) in enumerate(self._runs):
            if length == rows:
                del self._runs[index]
                return first
            if length > rows:
                self._runs[index] = (first + rows, length - rows)
                return first
        return None

    def give_back(self, first: int, rows: int) -> None:
        """Rows that were taken and are not in use any more."""
        index = bisect.bisect(self._runs, (first, rows))
        if index < len(self._runs) and first + rows == self._runs[index][0]:
            rows += self._runs.pop(index)[1]
        if index > 0 and sum(self._runs[index - 1]) == first:
            before, length = self._runs.pop(index - 1)
            first, rows, index = before, rows + length, index - 1
        self._runs.insert(index, (first, rows))
