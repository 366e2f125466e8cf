"""What the log is told when an encoder fails: the library's own words, which no caller hears.

Knows errors and when a line would only repeat the one before; refuses to know what to do about it.
"""

from __future__ import annotations

import logging

from imagesieve_server.core.errors import ImagesieveError
from imagesieve_server.encoders.cuda_session import cuda_failure

log = logging.getLogger(__name__)

_MOST = 300  # characters of a library's words


class Troubles:
    """Of one encoder, from failure to recovery."""

    def __init__(self) -> None:
        self._said = ""

    def failed(self, doing: str, problem: BaseException) -> None:
        """Log it, unless it is what was logged last: a sick device is asked every few seconds."""
        words = words_of(problem)
        if words != self._said:
            log.error("the encoder failed", extra={"doing": doing, "problem": words})
        self._said = words

    def over(self) -> None:
        """The canary passed; logged where something had failed."""
        if self._said:
            log.warning("the encoder works again")
        self._said = ""


def words_of(problem: BaseException) -> str:
    """An error's message and facts, and what the library said that caused it."""
    words = _in_one_line(problem)
    if isinstance(problem, ImagesieveError):
        words = ", ".join([words, *(f"{key} {value}" for key, value in problem.metadata.items())])
    cause = problem.__cause__
    if cause is None or cause is problem:
        return words
    return f"{words}: {cuda_failure(str(cause)) or _in_one_line(cause)}"


def _in_one_line(problem: BaseException) -> str:
    """All lines of its text, as the first may only say where it comes from; else its type."""
    return " ".join(str(problem).split())[:_MOST] or type(problem).__name__
