"""A metrics port that remembers what it was told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from imagesieve_server.core.policy import Policy
from imagesieve_server.core.ports import EncoderSpec
from imagesieve_server.core.review import QueueStats


class RecordingMetrics:
    """Every metrics port of the server; remembers the calls in order."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def named(self, name: str) -> list[dict[str, Any]]:
        """The arguments of every call of one method."""
        return [arguments for called, arguments in self.calls if called == name]

    def _note(self, name: str, **arguments: Any) -> None:
        self.calls.append((name, arguments))

    def stage_seconds(self, stage: str, seconds: float) -> None:
        self._note("stage_seconds", stage=stage, seconds=seconds)

    def batch(self, *, rows: int, capacity: int, seconds: float) -> None:
        self._note("batch", rows=rows, capacity=capacity, seconds=seconds)

    def encoder_queue(self, views: int) -> None:
        self._note("encoder_queue", views=views)

    def encoder_healthy(self, healthy: bool) -> None:
        self._note("encoder_healthy", healthy=healthy)

    def encoder_failed(self, reason: str) -> None:
        self._note("encoder_failed", reason=reason)

    def encoder_dropped(self, reason: str, views: int) -> None:
        self._note("encoder_dropped", reason=reason, views=views)

    def decode_failed(self, reason: str) -> None:
        self._note("decode_failed", reason=reason)

    def decode_workers(self, *, busy: int, alive: int) -> None:
        self._note("decode_workers", busy=busy, alive=alive)

    def decode_worker_died(self, reason: str) -> None:
        self._note("decode_worker_died", reason=reason)

    def image_quarantined(self) -> None:
        self._note("image_quarantined")

    def image_views(self, views: int) -> None:
        self._note("image_views", views=views)

    def content_cache(self, result: str) -> None:
        self._note("content_cache", result=result)

    def content_cache_size(self, size_bytes: int) -> None:
        self._note("content_cache_size", size_bytes=size_bytes)

    def quota_refused(self, quota: str) -> None:
        self._note("quota_refused", quota=quota)

    def verdict(self, *, policy: str, verdict: str, degraded: bool) -> None:
        self._note("verdict", policy=policy, verdict=verdict, degraded=degraded)

    def spike(self, kind: str) -> None:
        self._note("spike", kind=kind)

    def largest_source(self, kind: str, flags: int) -> None:
        self._note("largest_source", kind=kind, flags=flags)

    def audit_sample(self, *, policy: str, result: str) -> None:
        self._note("audit_sample", policy=policy, result=result)

    def category_score(
        self, *, policy: str, policy_version: str, category: str, log_odds: float, band: str
    ) -> None:
        self._note(
            "category_score",
            policy=policy,
            policy_version=policy_version,
            category=category,
            log_odds=log_odds,
            band=band,
        )

    def reason(self, *, policy: str, code: str) -> None:
        self._note("reason", policy=policy, code=code)

    def policies(self, policies: Sequence[Policy]) -> None:
        self._note("policies", policies=tuple(policies))

    def policy_reload(self, *, ok: bool) -> None:
        self._note("policy_reload", ok=ok)

    def model(self, spec: EncoderSpec) -> None:
        self._note("model", spec=spec)

    def store_commit(self, *, flags: int, seconds: float) -> None:
        self._note("store_commit", flags=flags, seconds=seconds)

    def store_error(self, operation: str) -> None:
        self._note("store_error", operation=operation)

    def review_quality(self, what: str) -> None:
        self._note("review_quality", what=what)

    def store_healthy(self, healthy: bool) -> None:
        self._note("store_healthy", healthy=healthy)

    def disk_free(self, folder: str, size_bytes: int) -> None:
        self._note("disk_free", folder=folder, size_bytes=size_bytes)

    def queue(self, stats: QueueStats) -> None:
        self._note("queue", stats=stats)

    def shadow_reload(self, *, ok: bool) -> None:
        self._note("shadow_reload", ok=ok)

    def shadows(self, shadows: Sequence[Policy]) -> None:
        self._note("shadows", shadows=tuple(shadows))

    def shadow_verdict(self, *, policy: str, version: str, live: str, shadow: str) -> None:
        self._note("shadow_verdict", policy=policy, version=version, live=live, shadow=shadow)

    def shadow_band(
        self, *, policy: str, version: str, category: str, live: str, shadow: str
    ) -> None:
        self._note(
            "shadow_band",
            policy=policy,
            version=version,
            category=category,
            live=live,
            shadow=shadow,
        )

    def shadow_missed(self, reason: str) -> None:
        self._note("shadow_missed", reason=reason)

    def embeddings_kept(self, views: int) -> None:
        self._note("embeddings_kept", views=views)

    def embeddings_dropped(self, views: int, *, reason: str) -> None:
        self._note("embeddings_dropped", views=views, reason=reason)

    def embeddings_failed(self, operation: str) -> None:
        self._note("embeddings_failed", operation=operation)

    def embeddings_size(self, size_bytes: int) -> None:
        self._note("embeddings_size", size_bytes=size_bytes)

    def rpc_started(self, *, kind: str, service: str, method: str) -> None:
        self._note("rpc_started", kind=kind, service=service, method=method)

    def rpc_handled(
        self, *, kind: str, service: str, method: str, code: str, seconds: float
    ) -> None:
        self._note(
            "rpc_handled", kind=kind, service=service, method=method, code=code, seconds=seconds
        )

    def call_refused(self, reason: str) -> None:
        self._note("call_refused", reason=reason)

    def console_login(self, result: str) -> None:
        self._note("console_login", result=result)

    def console_reveal(self, how: str) -> None:
        self._note("console_reveal", how=how)

    def file_reload(self, what: str, *, ok: bool) -> None:
        self._note("file_reload", what=what, ok=ok)

    def certificate_expiry(self, certificate: str, *, at: float) -> None:
        self._note("certificate_expiry", certificate=certificate, at=at)

    def in_flight(self, *, images: int, views: float, size_bytes: int, wait_s: float) -> None:
        self._note("in_flight", images=images, views=views, size_bytes=size_bytes, wait_s=wait_s)

    def images_shed(self, images: int, *, reason: str) -> None:
        self._note("images_shed", images=images, reason=reason)

    def images_abandoned(self, images: int) -> None:
        self._note("images_abandoned", images=images)
