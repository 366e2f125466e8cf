"""A real image file goes in over gRPC; a real verdict comes out and is kept and counted."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from imagesieve import (
    Client,
    HealthStatus,
    ImageFormatUnsupported,
    ItemState,
    LeaseLost,
    ModerationResult,
    Outcome,
    RequestIdReused,
    UnknownCategory,
    UnknownPolicy,
    Verdict,
)
from imagesieve_server.commands.demo import Picture, as_expected, read_pictures
from imagesieve_server.commands.local_server import LocalServer, launch, start_server
from imagesieve_server.demo_data import DEMO_IMAGES, DEMO_POLICY_SOURCE

PICTURES = read_pictures(DEMO_IMAGES)
FLAGGED = [p for p in PICTURES if p.kind == "flagged"]
ORDINARY = [p for p in PICTURES if p.kind == "ordinary"]


def told(result: ModerationResult) -> ModerationResult:
    """What the server said, without how long this call took."""
    return dataclasses.replace(result, elapsed_s=0.0)


def test_there_are_pictures_of_every_kind() -> None:
    evasions = {p.kind for p in PICTURES if p.kind.startswith("evasion:")}
    assert len(evasions) == 6
    assert len(FLAGGED) >= 10
    assert len(ORDINARY) >= 10
    suffixes = {Path(p.file).suffix for p in PICTURES}
    assert suffixes >= {".jpg", ".png", ".webp", ".gif", ".avif"}


@pytest.mark.parametrize("picture", PICTURES, ids=lambda p: p.file)
def test_demo_pictures_are_judged_as_labelled(client: Client, picture: Picture) -> None:
    result = client.moderate(DEMO_IMAGES / picture.file)
    assert as_expected(picture, result.verdict), (result.verdict, result.reasons, result.scores)
    assert result.model_version
    assert result.policy_version
    assert (result.verdict is Verdict.ALLOW) == (result.item_id == "")


def test_a_flag_is_claimed_with_its_picture_and_decided_once(client: Client) -> None:
    path = DEMO_IMAGES / FLAGGED[0].file
    sent = client.moderate(path, content_ref="post-1", uploader_ref="user-1", surface="avatar")
    shown = client.review.get(sent.item_id, include_image=True)
    assert shown.image == path.read_bytes()
    lease = None
    while lease is None or lease.item.item_id != sent.item_id:
        lease = client.review.claim(reviewer="ann")
        assert lease is not None, "the item was never offered"
    decided = client.review.decide(
        sent.item_id, lease.token, Outcome.REJECT, reviewer="ann", labels=["weapon"]
    )
    again = client.review.decide(
        sent.item_id, lease.token, Outcome.REJECT, reviewer="ann", labels=["weapon"]
    )
    assert again.decision_id == decided.decision_id
    assert client.review.get(sent.item_id).state is ItemState.DECIDED
    with pytest.raises(LeaseLost):
        client.review.decide(sent.item_id, "not-the-token", Outcome.APPROVE, reviewer="ann")


def test_a_repeated_request_gets_the_same_answer(client: Client) -> None:
    for picture in (FLAGGED[1], ORDINARY[0]):
        path = DEMO_IMAGES / picture.file
        first = client.moderate(path, request_id=f"repeat-{picture.file}")
        again = client.moderate(path, request_id=f"repeat-{picture.file}")
        assert told(again) == told(first)
        with pytest.raises(RequestIdReused):
            client.moderate(b"GIF89a" + b"0" * 20, request_id=f"repeat-{picture.file}")


def test_a_dry_run_leaves_nothing_behind(client: Client) -> None:
    before = client.review.stats()
    result = client.moderate(DEMO_IMAGES / FLAGGED[2].file, dry_run=True)
    assert (result.verdict is Verdict.ALLOW, result.item_id) == (False, "")
    assert client.review.stats().ready == before.ready


def test_callers_mistakes_are_typed(client: Client) -> None:
    picture = DEMO_IMAGES / ORDINARY[0].file
    with pytest.raises(UnknownPolicy):
        client.moderate(picture, policy="nowhere")
    with pytest.raises(UnknownCategory):
        client.moderate(picture, categories=["hats"])
    with pytest.raises(ImageFormatUnsupported):
        client.moderate(b"just some text")


def test_a_broken_file_goes_to_a_person(client: Client) -> None:
    whole = (DEMO_IMAGES / next(p.file for p in PICTURES if p.file.endswith(".jpg"))).read_bytes()
    result = client.moderate(whole[: len(whole) // 2])
    assert (result.verdict, result.reasons[0].code) == (Verdict.REVIEW, "UNDECODABLE")
    assert client.review.get(result.item_id, include_image=True).image == whole[: len(whole) // 2]


def test_every_step_is_counted(server: LocalServer, client: Client) -> None:
    before = server.metrics()
    client.moderate(DEMO_IMAGES / FLAGGED[3].file)
    moved = {n for n, v in server.metrics().items() if v != before.get(n, 0.0)}
    for name in (
        "grpc_server_handled_total",
        "imagesieve_verdicts_total",
        "imagesieve_stage_seconds_count",
    ):
        assert any(series.startswith(name) for series in moved), (name, sorted(moved))


def test_health_and_policies(client: Client) -> None:
    assert client.health() is HealthStatus.SERVING
    policy = client.get_policy()
    assert policy.is_default
    assert policy.source == DEMO_POLICY_SOURCE.read_text()
    assert len(policy.categories) == 6


def test_the_queue_survives_a_kill(tmp_path: Path) -> None:
    """What was acknowledged is there after SIGKILL and a new start, and answers its repeat."""
    path = DEMO_IMAGES / FLAGGED[0].file
    server = launch(folder=tmp_path)
    with Client(server.target) as client:
        sent = client.moderate(path, request_id="r-1")
    server.process.kill()
    server.process.wait()
    with start_server(folder=tmp_path) as again, Client(again.target) as client:
        assert client.review.get(sent.item_id).state is ItemState.READY
        assert told(client.moderate(path, request_id="r-1")) == told(sent)


def test_an_edited_policy_is_in_force_without_a_restart(tmp_path: Path) -> None:
    """edit → policy compile → file replaced → in force; a bad file changes nothing."""
    policies = tmp_path / "policies"
    policies.mkdir()
    source = tmp_path / "demo.yaml"
    shutil.copy(DEMO_POLICY_SOURCE, source)
    artefact = policies / "demo.policy.npz"

    compiler = [sys.executable, "-m", "imagesieve_server", "policy", "compile"]

    def compile_source() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*compiler, str(source), "--out", str(artefact)],
            capture_output=True,
            text=True,
            check=False,
        )

    assert compile_source().returncode == 0
    settings = {"IMAGESIEVE__POLICIES__WATCH_SECONDS": "0.1"}
    with (
        start_server(folder=tmp_path, policies=policies, **settings) as server,
        Client(server.target) as client,
    ):
        path = DEMO_IMAGES / FLAGGED[0].file
        before = client.moderate(path)
        assert before.verdict is not Verdict.ALLOW

        text = source.read_text().replace("mode: enforce", "mode: observe")
        source.write_text(text)
        edited = compile_source()
        assert edited.returncode == 0, edited.stderr
        assert " 0 prompts encoded" in edited.stdout  # an edit of modes reuses every vector
        _wait_until(lambda: client.get_policy().version != before.policy_version)
        assert client.moderate(path).verdict is Verdict.ALLOW

        source.write_text("name: demo\nneutral: 7\n")
        broken = compile_source()
        assert broken.returncode == 1
        assert "demo.yaml" in broken.stderr
        artefact.write_bytes(b"half a file")
        _wait_until(lambda: server.metrics()["imagesieve_policy_last_reload_successful"] == 0)
        assert client.moderate(path).verdict is Verdict.ALLOW


def _wait_until(done: object, limit_s: float = 20.0) -> None:
    assert callable(done)
    end = time.monotonic() + limit_s
    while not done():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.05)
