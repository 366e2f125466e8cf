"""A bound on what one tenant has open at once. Counts; knows nothing of what is counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from imagesieve_server.core.errors import QuotaExceeded

RETRY_AFTER_S = 5.0


class AtOnce:
    """Used from one event loop. ``what`` names the quota to the caller."""

    def __init__(self, *, what: str, limit: int) -> None:
        self._what = what
        self._limit = limit
        self._open: Counter[str] = Counter()

    @contextmanager
    def one(self, tenant: str) -> Iterator[None]:
        """Hold while it is open. Raises QuotaExceeded."""
        if self._open[tenant] >= self._limit:
            raise QuotaExceeded(
                f"at most {self._limit} {self._what} at once",
                subject=self._what,
                retry_after_s=RETRY_AFTER_S,
            )
        self._open[tenant] += 1
        try:
            yield
        finally:
            self._open[tenant] -= 1
            if not self._open[tenant]:
                del self._open[tenant]
