"""Each fault, made to happen to a real server, moves the series that its alert watches."""

from __future__ import annotations

import io
import json
import os
import re
import resource
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from ruamel.yaml import YAML

from helpers import promql
from imagesieve import Client, HealthStatus, ImagesieveError, Verdict
from imagesieve_server.commands import main
from imagesieve_server.commands.bench.process_cost import family
from imagesieve_server.commands.demo import read_pictures
from imagesieve_server.commands.local_server import LocalServer, start_server
from imagesieve_server.demo_data import DEMO_BUNDLE, DEMO_IMAGES
from imagesieve_server.encoders import manifest as manifests
from imagesieve_server.encoders.bundle import describe_file, load_bundle, read_manifest
from imagesieve_server.offline.export.canary import write_canary

RULES = Path(__file__).parents[2] / "deploy" / "prometheus" / "rules.yaml"
PICTURES = read_pictures(DEMO_IMAGES)
FLAGGED = [DEMO_IMAGES / p.file for p in PICTURES if p.kind == "flagged"]
ORDINARY = [DEMO_IMAGES / p.file for p in PICTURES if p.kind == "ordinary"]
TARGET_LABELS = frozenset(["job", "instance"])
OF_OTHER_SETTINGS = {  # exported from the start where there are certificates or callers
    "imagesieve_certificate_expiry_timestamp_seconds",
    "imagesieve_file_last_reload_successful",
    "imagesieve_webhook_dead_letters",  # and where there are endpoints
    "imagesieve_webhook_oldest_untold_age_seconds",
    "imagesieve_process_restarts_total",  # and where there are several front ends
}

_SAMPLE = re.compile(r"(\w+)(?:\{(.*)\})?$")


def total(server: LocalServer, selector: str) -> float:
    """The sum of the samples a selector matches; there must be some."""
    (wanted,) = promql.selectors(selector)
    found = [value for name, value in server.metrics().items() if _matches(wanted, name)]
    assert found, f"nothing exported matches {selector}"
    return sum(found)


def _matches(wanted: promql.Selector, sample: str) -> bool:
    found = _SAMPLE.match(sample)
    assert found, sample
    labels = dict(re.findall(r'(\w+)="([^"]*)"', found[2] or ""))
    return wanted.matches(found[1], labels, target=TARGET_LABELS)


def wait_until(done: Callable[[], bool], *, limit_s: float = 60.0) -> None:
    """Asked again and again; the limit is for a server that never does it."""
    end = time.monotonic() + limit_s
    while not done():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.05)


def test_every_rule_matches_something_on_a_server_that_had_no_fault_yet(
    server: LocalServer, client: Client
) -> None:
    """A rule over a series or label that appears with the first failure would not see it."""
    client.moderate(FLAGGED[0])
    samples = server.metrics()
    recorded, expressions = set(), []
    for group in YAML(typ="safe").load(RULES.read_text(encoding="utf-8"))["groups"]:
        for rule in group["rules"]:
            recorded.add(rule.get("record"))
            expressions.append(rule["expr"])
    checked = 0
    for expression in expressions:
        for wanted in promql.selectors(expression):
            if wanted.name in recorded | {"up"} | OF_OTHER_SETTINGS:
                continue
            for each in _alternatives(wanted):
                assert any(_matches(each, sample) for sample in samples), each
                checked += 1
    assert checked > 30


def _alternatives(wanted: promql.Selector) -> Iterator[promql.Selector]:
    """One selector per value of a matcher such as code=~"A|B": each must exist."""
    for index, (label, operator, value) in enumerate(wanted.matchers):
        if operator == "=~" and re.fullmatch(r"\w+(\|\w+)+", value) and label != "grpc_code":
            for one in value.split("|"):
                matchers = list(wanted.matchers)
                matchers[index] = (label, "=", one)
                yield from _alternatives(replace(wanted, matchers=tuple(matchers)))
            return
    if any(label == "grpc_code" for label, _, _ in wanted.matchers):
        wanted = replace(
            wanted, matchers=tuple(m for m in wanted.matchers if m[0] != "grpc_code")
        )  # codes appear with the first such answer; over a ratio of sums that is soon enough
    yield wanted


def test_images_that_arrive_are_seen(server: LocalServer, client: Client) -> None:
    selector = 'imagesieve_stage_seconds_count{stage="admit"}'
    before = total(server, selector)
    client.moderate(ORDINARY[0])
    assert total(server, selector) == before + 1


def test_room_on_the_disks_is_seen(server: LocalServer) -> None:
    for folder in ("database", "evidence"):
        assert total(server, f'imagesieve_disk_free_bytes{{folder="{folder}"}}') > 0


