"""How far a long command is: a line on standard error that rewrites itself.

Where standard error is no terminal, a line is written now and then, so that a log shows life.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TextIO

_BAR = 28  # characters
_ON_TERMINAL_S = 0.1  # between two lines
_IN_LOG_S = 30.0


class Progress:
    """A bar over ``done`` of ``total``. ``clock`` gives seconds."""

    def __init__(
        self, err: TextIO, *, what: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._err = err
        self._what = what
        self._clock = clock
        self._terminal = err.isatty()
        self._started: tuple[float, int] | None = None  # when, and how many were done then
        self._last = clock() - _IN_LOG_S if self._terminal else clock()
        self._width = 0

    def __call__(self, done: int, total: int) -> None:
        """Show it, unless something was shown a moment ago."""
        now = self._clock()
        if self._started is None:
            self._started = (now, done)
        every = _ON_TERMINAL_S if self._terminal else _IN_LOG_S
        if now - self._last < every and not (self._terminal and done >= total):
            return
        self._last = now
        line = self._line(done, total, now)
        if self._terminal:
            self._err.write("\r" + line.ljust(self._width))
            self._width = len(line)
        else:
            self._err.write(line + "\n")
        self._err.flush()

    def say(self, text: str) -> None:
        """A step without a count."""
        if self._terminal:
            line = f"{text} …"
            self._err.write("\r" + line.ljust(self._width))
            self._width = len(line)
            self._err.flush()

    def end(self) -> None:
        """Take the line away."""
        if self._terminal and self._width:
            self._err.write("\r" + " " * self._width + "\r")
            self._err.flush()
            self._width = 0

    def _line(self, done: int, total: int, now: float) -> str:
        share = done / total if total else 1.0
        full = round(share * _BAR)
        bar = "█" * full + "░" * (_BAR - full)
        return f"{self._what} {bar} {done}/{total}{self._rest(done, total, now)}"

    def _rest(self, done: int, total: int, now: float) -> str:
        began, before = self._started or (now, done)
        seconds = now - began
        if done <= before or seconds <= 0 or done >= total:
            return ""
        rate = (done - before) / seconds
        left = round((total - done) / rate)
        minutes, rest = divmod(left, 60)
        return f"  {rate:.0f}/s, {f'{minutes} min ' if minutes else ''}{rest} s left"
