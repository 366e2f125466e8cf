"""Checks and exports beside a server that works: what they find, what they must not tell."""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path

import pytest
import sqlalchemy as sa
from contract.test_review_groups import carried_out, order, show

from helpers.review_queue import Desk, ManualClock
from imagesieve_server.commands import main
from imagesieve_server.core.errors import StoreUnavailable
from imagesieve_server.core.groups import Fate
from imagesieve_server.core.review import Cause, Outcome
from imagesieve_server.core.review_afterwards import EraseRequest, ReopenRequest
from imagesieve_server.offline.labelled.label_file import read_labels
from imagesieve_server.review_queue.evidence import FolderEvidence
from imagesieve_server.review_queue.store import RuledStore

APPROVE, REJECT = Outcome.APPROVE, Outcome.REJECT
CATEGORIES = ("weapons", "drugs")


def answer(*categories: str) -> str:
    scores = [{"category": each} for each in categories]
    return json.dumps({"item_id": "", "judgement": {"scores": scores}})


class Office(Desk):
    """A desk with pictures, and commands that look at it."""

    evidence: FolderEvidence

    def bring(self, name: str, content: str = "", **fields: object) -> str:
        self.clock.advance(1.0)  # so that it is claimed after those before
        data = (content or name).encode()
        sha256 = hashlib.sha256(data).hexdigest()
        self.evidence.put(tenant=str(fields.get("tenant", "t")), sha256=sha256, data=data)
        return self.keep(name, content, **{"answer": answer(*CATEGORIES), **fields}).item_id

    def say(self, outcome: Outcome, *labels: str, reviewer: str = "ann") -> None:
        self.decide(self.lease(reviewer=reviewer), outcome, labels=labels, reviewer=reviewer)

    def change(self, statement: str) -> None:
        """Behind the rules' back."""
        with self.store.backend.write() as tx:
            done = tx._connection.execute(sa.text(statement))  # type: ignore[attr-defined]
            assert done.rowcount == 1


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def office(
    request: pytest.FixtureRequest,
    clock: ManualClock,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Office:
    """The store stays open, as a server's, while the commands run."""
    store: RuledStore = request.getfixturevalue(request.param)
    place = str(tmp_path / "queue.db")
    if request.param == "postgres":
        place = request.getfixturevalue("postgres_url")
        (tmp_path / "secret").write_text("s" * 64)
        monkeypatch.setenv("IMAGESIEVE__SERVER__SECRET_FILE", str(tmp_path / "secret"))
        monkeypatch.setenv("IMAGESIEVE__QUEUE__EVIDENCE_SHARED", "true")
    monkeypatch.setenv("IMAGESIEVE__QUEUE__DATABASE", place)
    monkeypatch.setenv("IMAGESIEVE__QUEUE__EVIDENCE", str(tmp_path / "evidence"))
    office = Office(store=store, clock=clock)
    office.evidence = FolderEvidence(root=tmp_path / "evidence")
    return office


def path_of(folder: Path, content: str) -> Path:
    sha256 = hashlib.sha256(content.encode()).hexdigest()
    return folder / "t" / sha256[:2] / sha256


def test_a_sound_queue_has_no_problems(office: Office, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(3):
        office.bring(f"r{number}")
    office.say(REJECT, "weapons")
    assert main(["queue", "check", "--hashes"]) == 0
    assert "3 items, 1 decisions, 0 problems" in capsys.readouterr().out
    assert main(["queue", "verify-audit"]) == 0
    assert capsys.readouterr().out == "3 items, 1 decisions, 0 problems\n"


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("UPDATE decision SET outcome = 'APPROVE'", "its fields do not match its hash"),
        ("UPDATE item SET chain_head = 'x' WHERE decisions = 1", "does not end where"),
    ],
)
def test_an_edited_decision_is_found(
    office: Office, capsys: pytest.CaptureFixture[str], statement: str, problem: str
) -> None:
    item_id = office.bring("r1")
    office.bring("r2")
    office.say(REJECT)
    office.change(statement)
    for command in ("verify-audit", "check"):
        assert main(["queue", command]) == 1
        told = capsys.readouterr().out
        assert problem in told
        assert item_id in told
        assert "2 items, 1 decisions, 1 problems" in told
    assert main(["queue", "verify-audit", "--tenant", "other"]) == 0


