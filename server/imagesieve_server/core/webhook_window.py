"""The events of one endpoint that are being told: in order per item, side by side otherwise.

Pure and without time. ``take`` what is to do, ``start`` some of it, say what became of it, and
``drain`` what the store must know. The store's position follows the oldest event whose fate is
open, so that a server that is killed tells some events twice and none never.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Sequence

from imagesieve_server.core.webhook_port import Failed, Settlement, Work


class Window:
    """``position``: the store's. ``width``: the most events in hand."""

    def __init__(self, *, position: int, width: int) -> None:
        self._read_to = position
        self._width = width
        self._lanes: dict[str, deque[Work]] = {}  # by item; the first is next, or in flight
        self._ready: deque[str] = deque()  # items whose first may start
        self._in_flight: set[str] = set()
        self._open: dict[int, None] = {}  # fresh positions without a fate, in order
        self._in_hand = 0
        self._told: list[Work] = []
        self._failed: list[Failed] = []
        self._behind: list[Work] = []
        self._fates = 0

    @property
    def read_to(self) -> int:
        """Events up to here were taken."""
        return self._read_to

    @property
    def room(self) -> int:
        """How many more events may be taken."""
        return max(0, self._width - self._in_hand)

    @property
    def startable(self) -> int:
        """Events that may start."""
        return len(self._ready)

    @property
    def unsettled(self) -> int:
        """Fates since the last ``drain``."""
        return self._fates

    @property
    def in_hand(self) -> Sequence[Work]:
        """What was taken and has no fate yet."""
        return [work for lane in self._lanes.values() for work in lane]

    @property
    def in_flight(self) -> int:
        return len(self._in_flight)

    def take(self, fresh: Iterable[Work], *, blocked: Collection[str]) -> None:
        """Take events behind ``read_to``, in order. Those of ``blocked`` items wait behind
        deliveries that the store keeps."""
        for work in fresh:
            self._read_to = work.position
            if work.item_id in blocked:
                self._behind.append(work)
                self._fates += 1
            else:
                self._open[work.position] = None
                self._add(work)

    def retry(self, due: Iterable[Work]) -> None:
        """Take deliveries whose time has come; those in hand are passed over."""
        for work in due:
            if work.item_id not in self._lanes:
                self._add(work)

    def start(self, at_most: int) -> list[Work]:
        """The next events, now in flight: one an item."""
        started = [self._ready.popleft() for _ in range(min(at_most, len(self._ready)))]
        self._in_flight.update(started)
        return [self._lanes[item_id][0] for item_id in started]

    def told(self, work: Work) -> None:
        """The event in flight arrived; the item's next one may start."""
        lane = self._landed(work)
        lane.popleft()
        self._fates += 1
        if work.kept:
            self._told.append(work)  # the store lets the item's next one come
        self._open.pop(work.position, None)
        self._in_hand -= 1
        if lane:
            self._ready.append(work.item_id)
        else:
            del self._lanes[work.item_id]

    def failed(self, work: Work, *, result: str, retry_in_s: float) -> None:
        """The event in flight did not arrive; the item's further ones wait behind it."""
        lane = self._landed(work)
        self._failed.append(Failed(work=work, result=result, retry_in_s=retry_in_s))
        self._behind += [each for each in lane if each is not work]
        for each in lane:
            self._open.pop(each.position, None)
        self._in_hand -= len(lane)
        self._fates += len(lane)
        del self._lanes[work.item_id]

    def drain(self, *, gone: str = "", recovered: bool = False) -> Settlement:
        """What has become certain since the last time."""
        settled = Settlement(
            position=next(iter(self._open)) - 1 if self._open else self._read_to,
            told=tuple(self._told),
            failed=tuple(self._failed),
            behind=tuple(self._behind),
            gone=gone,
            recovered=recovered,
        )
        self._told, self._failed, self._behind, self._fates = [], [], [], 0
        return settled

    def _add(self, work: Work) -> None:
        self._in_hand += 1
        lane = self._lanes.setdefault(work.item_id, deque())
        lane.append(work)
        if len(lane) == 1:
            self._ready.append(work.item_id)

    def _landed(self, work: Work) -> deque[Work]:
        self._in_flight.remove(work.item_id)
        lane = self._lanes[work.item_id]
        assert lane[0] is work
        return lane
