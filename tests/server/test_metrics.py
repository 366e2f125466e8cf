"""The series: their names are golden, every call moves its series, and they are on a port."""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import math
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from imagesieve_server.core import ports
from imagesieve_server.core.errors import ConfigError
from imagesieve_server.core.policy import Mode
from imagesieve_server.core.review import QueueStats, State
from imagesieve_server.core.verdict import Band, ReasonCode, Verdict
from imagesieve_server.core.webhook_port import Figures
from imagesieve_server.embedding_store.writer import EmbeddingMetrics
from imagesieve_server.grpc_api.admission import AdmissionMetrics, Shed
from imagesieve_server.grpc_api.interceptors import RpcMetrics
from imagesieve_server.images.worker_process import Death
from imagesieve_server.metrics import (
    ALL_SERIES,
    Kind,
    MetricsServer,
    PrometheusMetrics,
    reference_table,
)
from imagesieve_server.metrics.catalogue import (
    DECODE_WORKER_DEATHS,
    FIXED_LABELS,
    IMAGES_SHED,
    Series,
)
from imagesieve_server.metrics.disk import free_bytes, watch_disks
from imagesieve_server.metrics.process_series import PROCESS_RESTARTS
from imagesieve_server.policy_files.shadow import ShadowMetrics
from imagesieve_server.shadow_scoring import ShadowCounts
from imagesieve_server.testing import FakeEncoder, RecordingMetrics, colour_policy

REFERENCE = Path(__file__).parents[2] / "docs" / "reference" / "metrics.md"
BEGIN, END = "<!-- series: begin -->\n", "<!-- series: end -->\n"


@pytest.fixture
def metrics() -> PrometheusMetrics:
    return PrometheusMetrics(
        registry=CollectorRegistry(), version="1.2.3", wall_clock=lambda: 1_700_000_000.0
    )


