"""Counts what the parts report into Prometheus series.

Implements the Metrics port of the core, and what the edge reports to. Names,
labels and buckets are in ``catalogue.py``; here is which call moves which series. Methods
are called from the event loop and from worker threads; prometheus_client locks per series.
What every call and every image moves is gathered (``gathered.py``).
"""

from __future__ import annotations

import itertools
import math
import platform
import time
from collections.abc import Callable, Sequence
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, ProcessCollector

from imagesieve_server.core.policy import Mode, Policy
from imagesieve_server.core.ports import EncoderSpec
from imagesieve_server.core.review import OPEN, QueueStats
from imagesieve_server.core.verdict import Band, ReasonCode, Verdict
from imagesieve_server.core.webhook_port import Figures
from imagesieve_server.core.webhook_rules import Result
from imagesieve_server.metrics import catalogue
from imagesieve_server.metrics.catalogue import Kind, Series
from imagesieve_server.metrics.gathered import Gathered, SummedHistogram

_OFTEN: Final = frozenset(
    {
        catalogue.RPC_STARTED,
        catalogue.RPC_IN_FLIGHT,
        catalogue.RPC_HANDLED,
        catalogue.RPC_SECONDS,
        catalogue.STAGE_SECONDS,
        catalogue.BATCH_ROWS,
        catalogue.BATCH_CAPACITY,
        catalogue.BATCH_SECONDS,
        catalogue.IMAGE_VIEWS,
        catalogue.CONTENT_CACHE,
        catalogue.VERDICTS,
        catalogue.CATEGORY_BANDS,
        catalogue.CATEGORY_LOG_ODDS,
    }
)
"""What every call and every image moves."""


