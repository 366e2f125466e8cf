"""What must hold of the queue's folder after a power cut, asked of the real store.

Knows what was acknowledged and the store's promises; nothing of how the folder came about.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from imagesieve_server.core.errors import ImagesieveError
from imagesieve_server.core.review import (
    Cause,
    ClaimRequest,
    DecideRequest,
    Item,
    ListRequest,
    Outcome,
    Recorded,
    State,
)
from imagesieve_server.review_queue import chain
from imagesieve_server.review_queue.evidence import FolderEvidence
from imagesieve_server.review_queue.recording import Asked
from imagesieve_server.review_queue.sqlite import migrate_sqlite, open_sqlite
from imagesieve_server.review_queue.store import RuledStore
from power_cut_worker import TENANTS, content_of, flag_of

Mark = dict[str, str]

ONE_OF_EACH = {
    "two open items of the same bytes": (
        "SELECT tenant, sha256 FROM item WHERE state IN ('READY', 'LEASED', 'PARKED')"
        " GROUP BY tenant, sha256 HAVING count(*) > 1"
    ),
    "an item that counts other submissions than it has": (
        "SELECT i.item_id FROM item i WHERE i.submissions <> (SELECT count(*) FROM submission s"
        " WHERE s.tenant = i.tenant AND s.item_id = i.item_id)"
    ),
    "two effective decisions in one round": (
        "SELECT tenant, item_id, round FROM decision WHERE effective"
        " GROUP BY tenant, item_id, round HAVING count(*) > 1"
    ),
    "a submission that was not told of its decision exactly once": (
        "SELECT s.request_id FROM decision d JOIN submission s"
        " ON s.tenant = d.tenant AND s.item_id = d.item_id WHERE d.effective AND 1 <>"
        " (SELECT count(*) FROM decision_event e WHERE e.tenant = d.tenant"
        " AND e.decision_id = d.decision_id AND e.request_id = s.request_id)"
    ),
    "a gap in the positions of the events": (
        "SELECT tenant FROM decision_event GROUP BY tenant"
        " HAVING min(position) <> 1 OR max(position) <> count(*)"
    ),
    "a history that does not end in the item's state": (
        "SELECT i.item_id FROM item i WHERE i.state <> (SELECT a.target FROM audit a"
        " WHERE a.tenant = i.tenant AND a.item_id = i.item_id ORDER BY a.version DESC LIMIT 1)"
    ),
}
"""What must select nothing, however the power was cut."""


@dataclass(slots=True, kw_only=True)
class Findings:
    """What one reconstructed disk came to; each entry says what is wrong."""

    flags: int = 0  # acknowledged before the cut and looked up
    decisions: int = 0
    lost: list[str] = field(default_factory=list)  # flags, by request_id
    twice: list[str] = field(default_factory=list)
    undone: list[str] = field(default_factory=list)  # acknowledged claims and decisions
    broken: list[str] = field(default_factory=list)  # everything else

    @property
    def whole(self) -> bool:
        return not (self.lost or self.twice or self.undone or self.broken)


def check(folder: Path, marks: Sequence[bytes]) -> Findings:
    """Open the queue in the folder as a server would, and ask it for all that it promised."""
    said: list[Mark] = [json.loads(mark) for mark in marks]
    told = [mark for mark in said if mark["kind"] == "flag"]
    flags = {mark["request_id"]: mark for mark in told}
    decisions = [mark for mark in said if mark["kind"] == "decide"]
    found = Findings(flags=len(flags), decisions=len(decisions))
    found.lost = [f"{request_id}: not looked up" for request_id in flags]  # until found
    if len({(mark["request_id"], mark["item_id"]) for mark in told}) != len(flags):
        found.twice.append("a repeated request was told another item")
    data = folder / "data"
    try:
        evidence = FolderEvidence(root=data / "evidence")
        migrate_sqlite(path=data / "queue.db")
        store = open_sqlite(path=data / "queue.db", clock=time.time)
    except Exception as problem:  # noqa: BLE001 - a damaged file makes a store raise anything
        found.broken.append(f"{type(problem).__name__}: {problem}")
        return found
    try:
        _database(found, data / "queue.db")
        items = {(item.tenant, item.item_id): item for item in _items(store)}
        found.lost = _lost(found, store, evidence, flags, items)
        _reviews(found, store, said)
        _chains(found, store, items)
        _new_work(found, store, evidence, list(flags), decisions)
    except Exception as problem:  # noqa: BLE001 - as above
        found.broken.append(f"{type(problem).__name__}: {problem} ({problem.__cause__})")
    finally:
        store.close()
    return found


def _items(store: RuledStore) -> Iterator[Item]:
    for tenant in TENANTS:
        token = ""
        while True:
            asked = ListRequest(tenant=tenant, states=tuple(State), page_size=500, page_token=token)
            page = store.list(asked)
            yield from page.items
            token = page.next_page_token
            if not token:
                break


def _lost(
    found: Findings,
    store: RuledStore,
    evidence: FolderEvidence,
    flags: dict[str, Mark],
    items: dict[tuple[str, str], Item],
) -> list[str]:
    """Flags that were acknowledged and lack their submission, their item or their bytes."""
    lost: list[str] = []
    for tenant in TENANTS:
        asked = [flag_of(name) for name, mark in flags.items() if mark["tenant"] == tenant]
        requests = [
            Asked(tenant=tenant, request_id=flag.request_id, digest=flag.request_digest)
            for flag in asked
        ]
        for flag, answer in zip(asked, store.answers_of(requests), strict=True):
            if not isinstance(answer, Recorded) or (tenant, answer.item_id) not in items:
                lost.append(f"{flag.request_id}: not in the queue")
                continue
            if answer.item_id != flags[flag.request_id]["item_id"]:
                found.twice.append(f"{flag.request_id}: another item than it was told")
            sha256 = items[tenant, answer.item_id].sha256
            try:
                whole = evidence.get(tenant=tenant, sha256=sha256) == content_of(flag.request_id)
            except ImagesieveError as problem:
                lost.append(f"{flag.request_id}: {problem}")
            else:
                lost += [] if whole else [f"{flag.request_id}: another picture's bytes"]
    return lost


def _reviews(found: Findings, store: RuledStore, said: Sequence[Mark]) -> None:
    """Acknowledged claims, releases and decisions are there as they were told."""
    with store.backend.read() as tx:
        for mark in said:
            if mark["kind"] not in ("claim", "release", "decide"):
                continue
            claim = tx.claim(mark["tenant"], mark["token"])
            if claim is None:
                found.undone.append(f"a claim of {mark['item_id']}")
            elif mark["kind"] == "release" and claim.ended_by is not Cause.RELEASE:
                found.undone.append(f"a release of {mark['item_id']}")
            if mark["kind"] == "decide":
                rows = tx.decisions(mark["tenant"], [mark["item_id"]])
                ids = {(row.decision_id, row.outcome.value, row.token) for row in rows}
                if (mark["decision_id"], mark["outcome"], mark["token"]) not in ids:
                    found.undone.append(f"a decision on {mark['item_id']}")


def _chains(found: Findings, store: RuledStore, items: dict[tuple[str, str], Item]) -> None:
    with store.backend.read() as tx:
        for tenant, item_id in items:
            row = tx.item(tenant, item_id)
            assert row is not None  # it was listed
            found.broken += chain.problems(row, tx.decisions(tenant, [item_id]))


def _database(found: Findings, path: Path) -> None:
    """The file is sound, and what must be one is one."""
    with closing(sqlite3.connect(path)) as connection:
        for pragma, sound in (("integrity_check", [("ok",)]), ("foreign_key_check", [])):
            rows = connection.execute(f"PRAGMA {pragma}").fetchall()
            if rows != sound:
                found.broken.append(f"{pragma}: {rows[:3]}")
        for wrong, query in ONE_OF_EACH.items():
            rows = connection.execute(query).fetchall()
            found.twice += [f"{wrong}: {row}" for row in rows]


def _new_work(
    found: Findings,
    store: RuledStore,
    evidence: FolderEvidence,
    flags: Sequence[str],
    decisions: Sequence[Mark],
) -> None:
    """The store takes a new flag to its decision, and knows what is repeated."""
    new = flag_of("after-the-0")
    evidence.put(tenant=new.tenant, sha256=new.sha256, data=content_of(new.request_id))
    (kept,) = store.record([new])
    if not isinstance(kept, Recorded) or kept.repeated:
        found.broken.append(f"a new flag after the cut came to {kept}")
    for request_id in flags[-1:]:
        (again,) = store.record([flag_of(request_id)])
        if not isinstance(again, Recorded) or not again.repeated:
            found.twice.append(f"{request_id}: kept again when repeated")
    lease = store.claim(ClaimRequest(tenant=new.tenant, reviewer="last", claim_id="after"))
    if lease is None:
        found.broken.append("nothing to claim after a new flag")
        return
    said = {"tenant": new.tenant, "item_id": lease.item.item_id, "token": lease.token}
    store.decide(DecideRequest(**said, reviewer="last", outcome=Outcome.REJECT))
    for mark in decisions[-1:]:
        same = {name: mark[name] for name in ("tenant", "item_id", "token", "reviewer")}
        record = store.decide(DecideRequest(**same, outcome=Outcome(mark["outcome"])))
        if record.decision_id != mark["decision_id"]:
            found.twice.append(f"a repeated decision on {mark['item_id']}")