def test_a_broken_file_is_counted_as_undecodable(server: LocalServer, client: Client) -> None:
    selector = 'imagesieve_decode_failures_total{reason="TRUNCATED"}'
    before = total(server, selector)
    jpeg = next(path for path in ORDINARY if path.suffix == ".jpg").read_bytes()
    client.moderate(jpeg[: len(jpeg) // 2])
    assert total(server, selector) == before + 1


# --- a sick encoder ------------------------------------------------------------------------

SOURCE = """\
name: {name}
templates: ["a picture of {{}}"]
neutral: ["a photograph"]
categories:
  - {{id: tobacco, title: Tobacco, severity: 2, mode: enforce, method: contrast,
     prompts: ["a cigarette"], review_at: 0.6}}
on_unavailable: {on_unavailable}
"""


@pytest.fixture(scope="module")
def sick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    """A server whose model does not compute what its bundle's canary says."""
    folder = tmp_path_factory.mktemp("sick")
    bundle, policies = folder / "bundle", folder / "policies"
    shutil.copytree(DEMO_BUNDLE, bundle)
    canary = load_bundle(bundle).canary
    write_canary(
        bundle / manifests.CANARY, replace(canary, embeddings=np.roll(canary.embeddings, 1, axis=0))
    )
    manifest = read_manifest(bundle)
    files = {**manifest.files, manifests.CANARY: describe_file(bundle / manifests.CANARY)}
    (bundle / manifests.MANIFEST_NAME).write_bytes(manifests.render(replace(manifest, files=files)))
    policies.mkdir()
    for name in ("allow", "review"):
        source = folder / f"{name}.yaml"
        source.write_text(SOURCE.format(name=name, on_unavailable=name))
        artefact = str(policies / f"{name}.policy.npz")
        assert (
            main(["policy", "compile", str(source), "--model", str(bundle), "--out", artefact]) == 0
        )
    settings = {"IMAGESIEVE__POLICIES__DEFAULT": "review"}
    with start_server(folder=folder, bundle=bundle, policies=policies, **settings) as server:
        yield server


def test_a_canary_that_fails_is_an_encoder_that_is_down(sick: LocalServer) -> None:
    assert total(sick, "imagesieve_encoder_healthy") == 0
    assert total(sick, 'imagesieve_encoder_failures_total{reason="canary"}') >= 1
    with Client(sick.target) as client:
        assert client.health() is HealthStatus.NOT_SERVING


@pytest.mark.parametrize(
    ("policy", "verdict", "code"),
    [("allow", Verdict.ALLOW, "POLICY_FAIL_OPEN"), ("review", Verdict.REVIEW, "UNSCORED")],
)
def test_answers_without_a_score_are_counted_by_their_reason(
    sick: LocalServer, policy: str, verdict: Verdict, code: str
) -> None:
    selector = f'imagesieve_verdict_reasons_total{{policy="{policy}", code="{code}"}}'
    assert total(sick, selector) == 0
    with Client(sick.target) as client:
        assert client.moderate(ORDINARY[1], policy=policy).verdict is verdict
    assert total(sick, selector) == 1
    degraded = f'imagesieve_verdicts_total{{policy="{policy}", degraded="true"}}'
    assert total(sick, degraded) == 1


# --- workers, disks and locks ----------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the server that faults are done to keeps its queue."""
    return tmp_path_factory.mktemp("harmed")


@pytest.fixture(scope="module")
def harmed(folder: Path) -> Iterator[LocalServer]:
    with start_server(folder=folder) as server:
        yield server


@pytest.fixture
def caller(harmed: LocalServer) -> Iterator[Client]:
    with Client(harmed.target) as client:
        yield client


def test_decode_workers_that_are_killed_are_counted(harmed: LocalServer, caller: Client) -> None:
    selector = 'imagesieve_decode_worker_deaths_total{reason="killed"}'
    assert total(harmed, selector) == 0
    assert total(harmed, "imagesieve_decode_workers_alive") > 0
    for pid in family(harmed.process.pid)[1:]:
        os.kill(pid, 9)
    assert caller.moderate(ORDINARY[0]).verdict is Verdict.ALLOW
    assert total(harmed, selector) >= 1


def test_a_disk_that_takes_no_more_is_counted_and_flags_wait_until_it_does(
    harmed: LocalServer, caller: Client
) -> None:
    """Files of this one process may not grow any more: evidence first, then the database."""
    failed = 'imagesieve_store_errors_total{{operation="{}"}}'
    kept = caller.moderate(FLAGGED[0])
    try:
        _limit_files(harmed, 0)
        assert caller.moderate(FLAGGED[1]).verdict is Verdict.UNDECIDED
        assert total(harmed, failed.format("evidence")) >= 1
        assert caller.moderate(FLAGGED[0]).verdict is Verdict.UNDECIDED  # its evidence is there
        assert total(harmed, failed.format("record")) >= 1
        assert caller.moderate(ORDINARY[0]).verdict is Verdict.ALLOW
    finally:
        _limit_files(harmed, resource.RLIM_INFINITY)
    assert caller.moderate(FLAGGED[1]).verdict is not Verdict.UNDECIDED
    assert caller.review.get(kept.item_id).item_id == kept.item_id
    assert total(harmed, "imagesieve_store_commit_seconds_count") >= 2


def test_an_evidence_folder_that_was_moved_is_named_in_the_log(
    folder: Path, harmed: LocalServer, caller: Client
) -> None:
    away = (folder / "evidence").rename(folder / "away")
    try:
        assert caller.moderate(FLAGGED[2]).verdict is Verdict.UNDECIDED
    finally:
        shutil.rmtree(folder / "evidence")
        away.rename(folder / "evidence")
    said = _problems(harmed, "evidence folder")
    assert any("No such file or directory" in it and str(folder) in it for it in said)
    assert caller.moderate(FLAGGED[2]).verdict is not Verdict.UNDECIDED


def _problems(server: LocalServer, message: str) -> list[str]:
    """The causes on the log's lines that begin so, above the level info."""
    lines = [line for line in server.log.read_text().splitlines() if line.startswith("{")]
    return [
        line["problem"]
        for line in map(json.loads, lines)
        if line["message"].startswith(message) and line["level"] in ("warning", "error")
    ]


def _limit_files(server: LocalServer, size_bytes: int) -> None:
    _, hard = resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (size_bytes, hard))


def test_a_database_that_another_process_holds_is_a_store_that_is_down(
    folder: Path, harmed: LocalServer, caller: Client
) -> None:
    wait_until(lambda: total(harmed, "imagesieve_store_healthy") == 1)
    other = sqlite3.connect(folder / "queue.sqlite3", isolation_level=None)
    seen = threading.Event()

    def flag_again_and_again(path: Path) -> None:
        while not seen.is_set():  # each waits for the lock, and the store's thread with it
            _try(caller, path)

    with ThreadPoolExecutor(4) as callers:
        try:
            other.execute("BEGIN IMMEDIATE")
            for path in FLAGGED[2:6]:
                callers.submit(flag_again_and_again, path)
            wait_until(lambda: total(harmed, "imagesieve_store_healthy") == 0)
        finally:
            seen.set()
            other.close()
    assert total(harmed, 'imagesieve_store_errors_total{operation="stats"}') >= 1
    assert any("database is locked" in said for said in _problems(harmed, "review store: "))
    wait_until(lambda: total(harmed, "imagesieve_store_healthy") == 1)


def _try(client: Client, path: Path) -> None:
    try:
        client.moderate(path)
    except ImagesieveError:
        pass  # what the caller hears is another test's matter


# --- servers with settings that make it easy -------------------------------------------------


def test_an_image_that_is_refused_after_two_deaths_is_counted(tmp_path: Path) -> None:
    settings = {"IMAGESIEVE__IMAGES__WALL_SECONDS": "0.0001"}
    noise = np.random.default_rng(0).integers(0, 256, (2000, 3000, 3), dtype=np.uint8)
    slow = io.BytesIO()  # for hundreds of milliseconds: no answer is faster than the limit
    Image.fromarray(noise).save(slow, "JPEG", quality=85, progressive=True)
    with start_server(folder=tmp_path, **settings) as server, Client(server.target) as client:
        for _ in range(3):
            assert client.moderate(slow.getvalue()).verdict is Verdict.REVIEW
        assert total(server, "imagesieve_images_quarantined_total") == 1
        assert total(server, 'imagesieve_decode_failures_total{reason="QUARANTINED"}') == 1


def test_images_turned_away_are_counted(tmp_path: Path) -> None:
    settings = {"IMAGESIEVE__SERVER__MAX_IN_FLIGHT_VIEWS": "1"}
    with (
        start_server(folder=tmp_path, **settings) as server,
        Client(server.target) as client,
        ThreadPoolExecutor(8) as callers,
    ):

        def crowded() -> bool:
            list(callers.map(lambda path: _try(client, path), ORDINARY[:8]))
            return total(server, "imagesieve_images_shed_total") > 0

        wait_until(crowded)