class PrometheusMetrics:
    """Every series of the catalogue on ``registry``, plus the ``process_*`` series."""

    def __init__(
        self,
        *,
        registry: CollectorRegistry,
        version: str,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """``version`` is the release's. ``registry`` must be empty of these names."""
        self.registry = registry
        self._wall_clock = wall_clock
        self._counters: dict[Series, Counter] = {}
        self._gauges: dict[Series, Gauge] = {}
        self._histograms: dict[Series, SummedHistogram] = {}
        self._often: dict[Series, Gathered] = {}
        for series in catalogue.ALL_SERIES:
            self._register(series)
        ProcessCollector(registry=registry)
        self._gauges[catalogue.BUILD_INFO].labels(version, platform.python_version()).set(1)
        self._gauges[catalogue.SHADOW_RELOAD_OK].set(1)
        families = {**self._counters, **self._gauges, **self._histograms}
        for series, values in catalogue.FIXED_LABELS:
            for value in values:
                families[series].labels(value)

    def _register(self, series: Series) -> None:
        name, text, labels = series.name, series.help, series.labels
        family: Counter | Gauge | SummedHistogram
        if series.kind is Kind.COUNTER:
            family = self._counters[series] = Counter(name, text, labels, registry=None)
        elif series.kind is Kind.GAUGE:
            family = self._gauges[series] = Gauge(name, text, labels, registry=None)
        else:
            family = self._histograms[series] = SummedHistogram(
                name, text, labels, registry=None, buckets=series.buckets
            )
        if series in _OFTEN:
            self._often[series] = Gathered(family)
        self.registry.register(self._often.get(series, family))

    # --- the edge (grpc_api) ----------------------------------------------------------

    def rpc_started(self, *, kind: str, service: str, method: str) -> None:
        self._often[catalogue.RPC_STARTED].note(kind, service, method)
        self._often[catalogue.RPC_IN_FLIGHT].note(service, method)

    def rpc_handled(
        self, *, kind: str, service: str, method: str, code: str, seconds: float
    ) -> None:
        self._often[catalogue.RPC_IN_FLIGHT].note(service, method, amount=-1.0)
        self._often[catalogue.RPC_HANDLED].note(kind, service, method, code)
        self._often[catalogue.RPC_SECONDS].note(kind, service, method, amount=seconds)

    def call_refused(self, reason: str) -> None:
        self._counters[catalogue.CALLS_REFUSED].labels(reason).inc()

    def console_login(self, result: str) -> None:
        self._counters[catalogue.CONSOLE_LOGINS].labels(result).inc()

    def console_reveal(self, how: str) -> None:
        self._counters[catalogue.CONSOLE_REVEALS].labels(how).inc()

    def file_reload(self, what: str, *, ok: bool) -> None:
        reloads = self._counters[catalogue.FILE_RELOADS]
        for result in ("ok", "failed"):  # an alert needs the zero before the first failure
            reloads.labels(what, result)
        reloads.labels(what, "ok" if ok else "failed").inc()
        self._gauges[catalogue.FILE_RELOAD_OK].labels(what).set(ok)
        if ok:
            self._gauges[catalogue.FILE_RELOADED_AT].labels(what).set(self._wall_clock())

    def certificate_expiry(self, certificate: str, *, at: float) -> None:
        self._gauges[catalogue.CERTIFICATE_EXPIRY].labels(certificate).set(at)

    def in_flight(self, *, images: int, views: float, size_bytes: int, wait_s: float) -> None:
        self._gauges[catalogue.IMAGES_IN_FLIGHT].set(images)
        self._gauges[catalogue.VIEWS_IN_FLIGHT].set(views)
        self._gauges[catalogue.IMAGE_BYTES_IN_FLIGHT].set(size_bytes)
        self._gauges[catalogue.PREDICTED_WAIT].set(wait_s)

    def images_shed(self, images: int, *, reason: str) -> None:
        self._counters[catalogue.IMAGES_SHED].labels(reason).inc(images)

    def images_abandoned(self, images: int) -> None:
        self._counters[catalogue.IMAGES_ABANDONED].inc(images)

    # --- the core's Metrics port ------------------------------------------------------

    def stage_seconds(self, stage: str, seconds: float) -> None:
        self._often[catalogue.STAGE_SECONDS].note(stage, amount=seconds)

    def batch(self, *, rows: int, capacity: int, seconds: float) -> None:
        self._often[catalogue.BATCH_ROWS].note(amount=rows)
        self._often[catalogue.BATCH_CAPACITY].note(amount=capacity)
        self._often[catalogue.BATCH_SECONDS].note(amount=seconds)

    def encoder_queue(self, views: int) -> None:
        self._gauges[catalogue.ENCODER_QUEUE].set(views)

    def encoder_healthy(self, healthy: bool) -> None:
        self._gauges[catalogue.ENCODER_HEALTHY].set(healthy)

    def encoder_failed(self, reason: str) -> None:
        self._counters[catalogue.ENCODER_FAILURES].labels(reason).inc()

    def encoder_dropped(self, reason: str, views: int) -> None:
        self._counters[catalogue.ENCODER_DROPPED].labels(reason).inc(views)

    def decode_failed(self, reason: str) -> None:
        self._counters[catalogue.DECODE_FAILURES].labels(reason).inc()

    def decode_workers(self, *, busy: int, alive: int) -> None:
        self._gauges[catalogue.DECODE_WORKERS_BUSY].set(busy)
        self._gauges[catalogue.DECODE_WORKERS_ALIVE].set(alive)

    def decode_worker_died(self, reason: str) -> None:
        self._counters[catalogue.DECODE_WORKER_DEATHS].labels(reason).inc()

    def image_quarantined(self) -> None:
        self._counters[catalogue.IMAGES_QUARANTINED].inc()

    def image_views(self, views: int) -> None:
        self._often[catalogue.IMAGE_VIEWS].note(amount=views)

    def content_cache(self, result: str) -> None:
        self._often[catalogue.CONTENT_CACHE].note(result)

    def content_cache_size(self, size_bytes: int) -> None:
        self._gauges[catalogue.CONTENT_CACHE_BYTES].set(size_bytes)

    def quota_refused(self, quota: str) -> None:
        self._counters[catalogue.QUOTA_REFUSALS].labels(quota).inc()

    def verdict(self, *, policy: str, verdict: str, degraded: bool) -> None:
        label = "true" if degraded else "false"
        self._often[catalogue.VERDICTS].note(policy, verdict, label)

    def category_score(
        self, *, policy: str, policy_version: str, category: str, log_odds: float, band: str
    ) -> None:
        self._often[catalogue.CATEGORY_BANDS].note(policy, policy_version, category, band)
        if not math.isnan(log_odds):  # a NaN would stay in the sum for ever
            self._often[catalogue.CATEGORY_LOG_ODDS].note(policy, category, amount=log_odds)

    def spike(self, kind: str) -> None:
        self._counters[catalogue.SPIKES].labels(kind).inc()

    def largest_source(self, kind: str, flags: int) -> None:
        self._gauges[catalogue.LARGEST_SOURCE].labels(kind).set(flags)

    def audit_sample(self, *, policy: str, result: str) -> None:
        self._counters[catalogue.AUDIT_SAMPLES].labels(policy, result).inc()

    def reason(self, *, policy: str, code: str) -> None:
        self._counters[catalogue.REASONS].labels(policy, code).inc()

    def policies(self, policies: Sequence[Policy]) -> None:
        info = self._gauges[catalogue.POLICY_INFO]
        enforced = self._gauges[catalogue.CATEGORY_ENFORCED]
        info.clear()  # versions no longer in force must go
        enforced.clear()
        for policy in policies:
            info.labels(policy.name, policy.version, policy.model_fingerprint).set(1)
            for category in policy.categories:
                enforced.labels(policy.name, category.id).set(category.mode is Mode.ENFORCE)
            self._begin_at_zero(policy)
        self._forget_other_versions(catalogue.CATEGORY_BANDS, policies)

    def _begin_at_zero(self, policy: Policy) -> None:
        for code in ReasonCode:
            self._counters[catalogue.REASONS].labels(policy.name, code)
        for verdict in Verdict:
            for degraded in ("true", "false"):
                self._counters[catalogue.VERDICTS].labels(policy.name, verdict, degraded)
        for result in ("kept", "counted", "dropped"):
            self._counters[catalogue.AUDIT_SAMPLES].labels(policy.name, result)
        for category in policy.categories:
            for band in Band:
                self._counters[catalogue.CATEGORY_BANDS].labels(
                    policy.name, policy.version, category.id, band
                )

    def _forget_other_versions(self, series: Series, policies: Sequence[Policy]) -> None:
        """Drop what was counted for versions no longer in force, or every edit would add series.
        Name and version are the first two labels."""
        counter = self._counters[series]
        in_force = {(policy.name, policy.version) for policy in policies}
        known = {
            tuple(s.labels[name] for name in series.labels)
            for m in self._often.get(series, counter).collect()
            for s in m.samples
        }
        for labels in known:
            if labels[:2] not in in_force:
                counter.remove(*labels)
                if series in self._often:
                    self._often[series].forget(*labels)

    def policy_reload(self, *, ok: bool) -> None:
        self._counters[catalogue.POLICY_RELOADS].labels("ok" if ok else "failed").inc()
        self._gauges[catalogue.POLICY_RELOAD_OK].set(ok)
        if ok:
            self._gauges[catalogue.POLICY_RELOADED_AT].set(self._wall_clock())

    def model(self, spec: EncoderSpec) -> None:
        info = self._gauges[catalogue.MODEL_INFO]
        info.clear()
        info.labels(spec.fingerprint, spec.name, spec.precision, spec.provider).set(1)

    def store_commit(self, *, flags: int, seconds: float) -> None:
        self._counters[catalogue.STORE_FLAGS].inc(flags)
        self._histograms[catalogue.STORE_COMMIT_SECONDS].observe(seconds)

    def review_quality(self, what: str) -> None:
        self._counters[catalogue.REVIEW_QUALITY].labels(what).inc()

    def store_error(self, operation: str) -> None:
        self._counters[catalogue.STORE_ERRORS].labels(operation).inc()

    def store_healthy(self, healthy: bool) -> None:
        self._gauges[catalogue.STORE_HEALTHY].set(healthy)

    def disk_free(self, folder: str, size_bytes: int) -> None:
        self._gauges[catalogue.DISK_FREE].labels(folder).set(size_bytes)

    def queue(self, stats: QueueStats) -> None:
        for state in OPEN:
            count = stats.by_state.get(state, 0)
            self._gauges[catalogue.REVIEW_ITEMS].labels(state).set(count)
        oldest = stats.now if stats.oldest_ready_at is None else stats.oldest_ready_at
        self._gauges[catalogue.REVIEW_OLDEST_AGE].set(max(0.0, stats.now - oldest))
        self._gauges[catalogue.REVIEW_SECOND].set(stats.second_reviews)

    def embeddings_kept(self, views: int) -> None:
        self._counters[catalogue.EMBEDDINGS_KEPT].inc(views)

    def embeddings_dropped(self, views: int, *, reason: str) -> None:
        self._counters[catalogue.EMBEDDINGS_DROPPED].labels(reason).inc(views)

    def embeddings_failed(self, operation: str) -> None:
        self._counters[catalogue.EMBEDDING_ERRORS].labels(operation).inc()

    def embeddings_size(self, size_bytes: int) -> None:
        self._gauges[catalogue.EMBEDDINGS_BYTES].set(size_bytes)

    def shadow_reload(self, *, ok: bool) -> None:
        self._counters[catalogue.SHADOW_RELOADS].labels("ok" if ok else "failed").inc()
        self._gauges[catalogue.SHADOW_RELOAD_OK].set(ok)

    def shadows(self, shadows: Sequence[Policy]) -> None:
        info = self._gauges[catalogue.SHADOW_INFO]
        info.clear()
        for shadow in shadows:
            info.labels(shadow.name, shadow.version).set(1)
            for live, other in itertools.product(Verdict, Verdict):
                self._counters[catalogue.SHADOW_VERDICTS].labels(
                    shadow.name, shadow.version, live, other
                )
        for series in (catalogue.SHADOW_VERDICTS, catalogue.SHADOW_BANDS):
            self._forget_other_versions(series, shadows)

    def shadow_verdict(self, *, policy: str, version: str, live: str, shadow: str) -> None:
        self._counters[catalogue.SHADOW_VERDICTS].labels(policy, version, live, shadow).inc()

    def shadow_band(
        self, *, policy: str, version: str, category: str, live: str, shadow: str
    ) -> None:
        self._counters[catalogue.SHADOW_BANDS].labels(policy, version, category, live, shadow).inc()

    def webhook_endpoints(self, endpoints: Sequence[str]) -> None:
        for gauge in (
            catalogue.WEBHOOK_OLDEST_AGE, catalogue.WEBHOOK_RETRYING, catalogue.WEBHOOK_DEAD
        ):  # fmt: skip
            self._gauges[gauge].clear()  # endpoints no longer in force must go
        for endpoint, result in itertools.product(endpoints, Result):
            self._counters[catalogue.WEBHOOK_ATTEMPTS].labels(endpoint, result)

    def webhook_attempt(self, endpoint: str, result: str) -> None:
        self._counters[catalogue.WEBHOOK_ATTEMPTS].labels(endpoint, result).inc()

    def webhook_figures(self, endpoint: str, figures: Figures) -> None:
        oldest = figures.now if figures.oldest_at is None else figures.oldest_at
        age = max(0.0, figures.now - oldest)
        self._gauges[catalogue.WEBHOOK_OLDEST_AGE].labels(endpoint).set(age)
        self._gauges[catalogue.WEBHOOK_RETRYING].labels(endpoint).set(figures.retrying)
        self._gauges[catalogue.WEBHOOK_DEAD].labels(endpoint).set(figures.dead)

    def shadow_missed(self, reason: str) -> None:
        self._counters[catalogue.SHADOW_MISSED].labels(reason).inc()
