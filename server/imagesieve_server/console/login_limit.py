"""How often somebody may try to sign in.

Knows attempts by key in a sliding window. An attempt counts when it begins, or many at once
would all pass. The limits are the same for names that exist and names that do not.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from typing import Final

WINDOW_S: Final = 300.0
_KEYS: Final = 10_000  # remembered at once; the oldest go first

PER_NAME_AND_ADDRESS: Final = 5
PER_ADDRESS: Final = 30
PER_NAME: Final = 60
"""Far above the first: guesses from many addresses are bounded, and a stranger who knows a
name does not shut its owner out with a handful of tries."""


class LoginLimit:
    """For one event loop; ``clock`` gives seconds and never goes back."""

    def __init__(self, *, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._attempts: OrderedDict[tuple[str, ...], deque[float]] = OrderedDict()

    def begin(self, *, name: str, address: str) -> bool:
        """Count an attempt; False where there were too many, and then it does not count."""
        now = self._clock()
        limits = _limits(name, address)
        if any(self._count(key, now) >= most for key, most in limits):
            return False
        for key, _ in limits:
            self._attempts.setdefault(key, deque()).append(now)
            self._attempts.move_to_end(key)
        while len(self._attempts) > _KEYS:
            self._attempts.popitem(last=False)
        return True

    def succeeded(self, *, name: str, address: str) -> None:
        """The attempt was right: it, and those before it from there, do not count any more."""
        both, *others = (key for key, _ in _limits(name, address))
        for key in others:
            recent = self._attempts.get(key)
            if recent:
                recent.pop()
        self._attempts.pop(both, None)

    def _count(self, key: tuple[str, ...], now: float) -> int:
        """Attempts within the window. Asking leaves nothing behind: refused attempts under
        made-up names would push out what is remembered of others."""
        recent = self._attempts.get(key)
        if recent is None:
            return 0
        while recent and recent[0] <= now - WINDOW_S:
            recent.popleft()
        if not recent:
            del self._attempts[key]
        return len(recent)


def _limits(name: str, address: str) -> Sequence[tuple[tuple[str, ...], int]]:
    address = _network(address)
    return (
        (("both", name, address), PER_NAME_AND_ADDRESS),
        (("address", address), PER_ADDRESS),
        (("name", name), PER_NAME),
    )


def _network(address: str) -> str:
    """Who counts as one: an IPv4 address, or the /64 that IPv6 gives to a single customer."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return address
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((int(found), 64), strict=False))
