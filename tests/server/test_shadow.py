"""Shadow policies: scored and counted beside what is in force, and never in its way."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from helpers.artefacts import SPEC, artefact
from helpers.judged import judged
from imagesieve_server.core.policy import Policy
from imagesieve_server.core.views import Coverage
from imagesieve_server.metrics.recorder import PrometheusMetrics
from imagesieve_server.policy_files import compiled
from imagesieve_server.policy_files.shadow import ShadowFolder
from imagesieve_server.shadow_scoring import ShadowScorer
from imagesieve_server.testing import (
    BLUE,
    GREEN,
    RED,
    RecordingMetrics,
    StaticPolicies,
    colour_policy,
    colour_vector,
)


def policy(**changes: Any) -> Policy:
    return compiled.parse(artefact(**changes), file="live").policy


class OneShadow:
    """The Shadows protocol over one policy that is set by hand."""

    def __init__(self, shadow: Policy | None) -> None:
        self.shadow = shadow

    def of(self, name: str) -> Policy | None:
        if self.shadow is not None and self.shadow.name == name:
            return self.shadow
        return None


def red_image(**changes: Any) -> Any:
    return judged(embeddings=colour_vector(RED)[None], **changes)


# --- scoring ----------------------------------------------------------------------------------


async def test_both_verdicts_and_every_band_are_counted() -> None:
    metrics = RecordingMetrics()
    shadow = colour_policy(version="s1", flagged=[("blue", BLUE), ("red", GREEN)])
    scorer = ShadowScorer(shadows=OneShadow(shadow), metrics=metrics)
    scorer.see(red_image(policy=colour_policy(flagged=[("red", RED), ("green", GREEN)])))
    await scorer.close()
    assert metrics.named("shadow_verdict") == [
        {"policy": "colours", "version": "s1", "live": "REVIEW", "shadow": "ALLOW"}
    ]
    first = [(c["category"], c["live"], c["shadow"]) for c in metrics.named("shadow_band")[:3]]
    assert sorted(first) == [
        ("blue", "NONE", "CLEAR"), ("green", "CLEAR", "NONE"), ("red", "REVIEW", "CLEAR"),
    ]  # fmt: skip


async def test_only_the_categories_that_were_asked_for_are_scored() -> None:
    metrics = RecordingMetrics()
    both = [("red", RED), ("blue", BLUE)]
    scorer = ShadowScorer(shadows=OneShadow(colour_policy(flagged=both)), metrics=metrics)
    scorer.see(red_image(policy=colour_policy(flagged=both), categories=("blue",)))
    await scorer.close()
    assert [call["category"] for call in metrics.named("shadow_band")] == ["blue"]
    assert metrics.named("shadow_verdict")[0]["shadow"] == "ALLOW"


async def test_partial_coverage_and_bad_numbers_are_judged_by_the_shadows_own_rules() -> None:
    metrics = RecordingMetrics()
    scorer = ShadowScorer(shadows=OneShadow(colour_policy(version="s")), metrics=metrics)
    scorer.see(judged(embeddings=colour_vector(BLUE)[None], coverage=0.5))
    scorer.see(judged(embeddings=np.full((1, 4), np.nan, dtype=np.float32)))
    await scorer.close()
    assert [c["shadow"] for c in metrics.named("shadow_verdict")] == ["REVIEW", "REVIEW"]


async def test_a_policy_without_a_shadow_costs_nothing() -> None:
    metrics = RecordingMetrics()
    scorer = ShadowScorer(shadows=OneShadow(None), metrics=metrics)
    scorer.see(red_image())
    await scorer.close()
    assert metrics.calls == []


async def test_a_shadow_with_other_views_is_not_scored() -> None:
    metrics = RecordingMetrics()
    shadow = dataclasses.replace(colour_policy(), coverage=Coverage.SQUASH)
    scorer = ShadowScorer(shadows=OneShadow(shadow), metrics=metrics)
    scorer.see(red_image())
    await scorer.close()
    assert metrics.calls == [("shadow_missed", {"reason": "views"})]


async def test_what_fails_in_a_shadow_is_counted_and_the_next_is_scored() -> None:
    metrics = RecordingMetrics()
    sound = colour_policy()
    broken = dataclasses.replace(sound, logit_scale="no number")  # type: ignore[arg-type]
    shadows = OneShadow(broken)
    scorer = ShadowScorer(shadows=shadows, metrics=metrics)
    scorer.see(red_image())
    while not metrics.calls:
        await asyncio.sleep(0.001)
    shadows.shadow = sound
    scorer.see(red_image())
    await scorer.close()
    assert [name for name, _ in metrics.calls[:2]] == ["shadow_missed", "shadow_verdict"]
    scorer.see(None)  # type: ignore[arg-type]  # nothing is raised
    assert metrics.calls[-1] == ("shadow_missed", {"reason": "error"})


class HeldMetrics(RecordingMetrics):
    """Holds the scoring thread until told."""

    def __init__(self) -> None:
        super().__init__()
        self.entered, self.may_go = threading.Event(), threading.Event()

    def shadow_verdict(self, **labels: str) -> None:
        self.entered.set()
        self.may_go.wait(60)
        super().shadow_verdict(**labels)


async def test_nobody_waits_for_a_slow_shadow() -> None:
    metrics = HeldMetrics()
    scorer = ShadowScorer(shadows=OneShadow(colour_policy()), metrics=metrics, max_waiting_views=3)
    scorer.see(red_image())
    assert metrics.entered.wait(60)
    for _ in range(5):
        scorer.see(red_image())
    assert metrics.named("shadow_missed") == [{"reason": "queue"}] * 2
    metrics.may_go.set()
    await scorer.close()
    assert len(metrics.named("shadow_verdict")) == 4


# --- the folder -------------------------------------------------------------------------------


class Bench:
    def __init__(self, folder: Path, *live: Policy) -> None:
        self.folder = folder
        self.metrics = RecordingMetrics()
        self.live = StaticPolicies(*(live or (policy(),)))
        self.shadows = ShadowFolder(folder=folder, live=self.live, spec=SPEC, metrics=self.metrics)

    def put(self, name: str, data: bytes) -> Path:
        path = self.folder / f"{name}.policy.npz"
        compiled.write(path, data)
        return path


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_a_shadow_is_that_of_its_name(tmp_path: Path) -> None:
    bench = Bench(tmp_path, policy(name="demo"), policy(name="other"))
    bench.put("any file name", artefact("other", review_at=0.5))
    assert bench.shadows.reload() == ()
    found = bench.shadows.of("other")
    assert found is not None
    assert found.version != policy(name="other").version
    assert bench.shadows.of("demo") is None
    assert bench.metrics.named("shadow_reload") == [{"ok": True}]
    assert [p.name for p in bench.metrics.named("shadows")[0]["shadows"]] == ["other"]


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (artefact(fingerprint="a" * 64), "was compiled for model aaaaaaaaaaaa"),
        (artefact(coverage="squash"), "looks at other views (squash, max_views 32) than"),
        (artefact("stranger"), "no policy 'stranger' is in force"),
        (b"no artefact", "is not a compiled policy"),
    ],
)
def test_what_cannot_be_a_shadow_is_left_out_and_said(
    bench: Bench, data: bytes, problem: str
) -> None:
    path = bench.put("bad", data)
    (told,) = bench.shadows.reload()
    assert problem in told
    assert str(path) in told
    assert bench.shadows.of("demo") is None
    assert bench.metrics.named("shadow_reload") == [{"ok": False}]


def test_a_folder_that_is_missing_is_a_problem_and_no_failure(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "none")
    assert bench.shadows.reload() == (f"{tmp_path / 'none'}: there is no such folder",)


def test_two_shadows_of_one_policy_are_one_too_many(bench: Bench) -> None:
    bench.put("a", artefact(review_at=0.1))
    bench.put("b", artefact(review_at=0.2))
    (told,) = bench.shadows.reload()
    assert "has two shadows" in told
    found = bench.shadows.of("demo")
    assert found is not None
    assert found.categories[0].thresholds.review_at is not None
    assert found.categories[0].thresholds.review_at.value == 0.1


def test_a_bad_file_leaves_the_shadow_that_it_held(bench: Bench) -> None:
    path = bench.put("demo", artefact(review_at=0.1))
    bench.shadows.reload()
    held = bench.shadows.of("demo")
    path.write_bytes(b"half a file")
    assert len(bench.shadows.reload()) == 1
    assert bench.shadows.of("demo") == held
    path.unlink()
    assert bench.shadows.reload() == ()
    assert bench.shadows.of("demo") is None


async def test_files_and_the_policies_in_force_are_watched(bench: Bench) -> None:
    bench.shadows.reload()
    watching = asyncio.create_task(bench.shadows.watch(every_s=0.01))
    bench.put("demo", artefact(review_at=0.1))
    async with asyncio.timeout(60):
        while bench.shadows.of("demo") is None:
            await asyncio.sleep(0.01)
        bench.live.policies = (policy(coverage="squash"),)
        while bench.shadows.of("demo") is not None:
            await asyncio.sleep(0.01)
    watching.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await watching


# --- the series -------------------------------------------------------------------------------


def test_counts_of_a_shadow_that_is_replaced_go() -> None:
    metrics = PrometheusMetrics(registry=CollectorRegistry(), version="0")

    def versions(name: str) -> set[str]:
        return {
            sample.labels["shadow_version"]
            for family in metrics.registry.collect()
            for sample in family.samples
            if sample.name == name
        }

    metrics.shadows([colour_policy(version="s1")])
    metrics.shadow_verdict(policy="colours", version="s1", live="ALLOW", shadow="REVIEW")
    metrics.shadow_band(
        policy="colours", version="s1", category="red", live="CLEAR", shadow="REVIEW"
    )
    names = ("imagesieve_shadow_verdicts_total", "imagesieve_shadow_category_bands_total")
    assert [versions(name) for name in names] == [{"s1"}, {"s1"}]
    metrics.shadows([colour_policy(version="s2")])
    assert [versions(name) for name in (*names, "imagesieve_shadow_info")] == [
        {"s2"}, set(), {"s2"},
    ]  # fmt: skip
