"""What may be in the server at once, refused early beyond it: by room and by time.

Room is counted in views, the unit of work and of decoded pixels, and in bytes as sent. Time is
the views that go first ÷ the measured pace, held against the caller's deadline. How many views
an image has is known once it is decoded; until then it counts as many as images had lately.
It knows nothing of messages, stages or queues.
"""

from __future__ import annotations

import asyncio
import enum
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from imagesieve_server.core.errors import DeadlineUnmeetable, Overloaded
from imagesieve_server.grpc_api.pace import Pace
from imagesieve_server.soon import Soon

COME_BACK_S = (0.1, 30.0)
"""Least and most that a refused caller is told to wait, seconds."""
SURE = 0.75
"""The share of the time until a deadline that may be filled. Under overload whoever is let in is
let in at this bound; were it the deadline itself, half of them would be late by chance, and all
that was done for them would be lost. A shorter queue keeps the encoder as busy."""
_SMOOTHING = 0.05  # weight of the newest image in the expected number of views


class Shed(enum.StrEnum):
    """Why work was refused; the label of the metric."""

    CALLS = "calls"  # too many calls: refused before its message was read
    ROOM = "room"  # views or bytes in flight
    TIME = "time"  # it could not be done before the caller's deadline


class AdmissionMetrics(Protocol):
    """What admission reports."""

    def in_flight(self, *, images: int, views: float, size_bytes: int, wait_s: float) -> None:
        """What is admitted and not yet answered, and how long a newcomer would wait."""
        ...

    def images_shed(self, images: int, *, reason: str) -> None:
        """Images (or calls not read) refused because of load; ``reason`` from ``Shed``."""
        ...

    def images_abandoned(self, images: int) -> None:
        """Admitted images whose caller went away before the answer."""
        ...


class Place:
    """The room of one admitted image. Implements ``core.ports.Place``."""

    def __init__(
        self, *, admission: Admission, views: float, begun: float, deadline: float
    ) -> None:
        self.views = views  # expected; exact once decoded
        self.begun = begun  # seconds, monotonic
        self.deadline = deadline  # seconds, monotonic
        self.decoded = False
        self._admission = admission

    def take_views(self, views: int) -> None:
        """The image was decoded to so many views. Raises Overloaded."""
        self._admission.grow(self, views)

    def leave(self, *, answered: bool) -> None:
        """The image needs its room no more, though its batch goes on; repeats safely."""
        self._admission.release(self, answered=answered)


class Admission:
    """Bounds what is in flight over all calls. Used from one event loop."""

    def __init__(
        self,
        *,
        metrics: AdmissionMetrics,
        pace: Pace,
        max_views: int = 1024,
        max_bytes: int = 512 * 2**20,
        clock: Callable[[], float] = time.monotonic,
        tell_after_s: float = 0.0,
    ) -> None:
        """``tell_after_s``: seconds after which changes are told to ``metrics``, together."""
        self._metrics = metrics
        self._telling = Soon(self._tell, after_s=tell_after_s)
        self._pace = pace
        self._max_views = max_views
        self._max_bytes = max_bytes
        self._clock = clock
        self._places: set[Place] = set()
        self._views = 0.0
        self._decoded = 0  # views whose pixels are in memory
        self._bytes = 0
        self._expected = 1.0  # views of an image, moving average
        self._owed = 0.0  # views of refused callers who were told when to come back
        self._owed_at = clock()

    @contextmanager
    def admit(self, *, images: int, size_bytes: int, deadline: float) -> Iterator[Sequence[Place]]:
        """Hold room for the images while inside; all of them or none.

        Whatever is larger than the whole budget is let in alone, or it could never be
        answered. ``deadline`` is in seconds of the monotonic clock. Raises Overloaded,
        DeadlineUnmeetable.
        """
        views = images * self._expected
        if self._places:
            self._check(images, views, size_bytes, deadline)
        places = [
            Place(
                admission=self,
                views=self._expected,
                begun=self._clock(),
                deadline=deadline,
            )
            for _ in range(images)
        ]
        self._places.update(places)
        self._change(views, size_bytes)
        answered = False
        try:
            yield places
            answered = True
        except asyncio.CancelledError:
            self._metrics.images_abandoned(len(self._places.intersection(places)))
            raise
        finally:
            for place in places:
                self.release(place, answered=answered)
            self._change(0.0, -size_bytes)

    def check_unread(self, *, deadline: float) -> None:
        """Raise as ``admit`` would for one image of no bytes, before anything of it is known."""
        if self._places:
            self._check(1, self._expected, 0, deadline)

    def _check(self, images: int, views: float, size_bytes: int, deadline: float) -> None:
        """Refuse what has no room or no time."""
        if self._views + views > self._max_views or self._bytes + size_bytes > self._max_bytes:
            self._refuse(images, views, deadline)
        left = SURE * (deadline - self._clock())
        pace = self._pace.views_per_s
        if (self._views + views) / pace > left and (self._before(deadline) + views) / pace > left:
            self._metrics.images_shed(images, reason=Shed.TIME)
            raise DeadlineUnmeetable(
                "the images that go first fill the time until the deadline",
                retry_after_s=self._turn_s(views),
            )

    def _before(self, deadline: float) -> float:
        """Views that go first: the encoder goes by deadline, and decoding may not."""
        return sum(p.views for p in self._places if not p.decoded or p.deadline <= deadline)

    def _refuse(self, images: int, views: float, deadline: float) -> None:
        turn = self._turn_s(views)
        wait = turn + self._views / self._pace.views_per_s
        if self._clock() + wait > deadline:  # a retry by itself would only fill the server
            self._metrics.images_shed(images, reason=Shed.TIME)
            raise DeadlineUnmeetable("the server is full beyond the deadline", retry_after_s=turn)
        self._metrics.images_shed(images, reason=Shed.ROOM)
        raise Overloaded("the server has as much in hand as it can take", retry_after_s=turn)

    def _turn_s(self, views: float) -> float:
        """When to come back: refused callers are spread out as fast as the server works, or
        all of them would be back at the same moment."""
        now, pace = self._clock(), self._pace.views_per_s
        least, most = COME_BACK_S
        owed = max(0.0, self._owed - pace * (now - self._owed_at)) + views
        self._owed = min(owed, most * pace)  # a flood, of strangers too, is forgotten by then
        self._owed_at = now
        return min(max(owed / pace, least), most)

    def grow(self, place: Place, views: int) -> None:
        """See ``Place.take_views``."""
        if place not in self._places:
            return
        self._expected += _SMOOTHING * (views - self._expected)
        if self._decoded and self._decoded + views > self._max_views:
            self._refuse(1, views, place.deadline)
        place.decoded = True
        self._decoded += views
        change, place.views = views - place.views, float(views)
        self._change(change, 0)

    def release(self, place: Place, *, answered: bool) -> None:
        """Give a place's room back; repeated, it does nothing."""
        if place not in self._places:
            return
        self._places.remove(place)
        if place.decoded:
            self._decoded -= int(place.views)
            if answered:
                seconds = self._clock() - place.begun
                self._pace.finished(place.views, seconds=seconds)
        self._change(-place.views, 0)

    def _change(self, views: float, size_bytes: int) -> None:
        self._views = self._views + views if self._places else 0.0  # no rounding is left over
        self._bytes += size_bytes
        self._pace.in_flight(self._views, decoded=self._decoded)
        self._telling.wish()

    def _tell(self) -> None:
        self._metrics.in_flight(
            images=len(self._places),
            views=self._views,
            size_bytes=self._bytes,
            wait_s=self._views / self._pace.views_per_s,
        )
