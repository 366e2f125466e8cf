"""How many undecodable files a tenant may send to review in an hour.

Evidence of such a file is kept as it came, so without a limit anybody could fill the disk with
broken files. It knows tenants, hashes and times; what is undecodable is the decoder's matter.

In memory and per server: a restart begins every tenant's hour anew, and replicas count each for
themselves. Bounded: at most ``per_hour`` hashes for each of ``max_tenants`` tenants, of whom
the one that sent none for longest is forgotten first.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

from imagesieve_server.core.errors import QuotaExceeded

SUBJECT = "undecodable_images_per_hour"
HOUR_S = 3600.0


class UndecodableQuota:
    """A sliding hour per tenant."""

    def __init__(
        self,
        *,
        per_hour: int,
        max_tenants: int = 10_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``per_hour`` of 0 sends none to review: every one is refused."""
        self._per_hour = per_hour
        self._max_tenants = max_tenants
        self._clock = clock
        # tenant → sha256 → when it came first; both the oldest first
        self._seen: OrderedDict[str, OrderedDict[str, float]] = OrderedDict()

    def take(self, *, tenant: str, sha256: str) -> None:
        """Count one file. The same bytes within the hour count once: their evidence is there.

        Raises QuotaExceeded.
        """
        now = self._clock()
        seen = self._seen.setdefault(tenant, OrderedDict())
        self._seen.move_to_end(tenant)
        while len(self._seen) > self._max_tenants:
            self._seen.popitem(last=False)
        while seen and next(iter(seen.values())) <= now - HOUR_S:
            seen.popitem(last=False)
        if sha256 in seen:
            return
        if len(seen) >= self._per_hour:
            oldest = next(iter(seen.values()), now)
            raise QuotaExceeded(
                f"more than {self._per_hour} undecodable images within an hour",
                subject=SUBJECT,
                retry_after_s=oldest + HOUR_S - now,
            )
        seen[sha256] = now
