"""Many deadlines that nearly never come, on one timer of the event loop.

An image sets five on its way and takes back each of them, at two fifths of what asyncio's own
cost. Knows deadlines and what to call, and not what for.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from collections.abc import Callable
from types import TracebackType

_SPARE = 64
"""So many that were taken back are always borne; beyond, as many as there are others."""


class Alarm:
    """Calls back at its time, unless ``cancel`` came first."""

    __slots__ = ("_alarms", "_call", "queued")

    def __init__(self, alarms: Alarms, call: Callable[[], None]) -> None:
        self._alarms = alarms
        self._call: Callable[[], None] | None = call
        self.queued = True  # in the heap of ``alarms``, whose matter this is

    @property
    def pending(self) -> bool:
        """It has neither rung nor been taken back."""
        return self._call is not None

    def cancel(self) -> None:
        """Take it back; repeats safely, and does nothing once it rang."""
        if self._call is not None:
            self._call = None
            if self.queued:
                self._alarms.taken_back()

    def ring(self) -> None:
        """For ``Alarms``: its time has come."""
        call, self._call = self._call, None
        if call is not None:
            call()


class Alarms:
    """Used from one event loop, the one that runs when the first is set."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Alarm]] = []  # time.monotonic, number, alarm
        self._numbers = itertools.count()
        self._dead = 0  # in the heap, taken back
        self._timer: asyncio.TimerHandle | None = None
        self._rings_at = 0.0  # of the timer

    def __len__(self) -> int:
        """What is remembered, those taken back included."""
        return len(self._heap)

    def at(self, deadline: float, call: Callable[[], None]) -> Alarm:
        """Call back at ``deadline``, seconds of ``time.monotonic``: soon, where it has passed."""
        alarm = Alarm(self, call)
        heapq.heappush(self._heap, (deadline, next(self._numbers), alarm))
        if self._timer is None or deadline < self._rings_at:
            self._set_timer()
        return alarm

    def limit(self, deadline: float) -> Limit:
        """As ``asyncio.timeout_at``, but ``with``, and on the clock of ``time.monotonic``."""
        return Limit(self, deadline)

    def close(self) -> None:
        """Take back all that are set: the event loop keeps nothing of them."""
        for _, _, alarm in self._heap:
            alarm.queued = False
            alarm.cancel()
        self._heap, self._dead = [], 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def taken_back(self) -> None:
        """For ``Alarm``: one of the heap is dead. The dead are never more than half for long."""
        self._dead += 1
        if self._dead > _SPARE and self._dead * 2 > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[2].pending]
            heapq.heapify(self._heap)
            self._dead = 0

    def _set_timer(self) -> None:
        """For the earliest that is still wanted."""
        while self._heap and not self._heap[0][2].pending:
            heapq.heappop(self._heap)
            self._dead -= 1
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._heap:
            self._rings_at = self._heap[0][0]
            wait = max(0.0, self._rings_at - time.monotonic())
            self._timer = asyncio.get_running_loop().call_later(wait, self._ring)

    def _ring(self) -> None:
        now = time.monotonic()
        loop = asyncio.get_running_loop()
        while self._heap and self._heap[0][0] <= now:
            alarm = heapq.heappop(self._heap)[2]
            alarm.queued = False
            if alarm.pending:
                loop.call_soon(alarm.ring)  # one that raises does not silence the others
            else:
                self._dead -= 1
        self._timer = None
        self._set_timer()


class Limit:
    """Cancels the task inside it at a deadline. TimeoutError comes out then, and only then."""

    __slots__ = ("_alarm", "_alarms", "_cancelling", "_deadline", "_task", "expired")

    def __init__(self, alarms: Alarms, deadline: float) -> None:
        self._alarms = alarms
        self._deadline = deadline
        self.expired = False  # the deadline came while inside

    def __enter__(self) -> Limit:
        task = asyncio.current_task()
        assert task is not None  # only a task can be cancelled
        self._task = task
        self._cancelling = task.cancelling()
        self._alarm = self._alarms.at(self._deadline, self._expire)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._alarm.cancel()
        # As asyncio.Timeout: somebody else's cancelling at the same time goes first.
        if (
            self.expired
            and self._task.uncancel() <= self._cancelling
            and kind is not None
            and issubclass(kind, asyncio.CancelledError)
        ):
            raise TimeoutError from error

    def _expire(self) -> None:
        self.expired = True
        self._task.cancel()
