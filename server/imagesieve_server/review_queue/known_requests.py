"""Which requests were certainly never kept, told from memory.

Nearly every request_id is new, and to hear that from the store costs more than all the rest of an
ALLOW. Bloom filters (CACM 13:7, 1970) over the names of all that were ever kept say "certainly not"
or "perhaps"; of those only the store is asked. They never say "certainly not" of one that was
kept, and that is all that is relied on: what is erased may stay in them. Sound only where nobody
else writes to the store. Knows names, and no store.
"""

from __future__ import annotations

from collections.abc import Iterable

ROOM = 500_000
"""Names in the first filter; each further one has twice the room. Two bytes a name."""
_BITS_A_NAME = 16  # a full filter takes 1 in 400 new names for known ones
_PROBES = 4


class KnownRequests:
    """The names of requests, (tenant, request_id); rules nothing out before ``complete``.

    Who adds a name before the store can have it, and all that the store has before ``complete``,
    is never told that a kept one is new. Belongs to one thread.
    """

    def __init__(self, *, room: int = ROOM) -> None:
        self._filters = [_Filter(room)]
        self._complete = False

    def add(self, tenant: str, request_id: str) -> None:
        if not self._filters[-1].left:
            self._filters.append(_Filter(2 * self._filters[-1].room))
        # Python's hash of a text is keyed by the process, so nobody outside can make two alike.
        self._filters[-1].add(hash((tenant, request_id)))

    def add_all(self, names: Iterable[tuple[str, str]]) -> None:
        for tenant, request_id in names:
            self.add(tenant, request_id)

    def complete(self) -> None:
        """All that was kept before has been added."""
        self._complete = True

    def rules_out(self, tenant: str, request_id: str) -> bool:
        """Whether this request was certainly never kept."""
        if not self._complete:
            return False
        name = hash((tenant, request_id))
        return not any(known.may_have(name) for known in self._filters)


class _Filter:
    """One Bloom filter over 64-bit hashes, whose halves make all its probes (Kirsch and
    Mitzenmacher, ESA 2006)."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.left = room
        size = 1 << (room * _BITS_A_NAME - 1).bit_length()
        self._mask = size - 1
        self._bits = bytearray(size // 8)

    def add(self, name: int) -> None:
        self.left -= 1
        step = name >> 32 | 1
        for _ in range(_PROBES):
            name = name + step & self._mask
            self._bits[name >> 3] |= 1 << (name & 7)

    def may_have(self, name: int) -> bool:
        step = name >> 32 | 1
        for _ in range(_PROBES):
            name = name + step & self._mask
            if not self._bits[name >> 3] & 1 << (name & 7):
                return False
        return True
