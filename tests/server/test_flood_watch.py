"""A spike shows in metrics without names, and in the log with a hash of its source."""

from __future__ import annotations

import logging

import pytest

from helpers.grpc_rig import ask, running
from imagesieve_server.flood_watch import FloodWatch, SpikeLimits, source_hash
from imagesieve_server.testing import RED, RecordingMetrics, ppm

LIMITS = SpikeLimits(window_s=60.0, group=3, uploader=3, tenant=5)


def test_each_kind_of_source_is_counted_for_itself(caplog: pytest.LogCaptureFixture) -> None:
    metrics = RecordingMetrics()
    watch = FloodWatch(limits=LIMITS, metrics=metrics, clock=lambda: 1000.0)
    with caplog.at_level(logging.WARNING):
        for number in range(5):
            watch.flagged(tenant="t", uploader_ref=f"u{number % 2}", group_id="g")
    assert [call["kind"] for call in metrics.named("spike")] == ["group", "uploader", "tenant"]
    said = [(r.__dict__["kind"], r.__dict__["source"], r.__dict__["flags"]) for r in caplog.records]
    assert said == [
        ("group", "g", 3), ("uploader", source_hash("t", "u0"), 3),
        ("tenant", source_hash("t", "t"), 5),
    ]  # fmt: skip
    assert "u0" not in caplog.text
    watch.publish()
    assert {c["kind"]: c["flags"] for c in metrics.named("largest_source")} == {
        "group": 5, "uploader": 3, "tenant": 5,
    }  # fmt: skip


def test_the_same_name_in_another_tenant_is_another_source() -> None:
    metrics = RecordingMetrics()
    watch = FloodWatch(limits=LIMITS, metrics=metrics, clock=lambda: 1000.0)
    for tenant in ("a", "b", "a", "b"):
        watch.flagged(tenant=tenant, uploader_ref="u", group_id="")
    assert metrics.named("spike") == []
    assert source_hash("a", "bc") != source_hash("ab", "c")


def test_what_has_no_limit_is_not_watched() -> None:
    metrics = RecordingMetrics()
    limits = SpikeLimits(window_s=60.0, group=0, uploader=0, tenant=0)
    watch = FloodWatch(limits=limits, metrics=metrics, clock=lambda: 1000.0)
    for _ in range(99):
        watch.flagged(tenant="t", uploader_ref="u", group_id="g")
    watch.publish()
    assert metrics.named("spike") == metrics.named("largest_source") == []


async def test_flags_are_counted_where_they_are_kept_and_repeats_are_not() -> None:
    limits = SpikeLimits(window_s=1e6, group=3, uploader=0, tenant=0)
    async with running(floods=limits) as rig:
        for number in (0, 0, 0, 1, 2):
            await rig.moderation.Moderate(ask(f"r-{number}", ppm(RED) + b"#" * number))
        spikes = rig.metrics.named("spike")
    assert spikes == [{"kind": "group"}]
