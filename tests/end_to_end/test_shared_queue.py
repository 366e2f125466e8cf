"""Real servers: two on one database, a database that dies, decisions that become labels."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from helpers.postgres import PostgresServer
from imagesieve import Client, HealthStatus, ItemState, Outcome, Verdict
from imagesieve_server.commands import main
from imagesieve_server.commands.demo import read_pictures
from imagesieve_server.commands.local_server import start_server
from imagesieve_server.demo_data import DEMO_IMAGES
from imagesieve_server.offline.labelled.label_file import read_labels


def pictures(kind: str) -> dict[str, bytes]:
    names = [p.file for p in read_pictures(DEMO_IMAGES) if p.kind == kind]
    return {name: (DEMO_IMAGES / name).read_bytes() for name in names}


@pytest.mark.postgres
@pytest.mark.timeout(400)
def test_two_servers_share_a_queue_and_outlive_their_database(tmp_path: Path) -> None:
    database = PostgresServer()
    try:
        (tmp_path / "secret").write_text("s" * 64)
        settings = {
            "IMAGESIEVE__QUEUE__DATABASE": database.new_database(migrated=False),
            "IMAGESIEVE__QUEUE__EVIDENCE_SHARED": "true",
            "IMAGESIEVE__SERVER__SECRET_FILE": str(tmp_path / "secret"),
        }
        flagged, *_ = pictures("flagged").values()
        ordinary, *_ = pictures("ordinary").values()
        with (
            start_server(folder=tmp_path, **settings) as first,
            start_server(folder=tmp_path, **settings) as second,
            Client(first.target) as one,
            Client(second.target) as two,
        ):
            kept = one.moderate(flagged, request_id="r1")
            assert kept.verdict in (Verdict.REVIEW, Verdict.BLOCK)
            assert two.moderate(flagged, request_id="r1").item_id == kept.item_id
            lease = two.review.claim(reviewer="ann", include_image=True)
            assert lease is not None
            assert lease.item.image == flagged
            database.kill()
            assert one.moderate(ordinary, timeout=20).verdict is Verdict.ALLOW
            assert one.moderate(flagged + b"2", timeout=3).verdict is Verdict.UNDECIDED
            assert one.health(timeout=20) is HealthStatus.SERVING
            database.start_again()
            later = one.moderate(flagged + b"2", request_id="r2", timeout=60)
            while later.verdict is Verdict.UNDECIDED:
                time.sleep(0.2)
                later = one.moderate(flagged + b"2", request_id="r2", timeout=60)
            assert later.item_id != kept.item_id
            one.review.decide(kept.item_id, lease.token, Outcome.REJECT, reviewer="ann")
            assert two.review.get(kept.item_id).state is ItemState.DECIDED
    finally:
        database.close()


@pytest.mark.evaluate
@pytest.mark.timeout(300)
def test_a_day_of_reviewing_becomes_labels_that_evaluate_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Beside the server that goes on."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IMAGESIEVE__QUEUE__DATABASE", str(tmp_path / "queue.sqlite3"))
    monkeypatch.setenv("IMAGESIEVE__QUEUE__EVIDENCE", str(tmp_path / "evidence"))
    with start_server(folder=tmp_path) as server, Client(server.target) as client:
        for name, picture in pictures("flagged").items():
            client.moderate(picture, request_id=name)
        rejected = approved = 0
        while (lease := client.review.claim(reviewer="ann")) is not None:
            outcome = Outcome.REJECT if (rejected + approved) % 3 else Outcome.APPROVE
            client.review.decide(lease.item.item_id, lease.token, outcome, reviewer="ann")
            rejected += outcome is Outcome.REJECT
            approved += outcome is Outcome.APPROVE
        assert min(rejected, approved) >= 3
        assert main(["queue", "check", "--hashes"]) == 0
        given = ["--labels", "reviews.csv", "--images", "reviewed"]
        assert main(["queue", "export", *given]) == 0
        assert main(["evaluate", *given, "--json", "figures.json", "--bootstrap", "100"]) == 0
    capsys.readouterr()
    read = read_labels(Path("reviews.csv"), categories=["weapons"])
    assert len(read.files) == rejected + approved
    assert sum(int(label == 0) for label in read.labels["weapons"]) == approved
    assert json.loads(Path("figures.json").read_text())
