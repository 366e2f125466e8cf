"""A week of reviewing improves the thresholds: reviews, labels, calibrate, compile, in force."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import pytest
from PIL import Image, ImageOps

from imagesieve import Client, Outcome, Verdict
from imagesieve_server.commands import main
from imagesieve_server.commands.local_server import start_server
from imagesieve_server.demo_data import DEMO_IMAGES, DEMO_POLICY_SOURCE

pytestmark = [pytest.mark.evaluate, pytest.mark.timeout(900)]

LAX = "review_at: {logit: -9}"
"""Nearly everything is flagged: what a new policy may look like in its first week."""


def truth() -> dict[str, str]:
    """The category of the demo's pictures that no trick was played with, "" where there is none."""
    with (DEMO_IMAGES / "labels.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["expected"] in ("ordinary", "flagged")]
    return {row["file"]: row["category"] for row in rows}


def copies(name: str) -> list[bytes]:
    """The picture, its mirror image, and a smaller one that is kept for the end."""
    with Image.open(DEMO_IMAGES / name) as opened:
        picture = opened.convert("RGB")
    smaller = picture.resize((picture.width * 4 // 5, picture.height * 4 // 5))
    found = [(DEMO_IMAGES / name).read_bytes()]
    for each in (ImageOps.mirror(picture), smaller):
        out = io.BytesIO()
        each.save(out, "JPEG", quality=92)
        found.append(out.getvalue())
    return found


def flagged(client: Client, pictures: dict[str, bytes]) -> set[str]:
    results = {name: client.moderate(data, dry_run=True) for name, data in pictures.items()}
    return {name for name, found in results.items() if found.verdict is not Verdict.ALLOW}


def test_a_week_of_reviewing_improves_the_thresholds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IMAGESIEVE__QUEUE__DATABASE", str(tmp_path / "queue.sqlite3"))
    monkeypatch.setenv("IMAGESIEVE__QUEUE__EVIDENCE", str(tmp_path / "evidence"))
    category_of = truth()
    pictures = {name: copies(name) for name in category_of}
    fresh = {name: each[-1] for name, each in pictures.items()}
    harmless = {name for name, category in category_of.items() if not category}
    source, policies = Path("demo.yaml"), Path("policies")
    policies.mkdir()
    source.write_text(re.sub(r"review_at: [\d.]+", LAX, DEMO_POLICY_SOURCE.read_text()))
    artefact = ["policy", "compile", str(source), "--out", str(policies / "demo.policy.npz")]
    assert main(artefact) == 0
    with (
        start_server(folder=tmp_path, policies=policies) as server,
        Client(server.target) as client,
    ):
        before = flagged(client, fresh)
        for name, each in pictures.items():
            for number, data in enumerate(each[:-1]):
                client.moderate(data, request_id=f"{name} {number}", content_ref=name)
        while (lease := client.review.claim(reviewer="ann")) is not None:
            category = category_of[lease.item.content_ref]
            outcome = Outcome.REJECT if category else Outcome.APPROVE
            labels = [category] if category else []
            client.review.decide(
                lease.item.item_id, lease.token, outcome, reviewer="ann", labels=labels
            )
        given = ["--labels", "reviews.csv", "--images", "reviewed", "--cache", "embeddings"]
        assert main(["queue", "export", *given[:4]]) == 0
        calibrate = ["calibrate", "--policy", str(source), *given, "--max-fpr", "0.15"]
        assert main([*calibrate, "--folds", "2", "--write"]) == 0
        assert main(artefact) == 0
        assert client.reload_policies()
        after = flagged(client, fresh)
        probe = ["policy", "probe", "--policy", str(source), "--category", "weapons", *given]
        assert main(probe) == 1
    assert "8 different pictures labelled as with 'weapons' and 36 as without" in (
        capsys.readouterr().err
    ), "it reads the same file, and asks for more"
    assert len(before & harmless) >= len(harmless) // 2
    assert len(after & harmless) <= len(before & harmless) // 4
    offending = before - harmless
    assert len(after & offending) >= 0.8 * len(offending)
