"""What a few files say, in force until they say something else that is good.

A bad new content leaves the old one in force, is logged and counted. It knows files and
time; what the content means is the reader's business. Contents are compared, not times of
change, so a replacement that keeps them is seen as well.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from imagesieve_server.core.errors import ConfigError

log = logging.getLogger(__name__)

T = TypeVar("T")


def read_contents(paths: Sequence[Path]) -> tuple[bytes, ...]:
    """Raises ConfigError."""
    try:
        return tuple(path.read_bytes() for path in paths)
    except OSError as error:
        raise ConfigError(f"cannot read {error.filename}: {error.strerror}") from None


class KeptMetrics(Protocol):
    """What is counted of files that are read again."""

    def file_reload(self, what: str, *, ok: bool) -> None:
        """Files were read, at start or because they changed; ``what`` is ``Kept``'s name."""
        ...


class Kept(Generic[T]):
    """The value of some files. Used from one event loop; ``value`` may be read from any thread."""

    def __init__(
        self,
        *,
        name: str,
        paths: Sequence[Path],
        read: Callable[[tuple[bytes, ...]], T],
        metrics: KeptMetrics,
        further: Callable[[tuple[bytes, ...]], Sequence[Path]] = lambda contents: (),
        applied: Callable[[T], None] = lambda value: None,
    ) -> None:
        """``read`` makes the value of the files' contents or raises ConfigError; it runs in a
        thread while ``watch`` does. ``further`` are files that the contents name, which are
        looked at and handed to ``read`` behind the others. ``applied`` is told each value that
        comes into force."""
        self._name = name
        self._paths = tuple(paths)
        self._read = read
        self._further = further
        self._metrics = metrics
        self._applied = applied
        self._seen = ""  # digest of the contents looked at last, or what was wrong
        self._value: T | None = None

    @property
    def value(self) -> T:
        """What is in force. Only after ``load``."""
        assert self._value is not None
        return self._value

    def load(self) -> None:
        """First reading. Raises ConfigError."""
        value = self._read_if_changed()
        assert value is not None  # nothing was seen before
        self._apply(value)

    async def watch(self, *, every_s: float) -> None:
        """Look at the files at intervals. Runs until cancelled."""
        while True:
            await asyncio.sleep(every_s)
            await self.look()

    async def look(self) -> None:
        """Read the files again where they changed. Never raises for what they hold."""
        try:
            value = await asyncio.to_thread(self._read_if_changed)
        except ConfigError as error:
            self._metrics.file_reload(self._name, ok=False)
            log.error(
                "refused; what was there before stays in force",
                extra={"file": self._name, "problem": error.message},
            )
            return
        if value is not None:
            self._apply(value)
            log.info("read again", extra={"file": self._name})

    def _apply(self, value: T) -> None:
        self._value = value
        self._applied(value)
        self._metrics.file_reload(self._name, ok=True)

    def _read_if_changed(self) -> T | None:
        """The value of contents not seen before, None where they are the same as last time."""
        try:
            contents = read_contents(self._paths)
            contents += read_contents(self._further(contents))
        except ConfigError as error:
            if error.message == self._seen:
                return None
            self._seen = error.message
            raise
        seen = hashlib.sha256(b"".join(hashlib.sha256(c).digest() for c in contents)).hexdigest()
        if seen == self._seen:
            return None
        self._seen = seen
        return self._read(contents)
