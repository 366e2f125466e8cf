"""Memory that was freed goes back to the system.

Knows one call of glibc, which keeps what a process frees: opening a graph leaves it with the
weights as they were read, beside the session's own arrangement of them. Refuses to know what freed
it.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable


def give_back_freed(library: Callable[[], object] = lambda: ctypes.CDLL(None)) -> bool:
    """Return freed memory to the system; whether any went back. Never raises.

    Takes some ten milliseconds a hundred megabytes and may be called on any thread. ``library``
    is what the process is linked with; other C libraries than glibc lack the call, and need none.
    """
    try:
        trim = library().malloc_trim  # type: ignore[attr-defined]
    except (AttributeError, OSError, TypeError):
        return False
    trim.argtypes, trim.restype = (ctypes.c_size_t,), ctypes.c_int
    return bool(trim(0))