def test_a_missing_and_a_damaged_picture_are_found(
    office: Office, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for name in ("r1", "r2", "r3"):
        office.bring(name)
    path_of(tmp_path / "evidence", "r1").unlink()
    path_of(tmp_path / "evidence", "r2").write_bytes(b"R2")
    assert main(["queue", "check"]) == 1
    told = capsys.readouterr().out
    assert "is missing" in told
    assert "1 problems" in told
    assert main(["queue", "check", "--hashes"]) == 1
    told = capsys.readouterr().out
    assert "is damaged" in told
    assert "2 problems" in told


def test_pictures_that_were_removed_on_purpose_are_no_problem(
    office: Office, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    office.bring("r1")
    office.store.erase(
        EraseRequest(
            tenant="t", sha256=hashlib.sha256(b"r1").hexdigest(), reason="order", actor="law"
        )
    )
    path_of(tmp_path / "evidence", "r1").unlink()
    assert main(["queue", "check"]) == 0
    assert "0 problems" in capsys.readouterr().out


def test_the_export_has_everything_but_living_tokens(
    office: Office, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    first = office.bring("r1", "picture")
    office.bring("r2", "picture")
    office.say(REJECT, "weapons")
    office.bring("r3")
    lease = office.lease()
    assert main(["queue", "export", "--out", str(tmp_path / "all.jsonl")]) == 0
    text = (tmp_path / "all.jsonl").read_text()
    rows = {row["item_id"]: row for row in map(json.loads, text.splitlines())}
    assert len(rows) == 2
    assert rows[first]["request_ids"] == ["r1", "r2"]
    assert rows[first]["state"] == "DECIDED"
    (decision,) = rows[first]["decisions"]
    assert (decision["outcome"], decision["labels"]) == ("REJECT", ["weapons"])
    assert lease.token not in text
    assert main(["queue", "export"]) == 0
    assert capsys.readouterr().out == text


def test_decisions_become_labels_that_the_tools_read(
    office: Office, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """1 where somebody said so, 0 where an approval says so, nothing where nobody spoke."""
    for name, outcome, labels in (
        ("named", REJECT, ("drugs",)),
        ("shown", REJECT, ()),
        ("fine", APPROVE, ()),
        ("alias", REJECT, ("guns",)),
        ("other", REJECT, ("ugly",)),
    ):
        office.bring(name)
        office.say(outcome, *labels)
    office.bring("waiting")
    out, images = tmp_path / "labels.csv", tmp_path / "pictures"
    command = ["queue", "export", "--labels", str(out), "--images", str(images)]
    assert main([*command, "--label", "guns=weapons"]) == 0
    told = capsys.readouterr().out
    assert f"{out}: 4 pictures" in told
    assert "weapons: 2 yes, 1 no" in told
    assert "left out, not decided: 1" in told
    assert "left out, decision names no category: 1" in told
    assert "label 'ugly' names no category" in told
    rows = {
        (images / row["file"]).read_bytes().decode(): row
        for row in csv.DictReader(out.read_text().splitlines())
    }
    said = {name: (row["weapons"], row["drugs"]) for name, row in rows.items()}
    assert said == {
        "named": ("", "1"),
        "shown": ("1", ""),
        "fine": ("0", "0"),
        "alias": ("1", ""),
    }
    made = list(images.rglob("*"))
    assert {path.stat().st_mode & 0o777 for path in made if path.is_file()} == {0o600}
    assert {path.stat().st_mode & 0o777 for path in (images, *made) if path.is_dir()} == {0o700}
    read = read_labels(out, categories=CATEGORIES)
    assert len(read.files) == 4
    assert sorted(read.labels["weapons"].tolist()) == [-1, 0, 1, 1]


def test_only_decisions_in_effect_on_pictures_that_are_there_count(
    office: Office, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    items = {}
    for name in ("contested", "deleted", "changed"):
        items[name] = office.bring(name)
        office.say(REJECT)
    sha256 = hashlib.sha256(b"deleted").hexdigest()
    office.store.erase(EraseRequest(tenant="t", sha256=sha256, reason="order", actor="law"))

    def contest(name: str) -> None:
        asked = ReopenRequest(tenant="t", item_id=items[name], cause=Cause.APPEAL, note="look")
        office.store.reopen(asked)

    contest("changed")
    office.say(APPROVE, reviewer="ben")  # whoever was contested is not asked again at once
    contest("contested")
    out = tmp_path / "labels.csv"
    assert main(["queue", "export", "--labels", str(out)]) == 0
    told = capsys.readouterr().out
    assert "left out, not decided: 1" in told
    assert "left out, deleted by law: 1" in told
    (row,) = csv.DictReader(out.read_text().splitlines())
    assert hashlib.sha256(b"changed").hexdigest() in row["file"]
    assert row["weapons"] == "0"


def test_a_group_that_was_closed_is_one_label(
    office: Office, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """However many copies came; one that somebody looked at for itself counts for itself."""
    first, *_, last = (office.bring(f"copy {n}", picture_hash="5a" * 32) for n in range(5))
    office.bring("another")
    office.decide(office.lease(item_id=last), APPROVE)
    shown = show(office, office.item(first))
    order(office, shown, labels=())
    assert carried_out(office).by_fate[Fate.CLOSED] == 4
    office.say(REJECT)
    out = tmp_path / "labels.csv"
    assert main(["queue", "export", "--labels", str(out)]) == 0
    assert "left out, look-alike of another, closed with it: 3" in capsys.readouterr().out
    rows = list(csv.DictReader(out.read_text().splitlines()))
    files = [Path(row["file"]).stem for row in rows]
    assert sorted(row["group"] for row in rows) == ["", first, first], "they can be counted once"
    contents = ("copy 0", "copy 4", "another")
    assert sorted(files) == sorted(hashlib.sha256(each.encode()).hexdigest() for each in contents)


def test_a_group_that_was_closed_again_for_something_else_is_another_label(
    office: Office, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for label in CATEGORIES:
        first, _ = (office.bring(f"{label} {n}", picture_hash="5a" * 32) for n in range(2))
        order(office, show(office, office.item(first)), label, labels=(label,))
        assert carried_out(office, label).by_fate[Fate.CLOSED] == 2
    out = tmp_path / "labels.csv"
    assert main(["queue", "export", "--labels", str(out)]) == 0
    assert "left out, look-alike of another, closed with it: 2" in capsys.readouterr().out
    rows = list(csv.DictReader(out.read_text().splitlines()))
    assert len({row["group"] for row in rows}) == 1
    assert sorted((row["weapons"], row["drugs"]) for row in rows) == [("", "1"), ("1", "")]


def test_tenants_and_policies_are_told_apart(office: Office, tmp_path: Path) -> None:
    office.bring("r1", "same")
    office.bring("r2", "same", tenant="../x")
    office.bring("r3", policy="other")
    office.decide(office.lease(tenant="../x"))
    office.say(REJECT)
    office.say(APPROVE)
    out, images = tmp_path / "labels.csv", tmp_path / "pictures"

    def exported(*options: str) -> list[str]:
        command = ["queue", "export", "--labels", str(out), "--images", str(images), *options]
        assert main(command) == 0
        return [row["file"] for row in csv.DictReader(out.read_text().splitlines())]

    assert len(exported()) == 3
    assert len(exported("--tenant", "t")) == 2
    assert len(exported("--policy", "other")) == 1
    (file,) = exported("--tenant", "../x")
    assert file.startswith("%2e%2e%2fx/")
    assert (images / file).read_bytes() == b"same"
    assert not [p for p in tmp_path.parent.glob("x*") if p != tmp_path]


@pytest.mark.parametrize(
    "options",
    [
        ["--images", "x"],
        ["--policy", "x"],
        ["--labels", "x", "--out", "y"],
        ["--labels", "x", "--label", "guns"],
        ["--labels", "/proc/none/labels.csv"],
        ["--out", "/proc/none/all.jsonl"],
    ],
)
def test_options_that_make_no_sense_are_refused(
    office: Office, capsys: pytest.CaptureFixture[str], options: list[str]
) -> None:
    office.bring("r1")
    assert main(["queue", "export", *options]) == 1
    assert capsys.readouterr().err


def test_a_write_beside_the_look_is_not_held_up(office: Office) -> None:
    """An export that is slow must not stop the servers."""
    from imagesieve_server.queue_store import open_inspection, queue_settings

    for number in range(5):
        office.bring(f"r{number}")
    inspection = open_inspection(queue_settings(None))
    items = inspection.items()
    next(items)
    try:
        office.bring("late")
        office.say(REJECT)
    except StoreUnavailable:
        pytest.fail("it had to wait for the look")
    assert len(list(items)) >= 4
    inspection.close()
