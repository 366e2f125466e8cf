"""What was seen of pictures whose bytes came before, so that they are not looked at again.

Bounded in bytes and in age, in memory, by tenant. Equal bytes that come while the first are
still looked at wait for them (single flight). It holds what an encoder saw and no verdict:
scores follow the policy in force. It knows nothing of decoders and encoders.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from imagesieve_server.core.errors import DeadlinePassed, EncoderUnavailable, ImageUndecodable
from imagesieve_server.core.views import DecodedImage, Embeddings, ViewPlan

_ENTRY_BYTES = 1000
"""About what an entry takes beside its embeddings and views: key, places, decode info."""
_VIEW_BYTES = 400
"""About what Python takes for one view with its box."""


@dataclass(frozen=True, slots=True)
class ContentKey:
    """What decides what is seen. Model, decoder and frame choice are the process's own."""

    tenant: str
    sha256: str  # of the bytes
    plan: ViewPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One look at a picture."""

    image: DecodedImage  # without its pixels
    embeddings: Embeddings | None  # float32 [V, D]; None where the encoder failed
    problem: EncoderUnavailable | None = None  # then, and only then

    @property
    def is_sound(self) -> bool:
        """Whether another look would see the same: complete, and every number a number."""
        return (
            self.embeddings is not None
            and not self.image.truncated
            and bool(np.isfinite(self.embeddings).all())
        )

    @property
    def size_bytes(self) -> int:
        """About the memory it takes."""
        numbers = 0 if self.embeddings is None else self.embeddings.nbytes
        return _ENTRY_BYTES + _VIEW_BYTES * len(self.image.views) + numbers


class CacheMetrics(Protocol):
    """The part of ``core.ports.Metrics`` used here."""

    def content_cache(self, result: str) -> None:
        """One look-up: "hit", "joined" (waited for equal bytes) or "miss"."""
        ...

    def content_cache_size(self, size_bytes: int) -> None: ...


class ContentCache:
    """Least recently used goes first. Use from one event loop.

    ``max_bytes`` 0 turns it off: everything is looked at, equal bytes at the same time, too.
    """

    def __init__(
        self,
        *,
        max_bytes: int,
        max_age_s: float,
        metrics: CacheMetrics,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max_bytes = max_bytes
        self._max_age_s = max_age_s
        self._metrics = metrics
        self._clock = clock
        self._entries: OrderedDict[ContentKey, tuple[float, Seen]] = OrderedDict()
        self._flights: dict[ContentKey, asyncio.Future[Seen | ImageUndecodable | None]] = {}
        self._bytes = 0
        self._generation = 0

    async def seen(
        self, key: ContentKey, look: Callable[[], Awaitable[Seen]], *, deadline: float
    ) -> Seen:
        """What is kept under ``key``, else what ``look`` sees.

        Whoever waits for another caller's look takes its result where that is sound, or its
        ImageUndecodable, and otherwise looks by itself: another's deadline or cancelling is
        not its own. Where the result is not sound nobody waits for another one, or equal bytes
        that are cut each time would be looked at one after the other. ``deadline`` is in seconds
        of ``time.monotonic``. Raises DeadlinePassed, and whatever ``look`` raises.
        """
        if not self._max_bytes:
            return await look()
        while True:
            if (kept := self._find(key)) is not None:
                self._metrics.content_cache("hit")
                return kept
            flight = self._flights.get(key)
            if flight is None:
                self._metrics.content_cache("miss")
                return await self._look(key, look)
            await asyncio.wait({flight}, timeout=max(0.0, deadline - time.monotonic()))
            if not flight.done():
                raise DeadlinePassed("the deadline passed while the same bytes were looked at")
            found = flight.result()
            if isinstance(found, Seen) and not found.is_sound:
                self._metrics.content_cache("miss")
                return await look()
            if found is not None:
                self._metrics.content_cache("joined")
                if isinstance(found, ImageUndecodable):
                    raise ImageUndecodable(found.message, detail=found.detail)
                return found

    def forget(self, *, tenant: str, sha256: str) -> None:
        """Drop what is kept of some bytes, and what is about to be."""
        self._generation += 1
        for key in [k for k in self._entries if (k.tenant, k.sha256) == (tenant, sha256)]:
            self._drop(key)
        self._metrics.content_cache_size(self._bytes)

    def clear(self) -> None:
        """Drop everything: what saw it is not to be trusted any more."""
        self._generation += 1
        self._entries.clear()
        self._bytes = 0
        self._metrics.content_cache_size(0)

    async def _look(self, key: ContentKey, look: Callable[[], Awaitable[Seen]]) -> Seen:
        flight = self._flights[key] = asyncio.get_running_loop().create_future()
        generation = self._generation
        shared: Seen | ImageUndecodable | None = None
        try:
            seen = await look()
            if not seen.is_sound:
                shared = seen  # which tells those who wait to look for themselves
            elif generation == self._generation:
                shared = seen
                self._keep(key, seen)
            return seen
        except ImageUndecodable as error:
            shared = error
            raise
        finally:
            del self._flights[key]
            flight.set_result(shared)

    def _find(self, key: ContentKey) -> Seen | None:
        entry = self._entries.get(key)
        if entry is None:
            return None
        kept_at, seen = entry
        if self._clock() - kept_at > self._max_age_s:
            self._drop(key)
            return None
        self._entries.move_to_end(key)
        return seen

    def _keep(self, key: ContentKey, seen: Seen) -> None:
        if seen.size_bytes > self._max_bytes:
            return
        self._entries[key] = (self._clock(), seen)
        self._bytes += seen.size_bytes
        while self._bytes > self._max_bytes:
            self._drop(next(iter(self._entries)))
        self._metrics.content_cache_size(self._bytes)

    def _drop(self, key: ContentKey) -> None:
        _, seen = self._entries.pop(key)
        self._bytes -= seen.size_bytes