def value(metrics: PrometheusMetrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def call_everything(metrics: PrometheusMetrics) -> None:
    """One call of every method."""
    method = {"kind": "unary", "service": "s", "method": "m"}
    metrics.rpc_started(**method)
    metrics.rpc_handled(**method, code="OK", seconds=0.2)
    metrics.call_refused("UNKNOWN_TOKEN")
    metrics.file_reload("callers", ok=True)
    metrics.file_reload("tls", ok=False)
    metrics.webhook_endpoints(["uploads"])
    metrics.webhook_attempt("uploads", "told")
    metrics.webhook_figures("uploads", Figures(oldest_at=90.0, retrying=3, dead=1, now=100.0))
    metrics.certificate_expiry("server", at=2e9)
    metrics.in_flight(images=3, views=4.5, size_bytes=300, wait_s=0.5)
    metrics.images_shed(2, reason="room")
    metrics.images_abandoned(1)
    metrics.quota_refused("undecodable_images_per_hour")
    metrics.spike("group")
    metrics.largest_source("group", 7)
    metrics.stage_seconds("decode", 0.01)
    metrics.batch(rows=5, capacity=8, seconds=0.1)
    metrics.encoder_queue(7)
    metrics.encoder_healthy(True)
    metrics.encoder_failed("canary")
    metrics.encoder_dropped("deadline", 2)
    metrics.decode_failed("TRUNCATED")
    metrics.decode_workers(busy=1, alive=2)
    metrics.decode_worker_died("memory")
    metrics.image_quarantined()
    metrics.image_views(3)
    metrics.verdict(policy="p", verdict="ALLOW", degraded=False)
    metrics.reason(policy="p", code="CATEGORY_REVIEW")
    metrics.category_score(
        policy="p", policy_version="v", category="c", log_odds=-2.5, band="CLEAR"
    )
    metrics.policies([colour_policy()])
    metrics.policy_reload(ok=True)
    metrics.model(FakeEncoder().spec)
    metrics.store_commit(flags=4, seconds=0.01)
    metrics.store_error("submit")
    metrics.store_healthy(True)
    metrics.disk_free("evidence", 5)
    metrics.embeddings_kept(3)
    metrics.embeddings_dropped(2, reason="room")
    metrics.embeddings_failed("write")
    metrics.embeddings_size(1024)
    metrics.shadow_reload(ok=True)
    metrics.shadows([colour_policy()])
    metrics.shadow_verdict(policy="colours", version="v1", live="ALLOW", shadow="REVIEW")
    metrics.shadow_band(
        policy="colours", version="v1", category="red", live="CLEAR", shadow="REVIEW"
    )
    metrics.shadow_missed("queue")
    metrics.queue(QueueStats(by_state={State.READY: 2}, oldest_ready_at=90.0, now=100.0))


@pytest.mark.parametrize(
    "port",
    [ports.Metrics, RpcMetrics, AdmissionMetrics, EmbeddingMetrics, ShadowMetrics, ShadowCounts],
)
def test_every_method_of_every_port_is_there_with_the_same_parameters(port: type) -> None:
    names = [name for name in vars(port) if not name.startswith("_")]
    assert names
    for name in names:
        ours = inspect.signature(getattr(PrometheusMetrics, name))
        theirs = inspect.signature(getattr(port, name))
        assert list(ours.parameters.values()) == list(theirs.parameters.values()), name


def test_the_series_are_golden(
    metrics: PrometheusMetrics, golden: Callable[[str, str], None]
) -> None:
    """What is really exported once everything has moved: name, type, labels, help, bounds."""
    call_everything(metrics)
    lines = []
    for family in text_string_to_metric_families(generate_latest(metrics.registry).decode()):
        if family.name.startswith("process_") or family.name.endswith("_created"):
            continue
        labels = sorted({key for s in family.samples for key in s.labels if key != "le"})
        name = f"{family.name}_total" if family.type == "counter" else family.name
        bounds = list(dict.fromkeys(s.labels["le"] for s in family.samples if "le" in s.labels))
        lines.append(f"{name} {family.type} {{{','.join(labels)}}} {family.documentation}")
        lines.extend([f"    {' '.join(bounds)}"] if bounds else [])
    golden("metrics.txt", "\n".join(lines) + "\n")


def test_the_catalogue_is_what_is_exported(metrics: PrometheusMetrics) -> None:
    call_everything(metrics)
    exported = {
        (f"{family.name}_total" if family.type == "counter" else family.name, family.type)
        for family in metrics.registry.collect()
        if family.samples and not family.name.startswith("process_")
    }
    here = set(ALL_SERIES) - {PROCESS_RESTARTS}  # which only a supervisor counts
    assert exported == {(series.name, str(series.kind)) for series in here}


def test_names_follow_the_conventions() -> None:
    for series in ALL_SERIES:
        assert series.name.startswith(("imagesieve_", "grpc_server_"))
        assert (series.kind is Kind.COUNTER) == series.name.endswith("_total")
        assert (series.kind is Kind.HISTOGRAM) == bool(series.buckets)
        assert list(series.buckets) == sorted(series.buckets)
        assert series.help.endswith(".")
        assert "_ms" not in series.name
        assert "milli" not in series.name


def test_the_reference_lists_the_series(request: pytest.FixtureRequest) -> None:
    text = REFERENCE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    written, _, after = rest.partition(END)
    if request.config.getoption("--update-golden"):
        REFERENCE.write_text(before + BEGIN + reference_table() + END + after, encoding="utf-8")
        written = reference_table()
    assert written == reference_table()


def test_the_default_registry_is_left_alone(metrics: PrometheusMetrics) -> None:
    ours = {series.name.removesuffix("_total") for series in ALL_SERIES}
    assert ours.isdisjoint(family.name for family in REGISTRY.collect())


def test_calls_are_counted_timed_and_in_flight(metrics: PrometheusMetrics) -> None:
    method = {"kind": "unary", "service": "s", "method": "m"}
    labels = {"grpc_type": "unary", "grpc_service": "s", "grpc_method": "m"}
    metrics.rpc_started(**method)
    assert value(metrics, "imagesieve_rpcs_in_flight", grpc_service="s", grpc_method="m") == 1
    metrics.rpc_handled(**method, code="NotFound", seconds=0.2)
    assert value(metrics, "imagesieve_rpcs_in_flight", grpc_service="s", grpc_method="m") == 0
    assert value(metrics, "grpc_server_started_total", **labels) == 1
    assert value(metrics, "grpc_server_handled_total", **labels, grpc_code="NotFound") == 1
    assert value(metrics, "grpc_server_handling_seconds_count", **labels) == 1
    assert value(metrics, "grpc_server_handling_seconds_bucket", **labels, le="0.25") == 1
    assert value(metrics, "grpc_server_handling_seconds_bucket", **labels, le="0.1") == 0


IN_FLIGHT = {"images": 3, "views": 4.5, "size_bytes": 300, "wait_s": 0.5}

MOVES: list[tuple[str, tuple[Any, ...], dict[str, Any], str, dict[str, str], float]] = [
    ("in_flight", (), IN_FLIGHT, "imagesieve_images_in_flight", {}, 3),
    ("in_flight", (), IN_FLIGHT, "imagesieve_images_in_flight_bytes", {}, 300),
    ("in_flight", (), IN_FLIGHT, "imagesieve_views_in_flight", {}, 4.5),
    ("in_flight", (), IN_FLIGHT, "imagesieve_predicted_wait_seconds", {}, 0.5),
    ("images_shed", (2,), {"reason": "room"}, "imagesieve_images_shed_total",
     {"reason": "room"}, 2),
    ("quota_refused", ("q",), {}, "imagesieve_quota_refusals_total", {"quota": "q"}, 1),
    ("images_abandoned", (1,), {}, "imagesieve_images_abandoned_total", {}, 1),
    ("stage_seconds", ("decode", 0.5), {}, "imagesieve_stage_seconds_sum", {"stage": "decode"},
     0.5),
    ("batch", (), {"rows": 5, "capacity": 8, "seconds": 0.1},
     "imagesieve_encoder_batch_rows_sum", {}, 5),
    ("batch", (), {"rows": 5, "capacity": 8, "seconds": 0.1},
     "imagesieve_encoder_batch_capacity_rows_sum", {}, 8),
    ("batch", (), {"rows": 5, "capacity": 8, "seconds": 0.1},
     "imagesieve_encoder_batch_seconds_sum", {}, 0.1),
    ("encoder_queue", (7,), {}, "imagesieve_encoder_queue_views", {}, 7),
    ("encoder_healthy", (True,), {}, "imagesieve_encoder_healthy", {}, 1),
    ("encoder_healthy", (False,), {}, "imagesieve_encoder_healthy", {}, 0),
    ("encoder_failed", ("canary",), {}, "imagesieve_encoder_failures_total",
     {"reason": "canary"}, 1),
    ("encoder_dropped", ("deadline", 2), {}, "imagesieve_encoder_dropped_views_total",
     {"reason": "deadline"}, 2),
    ("decode_failed", ("TRUNCATED",), {}, "imagesieve_decode_failures_total",
     {"reason": "TRUNCATED"}, 1),
    ("decode_workers", (), {"busy": 1, "alive": 2}, "imagesieve_decode_workers_busy", {}, 1),
    ("decode_workers", (), {"busy": 1, "alive": 2}, "imagesieve_decode_workers_alive", {}, 2),
    ("decode_worker_died", ("memory",), {}, "imagesieve_decode_worker_deaths_total",
     {"reason": "memory"}, 1),
    ("image_quarantined", (), {}, "imagesieve_images_quarantined_total", {}, 1),
    ("store_healthy", (True,), {}, "imagesieve_store_healthy", {}, 1),
    ("store_healthy", (False,), {}, "imagesieve_store_healthy", {}, 0),
    ("disk_free", ("evidence", 5), {}, "imagesieve_disk_free_bytes", {"folder": "evidence"}, 5),
    ("image_views", (3,), {}, "imagesieve_image_views_sum", {}, 3),
    ("verdict", (), {"policy": "p", "verdict": "ALLOW", "degraded": True},
     "imagesieve_verdicts_total", {"policy": "p", "verdict": "ALLOW", "degraded": "true"}, 1),
    ("reason", (), {"policy": "p", "code": "UNSCORED"}, "imagesieve_verdict_reasons_total",
     {"policy": "p", "code": "UNSCORED"}, 1),
    ("category_score", (),
     {"policy": "p", "policy_version": "v", "category": "c", "log_odds": -2.5, "band": "CLEAR"},
     "imagesieve_category_log_odds_bucket", {"policy": "p", "category": "c", "le": "-2.0"}, 1),
    ("category_score", (),
     {"policy": "p", "policy_version": "v", "category": "c", "log_odds": -2.5, "band": "CLEAR"},
     "imagesieve_category_bands_total",
     {"policy": "p", "policy_version": "v", "category": "c", "band": "CLEAR"}, 1),
    ("store_commit", (), {"flags": 4, "seconds": 0.01}, "imagesieve_store_flags_total", {}, 4),
    ("store_commit", (), {"flags": 4, "seconds": 0.01}, "imagesieve_store_commit_seconds_count",
     {}, 1),
    ("store_error", ("submit",), {}, "imagesieve_store_errors_total", {"operation": "submit"},
     1),
]  # fmt: skip


@pytest.mark.parametrize(
    ("method", "positional", "named", "series", "labels", "moved"),
    MOVES,
    ids=[f"{move[0]} {move[3]}" for move in MOVES],
)
def test_each_call_moves_its_series(
    metrics: PrometheusMetrics,
    method: str,
    positional: tuple[Any, ...],
    named: dict[str, Any],
    series: str,
    labels: dict[str, str],
    moved: float,
) -> None:
    getattr(metrics, method)(*positional, **named)
    assert value(metrics, series, **labels) == moved


def test_a_score_that_is_no_number_is_banded_but_not_binned(metrics: PrometheusMetrics) -> None:
    for log_odds in (math.nan, math.inf, -math.inf):
        metrics.category_score(
            policy="p", policy_version="v", category="c", log_odds=log_odds, band="REVIEW"
        )
    labels = {"policy": "p", "category": "c"}
    banded = {**labels, "policy_version": "v", "band": "REVIEW"}
    assert value(metrics, "imagesieve_category_bands_total", **banded) == 3
    assert value(metrics, "imagesieve_category_log_odds_count", **labels) == 2


def test_only_policies_in_force_have_an_info(metrics: PrometheusMetrics) -> None:
    old, new = colour_policy(version="v1"), colour_policy(version="v2")
    metrics.policies([old])
    metrics.policies([new])

    def info(version: str) -> float | None:
        return value(
            metrics,
            "imagesieve_policy_info",
            policy="colours",
            policy_version=version,
            model_version=old.model_fingerprint,
        )

    assert (info("v1"), info("v2")) == (None, 1)


def test_a_policy_in_force_counts_from_zero(metrics: PrometheusMetrics) -> None:
    """A rate does not see a counter whose first sample is 1."""
    policy = colour_policy(version="v1")
    metrics.policies([policy])
    for code in ReasonCode:
        found = value(metrics, "imagesieve_verdict_reasons_total", policy=policy.name, code=code)
        assert found == 0
    for verdict in Verdict:
        labels = {"policy": policy.name, "verdict": verdict, "degraded": "true"}
        assert value(metrics, "imagesieve_verdicts_total", **labels) == 0
    for category in policy.categories:
        for band in Band:
            labels = {"policy": policy.name, "policy_version": "v1", "band": band}
            found = value(
                metrics, "imagesieve_category_bands_total", **labels, category=category.id
            )
            assert found == 0


def test_bands_of_a_version_no_longer_in_force_go_and_the_others_stay(
    metrics: PrometheusMetrics,
) -> None:
    labels = {"policy": "colours", "category": "red", "band": "REVIEW"}

    def bands(version: str) -> float | None:
        return value(metrics, "imagesieve_category_bands_total", **labels, policy_version=version)

    score = {**labels, "log_odds": 1.0}
    metrics.policies([colour_policy(version="v1")])
    metrics.category_score(**score, policy_version="v1")
    metrics.policies([colour_policy(version="v1")])
    assert bands("v1") == 1
    metrics.policies([colour_policy(version="v2")])
    assert (bands("v1"), bands("v2")) == (None, 0)
    metrics.policies([colour_policy(version="v1")])
    metrics.category_score(**score, policy_version="v1")
    assert bands("v1") == 1, "a version that comes back is counted where it is seen"


def test_a_category_says_whether_it_is_enforced(metrics: PrometheusMetrics) -> None:
    policy = colour_policy()
    first, *rest = policy.categories
    assert first.mode is Mode.ENFORCE
    observed = dataclasses.replace(first, mode=Mode.OBSERVE)

    def enforced() -> float | None:
        labels = {"policy": policy.name, "category": first.id}
        return value(metrics, "imagesieve_category_enforced", **labels)

    metrics.policies([policy])
    assert enforced() == 1
    metrics.policies([dataclasses.replace(policy, categories=(observed, *rest))])
    assert enforced() == 0
    metrics.policies([])
    assert enforced() is None


@pytest.mark.parametrize(
    ("series", "values"), FIXED_LABELS, ids=[series.name for series, _ in FIXED_LABELS]
)
def test_fixed_labels_are_there_from_the_start(
    metrics: PrometheusMetrics, series: Series, values: tuple[str, ...]
) -> None:
    name = f"{series.name}_count" if series.buckets else series.name
    (label,) = series.labels
    assert [value(metrics, name, **{label: each}) for each in values] == [0] * len(values)


def test_labels_are_the_values_that_the_parts_write() -> None:
    fixed = dict(FIXED_LABELS)
    assert fixed[DECODE_WORKER_DEATHS] == tuple(Death)
    assert fixed[IMAGES_SHED] == tuple(Shed)


# --- disks ----------------------------------------------------------------------------------


async def test_disks_are_looked_up_again_and_again_and_a_missing_one_harms_no_other(
    tmp_path: Path,
) -> None:
    told = RecordingMetrics()
    folders = {"database": tmp_path / "gone", "evidence": tmp_path}
    watching = asyncio.create_task(watch_disks(folders, metrics=told, every_s=0.001))
    async with asyncio.timeout(30):
        while len(told.named("disk_free")) < 3:
            await asyncio.sleep(0.001)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    assert {each["folder"] for each in told.named("disk_free")} == {"evidence"}
    assert all(each["size_bytes"] > 0 for each in told.named("disk_free"))


def test_room_is_what_this_process_may_use(
    tmp_path: Path,
) -> None:
    found = shutil.disk_usage(tmp_path)
    assert 0 < free_bytes(tmp_path) <= found.total
    with pytest.raises(FileNotFoundError):
        free_bytes(tmp_path / "gone")


def test_reloads_are_counted_from_zero_and_the_last_good_one_is_dated(
    metrics: PrometheusMetrics,
) -> None:
    def state() -> tuple[float | None, ...]:
        return (
            value(metrics, "imagesieve_policy_reloads_total", result="ok"),
            value(metrics, "imagesieve_policy_reloads_total", result="failed"),
            value(metrics, "imagesieve_policy_last_reload_successful"),
            value(metrics, "imagesieve_policy_last_reload_success_timestamp_seconds"),
        )

    assert state() == (0, 0, 0, 0)
    metrics.policy_reload(ok=True)
    assert state() == (1, 0, 1, 1_700_000_000.0)
    metrics.policy_reload(ok=False)
    assert state() == (1, 1, 0, 1_700_000_000.0)


def test_the_model_and_the_build_are_named(metrics: PrometheusMetrics) -> None:
    spec = FakeEncoder().spec
    metrics.model(spec)
    text = generate_latest(metrics.registry).decode()
    assert f'model_version="{spec.fingerprint}"' in text
    assert 'provider="none"' in text
    assert 'version="1.2.3"' in text


def test_review_items_have_every_state_and_an_age(metrics: PrometheusMetrics) -> None:
    metrics.queue(QueueStats(by_state={State.READY: 2}, oldest_ready_at=90.0, now=100.0))
    assert value(metrics, "imagesieve_review_items", state="READY") == 2
    assert value(metrics, "imagesieve_review_items", state="PARKED") == 0
    assert value(metrics, "imagesieve_review_oldest_ready_age_seconds") == 10
    metrics.queue(QueueStats(by_state={}, oldest_ready_at=None, now=200.0))
    assert value(metrics, "imagesieve_review_items", state="READY") == 0
    assert value(metrics, "imagesieve_review_oldest_ready_age_seconds") == 0


def test_the_series_are_read_over_http_until_the_server_stops(metrics: PrometheusMetrics) -> None:
    server = MetricsServer(registry=metrics.registry, port=0)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    url = f"http://127.0.0.1:{server.port}/metrics"
    metrics.images_abandoned(3)
    with opener.open(url, timeout=5) as response:
        text = response.read().decode()
    server.stop()
    assert "imagesieve_images_abandoned_total 3.0" in text
    assert "process_resident_memory_bytes" in text
    with pytest.raises(urllib.error.URLError):
        opener.open(url, timeout=5)


def test_a_metrics_port_that_is_taken_is_an_operators_error(metrics: PrometheusMetrics) -> None:
    server = MetricsServer(registry=metrics.registry, port=0)
    try:
        with pytest.raises(ConfigError, match=f"127.0.0.1:{server.port}"):
            MetricsServer(registry=metrics.registry, port=server.port)
    finally:
        server.stop()


def test_an_endpoint_that_is_no_longer_told_has_no_age(metrics: PrometheusMetrics) -> None:
    metrics.webhook_endpoints(["one", "two"])
    for name in ("one", "two"):
        metrics.webhook_figures(name, Figures(oldest_at=90.0, retrying=3, dead=1, now=100.0))
    metrics.webhook_endpoints(["two"])
    metrics.webhook_figures("two", Figures(oldest_at=None, retrying=0, dead=0, now=100.0))
    sample = metrics.registry.get_sample_value
    age = "imagesieve_webhook_oldest_untold_age_seconds"
    assert sample(age, {"endpoint": "one"}) is None
    assert sample(age, {"endpoint": "two"}) == 0.0
    told = {"endpoint": "two", "result": "told"}
    assert sample("imagesieve_webhook_attempts_total", told) == 0.0
