"""Which images of a bulk run wait, are on their way, or are to be sent again. No I/O, no clock.

Bulk goes by batches. An image that got no answer, because its batch's call broke or because
the server could not take it at present, goes back into the line and is sent again as the same
request, so the server never counts or queues it twice, until its time is spent: then it is
UNDECIDED with the last reason. The request of an image is made once and kept while it waits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

from imagesieve.calls import Outcome, undecided
from imagesieve.errors import DeadlinePassed, ImagesieveError, Unavailable
from imagesieve.results import Moderated, Upload
from imagesieve.retry import MIB
from imagesieve.v1 import moderation_pb2 as pb

BATCH_ITEMS = 64
BATCH_BYTES = 32 * MIB
"""The server's limits on one batch; its bytes are those of the images."""

BULK_BATCH = 32
"""Default images of one batch."""
BULK_BATCHES = 2
"""Default batches on their way at once: the server works on one while the other travels."""
BULK_TIMEOUT_S = 120.0
"""Default time of one image, seconds: longer than a server's restart."""

_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 5.0


@dataclass(slots=True, kw_only=True)
class Waiting:
    """One image on its way through the backlog."""

    index: int
    upload: Upload
    request: pb.ModerateRequest
    first_sent: float = 0.0  # by the caller's clock, seconds
    sent: int = 0  # times
    due: float = 0.0  # not before
    failed: Unavailable | None = None  # why it is in the line again

    @property
    def size(self) -> int:
        return len(self.request.image)


class Backlog:
    """The line. Times are the caller's clock in seconds; ``timeout_s`` is each image's own."""

    def __init__(self, *, batch: int, batches: int, timeout_s: float) -> None:
        self._batch = batch
        self._size = batch  # shrinks while the server is overloaded
        self._room = batch * (batches + 1)
        self._timeout_s = timeout_s
        self._new: deque[Waiting] = deque()
        self._again: deque[Waiting] = deque()
        self._under_way = 0

    def wants(self) -> bool:
        """Whether another image should be read: never more than the batches on their way and
        one that is being filled."""
        held = self._under_way + len(self._again) + len(self._new)
        full = len(self._new) >= self._size or sum(w.size for w in self._new) >= BATCH_BYTES
        return not full and held < self._room

    def add(self, waiting: Waiting) -> None:
        """A new image, at the end of the line."""
        self._new.append(waiting)

    def take(self, now: float) -> list[Waiting]:
        """The next batch, empty where nothing is due. What is sent again goes first, and never
        in one batch with new images, whose time has only begun."""
        line = self._again if self._again and self._again[0].due <= now else self._new
        batch: list[Waiting] = []
        size = 0
        while line and len(batch) < self._size and size + line[0].size <= BATCH_BYTES:
            if line[0].due > now:
                break
            one = line.popleft()
            one.first_sent = one.first_sent if one.sent else now
            one.sent += 1
            size += one.size
            batch.append(one)
        self._under_way += len(batch)
        return batch

    def left_s(self, batch: Sequence[Waiting], now: float) -> float:
        """Seconds until the first image of the batch has spent its time."""
        return max(0.001, min(w.first_sent for w in batch) + self._timeout_s - now)

    def next_due(self) -> float | None:
        """When something is to be sent again, None where nothing waits for it."""
        return self._again[0].due if self._again else None

    def settle(
        self, batch: Sequence[Waiting], outcomes: Sequence[Outcome], now: float
    ) -> list[Moderated]:
        """The outcomes of the batch's images that are done with; the others are back in line.

        ``outcomes`` are those of ``batch``, in its order.
        """
        self._under_way -= len(batch)
        done: list[Moderated] = []
        back: list[Waiting] = []
        for one, outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, DeadlinePassed) and one.failed is not None:
                outcome = one.failed  # says more than that the time was spent on repeats
            if not isinstance(outcome, Unavailable) or self._spent(one, outcome, now):
                done.append(outcome_of(one, outcome, now))
            else:
                one.failed = outcome
                one.due = now + max(_pause(one.sent), outcome.retry_after_s or 0.0)
                back.append(one)
        self._resize(none_answered=bool(back) and not done)
        self._again = deque(sorted([*self._again, *back], key=lambda w: w.due))
        return done

    def _spent(self, one: Waiting, error: Unavailable, now: float) -> bool:
        """Whether the image's time ends before it could be sent again."""
        wait = max(_pause(one.sent), error.retry_after_s or 0.0)
        return now + wait >= one.first_sent + self._timeout_s

    def _resize(self, *, none_answered: bool) -> None:
        """Smaller batches while the server takes none, larger again as it does."""
        self._size = max(1, self._size // 2) if none_answered else min(self._batch, self._size + 1)


def _pause(sent: int) -> float:
    """Seconds before an image that was sent that often goes out again."""
    return float(min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2 ** min(sent - 1, 10)))


def check_bulk(batch: int, batches: int) -> None:
    """Raise ValueError for numbers under which nothing could be sent."""
    if not 1 <= batch <= BATCH_ITEMS:
        raise ValueError(f"batch must be 1 to {BATCH_ITEMS}, not {batch}")
    if batches < 1:
        raise ValueError(f"max_batches must be at least 1, not {batches}")


def outcome_of(waiting: Waiting, outcome: Outcome, now: float) -> Moderated:
    """As ``moderate_many`` gives it: UNDECIDED where the image's time is spent."""
    index, upload = waiting.index, waiting.upload
    elapsed_s = now - waiting.first_sent
    if isinstance(outcome, Unavailable):
        outcome = undecided(waiting.request, outcome, elapsed_s=elapsed_s)
    if isinstance(outcome, ImagesieveError):
        return Moderated(index=index, upload=upload, error=outcome)
    return Moderated(index=index, upload=upload, result=replace(outcome, elapsed_s=elapsed_s))
