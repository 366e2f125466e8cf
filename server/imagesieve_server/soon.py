"""Does one thing soon, once for however many wishes came until then.

For figures that change thousands of times a second and are looked at every few.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Soon:
    """Used from one event loop."""

    def __init__(self, action: Callable[[], None], *, after_s: float) -> None:
        """``after_s`` 0: at once, each time, and without an event loop."""
        self._action = action
        self._after_s = after_s
        self._timer: asyncio.TimerHandle | None = None

    def wish(self) -> None:
        """Have it done ``after_s`` seconds after the first wish since the last time."""
        if not self._after_s:
            self._action()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._after_s, self._act)

    def _act(self) -> None:
        self._timer = None
        self._action()
