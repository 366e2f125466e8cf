"""Keeps the ALLOW verdicts that are drawn for review, and counts all ALLOWs of policies that audit.

Best effort by design: an ALLOW never waits for it and never fails because of it. Samples and
counts wait in bounded memory and go to the queue in the background. What finds no room or no
store is dropped and counted as dropped, since the estimates lack it. A killed server loses what
waited, at most about a second of samples together with their counts.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from imagesieve_server.core.answer import Answer
from imagesieve_server.core.audit import Draw, draw
from imagesieve_server.core.errors import ImagesieveError
from imagesieve_server.core.policy import Policy
from imagesieve_server.core.ports import Metrics, ReviewQueue
from imagesieve_server.core.records import sample_of
from imagesieve_server.core.request import ModerationRequest
from imagesieve_server.core.review import AuditCount, Flag

log = logging.getLogger(__name__)

STEP_S = 1.0
"""Seconds between hand-overs to the queue."""
MAX_COUNTS = 10_000
"""Keys whose counts may wait while the store is down; further ones are dropped."""

_Key = tuple[str, str, str, str, str, str, float]  # AuditCount's fields up to probability


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sample:
    request: ModerationRequest
    policy: Policy
    digest: str
    answer: Answer
    draw: Draw
    key: _Key  # of the whole band
    picture_hash: str


class AuditSampler:
    """Draws, holds and hands over. All methods belong to one event loop."""

    def __init__(
        self,
        *,
        key: bytes,
        queue: ReviewQueue,
        metrics: Metrics,
        clock: Callable[[], float] = time.time,
        max_waiting: int = 256,
        max_waiting_bytes: int = 64 << 20,
        max_known: int = 10_000,
    ) -> None:
        """``key`` is secret: who has it knows which pictures are drawn. ``clock`` gives seconds
        since the epoch. ``max_known`` pictures that were kept are remembered, so that further
        uploads of theirs are counted only."""
        self._key = key
        self._queue = queue
        self._metrics = metrics
        self._clock = clock
        self._max_waiting = max_waiting
        self._max_waiting_bytes = max_waiting_bytes
        self._max_known = max_known
        self._waiting: deque[_Sample] = deque()
        self._waiting_bytes = 0
        self._known: OrderedDict[tuple[str, str, str], None] = OrderedDict()
        self._counts: dict[_Key, list[int]] = {}  # [uploads, dropped]

    def offer(
        self,
        *,
        request: ModerationRequest,
        policy: Policy,
        digest: str,
        answer: Answer,
        picture_hash: str = "",
    ) -> None:
        """Draw one enforced answer that is about to leave. Neither waits nor raises."""
        try:
            drawn = draw(
                key=self._key,
                tenant=request.tenant,
                sha256=answer.sha256,
                policy=policy,
                judgement=answer.judgement,
            )
            if drawn is None:
                return
            key = self._count(request, policy, drawn, "")
            if drawn.selected:
                self._count(request, policy, drawn, answer.sha256)
                self._take(_Sample(request=request, policy=policy, digest=digest, answer=answer,
                                   draw=drawn, key=key, picture_hash=picture_hash))  # fmt: skip
        except Exception:  # the answer must leave
            log.exception("audit sampling failed")

    async def run(self, *, step_s: float = STEP_S) -> None:
        """Hand over what waits, step by step, until cancelled."""
        while True:
            await asyncio.sleep(step_s)
            await self.flush()

    async def flush(self) -> None:
        """Hand over the samples that wait now, then the counts with what was dropped of them."""
        for _ in range(len(self._waiting)):
            await self._keep(self._waiting.popleft())
        if self._counts:
            await self._commit()

    async def close(self, *, patience_s: float = 5.0) -> None:
        """Hand over what waits, as far as the store takes it in that time."""
        try:
            async with asyncio.timeout(patience_s):
                await self.flush()
        except TimeoutError:
            log.warning("audit samples lost at the end", extra={"samples": len(self._waiting)})

    def _take(self, sample: _Sample) -> None:
        place = _place(sample)
        size = len(sample.request.image)
        if place in self._known:
            self._known.move_to_end(place)
            self._metrics.audit_sample(policy=sample.policy.name, result="counted")
        elif (
            len(self._waiting) >= self._max_waiting
            or self._waiting_bytes + size > self._max_waiting_bytes
        ):
            self._dropped(sample)
        else:
            self._known[place] = None
            while len(self._known) > self._max_known:
                self._known.popitem(last=False)
            self._waiting.append(sample)
            self._waiting_bytes += size

    async def _keep(self, sample: _Sample) -> None:
        try:
            await self._queue.submit(_flag(sample), sample.request.image)
        except asyncio.CancelledError:
            self._waiting.appendleft(sample)  # to be repeated, which is safe
            raise
        except Exception as error:  # noqa: BLE001 - the next sample must be kept all the same
            log.warning("audit sample dropped", extra={"problem": repr(error)})
            self._known.pop(_place(sample), None)
            self._dropped(sample)
        else:
            self._metrics.audit_sample(policy=sample.policy.name, result="kept")
        self._waiting_bytes -= len(sample.request.image)

    async def _commit(self) -> None:
        counts, self._counts = self._counts, {}
        rows = [
            AuditCount(
                tenant=key[0], policy=key[1], policy_version=key[2], day=key[3], band=key[4],
                sha256=key[5], probability=key[6], uploads=uploads, dropped=dropped,
            )
            for key, (uploads, dropped) in sorted(counts.items())  # one order on all servers
        ]  # fmt: skip
        try:
            # Who stops waiting must not take back counts that are already being added.
            await asyncio.shield(self._queue.add_counts(rows))
        except ImagesieveError as error:
            log.warning("audit counts wait", extra={"problem": error.message})
            for key, (uploads, dropped) in counts.items():
                self._add(key, uploads=uploads, dropped=dropped)

    def _count(self, request: ModerationRequest, policy: Policy, drawn: Draw, sha256: str) -> _Key:
        day = datetime.fromtimestamp(self._clock(), UTC).date().isoformat()
        key = (request.tenant, policy.name, policy.version, day, drawn.band, sha256,
               drawn.probability)  # fmt: skip
        self._add(key, uploads=1)
        return key

    def _add(self, key: _Key, *, uploads: int = 0, dropped: int = 0) -> None:
        if key not in self._counts and len(self._counts) >= MAX_COUNTS:
            return
        entry = self._counts.setdefault(key, [0, 0])
        entry[0] += uploads
        entry[1] += dropped

    def _dropped(self, sample: _Sample) -> None:
        self._add(sample.key, dropped=1)
        self._metrics.audit_sample(policy=sample.policy.name, result="dropped")


def _place(sample: _Sample) -> tuple[str, str, str]:
    """What a kept picture is remembered by."""
    return sample.request.tenant, sample.answer.sha256, sample.policy.version


def _flag(sample: _Sample) -> Flag:
    return sample_of(
        request=sample.request,
        policy=sample.policy,
        request_digest=sample.digest,
        answer=sample.answer,
        draw=sample.draw,
        picture_hash=sample.picture_hash,
    )
