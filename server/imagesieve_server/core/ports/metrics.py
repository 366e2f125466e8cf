"""What the parts tell of themselves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from imagesieve_server.core.policy import Policy
from imagesieve_server.core.ports.judging import EncoderSpec
from imagesieve_server.core.review import (
    QueueStats,
)


class Metrics(Protocol):
    """What the parts count and time. The series stand in ``metrics/catalogue.py``."""

    def stage_seconds(self, stage: str, seconds: float) -> None:
        """Time spent by one image in a stage: admit, decode, encode, score, keep."""
        ...

    def batch(self, *, rows: int, capacity: int, seconds: float) -> None:
        """One encoder batch: real rows, bucket size, and the run's seconds."""
        ...

    def encoder_queue(self, views: int) -> None:
        """Views waiting for the encoder."""
        ...

    def encoder_healthy(self, healthy: bool) -> None: ...

    def encoder_failed(self, reason: str) -> None:
        """The encoder failed once: "batch" (an error, or a run that hangs) or "canary"."""
        ...

    def encoder_dropped(self, reason: str, views: int) -> None:
        """Views dropped before the encoder: cancelled, deadline."""
        ...

    def decode_failed(self, reason: str) -> None:
        """One image without a picture; ``reason`` from UndecodableDetail or an error's reason."""
        ...

    def decode_workers(self, *, busy: int, alive: int) -> None: ...

    def decode_worker_died(self, reason: str) -> None: ...

    def image_quarantined(self) -> None:
        """Bytes were put into quarantine: they are not decoded any more for a while."""
        ...

    def image_views(self, views: int) -> None:
        """Views of one decoded image."""
        ...

    def content_cache(self, result: str) -> None:
        """One look-up of bytes that may have been seen: hit, joined or miss."""
        ...

    def content_cache_size(self, size_bytes: int) -> None:
        """Memory that what was seen takes, bytes."""
        ...

    def quota_refused(self, quota: str) -> None:
        """One image was refused because its tenant's quota is used up."""
        ...

    def verdict(self, *, policy: str, verdict: str, degraded: bool) -> None: ...

    def category_score(
        self, *, policy: str, policy_version: str, category: str, log_odds: float, band: str
    ) -> None: ...

    def reason(self, *, policy: str, code: str) -> None: ...

    def spike(self, kind: str) -> None:
        """One "group", "uploader" or "tenant" has begun to send many flags."""
        ...

    def largest_source(self, kind: str, flags: int) -> None:
        """The most flags that one group, uploader or tenant sent within the window."""
        ...

    def audit_sample(self, *, policy: str, result: str) -> None:
        """One selected ALLOW: kept for review, counted (a further upload of a picture that was
        kept), or dropped."""
        ...

    def policies(self, policies: Sequence[Policy]) -> None:
        """The set of policies in force changed."""
        ...

    def policy_reload(self, *, ok: bool) -> None: ...

    def model(self, spec: EncoderSpec) -> None: ...

    def store_commit(self, *, flags: int, seconds: float) -> None:
        """One group commit: how many flags it carried."""
        ...

    def store_error(self, operation: str) -> None: ...

    def review_quality(self, what: str) -> None:
        """A word of a reviewer, compared: agreed or differed (with a second review), golden_right,
        golden_wrong or golden_passed, and of the decision before it upheld or overturned."""
        ...

    def store_healthy(self, healthy: bool) -> None:
        """Whether the store answered when it was last asked."""
        ...

    def disk_free(self, folder: str, size_bytes: int) -> None:
        """Room left where "database", "evidence" or "embeddings" lie, bytes."""
        ...

    def queue(self, stats: QueueStats) -> None: ...
