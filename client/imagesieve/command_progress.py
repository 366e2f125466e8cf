"""How far a run is: a line that rewrites itself on a terminal, and a summary at the end.

Nothing is written where standard error is no terminal, so logs and pipes stay clean.
"""

from __future__ import annotations

import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import TextIO

from imagesieve.results import Moderated

_EVERY_S = 0.1  # between two lines
_ERROR = "ERROR"
_FIRST = ("ALLOW", "REVIEW", "BLOCK", "UNDECIDED", _ERROR)


class Tally:
    """Counts of verdicts, and the reasons of what was not decided."""

    def __init__(self) -> None:
        self.verdicts: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()

    @property
    def done(self) -> int:
        return self.verdicts.total()

    def add(self, outcome: Moderated) -> None:
        if outcome.result is None:
            self.verdicts[_ERROR] += 1
            self.reasons[str(getattr(outcome.error, "reason", "FILE_UNREADABLE"))] += 1
        else:
            self.verdicts[outcome.result.verdict] += 1
            if outcome.result.undecided_reason:
                self.reasons[outcome.result.undecided_reason] += 1

    def __str__(self) -> str:
        known = [f"{name} {self.verdicts[name]}" for name in _FIRST if self.verdicts[name]]
        why = ", ".join(f"{name} {count}" for name, count in self.reasons.most_common())
        return "  ".join(known) + (f"  ({why})" if why else "")


class Progress:
    """The line. ``total`` images are asked about; ``clock`` gives seconds."""

    def __init__(
        self, err: TextIO, *, total: int, shown: bool, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._err = err
        self._total = total
        self._shown = shown
        self._clock = clock
        self._started = clock()
        self._last = float("-inf")

    @property
    def elapsed_s(self) -> float:
        return self._clock() - self._started

    def update(self, tally: Tally) -> None:
        now = self._clock()
        if not self._shown or now - self._last < _EVERY_S:
            return
        self._last = now
        width = shutil.get_terminal_size().columns - 1
        self._err.write("\r" + self.line(tally)[:width].ljust(width))
        self._err.flush()

    def line(self, tally: Tally) -> str:
        """For example ``512/2000  26%  240/s  left 0:06  ALLOW 500  REVIEW 12``."""
        rate = tally.done / self.elapsed_s if self.elapsed_s > 0 else 0.0
        left = _minutes((self._total - tally.done) / rate) if rate else "?"
        share = 100 * tally.done // self._total if self._total else 100
        return f"{tally.done}/{self._total}  {share}%  {rate:.0f}/s  left {left}  {tally}"

    def clear(self) -> None:
        """Take the line away, so that something else can be written."""
        if self._shown:
            self._err.write("\r" + " " * (shutil.get_terminal_size().columns - 1) + "\r")
            self._err.flush()


def is_terminal(stream: TextIO, environment: Mapping[str, str] = os.environ) -> bool:
    """Whether a line on this stream can be rewritten."""
    return stream.isatty() and environment.get("TERM") != "dumb"


def _minutes(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
