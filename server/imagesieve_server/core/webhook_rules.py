"""What an endpoint's answer means, when to try again, and when to leave it alone for a while.

Pure. Chance comes in as an argument; durations are seconds.
"""

from __future__ import annotations

import email.utils
import enum

RETRY_FIRST_S = 5.0
"""Before the first retry of an event; doubled with each further one."""
RETRY_MAX_S = 1800.0
"""Between two attempts of one event at most."""
RETRY_AFTER_MAX_S = 3600.0
"""An endpoint that asks for more patience than this gets this much."""
TRIPPED_BY = 5
"""Different items whose events failed, none told in between, after which the endpoint is down."""
PROBE_FIRST_S = 1.0
PROBE_MAX_S = 60.0
"""Between two attempts at an endpoint that is down."""


class Result(enum.StrEnum):
    """What became of one attempt; a label of the metric."""

    TOLD = "told"  # 2xx
    REFUSED = "refused"  # any other answer; a redirect is one
    GONE = "gone"  # 410: nothing more is wanted here
    TIMED_OUT = "timed_out"
    UNREACHABLE = "unreachable"  # no connection, or it broke


def result_of(status: int) -> Result:
    """Of an HTTP status."""
    if 200 <= status < 300:
        return Result.TOLD
    return Result.GONE if status == 410 else Result.REFUSED


def retry_in_s(attempts: int, *, chance: float) -> float:
    """Seconds until the next attempt after ``attempts`` failed ones: half of it certain, half
    of it ``chance`` in [0, 1), so that what failed together does not come back together."""
    full = min(RETRY_MAX_S, RETRY_FIRST_S * 2.0 ** min(attempts - 1, 32))
    return full / 2 + full / 2 * chance


def patience_s(retry_after: str, *, now: float) -> float | None:
    """Seconds that a Retry-After header asks for, 0 to an hour; None where it says nothing.
    ``now``: seconds since the epoch, which an HTTP date is compared with."""
    text = retry_after.strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:12]), RETRY_AFTER_MAX_S)
    try:
        at = email.utils.parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(0.0, at - now), RETRY_AFTER_MAX_S)


class Breaker:
    """Tells an endpoint that is down from an event that fails.

    One item's failures never trip it. While it is tripped the endpoint is asked now and then,
    by one event; the first that is told closes it. Times are of one steady clock.
    """

    def __init__(self) -> None:
        self._failing: set[str] = set()
        self._probes = 0
        self._not_before = float("-inf")

    @property
    def down(self) -> bool:
        """Whether one attempt at a time is enough."""
        return len(self._failing) >= TRIPPED_BY

    def may_start(self, *, in_flight: int, concurrency: int, now: float) -> int:
        """How many further attempts may begin."""
        if now < self._not_before:
            return 0
        return max(0, (1 if self.down else concurrency) - in_flight)

    def waits_s(self, *, now: float) -> float:
        """Seconds until attempts may begin again, 0 where they may."""
        return max(0.0, self._not_before - now)

    def told(self) -> bool:
        """An event was told; whether the endpoint had been down."""
        was_down = self.down
        self._failing.clear()
        self._probes = 0
        self._not_before = float("-inf")
        return was_down

    def failed(
        self, item_id: str, *, now: float, chance: float, patience_s: float | None = None
    ) -> None:
        """An attempt failed; ``patience_s``: what the endpoint asked for."""
        if not self.down:
            self._failing.add(item_id)
        if self.down:
            full = min(PROBE_MAX_S, PROBE_FIRST_S * 2.0 ** min(self._probes, 16))
            self._probes += 1
            self._not_before = max(self._not_before, now + full / 2 + full / 2 * chance)
        if patience_s is not None:
            self._not_before = max(self._not_before, now + patience_s)
