"""How many waiting rows the next batch takes, by what runs of each size cost.

Knows the seconds of a run for each bucket; refuses to know who waits and the clock. Whoever waits
in a batch waits for all of it, and who comes meanwhile too. So a batch is as small as it may be
without costing more per row: where a device does not gain by larger ones (a CPU), the next few
rows go at once; where it does (a GPU), as many as there are.
"""

from __future__ import annotations

from collections.abc import Mapping

_SMOOTHING = 0.2
"""Weight of the newest run in a bucket's estimated seconds."""
_DEARER = 1.5
"""Taken for granted: a row costs at most so many times what it costs in a smaller batch, and no
batch more than a larger one."""
_AS_GOOD = 1.05
"""A bucket whose seconds per row are within this factor of the best one's gains too little by
being larger. Smaller: one run that was slow at warm-up makes batches large. Larger: under a full
load that much of the encoder is lost."""
_BEHIND = 3
"""Batches larger than pay only where so many of that size wait: the more wait, the more every per
cent of the encoder counts, and the smaller a part of the wait one batch is. A full one only where
one waits for every session: with eight sessions eight rows are a small crowd, whose last would
wait for eight rows in place of one."""

_IN_TIME = 1.25
"""A batch counts as in time where this many times its estimated seconds are left. Under overload
all wait until deadlines are near; without it a batch that is a little slow is late as a whole."""


class BucketTimes:
    """Estimated seconds of a run for each bucket, and the next bucket by them."""

    def __init__(self, seconds: Mapping[int, float], *, always_fill: bool = False) -> None:
        """``seconds`` of warm-up, when nothing else was at work, decide which bucket pays.
        ``always_fill``: any batch is as large as what waits allows."""
        self._seconds = dict(sorted(seconds.items()))
        good = self.per_row * _AS_GOOD
        self.pays = (
            self.largest
            if always_fill
            else next(size for size, taken in self._seconds.items() if taken <= good * size)
        )
        """Rows of the smallest bucket that costs about as little per row as any."""

    def observe(self, bucket: int, seconds: float) -> None:
        """Learn from a run; which bucket pays stays, as runs of different sizes are seen under
        different load."""
        old = self._seconds[bucket]
        new = old + _SMOOTHING * (seconds - old)
        self._seconds[bucket] = new
        # A run that stalled once could look too slow for any deadline, and never be corrected.
        for size, estimated in self._seconds.items():
            most = new * max(1.0, _DEARER * size / bucket)
            self._seconds[size] = min(estimated, most)

    @property
    def per_row(self) -> float:
        """Seconds per row at the best bucket."""
        return min(seconds / bucket for bucket, seconds in self._seconds.items())

    @property
    def largest(self) -> int:
        """Rows of the largest bucket."""
        return max(self._seconds)

    def fitting(self, rows: int) -> int:
        """The smallest bucket that holds ``rows``, or the largest there is."""
        return next((size for size in self._seconds if size >= rows), self.largest)

    def choose(self, *, rows: int, each: int, time_left: float) -> int:
        """The bucket for ``rows`` ≥ 1 waiting rows and the earliest deadline among them; ``each``:
        of all that wait, the part of each session, busy or not.

        Of the rows, as many as pay or a third of them, whichever is more, and a full batch where
        each has one: then callers come faster than they are served. For these either the
        smallest bucket that holds them all, padded, or the largest that they fill: whichever costs
        less per real row (padding costs as much as rows where time grows with the batch). Smaller
        only where the deadline asks for it; where no bucket is in time, the smallest, at once.
        """
        if each < self.largest:
            rows = min(rows, max(s for s in self._seconds if s <= max(self.pays, rows // _BEHIND)))
        padded = self.fitting(rows)
        filled = max((size for size in self._seconds if size <= rows), default=padded)
        if self._cost(padded, rows) <= self._cost(filled, rows):
            filled = padded
        most = time_left / _IN_TIME
        in_time = [s for s in self._seconds if s <= filled and self._seconds[s] <= most]
        return max(in_time, default=min(self._seconds))

    def _cost(self, bucket: int, rows: int) -> float:
        """Seconds per real row."""
        return self._seconds[bucket] / min(rows, bucket)
